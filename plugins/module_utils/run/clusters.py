# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of K3s nodes: which clusters the hosts are, which nodes may not go, and what a drain will meet. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ..core.problem import problem
from ..host.claim import expired
from ..k3s import gate, settle
from ..k3s.topology import topology
from .health import kept_baseline

# At the plan nobody is asked whether he is at rest: the gate before the upgrade asks, and before the drain again.
_AT_REST = {"upgrade": False, "daily_run": False, "shutdown": None}
# What a person should know of the pods that go.
_FORECAST = {
    "bare": "no controller makes these anew, so they block the drain",
    "only": "the only one of its workload",
    "job": "a job's, begun anew",
    "empty_dir": "loses its emptyDir",
    "local": "its data is on this node only",
    "homeless": "no other node has room",
}
# On a node that is drained pods come and go with their ports; these are the machine's and K3s's own.
_PORTS = {22, 2379, 2380, 6443, 6444, 10250, 9345}


def clusters(
    known: Mapping, peers: Mapping, dead_runs: Collection, accepted: Collection = (), stuck: Collection = ()
) -> dict:
    """What the hosts and their peers say of their clusters.

    :param known: host of the run -> its assessment (see `assessment.assessment`).
    :param peers: host outside of the run -> the same: other nodes of these clusters.
    :param dead_runs: ids of runs that are over; the marks that they left are recovered first, and stop nobody.
    :param accepted: hosts whose cluster is to be taken as it is now, whatever an earlier run broke.
    :param stuck: hosts that cannot be recovered in this run, so that the marks on their nodes do stop the others.
    :returns: ``clusters`` (id -> as `topology.topology` has it, with ``health`` (None where no API answered),
        ``baseline``, ``marked`` (host -> run) and ``broken`` (host -> what the run that failed there left worse than it
        was)) and ``of`` (host -> id), for clusters with a host of the run.
    """
    everybody = {**peers, **known}
    facts = {host: (entry["host"] or {}).get("k3s") for host, entry in everybody.items()}
    healths = {host: entry.get("cluster") for host, entry in everybody.items()}
    found = topology(facts, healths)
    of = dict(found["of"])
    wanted = {of[host] for host in known if host in of}
    result = {}
    for name in sorted(wanted):
        cluster = found["clusters"][name]
        health = healths.get(cluster["delegate"]) if cluster["delegate"] else None
        live = _live_runs(everybody, cluster, dead_runs)
        marked = {}
        for host, node in cluster["nodes"].items():
            mark = health["nodes"][node]["mark"] if health else None
            if mark and mark["run"] not in live and host not in stuck:
                marked[host] = mark["run"]
        order = [*(host for host in cluster["order"] if host in marked), *cluster["order"]]
        result[name] = {
            **cluster,
            "order": list(dict.fromkeys(order)),
            "marked": marked,
            "health": _without_marks(health, [cluster["nodes"][host] for host in marked]),
            "baseline": {key: health.get(key) for key in ("workloads", "longhorn")} if health else {},
            "broken": _broken(everybody, cluster, health, {*marked, *accepted}),
        }
    return {"clusters": result, "of": {host: name for host, name in of.items() if name in wanted}}


def _live_runs(everybody: Mapping, cluster: Mapping, dead_runs: Collection) -> set:
    """Runs that have a claim on a node of the cluster and may be alive."""
    live = set()
    for host in cluster["order"]:
        told = everybody[host]["host"] or {}
        claim = told.get("claim")
        if claim and not expired(claim, told["clock"]) and claim.get("run") not in dead_runs:
            live.add(claim.get("run"))
    return live


def _broken(everybody: Mapping, cluster: Mapping, health: Mapping | None, excused: Collection) -> dict:
    """host -> what is worse in the cluster than before the run that failed, or died, there.

    :param excused: hosts whose mark is recovered first: their pods may have nowhere to go until then; and the accepted.
    """
    found: dict = {}
    for host in cluster["order"] if health else ():
        kept = kept_baseline(everybody[host]["host"] or {})
        if kept and kept["baseline"].get("k3s") and host not in excused:
            worse = settle.worse(kept["baseline"]["k3s"], health or {})
            found |= {host: worse} if worse else {}
    return found


def _without_marks(health: Mapping | None, names: Collection) -> dict | None:
    if health is None:
        return None
    nodes = {name: {**state, "mark": None} if name in names else state for name, state in health["nodes"].items()}
    return {**health, "nodes": nodes}


def marked_by(host: str, cluster: Mapping | None) -> str | None:
    """The dead run that has left its mark on the node of this host."""
    return cluster["marked"].get(host) if cluster else None


def refusal(host: str, cluster: Mapping | None, policy: Mapping) -> list:
    """Why this node must not be touched now; see `gate.gate`.

    :param cluster: of `clusters`; None for a host that is in none.
    :param policy: ``k3s_kured``, ``k3s_api_outage`` and ``k3s_foreign_nodes``.
    """
    if cluster is None:
        return []
    if cluster["problems"] or host not in cluster["nodes"]:
        return cluster["problems"] or [problem("no node of the API is this host", "k3s kubectl get nodes -o wide")]
    # What a run has broken here is not to be worked over by the next one, from another node.
    broken = [
        problem(f"{each['message']} (left so on {other})", f"mend it; or take it so: -e patching_accept={other}")
        for other, problems in cluster["broken"].items()
        if other != host
        for each in problems
    ]
    rest = dict.fromkeys(cluster["order"], _AT_REST)
    return broken + gate.gate(
        cluster["nodes"][host],
        cluster,
        cluster["health"],
        rest,
        (),
        policy["k3s_kured"],
        policy["k3s_api_outage"],
        policy["k3s_foreign_nodes"],
    )


def drain_why(host: str, cluster: Mapping) -> str:
    """What the drain of a node will meet."""
    node = cluster["nodes"].get(host)
    if cluster["lone"]:
        return "a lone node is not drained: all that runs on it is away meanwhile"
    forecast = ((cluster["health"] or {}).get("forecast") or {}).get(node) or {}
    told = [f"{forecast.get('moving', 0)} pods move"]
    for each in forecast.get("no_disruption", ()):
        told.append(f"PodDisruptionBudget {each['budget']} allows no disruption of {', '.join(each['pods'])}")
    for each in forecast.get("two_budgets", ()):
        told.append(f"{each['pod']} is under two PodDisruptionBudgets, {' and '.join(each['budgets'])}")
    for name, words in _FORECAST.items():
        if forecast.get(name):
            told.append(f"{words}: {', '.join(forecast[name])}")
    if gate.outage(cluster, cluster["health"], node):
        told.append("the API is away meanwhile")
    return "; ".join(told)


def baseline(before: Mapping, cluster: Mapping | None) -> dict:
    """The health that counts after the run: of a node that may be drained its units, and the ports of sshd and K3s.

    With ``k3s``, how the cluster was: where `before` comes from an earlier run that broke something, as it was then.
    """
    if cluster is None:
        return dict(before)
    ports = [port for port in before["listeners"] if port in _PORTS]
    return {**before, "listeners": ports, "containers": 0, "k3s": before.get("k3s") or cluster["baseline"]}
