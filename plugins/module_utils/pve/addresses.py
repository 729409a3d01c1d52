# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which address of a guest to connect to, and why. Pure.

Every address that Proxmox VE, the guest agent or the DNS knows becomes a candidate; the candidates are put in order
and the first one wins. Nothing is asked here: what is missing is told by `needs_agent` and `needs_interfaces`.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, TypeAlias

from ..core.problem import PatchingError

IPAddress: TypeAlias = "ipaddress.IPv4Address | ipaddress.IPv6Address"
IPNetwork: TypeAlias = "ipaddress.IPv4Network | ipaddress.IPv6Network"

# Where an address can come from, in the order that is used when the user gives none.
SOURCES = ("ipconfig", "agent", "cidr", "lxc", "name")
FAMILIES = ("any", "ipv6_first", "ipv4", "ipv6")

# NICs that a container runtime, a CNI or a hypervisor makes inside a guest. They matter for the source `cidr` only: the
# source `agent` takes the NICs whose MAC is that of a netN, and that no such NIC has.
CONTAINER_NICS = (
    "br-*", "cali*", "cbr*", "cilium*", "cni*", "docker*", "dummy*", "flannel*", "kube*", "lo", "lxc*", "nerdctl*",
    "nodelocaldns*", "podman*", "tap*", "veth*", "virbr*", "vxlan*",
)  # fmt: skip


@dataclass(frozen=True)
class Policy:
    """How an address is chosen.

    :param order: the sources, the preferred one first.
    :param cidrs: networks, the preferred one first; an address in one of them wins over any outside of them.
    :param family: one of `FAMILIES`; ``any`` prefers IPv4, ``ipv4`` and ``ipv6`` take nothing else.
    :param exclude_interfaces: patterns of NIC names inside the guest, and of ``netN``, that are never used.
    """

    order: tuple[str, ...] = SOURCES
    cidrs: tuple[IPNetwork, ...] = ()
    family: str = "any"
    exclude_interfaces: tuple[str, ...] = ()


@dataclass(frozen=True)
class Choice:
    """The address of a guest, or why it has none.

    :param address: what to connect to, empty where nothing was found.
    :param source: the source that gave it, and its NIC: ``ipconfig:net0``, ``agent:net0``, ``name``.
    :param reason: why there is none, one line.
    """

    address: str = ""
    source: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Known:
    """What is known about one guest.

    :param vmtype: ``qemu`` or ``lxc``.
    :param config: its ``/config``, empty where that could not be read.
    :param agent: the NICs as its agent lists them, None where it was not asked or gave no answer.
    :param interfaces: the NICs of a container as ``/lxc/ID/interfaces`` lists them, None as above.
    :param resolved: a DNS name of the guest and the addresses behind it; empty where it does not resolve.
    :param notes: why an answer is missing, one sentence each.
    """

    vmtype: str
    config: Mapping[str, Any] = field(default_factory=dict)
    agent: Sequence[Any] | None = None
    interfaces: Sequence[Any] | None = None
    resolved: tuple[str, tuple[str, ...]] | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Candidate:
    source: str
    nic: str
    ip: IPAddress
    text: str
    nic_rank: int
    # An IPv4 address with a prefix of 32 is mostly a virtual one (keepalived, kube-vip), which moves between machines.
    virtual: bool = False
    # An IPv6 address made from the MAC stays; a privacy address changes every day, and known_hosts with it.
    stable: bool = False


def parse_policy(options: Mapping[str, Any]) -> Policy:
    """The option ``address`` as the user wrote it.

    :raises PatchingError: a key, source, family or network is not known.
    """
    unknown = set(options) - {"order", "cidrs", "family", "exclude_interfaces"}
    if unknown:
        raise PatchingError(
            f"address: unknown key {sorted(map(str, unknown))[0]!r}.", "Use order, cidrs, family or exclude_interfaces."
        )
    order = _strings("address.order", options.get("order", SOURCES))
    for source in order:
        if source not in SOURCES:
            raise PatchingError(f"address.order: unknown source {source!r}.", f"Use some of {', '.join(SOURCES)}.")
    family = options.get("family", "any")
    if family not in FAMILIES:
        raise PatchingError(f"address.family: {family!r} is not known.", f"Use one of {', '.join(FAMILIES)}.")
    cidrs = []
    for text in _strings("address.cidrs", options.get("cidrs", ())):
        try:
            cidrs.append(ipaddress.ip_network(text, strict=False))
        except ValueError:
            raise PatchingError(
                f"address.cidrs: {text!r} is not a network.", "Write it like 192.168.1.0/24 or 2001:db8::/64."
            ) from None
    excluded = _strings("address.exclude_interfaces", options.get("exclude_interfaces", ()))
    return Policy(order, tuple(cidrs), family, excluded)


def _strings(name: str, value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, (str, int, float)):
        value = [value]
    if isinstance(value, Mapping) or not isinstance(value, Iterable):
        raise PatchingError(f"{name}: a list is wanted, this is {value!r}.", "Write it as [...].")
    return tuple(str(item) for item in value)


