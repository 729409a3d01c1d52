# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of the guests of a Proxmox VE cluster in the inventory: selection, names, variables, groups. Pure.

A *row* is an entry of ``/cluster/resources`` as the API gives it. It may lack ``name`` and have the status
``unknown``: the guest is younger than about 10 s, or its node is offline (pve-manager, PVE/API2Tools.pm,
extract_vm_stats).
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from fnmatch import fnmatchcase
from functools import cache
from typing import Any, NamedTuple

from ..core.problem import PatchingError
from ..core.visible import visible
from .addresses import Choice, listed, properties

# The one group whose name no option changes: the playbooks look for it.
PATCHABLE = "proxmox_patchable"
NOPATCH = "nopatch"

RULES = ("tags", "pools", "nodes", "names", "vmids", "types", "statuses")
TYPES = ("qemu", "lxc")

# Names that Ansible takes for the control node itself.
LOCALHOST = ("localhost", "127.0.0.1", "::1")


class Problem(NamedTuple):
    """Something about a guest that a person should know; the same cause with many guests is told once."""

    cause: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.cause} ({self.remedy})" if self.remedy else self.cause


@dataclass
class Guest:
    """A guest and all that was found out about it.

    :param row: its entry of the listing.
    :param config: its ``/config``, None where it was not asked for or could not be read.
    :param agent: its NICs by the guest agent, None as above.
    :param interfaces: the NICs of a container, None as above.
    :param status: its ``status/current``, None as above.
    :param choice: its address; None where none was looked for.
    """

    row: Mapping[str, Any]
    config: Mapping[str, Any] | None = None
    agent: list[Any] | None = None
    interfaces: list[Any] | None = None
    status: Mapping[str, Any] | None = None
    choice: Choice | None = None
    problems: list[Problem] = field(default_factory=list)
    hostname: str = ""

    @property
    def vmid(self) -> int:
        """Its number, unique in a cluster."""
        return int(self.row["vmid"])

    @property
    def vmtype(self) -> str:
        """``qemu`` or ``lxc``."""
        return str(self.row["type"])

    @property
    def node(self) -> str:
        """The node it is on."""
        return str(self.row["node"])

    @property
    def is_template(self) -> bool:
        """Whether it is a template, which never runs."""
        return str(self.row.get("template") or 0) not in ("0", "False")

    @property
    def is_running(self) -> bool:
        """Whether the listing says that it runs."""
        return self.row.get("status") == "running"

    @property
    def tags(self) -> list[str]:
        """Its tags, in the cluster's order."""
        return split_list(self.row.get("tags") or (self.config or {}).get("tags"))

    @property
    def name(self) -> str:
        """Its own name: from the listing, else from its configuration, else empty."""
        known = self.config or {}
        return str(self.row.get("name") or known.get("name") or known.get("hostname") or "")

    @property
    def label(self) -> str:
        """What it is called in messages."""
        return f"{self.name or self.vmtype} ({self.vmid})"


def split_list(text: Any) -> list[str]:
    """A Proxmox VE list: parts between semicolons, commas or blanks (pve-common, PVE::Tools::split_list)."""
    return list(dict.fromkeys(filter(None, re.split(r"[,;\s]+", str(text or "")))))


# --- Selection ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Selection:
    """The options ``include`` and ``exclude``: which rows are kept; exclude wins."""

    include: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    exclude: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def keeps(self, row: Mapping[str, Any]) -> bool:
        """Whether a row passes: every key of include fits, and no key of exclude does."""
        return all(_fits(row, key, wanted) for key, wanted in self.include.items()) and not any(
            _fits(row, key, refused) for key, refused in self.exclude.items()
        )

    def undecided(self, row: Mapping[str, Any]) -> bool:
        """Whether the choice is by name and the row has none; such a row is left out, whatever the rule."""
        return not row.get("name") and ("names" in self.include or "names" in self.exclude)


def parse_selection(include: Any, exclude: Any) -> Selection:
    """The options ``include`` and ``exclude`` as the user wrote them.

    :raises PatchingError: a key is not known, a value is not a list, a vmid is neither a number nor a range.
    """
    return Selection(_rules("include", include), _rules("exclude", exclude))


