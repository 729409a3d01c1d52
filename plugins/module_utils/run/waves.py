# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""In which waves the hosts of a plan go, and whether the next one may open. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ..core.change import Change, due
from .shapes import Decided, Entry, Go, Plan, Record, RollMember, Totals
from .steps import step

# A local host at the end of each wave, which outlives the wave's members and says whether the next wave may open.
CONDUCTOR = "__patching_wave_"

# Rules of thumb, for an estimate and for how long a claim has to last.
_SECONDS_A_PACKAGE = 2
_LEAST_CLAIM = 4 * 3600


def conductor(wave: int) -> str:
    """The name of the conductor of a wave, counted from 1."""
    return f"{CONDUCTOR}{wave}"


def with_waves(plan: Decided | Plan) -> Plan:
    """The plan with its waves, and with what Ansible makes of them: batches, their hosts, and who is held as well."""
    waves = _waves(plan)
    totals = _totals(plan, waves)
    return {
        **plan,
        "waves": waves,
        "sizes": [len(members) + 1 for members in waves] or [1],
        "roll": _roll(waves),
        "held": _held(plan, waves),
        "totals": totals,
        # A claim outlives the roll; a roll that takes longer than anybody expected renews it.
        "claim_seconds": max(_LEAST_CLAIM, 2 * totals["seconds"]),
    }


def _totals(plan: Decided, waves: list[list[str]]) -> Totals:
    planned = [plan["hosts"][host] for members in waves for host in members]
    changes = [each for entry in planned for each in _installs(entry)]
    return {
        "hosts": len(planned),
        "waves": len(waves),
        "updates": len(changes),
        "security": sum(each["security"] is not None for each in changes),
        "reboots": sum(any(each["step"] == "reboot" for each in entry["steps"]) for entry in planned),
        "seconds": sum(max(_seconds(plan["hosts"][host]) for host in members) for members in waves),
    }


def _seconds(entry: Entry) -> int:
    """How long a host's transaction may take."""
    return sum(step(each["step"]).seconds for each in entry["steps"]) + _SECONDS_A_PACKAGE * len(_installs(entry))


def _installs(entry: Entry) -> list[Change]:
    """What a host's transaction would install."""
    return due(entry["pending"]) if any(each["step"] == "upgrade" for each in entry["steps"]) else []


def _waves(plan: Decided) -> list[list[str]]:
    """Waves of hosts: lower rings first, never too many at once, never two that share a label of `apart`."""
    planned = [(int(entry["policy"]["ring"]), host) for host, entry in plan["hosts"].items() if entry["steps"]]
    planned, blocks = _blocks(plan, planned)
    waves: list[list[str]] = []
    # The waves of this ring that have room: looking at the full ones again would take ages with 10,000 hosts.
    roomy: list[list[str]] = []
    last_ring = None
    for ring, host in sorted(planned):
        while blocks and blocks[0][0] < ring:
            waves += [[node] for node in blocks.pop(0)[1]]
        if ring != last_ring:
            roomy, last_ring = [], ring
        labels, node = set(plan["hosts"][host]["policy"]["apart"]), plan["hosts"][host]["node"]
        for wave in roomy:
            taken = {label for other in wave for label in plan["hosts"][other]["policy"]["apart"]}
            beside = [other for other in wave if node and plan["hosts"][other]["node"] == node]
            if not labels & taken and not 0 < plan["policy"]["per_node"] <= len(beside):
                break
        else:
            wave = []
            waves.append(wave)
            roomy.append(wave)
        wave.append(host)
        if len(wave) >= plan["policy"]["wave_size"]:
            roomy.remove(wave)
    return waves + [[node] for _ring, nodes in blocks for node in nodes]


def _blocks(plan: Decided, planned: list[tuple[int, str]]) -> tuple[list[tuple[int, str]], list[tuple[int, list[str]]]]:
    """The planned hosts that are in no cluster; and each cluster's nodes in their order, by the lowest of their rings.

    A cluster is one block: its nodes go alone, one after the other, after the plain hosts of that ring.
    """
    rings = dict((host, ring) for ring, host in planned)
    of = plan["k3s"]["of"]
    blocks = []
    for cluster in plan["k3s"]["clusters"].values():
        nodes = [host for host in cluster["order"] if host in rings]
        if nodes:
            blocks.append((min(rings[host] for host in nodes), nodes))
    return [each for each in planned if each[1] not in of], sorted(blocks)


def _roll(waves: list[list[str]]) -> list[RollMember]:
    order: list[RollMember] = []
    for number, members in enumerate(waves, start=1):
        order += [{"name": host, "wave": number, "conductor": False} for host in members]
        order.append({"name": conductor(number), "wave": number, "conductor": True})
    return order


def _held(plan: Decided | Plan, waves: list[list[str]]) -> list[str]:
    planned = {host for members in waves for host in members}
    clusters = [cluster["order"] for cluster in plan["k3s"]["clusters"].values() if planned & set(cluster["order"])]
    return [host for order in clusters for host in order if host not in planned]


def may_open(plan: Plan, wave: int, batch: Collection[str], go: int) -> bool:
    """May this wave open? Only if it is what was planned and the conductor before it has said so.

    :param batch: the hosts that Ansible is about to work on.
    :param go: the wave that may open next, as the previous conductor wrote it; 0 for none.
    """
    planned = plan["waves"][wave - 1] if 0 < wave <= len(plan["waves"]) else []
    return bool(planned) and go == wave and sorted(batch) == sorted([*planned, conductor(wave)])


def next_go(plan: Plan, wave: int, records: Mapping[str, Record | None], now: float) -> Go:
    """May the wave after this one open?

    :param wave: the wave that has ended; 0 before the first.
    :param records: host -> its record, or None, for every planned host.
    :param now: seconds since the epoch.
    """
    bad, closed = _gone_wrong(plan, wave, records)
    if len(bad) > plan["policy"]["max_failures"]:
        return {"go": 0, "stopped": f"the roll stopped after {', '.join(bad)}"}
    if plan["deadline"] is not None and now >= plan["deadline"]:
        return {"go": 0, "stopped": f"no wave opens after {plan['policy']['until']} (patching_until)"}
    go = wave + 1
    while go <= len(plan["waves"]) and any(plan["k3s"]["of"].get(host) in closed for host in plan["waves"][go - 1]):
        go += 1
    return {"go": go, "stopped": ""}


def _gone_wrong(plan: Plan, wave: int, records: Mapping[str, Record | None]) -> tuple[list[str], set[str]]:
    """The hosts that failed or were lost in the waves so far, and the clusters that this has closed.

    A failure closes its own K3s cluster, whatever is tolerated elsewhere: its later nodes have no record, and are not
    lost.
    """
    of = plan["k3s"]["of"]
    bad: list[str] = []
    closed: set[str] = set()
    for host in (host for members in plan["waves"][:wave] for host in members):
        record = records.get(host)
        if record is None and of.get(host) in closed:
            continue
        if record is None or record["result"] in ("failed", "lost"):
            bad.append(host)
            closed |= {of[host]} if host in of else set()
    return bad, closed


def closed_clusters(plan: Plan, records: Mapping[str, Record | None]) -> dict[str, str]:
    """host -> the node whose failure closed its cluster before it was its turn."""
    of = plan["k3s"]["of"]
    culprits: dict[str, str] = {}
    for host in (host for members in plan["waves"] for host in members if host in of):
        record = records.get(host)
        if record and record["result"] in ("failed", "lost"):
            culprits.setdefault(of[host], host)
    return {host: culprits[of[host]] for host in plan["hosts"] if host in of and of[host] in culprits}
