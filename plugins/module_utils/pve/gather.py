# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked about each guest, in which order, and what a missing answer means.

First the configurations, then, only where they leave something open, the guests themselves: a hung agent keeps a worker
of its node busy for 8 s, and nothing that the node knows by itself should wait behind it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .addresses import Choice, Known, Policy, agent_enabled, choose, needs_agent, needs_interfaces, needs_name
from .client import Client
from .dns import resolve
from .guests import Guest, Problem
from .replies import Call, Reply, describe

# For all DNS questions together, s.
RESOLVE_DEADLINE = 5.0

AUDIT = "give the token VM.Audit on /vms or on the guest's pool (Proxmox VE 8 and 9)"
# VM.Monitor of Proxmox VE 8 would do; it lets the token run commands in every VM as root, too.
AGENT_AUDIT = (
    "Proxmox VE 9: give the token VM.GuestAgent.Audit on /vms; 8: leave `agent` out of address.order, and give the VM a"
    " static ipconfig0 or its name to the DNS"
)
START_AGENT = "install qemu-guest-agent in the guest, then stop and start the VM, or give it a static ipconfig0"


@dataclass
class Needs:
    """What the inventory is asked for.

    :param facts: the configuration and the agent's NICs of every guest.
    :param addresses: an address for every guest.
    :param extended: the QEMU status of every running VM.
    :param policy: how an address is chosen.
    """

    facts: bool = False
    addresses: bool = True
    extended: bool = False
    policy: Policy = field(default_factory=Policy)

    @property
    def config(self) -> bool:
        """Whether any configuration has to be read."""
        return self.facts or (self.addresses and bool(set(self.policy.order) - {"name"}))


def gather(
    client: Client, guests: list[Guest], offline: set[str], needs: Needs, resolved: dict[str, tuple[str, ...]]
) -> None:
    """Fill in what is needed about these guests, with their addresses and problems.

    :param offline: nodes that cannot answer; nothing is asked of them.
    :param resolved: DNS answers that are already there; new ones are added.
    """
    for guest in guests:
        if guest.node in offline:
            guest.problems.append(
                Problem(f"its node {guest.node} is offline", "start it, or run pvecm status on another node")
            )
        elif not guest.row.get("name"):
            guest.problems.append(Problem("Proxmox VE does not tell its name yet", "run again in 10 seconds"))
    reachable = [guest for guest in guests if guest.node not in offline]
    _read_configs(client, reachable, needs)
    notes = _ask_guests(client, reachable, needs)
    if needs.addresses:
        _choose(guests, offline, needs, notes, resolved)


def _path(guest: Guest, what: str) -> str:
    return f"nodes/{guest.node}/{guest.vmtype}/{guest.vmid}/{what}"


def _read_configs(client: Client, guests: list[Guest], needs: Needs) -> None:
    configs = {}
    if needs.config:
        # A template is never connected to.
        configs = {guest.vmid: _path(guest, "config") for guest in guests if needs.facts or not guest.is_template}
    states = {
        guest.vmid: _path(guest, "status/current")
        for guest in guests
        if needs.extended and guest.vmtype == "qemu" and guest.is_running
    }
    # Without current=1 the API shows what would hold after the next start.
    calls = [Call(path, (("current", "1"),), path.split("/")[1]) for path in configs.values()]
    calls += [Call(path, (), path.split("/")[1]) for path in states.values()]
    replies = client.fetch(calls)
    for guest in guests:
        guest.config = _mapping(guest, replies, configs.get(guest.vmid), "its configuration")
        guest.status = _mapping(guest, replies, states.get(guest.vmid), "its status")


def _mapping(guest: Guest, replies: Mapping[str, Reply], path: str | None, what: str) -> Mapping[str, Any] | None:
    if path is None:
        return None
    reply = replies[path]
    if reply.failure is None:
        if isinstance(reply.data, Mapping):
            return reply.data
        guest.problems.append(Problem(f"{what} came in a form that is not known"))
    elif reply.failure.kind == "forbidden":
        guest.problems.append(Problem(f"{what} may not be read (403)", AUDIT))
    elif reply.failure.kind == "node_down":
        guest.problems.append(Problem(f"{what} cannot be read: node {guest.node} cannot be reached", "start the node"))
    else:
        remedy = "raise api_timeout" if reply.failure.kind == "timeout" else "see the journal of pveproxy on the node"
        guest.problems.append(Problem(f"{what} cannot be read: {describe(reply.failure)}", remedy))
    return None


def _ask_guests(client: Client, guests: list[Guest], needs: Needs) -> dict[int, list[str]]:
    """Ask agents and containers; returns why an answer is missing, by vmid."""
    notes: dict[int, list[str]] = {}
    calls = {}
    for guest in guests:
        if guest.config is None or guest.is_template:
            continue
        wanted = needs.addresses and _could_help(guest, needs.policy)
        if not (wanted or needs.facts):
            continue
        # "unknown" on a living node is a guest younger than 10 s: it may well run.
        if guest.row.get("status") not in ("running", "unknown"):
            notes[guest.vmid] = [f"it is {guest.row.get('status')}, so nobody in it can be asked"]
        elif guest.vmtype == "lxc":
            calls[guest.vmid] = _path(guest, "interfaces")
        elif agent_enabled(guest.config):
            calls[guest.vmid] = _path(guest, "agent/network-get-interfaces")
        elif wanted:
            notes[guest.vmid] = ["its guest agent is switched off in the VM's options"]
    patience = client.settings.agent_timeout
    replies = client.fetch([Call(path, (), path.split("/")[1]) for path in calls.values()], patience)
    for guest in guests:
        if guest.vmid not in calls:
            continue
        reply = replies[calls[guest.vmid]]
        problem = _lxc_answer(guest, reply) if guest.vmtype == "lxc" else _agent_answer(guest, reply)
        if problem:
            guest.problems.append(problem)
            notes[guest.vmid] = [problem.cause]
    return notes