def _rules(option: str, rules: Any) -> dict[str, tuple[str, ...]]:
    parsed = {}
    if not isinstance(rules or {}, Mapping):
        raise PatchingError(f"{option}: a mapping is wanted, this is {rules!r}.", f"Write {option}: {{tags: [k3s]}}.")
    for key, value in (rules or {}).items():
        if key not in RULES:
            raise PatchingError(f"{option}: unknown key {key!r}.", suggestion(str(key), RULES))
        values = [value] if isinstance(value, (str, int)) and not isinstance(value, bool) else value
        if not isinstance(values, (list, tuple)):
            raise PatchingError(f"{option}.{key}: a list is wanted, this is {value!r}.", f"Write {key}: [...].")
        texts = tuple(str(item) for item in values)
        if key == "vmids":
            for text in texts:
                if not re.fullmatch(r"\d+(-\d+)?", text):
                    raise PatchingError(f"{option}.vmids: {text!r} is no vmid.", 'Write 101 or "100-199".')
        if key == "types":
            for text in texts:
                if text not in TYPES:
                    raise PatchingError(f"{option}.types: {text!r} is not known.", "Use qemu or lxc.")
        parsed[key] = texts
    return parsed


def _fits(row: Mapping[str, Any], key: str, patterns: tuple[str, ...]) -> bool:
    if key == "vmids":
        return any(_in_range(int(row["vmid"]), text) for text in patterns)
    if key == "tags":
        values = split_list(row.get("tags"))
    elif key == "pools":
        values = pool_path(row.get("pool"))
    else:
        field_name = {"nodes": "node", "names": "name", "types": "type", "statuses": "status"}[key]
        values = [str(row.get(field_name) or "")]
    return any(fnmatchcase(value, pattern) for value in values for pattern in patterns)


def _in_range(vmid: int, text: str) -> bool:
    first, _dash, last = text.partition("-")
    return int(first) <= vmid <= int(last or first)


def pool_path(pool: Any) -> list[str]:
    """A pool and those around it: ``a/b/c`` lies in ``a/b`` and in ``a`` (nested pools, Proxmox VE 8.1)."""
    parts = str(pool or "").split("/")
    return ["/".join(parts[:length]) for length in range(len(parts), 0, -1)] if pool else []


def suggestion(wrong: str, known: Iterable[str]) -> str:
    """What was probably meant, or the whole list."""
    known = list(known)
    close = difflib.get_close_matches(wrong, known, 1)
    return f"Did you mean {close[0]}?" if close else f"Use some of {', '.join(known)}."


# --- Image identity -------------------------------------------------------------------------------------------------

_IMAGE = r"(?P<name>[a-z0-9_][a-z0-9_.+-]*?)(?:-(?P<date>\d{8}))?"


def image_of(tags: Iterable[str], description: Any) -> tuple[str, date | None]:
    """The image a guest was made from: the tag ``image-NAME-YYYYMMDD``, else the line ``image: NAME-YYYYMMDD`` of its
    description; the date may be missing. Proxmox VE itself records neither.

    :returns: name and date; an empty name where nothing says.
    """
    lines = [line.strip() for line in str(description or "").splitlines()]
    texts = [tag[len("image-") :] for tag in tags if tag.startswith("image-")]
    texts += [line.partition(":")[2].strip() for line in lines if re.match(r"image\s*:", line)]
    for text in texts:
        match = re.fullmatch(_IMAGE, text)
        if match:
            digits = match["date"]
            try:
                made = date(int(digits[:4]), int(digits[4:6]), int(digits[6:])) if digits else None
            except ValueError:
                return text, None
            return match["name"], made
    return "", None


# --- Names ----------------------------------------------------------------------------------------------------------


