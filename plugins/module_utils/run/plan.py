# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is patched, in which wave and by which steps. Pure.

The steps of a host are decided once, here, from what was found out about it: its *assessment*, see `assessment`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

from ..core.table import table
from ..host.claim import describe, expired, kept_baseline
from ..host.health import regressions
from . import clusters
from .advice import PATCH, advise
from .policy import check, deadline, per_run

# A local host at the end of each wave, which outlives the wave's members and says whether the next wave may open.
CONDUCTOR = "__patching_wave_"

# How long a host takes, in seconds: rules of thumb for an estimate, and for how long a claim has to last.
_SECONDS = {"recover": 60, "upgrade": 30, "drain": 90, "reboot": 90, "prove": 15}
_SECONDS_A_PACKAGE = 2
_LEAST_CLAIM = 4 * 3600


def conductor(wave: int) -> str:
    """The name of the conductor of a wave, counted from 1."""
    return f"{CONDUCTOR}{wave}"


def assessment(
    policy: Mapping, proxmox: Mapping, lists: Mapping, info: Mapping, cluster: Mapping | None = None
) -> dict:
    """What is known about one host, from what was asked of it.

    :param policy: its ``patching_*`` values by their names without the prefix.
    :param proxmox: what Proxmox VE says now, else what the inventory knows: ``status``, ``lock``, ``address_reason``,
        ``node``, ``image`` and ``image_date``; None where it knows nothing. ``error`` says why Proxmox VE could not be
        asked.
    :param lists: the registered result of refreshing the package lists; empty where that was not tried.
    :param info: the registered result of ``host_info``.
    :param cluster: the registered result of ``k3s_info`` on a K3s server.
    :returns: ``state`` (``ok``, ``off`` or ``refused``), ``reason`` and ``remedy`` of a refusal, ``policy``, ``host``,
        ``node`` (of Proxmox VE), ``image`` (``name`` and ``date``), ``cluster`` (of K3s, None where no API answered on
        it).
    """
    known: dict = {"policy": dict(policy), "host": dict(info.get("host") or {}), "reason": "", "remedy": ""}
    known |= {"node": proxmox.get("node"), "cluster": (cluster or {}).get("cluster")}
    known["image"] = {"name": proxmox.get("image") or "", "date": proxmox.get("image_date") or ""}
    if proxmox.get("error"):
        return _refused(
            known,
            f"it is not known whether it is off or locked: {proxmox['error']}",
            "mend that, or read the inventory anew with --flush-cache; then run again",
        )
    if proxmox.get("status") not in (None, "running", "unknown"):
        return {**known, "state": "off", "reason": f"Proxmox VE says {proxmox['status']}"}
    if proxmox.get("lock"):
        return _refused(
            known, f"locked by Proxmox VE ({proxmox['lock']})", "wait until the task has ended, then run again"
        )
    if proxmox.get("address_reason"):
        return _refused(known, f"no address: {proxmox['address_reason']}", "give it one, or compose ansible_host")
    if lists.get("unreachable") or info.get("unreachable"):
        message = str((lists if lists.get("unreachable") else info).get("msg", "")).strip()
        return _refused(known, f"unreachable: {message}", "check that ansible -m ping reaches it, then run again")
    if info.get("failed") or not known["host"]:
        return _refused(known, str(info.get("msg") or "it was not assessed"), "")
    # What a run has left in the middle it may also mend: that is the step `recover`.
    unfit = [item for item in known["host"]["unfit"] if not (item.get("mendable") and known["host"]["claim"])]
    if unfit:
        return _refused(
            known, "; ".join(item["message"] for item in unfit), "; ".join(item["remedy"] for item in unfit)
        )
    return {**known, "state": "ok"}


def _refused(known: dict, reason: str, remedy: str) -> dict:
    return {**known, "state": "refused", "reason": " ".join(reason.split()), "remedy": remedy}