def _could_help(guest: Guest, policy: Policy) -> bool:
    config = guest.config or {}
    if guest.vmtype == "lxc":
        return needs_interfaces(config, policy)
    return needs_agent(config, policy)


def _agent_answer(guest: Guest, reply: Reply) -> Problem | None:
    failure = reply.failure
    if failure is None:
        result = reply.data.get("result") if isinstance(reply.data, Mapping) else None
        if isinstance(result, list):
            guest.agent = result
            return None
        error = result.get("error") if isinstance(result, Mapping) else None
        said = error.get("desc") or error.get("class") if isinstance(error, Mapping) else "an unknown form"
        return Problem(f"its guest agent does not list its addresses: {said}", "update qemu-guest-agent in the guest")
    if failure.kind == "forbidden":
        return Problem("its guest agent may not be asked (403)", AGENT_AUDIT)
    if failure.kind == "timeout" or "timeout" in failure.text:
        return Problem(
            "its guest agent did not answer in time", "restart qemu-guest-agent in the guest, or raise agent_timeout"
        )
    if re.search(r"not running|No QEMU guest agent", failure.text):
        return Problem("its guest agent does not run", START_AGENT)
    return Problem(f"its guest agent cannot be asked: {describe(failure)}", START_AGENT)


def _lxc_answer(guest: Guest, reply: Reply) -> Problem | None:
    if reply.failure is None:
        if isinstance(reply.data, list):
            guest.interfaces = reply.data
            return None
        return Problem("its addresses came in a form that is not known")
    if reply.failure.kind == "forbidden":
        return Problem("its addresses may not be read (403)", AUDIT)
    return Problem(f"its addresses cannot be read: {describe(reply.failure)}", "give it a static address")


def _choose(
    guests: list[Guest],
    offline: set[str],
    needs: Needs,
    notes: Mapping[int, list[str]],
    resolved: dict[str, tuple[str, ...]],
) -> None:
    live = [guest for guest in guests if not guest.is_template]
    known = {guest.vmid: _known(guest, offline, notes.get(guest.vmid, [])) for guest in live}
    nameless = [guest for guest in live if needs_name(known[guest.vmid], needs.policy)]
    # Who is switched off has no address to find; an old DNS entry would only mislead.
    names = {guest.vmid: _dns_names(guest) for guest in nameless if guest.row.get("status") in ("running", "unknown")}
    missing = sorted({name for some in names.values() for name in some} - set(resolved))
    resolved.update(resolve(missing, RESOLVE_DEADLINE) if missing else {})
    for guest in live:
        facts = known[guest.vmid]
        if names.get(guest.vmid):
            found = next((name for name in names[guest.vmid] if resolved[name]), names[guest.vmid][0])
            facts = Known(**{**vars(facts), "resolved": (found, tuple(resolved[found]))})
        guest.choice = choose(facts, needs.policy)
    _drop_shared(live, resolved)
    for guest in live:
        _explain(guest)


def _known(guest: Guest, offline: set[str], notes: list[str]) -> Known:
    if guest.config is None:
        why = [problem.cause for problem in guest.problems] if guest.node in offline or guest.problems else []
        notes = why or notes
    return Known(guest.vmtype, guest.config or {}, guest.agent, guest.interfaces, None, tuple(notes))


def _dns_names(guest: Guest) -> list[str]:
    """Names under which the DNS may know a guest; text that is no host name is never asked for."""
    domain = str((guest.config or {}).get("searchdomain") or "").split(" ", maxsplit=1)[0]
    label = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
    names = [guest.name, f"{guest.name}.{domain}" if domain else ""]
    return [name for name in names if re.fullmatch(rf"{label}(\.{label})*", name)]


def _drop_shared(guests: list[Guest], resolved: Mapping[str, tuple[str, ...]]) -> None:
    """An address that two guests have is no address for either: connecting would patch one of them as the other.

    It may be a copied configuration, a wildcard entry of the DNS, or a guest whose agent says that it is another one.
    """
    users: dict[str, list[Guest]] = {}
    for guest in guests:
        if guest.choice and guest.choice.address and guest.row.get("status") in ("running", "unknown"):
            for address in resolved.get(guest.choice.address) or (guest.choice.address,):
                users.setdefault(address, []).append(guest)
    for address, some in sorted(users.items()):
        if len(some) < 2:
            continue
        remedy = "look for a copied ipconfig0, a wildcard DNS entry, or an agent that tells another guest's address"
        problem = Problem(f"they all have the address {address}, so none of them is connected to", remedy)
        for guest in some:
            if problem not in guest.problems:
                guest.problems.append(problem)
            if not guest.choice or not guest.choice.address:
                continue
            others = ", ".join(other.label for other in some if other is not guest)
            found = f"{address} ({guest.choice.source})"
            if guest.choice.source == "name":
                found = f"{address} (the name {guest.choice.address} leads to it)"
            guest.choice = Choice(reason=f"{found} is the address of {others}, too")


def _explain(guest: Guest) -> None:
    """A guest that runs and has no address is a problem, unless one that was told already is the cause."""
    if guest.choice and not guest.choice.address and guest.row.get("status") == "running" and not guest.problems:
        remedy = "give it a static address in its netN" if guest.vmtype == "lxc" else START_AGENT
        guest.problems.append(Problem(f"no address: {guest.choice.reason}", remedy))