def give_names(guests: Iterable[Guest], wanted: Mapping[int, str], taken: Collection[str]) -> list[Problem]:
    """Give each guest its name in the inventory, unique and never one that means something else to Ansible.

    Of two guests with the same name both get ``-VMID``: a name that silently changed its owner when one of them goes
    would be worse.

    :param wanted: the names that the user's ``hostnames`` gave, by vmid.
    :param taken: names that a guest must not have: the cluster's nodes, groups.
    :returns: what to warn about.
    """
    guests = list(guests)
    plain = {guest.vmid: wanted.get(guest.vmid) or guest.name or f"{guest.vmtype}-{guest.vmid}" for guest in guests}
    uses = Counter(plain.values())
    told = []
    for guest in guests:
        name = plain[guest.vmid]
        guest.hostname = name
        if uses[name] > 1 or name in taken or name in LOCALHOST:
            guest.hostname = f"{name}-{guest.vmid}"
        # ssh would read it as an option, such as -oProxyCommand=...
        if name.startswith("-"):
            guest.hostname = f"{guest.vmtype}{guest.hostname}"
    names = Counter(guest.hostname for guest in guests)
    for guest in guests:
        if names[guest.hostname] > 1:  # a guest is really called web-101
            guest.hostname = f"{guest.hostname}.{guest.vmtype}"
    for name, count in sorted(uses.items()):
        renamed = [guest.hostname for guest in guests if plain[guest.vmid] == name and guest.hostname != name]
        if not renamed:
            continue
        if name.startswith("-"):
            cause = f"a guest is called {name!r}, which ssh would read as an option"
        elif count > 1:
            cause = f"{count} guests are called {name!r}"
        else:
            cause = f"guest {name!r} has the name of a node, of a group or of the control node"
        told.append(Problem(f"{cause}; in the inventory: {', '.join(renamed)}", "rename them, or use hostnames"))
    return told


# --- Variables ------------------------------------------------------------------------------------------------------


@cache
def safe(word: str) -> str:
    """A name that Ansible takes for a variable or a group, made as community.proxmox makes it."""
    return re.sub(r"[^A-Za-z0-9_]", "_", word.replace(" ", ""))


