# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""In which waves the hosts of a plan go, and whether the next one may open. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from .steps import step

# A local host at the end of each wave, which outlives the wave's members and says whether the next wave may open.
CONDUCTOR = "__patching_wave_"

# Rules of thumb, for an estimate and for how long a claim has to last.
_SECONDS_A_PACKAGE = 2
_LEAST_CLAIM = 4 * 3600


def conductor(wave: int) -> str:
    """The name of the conductor of a wave, counted from 1."""
    return f"{CONDUCTOR}{wave}"


def with_waves(plan: dict) -> dict:
    """The plan with its waves, and with what Ansible makes of them.

    That is ``sizes`` (of its batches: each wave and its conductor), ``roll`` (the hosts in the order of the batches,
    dicts of ``name``, ``wave`` and ``conductor``, a boolean) and ``held`` (nodes that are not in the roll and belong to
    the clusters of those that are: they are claimed as well).
    """
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


def _totals(plan: Mapping, waves: list) -> dict:
    """``hosts``, ``waves``, ``updates``, ``security`` and ``reboots`` of the roll; ``seconds`` is an estimate."""
    planned = [plan["hosts"][host] for members in waves for host in members]
    return {
        "hosts": len(planned),
        "waves": len(waves),
        "updates": sum(entry["updates"] for entry in planned),
        "security": sum(entry["security"] for entry in planned),
        "reboots": sum(any(each["step"] == "reboot" for each in entry["steps"]) for entry in planned),
        "seconds": sum(max(_seconds(plan["hosts"][host]) for host in members) for members in waves),
    }


def _seconds(entry: Mapping) -> int:
    """How long a host's transaction may take."""
    return sum(step(each["step"]).seconds for each in entry["steps"]) + _SECONDS_A_PACKAGE * entry["updates"]


def _waves(plan: Mapping) -> list:
    """Waves of hosts: lower rings first, never too many at once, never two that share a label of `apart`."""
    planned = [(int(entry["policy"]["ring"]), host) for host, entry in plan["hosts"].items() if entry["steps"]]
    planned, blocks = _blocks(plan, planned)
    waves: list = []
    # The waves of this ring that have room: looking at the full ones again would take ages with 10,000 hosts.
    roomy: list = []
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


def _blocks(plan: Mapping, planned: list) -> tuple[list, list]:
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


def _roll(waves: list) -> list:
    order = []
    for number, members in enumerate(waves, start=1):
        order += [{"name": host, "wave": number, "conductor": False} for host in members]
        order.append({"name": conductor(number), "wave": number, "conductor": True})
    return order


def _held(plan: Mapping, waves: list) -> list:
    planned = {host for members in waves for host in members}
    clusters = [cluster["order"] for cluster in plan["k3s"]["clusters"].values() if planned & set(cluster["order"])]
    return [host for order in clusters for host in order if host not in planned]


def may_open(plan: Mapping, wave: int, batch: Collection, go: int) -> bool:
    """May this wave open? Only if it is what was planned and the conductor before it has said so.

    :param batch: the hosts that Ansible is about to work on.
    :param go: the wave that may open next, as the previous conductor wrote it; 0 for none.
    """
    planned = plan["waves"][wave - 1] if 0 < wave <= len(plan["waves"]) else []
    return bool(planned) and go == wave and sorted(batch) == sorted([*planned, conductor(wave)])


def next_go(plan: Mapping, wave: int, records: Mapping, now: float) -> dict:
    """May the wave after this one open?

    :param wave: the wave that has ended; 0 before the first.
    :param records: host -> its record, or None, for every planned host.
    :param now: seconds since the epoch.
    :returns: ``go``, the wave that may open next or 0; and ``stopped``, why none may.
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


def _gone_wrong(plan: Mapping, wave: int, records: Mapping) -> tuple[list, set]:
    """The hosts that failed or were lost in the waves so far, and the clusters that this has closed.

    A failure closes its own K3s cluster, whatever is tolerated elsewhere: its later nodes have no record, and are not
    lost.
    """
    of, bad, closed = plan["k3s"]["of"], [], set()
    for host in (host for members in plan["waves"][:wave] for host in members):
        if records.get(host) is None and of.get(host) in closed:
            continue
        if (records.get(host) or {"result": "lost"})["result"] in ("failed", "lost"):
            bad.append(host)
            closed |= {of[host]} if host in of else set()
    return bad, closed


def closed_clusters(plan: Mapping, records: Mapping) -> dict:
    """host -> the node whose failure closed its cluster before it was its turn."""
    of: Mapping = plan["k3s"]["of"]
    culprits: dict = {}
    for host in (host for members in plan["waves"] for host in members if host in of):
        if (records.get(host) or {"result": ""})["result"] in ("failed", "lost"):
            culprits.setdefault(of[host], host)
    return {host: culprits[of[host]] for host in plan["hosts"] if of.get(host) in culprits}