def make_plan(
    run: str,
    owner: Mapping,
    assessments: Mapping,
    dead_runs: Collection,
    now: datetime,
    mode: str = "patch",
    accepted: Collection = (),
    peers: Mapping | None = None,
    published: Collection = (),
) -> dict:
    """Decide who is patched, in which wave and by which steps.

    :param run: the id of this run.
    :param owner: see `identity.identity`.
    :param assessments: host -> `assessment`, or None where there is none.
    :param dead_runs: ids of runs found in claims that are known to be over.
    :param now: the time on the control node, with its zone.
    :param mode: ``patch``; ``reboot`` (no upgrade; ``patching_reboot: never`` does not count); ``recover`` (only hosts
        that a dead run left in the middle, and no upgrade).
    :param accepted: hosts whose health is to be taken as it is now, whatever an earlier run broke.
    :param peers: host that is not to be patched -> its `assessment`: other nodes of the K3s clusters.
    :param published: images that can be had, see `images`.
    :returns: ``run``, ``began`` (seconds since the epoch), ``owner``, ``mode``, ``policy`` (per run), ``deadline``
        (see `deadline`), ``k3s`` (see
        `clusters.clusters`), ``dead`` (the dead runs),
        ``waves`` (lists of hosts), ``sizes`` (of Ansible's batches), ``totals`` (see `_totals`), ``claim_seconds``
        and ``hosts``.
    :raises PatchingError: a policy is wrong.
    """
    missing: dict = {
        "state": "refused",
        "reason": "it was not assessed",
        "remedy": "run again with -v",
        "policy": None,
        "host": {},
        "node": None,
        "image": {"name": "", "date": ""},
        "cluster": None,
    }
    known = {host: assessments[host] or missing for host in sorted(assessments)}
    policies = {host: known[host]["policy"] for host in known if known[host]["policy"]}
    for host, policy in policies.items():
        check(host, policy)
    policy = per_run(policies)
    others = {host: entry for host, entry in (peers or {}).items() if entry}

    def planned(k3s: Mapping) -> dict:
        own = {host: k3s["clusters"].get(k3s["of"].get(host)) for host in known}
        return {
            host: _plan_host(host, entry, run, owner, dead_runs, mode, host in accepted, own[host])
            for host, entry in known.items()
        }

    k3s = clusters.clusters(known, others, dead_runs, accepted)
    hosts = planned(k3s)
    marked = {host for cluster in k3s["clusters"].values() for host in cluster["marked"]}
    stuck = {host for host in marked if not hosts.get(host, {"steps": []})["steps"]}
    if stuck:
        k3s = clusters.clusters(known, others, dead_runs, accepted, stuck)
        hosts = planned(k3s)
    _refuse_twins(hosts, known)
    for host, entry in known.items():
        asked = entry["host"].get("rebuild")
        hosts[host]["advice"] = advise(entry, published, now.date()) if asked else None
    plan = {"run": run, "began": now.timestamp(), "owner": dict(owner), "mode": mode, "policy": policy}
    plan |= {"hosts": hosts, "k3s": k3s}
    plan["dead"] = sorted(filter(None, dead_runs))
    return _with_waves({**plan, "deadline": deadline(policy["until"], now)})


def _refuse_twins(hosts: dict, known: Mapping) -> None:
    """Refuse hosts that share a machine-id: clones that were never made different, or one machine under two names."""
    owners: dict = {}
    for host, entry in known.items():
        if entry["host"].get("machine_id"):
            owners.setdefault(entry["host"]["machine_id"], []).append(host)
    remedy = "on a clone: rm /etc/machine-id /var/lib/dbus/machine-id; systemd-machine-id-setup; reboot"
    for twins in owners.values():
        for host in twins if len(twins) > 1 else []:
            others = ", ".join(name for name in twins if name != host)
            hosts[host] = _refuse(hosts[host], f"it has the machine-id of {others}", remedy)


def _refuse(entry: dict, reason: str, remedy: str) -> dict:
    return {**entry, "result": "refused", "steps": [], "reason": reason, "remedy": remedy}


def _with_waves(plan: dict) -> dict:
    """The plan with its waves, and with the sizes of Ansible's batches: each wave and its conductor."""
    waves = _waves(plan)
    totals = _totals(plan, waves)
    return {
        **plan,
        "waves": waves,
        "sizes": [len(members) + 1 for members in waves] or [1],
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
        "reboots": sum(any(step["step"] == "reboot" for step in entry["steps"]) for entry in planned),
        "seconds": sum(max(_seconds(plan["hosts"][host]) for host in members) for members in waves),
    }


def _seconds(entry: Mapping) -> int:
    """How long a host's transaction may take."""
    steps = [step["step"] for step in entry["steps"]] + ["prove"]
    return sum(_SECONDS.get(step, 0) for step in steps) + _SECONDS_A_PACKAGE * entry["updates"]