def parse_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of ``/config`` with property strings as mappings, as community.proxmox gives them.

    ``net0: virtio=MAC,bridge=vmbr0`` becomes ``{"virtio": MAC, "bridge": "vmbr0"}``; the first part of a disk, which
    has no key, gets ``disk_image``; ``description`` stays text.
    """
    parsed: dict[str, Any] = {}
    for key in sorted(config):
        value = config[key]
        if key == "lxc" and isinstance(value, list):
            value = {str(entry[0]).removeprefix("lxc."): entry[1] for entry in value if len(entry) == 2}
        elif isinstance(value, str) and key != "description":
            if re.fullmatch(r"rootfs|(virtio|sata|ide|scsi)\d+", key) and "=" not in value.split(",", 1)[0]:
                value = f"disk_image={value}"
            parts = value.split(",")
            if all("=" in part for part in parts):
                value = dict(part.split("=", 1) for part in parts)
        parsed[key] = value
    return parsed


def is_windows(config: Mapping[str, Any] | None) -> bool:
    """Whether the ``ostype`` of a VM is a Windows: ``win11``, ``win10``, ``wxp``, ``w2k8``... (qm(1), ostype)."""
    return bool(re.match(r"w(in|xp|2k|vista)", str((config or {}).get("ostype", ""))))


def is_patchable(guest: Guest, types: Collection[str]) -> bool:
    """Whether a guest should be patched, also when that is not possible just now."""
    return (
        not guest.is_template
        and guest.vmtype in types
        and NOPATCH not in guest.tags
        and not (guest.vmtype == "qemu" and is_windows(guest.config))
    )


def state(rows: Iterable[Mapping[str, Any]] | str, vmid: int) -> dict[str, str]:
    """Whether a guest is on and whether it is locked.

    :param rows: what the API lists, or why it does not answer.
    :param vmid: the guest's number.
    :returns: ``status``, ``lock`` (empty for none), ``node``, and ``error`` where nothing is known.
    """
    unknown = {"status": "", "lock": "", "node": ""}
    if isinstance(rows, str):
        return {**unknown, "error": rows}
    for row in rows:
        if row.get("type") in TYPES and str(row.get("vmid")) == str(vmid):
            known = {name: str(row.get(name) or "") for name in unknown}
            return {**known, "status": known["status"] or "unknown", "error": ""}
    return {**unknown, "error": f"Proxmox VE has no guest {vmid} any more"}


def variables(guest: Guest, prefix: str, want_facts: bool, today: date) -> dict[str, Any]:
    """The variables of a host.

    :param prefix: of all names but ``ansible_host`` (option ``facts_prefix``).
    :param want_facts: whether the keys of its configuration become variables.
    :param today: for the age of its image, UTC.
    """
    config = guest.config or {}
    facts: dict[str, Any] = parse_config(config) if want_facts else {}
    facts.update(
        vmid=guest.vmid,
        node=guest.node,
        vmtype=guest.vmtype,
        name=guest.name or guest.hostname,
        status=str(guest.row.get("status") or "unknown"),
        template=guest.is_template,
        tags=str(guest.row.get("tags") or config.get("tags") or ""),
        tags_parsed=guest.tags,
        pool=str(guest.row.get("pool") or ""),
        lock=str(guest.row.get("lock") or ""),
        hastate=str(guest.row.get("hastate") or ""),
        uptime=int(guest.row.get("uptime") or 0),
    )
    if guest.status is not None and "qmpstatus" in guest.status:
        facts["qmpstatus"] = guest.status["qmpstatus"]
    if guest.agent is not None and want_facts:
        facts["agent_interfaces"] = agent_interfaces(guest.agent)
    if guest.interfaces is not None and want_facts:
        facts["lxc_interfaces"] = [
            {key: nic[key] for key in ("name", "hwaddr", "inet", "inet6") if key in nic}
            for nic in listed(guest.interfaces)
        ]
    smbios = properties(config.get("smbios1")).get("uuid", "")
    if smbios:
        facts["smbios_uuid"] = smbios.lower()
    image, made = image_of(guest.tags, config.get("description"))
    if image:
        facts["image"] = image
    if made:
        facts["image_date"] = made.isoformat()
        facts["image_age_days"] = (today - made).days
    found = {safe(f"{prefix}{key.lower()}"): value for key, value in facts.items()}
    if guest.choice is not None:
        found[f"{prefix}address_source"] = guest.choice.source
        if guest.choice.address:
            found["ansible_host"] = guest.choice.address
        else:
            found[f"{prefix}address_reason"] = guest.choice.reason
    found[f"{prefix}problems"] = [str(problem) for problem in guest.problems]
    return found


def agent_interfaces(nics: Iterable[Any]) -> list[dict[str, Any]]:
    """What the agent says of its NICs, in the form that community.proxmox gives it."""
    return [
        {
            "name": str(nic.get("name", "")),
            "mac-address": str(nic.get("hardware-address") or ""),
            "ip-addresses": [
                f"{entry.get('ip-address')}/{entry.get('prefix')}" for entry in listed(nic.get("ip-addresses"))
            ],
        }
        for nic in listed(nics)
    ]


def groups(guest: Guest, prefix: str, patchable_types: Collection[str]) -> list[str]:
    """The names of the groups that a host is in, sorted; pools around its pool not among them."""
    if guest.is_template:
        names = ["all_templates"]
    else:
        state = str((guest.status or {}).get("qmpstatus") or guest.row.get("status") or "unknown")
        names = [f"all_{guest.vmtype}", f"all_{state}", f"{guest.node}_{guest.vmtype}"]
        if guest.choice is not None and not guest.choice.address:
            names.append("no_address")
    names += [f"tag_{tag}" for tag in guest.tags]
    if guest.row.get("pool"):
        names.append(f"pool_{guest.row['pool']}")
    image = image_of(guest.tags, (guest.config or {}).get("description"))[0]
    if image:
        names.append(f"image_{image}")
    found = {safe(f"{prefix}{name.lower()}") for name in names}
    if is_patchable(guest, patchable_types):
        found.add(PATCHABLE)
    return sorted(found)


def tell(problems: Iterable[tuple[Guest, Problem]], shown: int = 10) -> list[str]:
    """One line for each cause, with the names of the guests it concerns."""
    by_problem: dict[Problem, list[Guest]] = {}
    for guest, problem in problems:
        by_problem.setdefault(problem, []).append(guest)
    lines = []
    for problem, guests in by_problem.items():
        names = ", ".join(guest.label for guest in guests[:shown])
        more = f" and {len(guests) - shown} more" if len(guests) > shown else ""
        remedy = f" Remedy: {problem.remedy}." if problem.remedy else ""
        lines.append(visible(f"{names}{more}: {problem.cause}.{remedy}"))
    return lines
