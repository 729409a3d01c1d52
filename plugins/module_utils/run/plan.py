# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is patched, and by which steps. Pure.

The steps of a host are decided once, here, from what was found out about it: its *assessment*.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

from ..host.claim import describe, expired
from . import clusters, steps
from .advice import advise
from .health import kept_baseline, regressions
from .policy import check, deadline, per_run
from .transaction import reboot_why
from .waves import with_waves


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
    :param published: images that can be had, see `advice.images`.
    :returns: ``run``, ``began`` (seconds since the epoch), ``owner``, ``mode``, ``policy`` (per run), ``deadline``
        (see `policy.deadline`), ``k3s`` (see `clusters.clusters`), ``dead`` (the
        runs that are over: their claims and marks are taken over), ``waves`` (lists of
        hosts), ``sizes``, ``roll`` and ``held`` (see `waves.with_waves`), ``totals`` (of the roll), ``claim_seconds``
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
    marks = (run for cluster in k3s["clusters"].values() for run in cluster["marked"].values())
    plan["dead"] = sorted({*filter(None, dead_runs), *marks})
    return with_waves({**plan, "deadline": deadline(policy["until"], now)})


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
    entry = {"result": None, "reason": known["reason"], "remedy": known["remedy"], "steps": []}
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

    work = _left_to_do(left.get("run") if left else None, clusters.marked_by(name, cluster), kept, worse)
    if mode == "recover" and not work:
        return {**entry, "result": "nothing to do"}

    upgrades = host["upgrades"] if mode == "patch" else []
    security = [item for item in upgrades if item["security"]]
    why = f"{len(upgrades)} updates, {len(security)} of them security" if upgrades else ""
    if left and host["unfit"] and mode == "patch" and policy["upgrade"] == "full":
        why = "whatever is pending then"  # Nothing could be asked of a dpkg that is in the middle.
    if why:
        work["upgrade"] = why
    wanted = "if_required" if mode == "reboot" and policy["reboot"] == "never" else policy["reboot"]
    why = reboot_why(wanted, host["reboot"], bool(upgrades))
    if why:
        work["reboot"] = why
    problems = clusters.refusal(name, cluster, policy) if work else []
    if problems:
        causes = "; ".join(each["message"] for each in problems)
        return _refuse(entry, causes, "; ".join(each["remedy"] for each in problems))

    entry |= {
        "steps": steps.planned(_steps(work, name, cluster, policy), cluster is not None) if work else [],
        "policy": {**policy, "reboot": wanted},
        "updates": len(upgrades),
        "security": len(security),
        "security_packages": [f"{item['name']}={item['security']}" for item in security],
        "before": {
            **{name: host[name] for name in ("boot_id", "kernel", "os", "kept_back", "warnings", "starting")},
            "baseline": clusters.baseline(kept["baseline"] if kept and not accepted else host["baseline"], cluster),
        },
    }
    if work:
        return entry
    if host["reboot"]["required"]:
        remedy = "when it suits you: ansible-playbook homelab.patching.reboot -e patching_hosts=HOST"
        return {**entry, "result": "reboot pending", "reason": "; ".join(host["reboot"]["reasons"]), "remedy": remedy}
    return {**entry, "result": "nothing to do"}


def _left_to_do(left: str | None, marked: str | None, kept: Mapping | None, worse: list) -> dict:
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


def _steps(work: Mapping, host: str, cluster: Mapping | None, policy: Mapping) -> dict:
    """The steps that carry out what is to be done: step -> why."""
    chosen = {**work}
    if "reboot" not in work:
        chosen["restart services"] = ""
    else:
        chosen["lock"] = ""
        chosen |= {"drain": clusters.drain_why(host, cluster), "restore": ""} if cluster else {}
    return chosen | {f"patching_{when}": "" for when in ("before", "after") if policy[when]}


def refuse(plan: Mapping, refusals: Mapping) -> dict:
    """The plan without hosts that turned out not to be patchable.

    :param refusals: host -> ``reason`` and ``remedy``.
    """
    hosts = dict(plan["hosts"])
    for host, refusal in refusals.items():
        hosts[host] = {**hosts[host], "result": "refused", "steps": [], **refusal}
    return with_waves({**plan, "hosts": hosts})