def properties(text: Any) -> dict[str, str]:
    """The ``key=value`` parts of a Proxmox VE property string; a part without ``=`` is left out."""
    return dict(part.split("=", 1) for part in str(text or "").split(",") if "=" in part)


def nics(config: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """The virtual NICs of a guest that are plugged in: ``net0`` to its properties, by number, ``mac`` in lower case.

    A VM has ``virtio=BC:24:11:00:00:01,bridge=vmbr0``, a container ``name=eth0,hwaddr=BC:24:11:00:00:01,...``.
    """
    found = {}
    for key in sorted((key for key in config if re.fullmatch(r"net\d+", key)), key=lambda key: int(key[3:])):
        parts = properties(config[key])
        if parts.get("link_down") == "1":
            continue
        macs = [value for value in parts.values() if re.fullmatch(r"(?i)([0-9a-f]{2}:){5}[0-9a-f]{2}", value)]
        found[key] = {**parts, "mac": macs[0].lower() if macs else ""}
    return found


def listed(value: Any) -> list[Mapping[str, Any]]:
    """The mappings of a list, as a guest gives it: it is root's in the guest to answer anything at all."""
    return [entry for entry in value if isinstance(entry, Mapping)] if isinstance(value, list) else []


def agent_enabled(config: Mapping[str, Any]) -> bool:
    """Whether the guest agent is switched on: ``1``, ``1,fstrim_cloned_disks=1`` or ``enabled=1,type=virtio``."""
    text = str(config.get("agent", "0"))
    value = properties(text).get("enabled", text.partition(",")[0])
    return value.strip().lower() in ("1", "yes", "on", "true")


def needs_agent(config: Mapping[str, Any], policy: Policy) -> bool:
    """Whether the agent of a VM could know a better address than its configuration."""
    return _could_win(("agent", "cidr"), _from_ipconfig(config), policy)


def needs_interfaces(config: Mapping[str, Any], policy: Policy) -> bool:
    """Whether a running container could have a better address than its configuration says."""
    dynamic = any(
        parts.get(key) in ("dhcp", "auto", "manual") for parts in nics(config).values() for key in ("ip", "ip6")
    )
    static = _from_lxc(config, None)
    return (dynamic or not static) and _could_win(("lxc",), static, policy)


def needs_name(known: Known, policy: Policy) -> bool:
    """Whether the DNS has to be asked: no other source gave an address."""
    return "name" in policy.order and _best(_candidates(known, policy), policy) is None


def choose(known: Known, policy: Policy) -> Choice:
    """The address of a guest by the policy, with its source, or the reason why there is none."""
    best = _best(_candidates(known, policy), policy)
    if best is None:
        return Choice(reason=_reason(known, policy))
    return Choice(best.text, f"{best.source}:{best.nic}" if best.nic else best.source)


def _could_win(sources: Iterable[str], candidates: list[_Candidate], policy: Policy) -> bool:
    """Whether one of the sources could beat the best of these candidates."""
    usable = [source for source in sources if source in policy.order]
    if not policy.cidrs:
        usable = [source for source in usable if source != "cidr"]
    if not usable:
        return False
    best = _best(candidates, policy)
    if best is None:
        return True
    rank, position = _cidr_rank(best, policy), policy.order.index(best.source)
    return rank > 0 or any(policy.order.index(source) < position for source in usable)


def _candidates(known: Known, policy: Policy) -> list[_Candidate]:
    if known.vmtype == "lxc":
        found = _from_lxc(known.config, known.interfaces)
    else:
        found = _from_ipconfig(known.config) + _from_agent(known.config, known.agent or [])
    if known.resolved:
        name, addresses = known.resolved
        found += [_Candidate("name", "", ip, name, 0) for ip in map(_usable, addresses) if ip]
    return [one for one in found if one.source in policy.order and not _excluded(one, policy)]


def _excluded(one: _Candidate, policy: Policy) -> bool:
    if policy.family in ("ipv4", "ipv6") and one.ip.version != int(policy.family[-1]):
        return True
    if one.source == "cidr" and _cidr_rank(one, policy) == len(policy.cidrs):
        return True
    names = (one.nic, *one.nic.split("/"))
    return any(name and fnmatchcase(name, pattern) for name in names for pattern in policy.exclude_interfaces)


def _best(candidates: list[_Candidate], policy: Policy) -> _Candidate | None:
    first = 6 if policy.family in ("ipv6_first", "ipv6") else 4
    usable = [one for one in candidates if one.source in policy.order and not _excluded(one, policy)]
    # min() keeps the first of equals, so the order in which a guest lists its addresses decides last.
    return min(
        usable,
        key=lambda one: (
            _cidr_rank(one, policy),
            policy.order.index(one.source),
            one.virtual,
            one.nic_rank,
            one.ip.version != first,
            not one.stable,
        ),
        default=None,
    )


def _cidr_rank(one: _Candidate, policy: Policy) -> int:
    """The position of the first preferred network that has it; their number where none has."""
    for position, network in enumerate(policy.cidrs):
        if one.ip in network:
            return position
    return len(policy.cidrs)


def _usable(text: Any) -> IPAddress | None:
    """An address that another machine can reach; None for anything else, and for what is no address."""
    try:
        ip = ipaddress.ip_address(str(text).partition("/")[0].partition("%")[0])
    except ValueError:
        return None
    unusable = ip.is_loopback or ip.is_link_local or ip.is_multicast or ip.is_unspecified
    return None if unusable else ip


def _from_ipconfig(config: Mapping[str, Any]) -> list[_Candidate]:
    """Static cloud-init addresses (``ipconfig0: ip=192.0.2.5/24,gw=192.0.2.1,ip6=auto``)."""
    if "network" in properties(config.get("cicustom")):
        return []  # a network file of the user's own takes their place (qm(1), cicustom)
    plugged = nics(config)
    any_nic = any(re.fullmatch(r"net\d+", key) for key in config)
    found = []
    for number in sorted(int(key[8:]) for key in config if re.fullmatch(r"ipconfig\d+", key)):
        nic = f"net{number}"
        # cloud-init configures the NICs that exist: what is left of a removed one is nobody's address.
        if nic not in plugged and any_nic:
            continue
        parts = properties(config[f"ipconfig{number}"])
        found += [
            _Candidate("ipconfig", nic, ip, str(ip), number)
            for ip in map(_usable, (parts.get("ip", ""), parts.get("ip6", "")))
            if ip
        ]
    return found


def _from_agent(config: Mapping[str, Any], answer: Sequence[Any]) -> list[_Candidate]:
    """What the agent says: NICs that are a netN by their MAC as ``agent``, others as ``cidr``."""
    by_mac = {parts["mac"]: (number, key) for number, (key, parts) in enumerate(nics(config).items()) if parts["mac"]}
    found = []
    for position, nic in enumerate(listed(answer)):
        name, mac = str(nic.get("name", "")), str(nic.get("hardware-address") or "").lower()
        number, key = by_mac.get(mac, (position, ""))
        if not key and any(fnmatchcase(name, pattern) for pattern in CONTAINER_NICS):
            continue
        for entry in listed(nic.get("ip-addresses")):
            ip = _usable(entry.get("ip-address"))
            if ip is None:
                continue
            virtual = ip.version == 4 and str(entry.get("prefix")) == "32"
            source, label = ("agent", f"{key}/{name}") if key else ("cidr", name)
            found.append(_Candidate(source, label, ip, str(ip), number, virtual, _from_mac(ip, mac)))
    return found


def _from_lxc(config: Mapping[str, Any], interfaces: Sequence[Any] | None) -> list[_Candidate]:
    """Static addresses of a container, and what its NICs have now (DHCP, SLAAC)."""
    found = []
    by_mac = {}
    for number, (key, parts) in enumerate(nics(config).items()):
        by_mac[parts["mac"] or parts.get("name", "")] = (number, f"{key}/{parts.get('name', '')}")
        for ip in map(_usable, (parts.get("ip", ""), parts.get("ip6", ""))):
            if ip:
                found.append(_Candidate("lxc", f"{key}/{parts.get('name', '')}", ip, str(ip), number))
    for nic in listed(interfaces):
        mac = str(nic.get("hwaddr") or nic.get("hardware-address") or "").lower()
        # NICs that are no netN belong to what runs in the container, a Docker for instance.
        place = by_mac.get(mac) or by_mac.get(str(nic.get("name", "")))
        if place is None:
            continue
        texts = [nic.get("inet"), nic.get("inet6")]
        texts += [entry.get("ip-address") for entry in listed(nic.get("ip-addresses"))]
        found += [
            _Candidate("lxc", place[1], ip, str(ip), place[0], stable=_from_mac(ip, mac))
            for ip in dict.fromkeys(map(_usable, texts))
            if ip
        ]
    return found


def _from_mac(ip: IPAddress, mac: str) -> bool:
    """Whether the interface identifier of an IPv6 address is made from the MAC (EUI-64, RFC 4291 appendix A)."""
    if ip.version != 6 or not re.fullmatch(r"([0-9a-f]{2}:){5}[0-9a-f]{2}", mac):
        return False
    octets = bytearray.fromhex(mac.replace(":", ""))
    octets[0] ^= 2
    return ip.packed[8:] == bytes(octets[:3]) + b"\xff\xfe" + bytes(octets[3:])


def _reason(known: Known, policy: Policy) -> str:
    """Why no source gave an address, in the order in which they were looked at."""
    parts = []
    if known.vmtype == "lxc":
        if "lxc" in policy.order and known.config:
            parts.append("no netN has a usable address")
    elif "ipconfig" in policy.order and known.config:
        keys = sorted(key for key in known.config if re.fullmatch(r"ipconfig\d+", key))
        parts.append(f"{', '.join(keys)} without a usable static address" if keys else "no static ipconfigN")
    parts += known.notes
    if known.agent is not None and not known.notes:
        parts.append("the agent lists no usable address on a netN")
    if known.resolved and not known.resolved[1]:
        parts.append(f"the name {known.resolved[0]} does not resolve")
    if policy.family in ("ipv4", "ipv6"):
        parts.append(f"only {policy.family} is allowed")
    return "; ".join(parts) or "address.order leaves no source for this guest"