def _plan_host(
    name: str,
    known: Mapping,
    run: str,
    owner: Mapping,
    dead_runs: Collection,
    mode: str,
    accepted: bool,
    cluster: Mapping | None,
) -> dict:
    """The plan of one host: a ``result`` where nothing is to be done to it, else its ``steps``."""
    host, policy = known["host"], known["policy"]
    entry = {"result": None, "reason": known["reason"], "remedy": known["remedy"], "steps": [], "takeover": []}
    entry |= {"node": known["node"], "os": host.get("os", {}).get("pretty", "")}
    entry["pending"] = [
        {"name": item["name"], "old": item["old"], "new": item["new"], "security": bool(item["security"])}
        for item in host.get("upgrades", [])
    ]
    if known["state"] != "ok":
        return {**entry, "result": "powered off" if known["state"] == "off" else "refused"}
    if host["boot_id"] == owner.get("boot_id"):
        remedy = "run it from another machine, or leave this one out with -e 'patching_hosts=...'"
        return _refuse(entry, "this run works from this machine", remedy)

    claim = host["claim"]
    left = claim if claim and claim.get("run") != run else None
    if left and not expired(left, host["clock"]) and left.get("run") not in dead_runs:
        remedy = f"wait for that run; if it is known to be dead: -e patching_takeover={left.get('run')}"
        return _refuse(entry, f"claimed by {describe(left)}", remedy)
    kept = kept_baseline(host)
    worse = regressions(kept["baseline"], host["baseline"]) if kept else []
    worse += [each["message"] for each in (cluster or {"broken": {}})["broken"].get(name, [])]
    if kept and worse and not accepted:
        remedy = "mend it; or take the host as it is: -e patching_accept=HOST"
        return _refuse(entry, f"{'; '.join(worse)} (run {kept['run']} left it so)", remedy)

    steps = _first_steps(left.get("run") if left else clusters.marked_by(name, cluster), kept, worse)
    if mode == "recover" and not steps:
        return {**entry, "result": "nothing to do"}

    upgrades = host["upgrades"] if mode == "patch" else []
    security = [item for item in upgrades if item["security"]]
    why = f"{len(upgrades)} updates, {len(security)} of them security" if upgrades else ""
    if left and host["unfit"] and mode == "patch" and policy["upgrade"] == "full":
        why = "whatever is pending then"  # Nothing could be asked of a dpkg that is in the middle.
    if why:
        steps.append({"step": "upgrade", "why": why})
    wanted = "if_required" if mode == "reboot" and policy["reboot"] == "never" else policy["reboot"]
    why = _reboot_why(wanted, host["reboot"], bool(upgrades))
    if why:
        steps += [*clusters.drain(name, cluster), {"step": "reboot", "why": why}]
    problems = clusters.refusal(name, cluster, policy) if steps else []
    if problems:
        causes = "; ".join(each["message"] for each in problems)
        return _refuse(entry, causes, "; ".join(each["remedy"] for each in problems))

    entry |= {
        "steps": steps,
        "takeover": [left.get("run")] if left else [],
        "policy": {**policy, "reboot": wanted},
        "updates": len(upgrades),
        "security": len(security),
        "security_packages": [f"{item['name']}={item['security']}" for item in security],
        "before": {
            **{name: host[name] for name in ("boot_id", "kernel", "os", "kept_back", "warnings", "starting")},
            "baseline": clusters.baseline(kept["baseline"] if kept and not accepted else host["baseline"], cluster),
        },
    }
    if steps:
        return entry
    if host["reboot"]["required"]:
        remedy = "when it suits you: ansible-playbook homelab.patching.reboot -e patching_hosts=HOST"
        return {**entry, "result": "reboot pending", "reason": "; ".join(host["reboot"]["reasons"]), "remedy": remedy}
    return {**entry, "result": "nothing to do"}


def _first_steps(left: str | None, kept: Mapping | None, worse: list) -> list:
    """What earlier runs have left to do on a host, before anything else.

    :param left: the run that left a claim on the host, or a mark on its K3s node.
    """
    steps = []
    if left:
        steps.append({"step": "recover", "why": f"left by run {left}"})
    if worse:
        steps.append({"step": "accept", "why": "; ".join(worse)})
    elif kept and not left:
        # Its transaction proves it and ends the memory of what was broken.
        steps.append({"step": "healthy again", "why": f"what run {kept['run']} had broken"})
    return steps


