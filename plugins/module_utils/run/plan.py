# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is patched, and by which steps. Pure.

The steps of a host are decided once, here, from what was found out about it: its *assessment*.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

from ..core.change import due
from ..core.problem import Problem, causes, of_host, on_host, playbook, problem
from ..core.shapes import KeptBaseline, Owner
from ..host.claim import describe, expired
from . import clusters, steps
from .advice import advise
from .health import kept_baseline, regressions
from .policy import check, deadline, per_run
from .shapes import Assessment, Clusters, Entry, Plan, PlannedCluster, Policy, Published
from .transaction import reboot_why
from .waves import with_waves


def make_plan(
    run: str,
    owner: Owner,
    assessments: Mapping[str, Assessment | None],
    dead_runs: Collection[str | None],
    now: datetime,
    mode: str = "patch",
    accepted: Collection[str] = (),
    peers: Mapping[str, Assessment | None] | None = None,
    published: Collection[Published] = (),
) -> Plan:
    """Decide who is patched, in which wave and by which steps.

    :param run: the id of this run.
    :param owner: see `identity.identity`.
    :param assessments: None where there is none.
    :param dead_runs: ids of runs found in claims that are known to be over.
    :param now: the time on the control node, with its zone.
    :param mode: ``patch``; ``reboot`` (no upgrade; ``patching_reboot: never`` does not count); ``recover`` (only hosts
        that a dead run left in the middle, and no upgrade).
    :param accepted: hosts whose health is to be taken as it is now, whatever an earlier run broke.
    :param peers: host that is not to be patched -> its `assessment`: other nodes of the K3s clusters.
    :param published: images that can be had, see `advice.images`.
    :raises PatchingError: a policy is wrong.
    """
    missing: Assessment = {
        "state": "refused",
        "reason": "it was not assessed",
        "problems": [problem("it was not assessed", "run again with -v")],
        "policy": None,
        "host": {},
        "node": None,
        "image": {"name": "", "date": ""},
        "cluster": None,
    }
    known = {host: assessments[host] or missing for host in sorted(assessments)}
    policies = {host: entry["policy"] for host, entry in known.items() if entry["policy"]}
    for host, policy in policies.items():
        check(host, policy)
    whole = per_run(policies)
    others = {host: entry for host, entry in (peers or {}).items() if entry}

    def planned(k3s: Clusters) -> dict[str, Entry]:
        own = {host: k3s["clusters"][k3s["of"][host]] if host in k3s["of"] else None for host in known}
        return {
            host: _plan_host(host, entry, run, owner, dead_runs, mode, host in accepted, own[host])
            for host, entry in known.items()
        }

    k3s = clusters.clusters(known, others, dead_runs, accepted)
    hosts = planned(k3s)
    marked = {host for cluster in k3s["clusters"].values() for host in cluster["marked"]}
    stuck = {host for host in marked if host not in hosts or not hosts[host]["steps"]}
    if stuck:
        k3s = clusters.clusters(known, others, dead_runs, accepted, stuck)
        hosts = planned(k3s)
    _refuse_twins(hosts, known)
    for host, entry in known.items():
        if entry["host"].get("rebuild") and entry["policy"]:
            hosts[host]["advice"] = advise(entry, entry["policy"], published, now.date())
    marks = (run for cluster in k3s["clusters"].values() for run in cluster["marked"].values())
    return with_waves(
        {
            "run": run,
            "began": now.timestamp(),
            "owner": owner,
            "mode": mode,
            "policy": whole,
            "hosts": hosts,
            "k3s": k3s,
            "dead": sorted({*filter(None, dead_runs), *marks}),
            "deadline": deadline(whole["until"], now),
        }
    )


def _refuse_twins(hosts: dict[str, Entry], known: Mapping[str, Assessment]) -> None:
    """Refuse hosts that share a machine-id: clones that were never made different, or one machine under two names."""
    owners: dict[str, list[str]] = {}
    for host, entry in known.items():
        if entry["host"].get("machine_id"):
            owners.setdefault(entry["host"]["machine_id"], []).append(host)
    for twins in owners.values():
        for host in twins if len(twins) > 1 else []:
            others = ", ".join(name for name in twins if name != host)
            anew = (
                on_host("rm", "/etc/machine-id", "/var/lib/dbus/machine-id", host=host),
                on_host("systemd-machine-id-setup", host=host),
                on_host("reboot", host=host),
            )
            twin = problem(f"it has the machine-id of {others}", "give each clone one of its own", *anew)
            hosts[host] = _refuse(hosts[host], twin)


def _refuse(entry: Entry, *problems: Problem) -> Entry:
    return {**entry, "result": "refused", "steps": [], "reason": causes(problems), "problems": list(problems)}