def _reboot_why(wanted: str, reboot: Mapping, upgrade: bool) -> str:
    """Why the host will be rebooted, or is expected to be; empty where it will not."""
    if reboot["required"] and wanted != "never":
        return "; ".join(reboot["reasons"])
    if upgrade and wanted == "always":
        return "patching_reboot is always"
    if upgrade and wanted == "if_required" and reboot["expected"]:
        return f"expected: {'; '.join(reboot['expected'])}"
    return ""


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


def refuse(plan: Mapping, refusals: Mapping) -> dict:
    """The plan without hosts that turned out not to be patchable.

    :param refusals: host -> ``reason`` and ``remedy``.
    """
    hosts = dict(plan["hosts"])
    for host, refusal in refusals.items():
        hosts[host] = {**hosts[host], "result": "refused", "steps": [], **refusal}
    return _with_waves({**plan, "hosts": hosts})


def roll(plan: Mapping) -> list:
    """The hosts of the roll in the order of its batches: the members of each wave, then its conductor.

    :returns: dicts of ``name``, ``wave`` and ``conductor`` (a boolean).
    """
    order = []
    for number, members in enumerate(plan["waves"], start=1):
        order += [{"name": host, "wave": number, "conductor": False} for host in members]
        order.append({"name": conductor(number), "wave": number, "conductor": True})
    return order


def held(plan: Mapping) -> list:
    """Nodes that are not in the roll, and belong to the clusters of those that are: they are claimed as well."""
    planned = {host for members in plan.get("waves", ()) for host in members}
    return [
        host
        for cluster in (plan["k3s"]["clusters"].values() if planned else ())
        if planned & set(cluster["order"])
        for host in cluster["order"]
        if host not in planned
    ]


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


def lines(plan: Mapping) -> list:
    """The plan as a person reads it."""
    wave_of = {host: number for number, members in enumerate(plan["waves"], start=1) for host in members}
    rows = []
    for host in sorted(plan["hosts"], key=lambda name: (wave_of.get(name, len(plan["hosts"]) + 1), name)):
        entry = plan["hosts"][host]
        remedy = entry["remedy"].replace("HOST", host)
        system = entry["before"]["os"]["pretty"] if "before" in entry else "-"
        if entry["steps"]:
            steps = [f"{step['step']} ({step['why']})" for step in entry["steps"]]
            rows.append([str(wave_of[host]), host, system, ", ".join([*steps, "prove"])])
        else:
            why = f": {entry['reason']}" if entry["reason"] else ""
            then = f" -> {remedy}" if remedy else ""
            rows.append(["-", host, system, f"{entry['result']}{why}{then}"])
    count, waves = len(wave_of), len(plan["waves"])
    title = f"Plan of run {plan['run']}: {count} of {len(rows)} hosts in {waves} wave{'' if waves == 1 else 's'}"
    return [title, *_sums(plan["totals"]), "", *table(["Wave", "Host", "System", "What and why"], rows), *_notes(plan)]


def _notes(plan: Mapping) -> list:
    """What the roll will leave as it is, and what else a person should know before it begins."""
    rows = []
    for members in plan["waves"]:
        for host in members:
            before = plan["hosts"][host]["before"]
            kept: dict = {}
            for item in before["kept_back"]:
                kept.setdefault(item["why"], []).append(item["name"])
            notes = [f"not upgraded: {', '.join(names)} ({why})" for why, names in kept.items()]
            rows += [[host, note] for note in [*notes, *before["warnings"]]]
    for host, entry in sorted(plan["hosts"].items()):
        if entry["advice"] and entry["advice"]["advice"] != PATCH:
            rows.append([host, f"{entry['advice']['advice']}: {'; '.join(entry['advice']['why'])}"])
    return ["", *table(["Host", "Note"], rows)] if rows else []


def _sums(totals: Mapping) -> list:
    """The totals in a line; none where there is nothing to do."""
    if not totals["hosts"]:
        return []
    minutes = -(-totals["seconds"] // 60)
    counted = f"{totals['updates']} updates ({totals['security']} security), up to {totals['reboots']} reboots"
    return [f"{counted}, in about {minutes} min at most"]