def _plan_host(
    name: str,
    known: Assessment,
    run: str,
    owner: Owner,
    dead_runs: Collection[str | None],
    mode: str,
    accepted: bool,
    cluster: PlannedCluster | None,
) -> Entry:
    """The plan of one host: a ``result`` where nothing is to be done to it, else its ``steps``."""
    host, policy = known["host"], known["policy"]
    entry: Entry = {
        "result": None,
        "reason": known["reason"],
        "problems": [of_host(each, name) for each in known["problems"]],
        "steps": [],
        "node": known["node"],
        "os": host["os"]["pretty"] if "os" in host else "",
        "pending": host.get("pending", []),
        "advice": None,
    }
    if known["state"] != "ok" or policy is None:
        return {**entry, "result": "powered off" if known["state"] == "off" else "refused"}
    if host["boot_id"] == owner.get("boot_id"):
        remedy = "run it from another machine, or leave this one out with -e 'patching_hosts=...'"
        return _refuse(entry, problem("this run works from this machine", remedy))

    claim = host["claim"]
    left = claim if claim and claim.get("run") != run else None
    if left and not expired(left, host["clock"]) and left.get("run") not in dead_runs:
        take = playbook(mode, patching_takeover=left.get("run", ""))
        remedy = "wait for that run, or take its claim over if it is known to be dead"
        return _refuse(entry, problem(f"claimed by {describe(left)}", remedy, take))
    kept = kept_baseline(host)
    worse = regressions(kept["baseline"], host["baseline"]) if kept else []
    worse += [each["cause"] for each in (cluster["broken"] if cluster else {}).get(name, [])]
    if kept and worse and not accepted:
        why, accept = f"{'; '.join(worse)} (run {kept['run']} left it so)", playbook(mode, patching_accept=name)
        return _refuse(entry, problem(why, "mend it, or take the host as it is", accept))

    work = _left_to_do(left.get("run") if left else None, clusters.marked_by(name, cluster), kept, worse)
    if mode == "recover" and not work:
        return {**entry, "result": "nothing to do"}

    changes = due(host["pending"]) if mode == "patch" else []
    security = sum(each["security"] is not None for each in changes)
    why = f"{len(changes)} updates, {security} of them security" if changes else ""
    if left and host["unfit"] and mode == "patch" and policy["upgrade"] == "full":
        why = "whatever is pending then"  # Nothing could be asked of a dpkg that is in the middle.
    if why:
        work["upgrade"] = why
    wanted = "if_required" if mode == "reboot" and policy["reboot"] == "never" else policy["reboot"]
    why = reboot_why(wanted, host["reboot"], bool(changes))
    if why:
        work["reboot"] = why
    problems = clusters.refusal(name, cluster, policy) if work else []
    if problems:
        return _refuse(entry, *problems)

    entry["steps"] = steps.planned(_steps(work, name, cluster, policy), cluster is not None) if work else []
    entry["policy"] = {**policy, "reboot": wanted}
    entry["before"] = {
        "boot_id": host["boot_id"],
        "kernel": host["kernel"],
        "os": host["os"],
        "warnings": host["warnings"],
        "starting": host["starting"],
        "baseline": clusters.baseline(kept["baseline"] if kept and not accepted else host["baseline"], cluster),
    }
    if work:
        return entry
    if host["reboot"]["required"]:
        why = "; ".join(host["reboot"]["reasons"])
        then = problem(why, "reboot it when it suits you", playbook("reboot", patching_hosts=name))
        return {**entry, "result": "reboot pending", "reason": why, "problems": [then]}
    return {**entry, "result": "nothing to do"}


def _left_to_do(left: str | None, marked: str | None, kept: KeptBaseline | None, worse: list[str]) -> dict[str, str]:
    """What earlier runs have left to do on a host, before anything else: step -> why.

    :param left: the run that left a claim on the host.
    :param marked: the run that left its mark on the host's K3s node.
    """
    work = {}
    if left or marked:
        work["recover"] = f"left by run {left or marked}"
    if marked:
        work["recover node"] = ""
    if worse:
        work["prove"] = f"accepted as it is: {'; '.join(worse)}"
    elif kept and not (left or marked):
        # Its transaction proves it and ends the memory of what was broken.
        work["prove"] = f"healthy again: what run {kept['run']} had broken"
    return work


def _steps(work: Mapping[str, str], host: str, cluster: PlannedCluster | None, policy: Policy) -> dict[str, str]:
    """The steps that carry out what is to be done: step -> why."""
    chosen = {**work}
    if "reboot" not in work:
        chosen["restart services"] = ""
    else:
        chosen["lock"] = ""
        chosen |= {"drain": clusters.drain_why(host, cluster), "restore": ""} if cluster else {}
    return chosen | {
        f"patching_{when}": "" for when, tasks in (("before", policy["before"]), ("after", policy["after"])) if tasks
    }


def refuse(plan: Plan, refusals: Mapping[str, Problem]) -> Plan:
    """The plan without hosts that turned out not to be patchable."""
    hosts = dict(plan["hosts"])
    for host, refusal in refusals.items():
        hosts[host] = _refuse(hosts[host], of_host(refusal, host))
    return with_waves({**plan, "hosts": hosts})
