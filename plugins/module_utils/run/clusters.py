# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of K3s nodes: which clusters the hosts are, which nodes may not go, and what a drain will meet. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ..core.problem import Problem, on_server, playbook, problem
from ..core.shapes import Baseline, Cluster, ClusterBaseline, Health, Node, Rest
from ..host.claim import expired
from ..k3s import gate, settle
from ..k3s.topology import topology
from .health import kept_baseline
from .shapes import Assessment, Clusters, PlannedCluster, Policy

# At the plan nobody is asked whether he is at rest: the gate before the upgrade asks, and before the drain again.
_AT_REST: Rest = {"upgrade": False, "daily_run": False, "shutdown": None}
_NODES = on_server("k3s", "kubectl", "get", "nodes", "-o", "wide")
# On a node that is drained pods come and go with their ports; these are the machine's and K3s's own.
_PORTS = {22, 2379, 2380, 6443, 6444, 10250, 9345}


def clusters(
    known: Mapping[str, Assessment],
    peers: Mapping[str, Assessment],
    dead_runs: Collection[str | None],
    accepted: Collection[str] = (),
    stuck: Collection[str] = (),
) -> Clusters:
    """What the hosts and their peers say of their clusters.

    :param known: host of the run -> its assessment.
    :param peers: host outside of the run -> the same: other nodes of these clusters.
    :param dead_runs: ids of runs that are over; the marks that they left are recovered first, and stop nobody.
    :param accepted: hosts whose cluster is to be taken as it is now, whatever an earlier run broke.
    :param stuck: hosts that cannot be recovered in this run, so that the marks on their nodes do stop the others.
    :returns: those with a host of the run.
    """
    everybody = {**peers, **known}
    facts = {host: entry["host"].get("k3s") for host, entry in everybody.items()}
    healths = {host: entry["cluster"] for host, entry in everybody.items()}
    found = topology(facts, healths)
    of = dict(found["of"])
    wanted = {of[host] for host in known if host in of}
    result: dict[str, PlannedCluster] = {}
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
            "baseline": _kept(health) if health else {},
            "broken": _broken(everybody, cluster, health, {*marked, *accepted}),
        }
    return {"clusters": result, "of": {host: name for host, name in of.items() if name in wanted}}


def _kept(health: Health) -> ClusterBaseline:
    """What of a cluster's health is compared with later."""
    return {"workloads": health.get("workloads"), "longhorn": health.get("longhorn")}


def _live_runs(everybody: Mapping[str, Assessment], cluster: Cluster, dead_runs: Collection[str | None]) -> set[str]:
    """Runs that have a claim on a node of the cluster and may be alive."""
    live = set()
    for host in cluster["order"]:
        told = everybody[host]["host"]
        claim = told.get("claim")
        if claim and not expired(claim, told["clock"]) and claim.get("run") not in dead_runs:
            live.add(claim["run"])
    return live


def _broken(
    everybody: Mapping[str, Assessment], cluster: Cluster, health: Health | None, excused: Collection[str]
) -> dict[str, list[Problem]]:
    """host -> what is worse in the cluster than before the run that failed, or died, there.

    :param excused: hosts whose mark is recovered first: their pods may have nowhere to go until then; and the accepted.
    """
    found: dict[str, list[Problem]] = {}
    for host in cluster["order"] if health else ():
        kept = kept_baseline(everybody[host]["host"])
        if kept and kept["baseline"].get("k3s") and host not in excused:
            worse = settle.worse(kept["baseline"]["k3s"], health or {})
            found |= {host: worse} if worse else {}
    return found


def _without_marks(health: Health | None, names: Collection[str]) -> Health | None:
    if health is None:
        return None
    nodes: dict[str, Node] = {
        name: {**state, "mark": None} if name in names else state for name, state in health["nodes"].items()
    }
    return {**health, "nodes": nodes}


def marked_by(host: str, cluster: PlannedCluster | None) -> str | None:
    """The dead run that has left its mark on the node of this host."""
    return cluster["marked"].get(host) if cluster else None


def refusal(host: str, cluster: PlannedCluster | None, policy: Policy) -> list[Problem]:
    """Why this node must not be touched now; see `gate.gate`.

    :param cluster: None for a host that is in none.
    """
    if cluster is None:
        return []
    if cluster["problems"] or host not in cluster["nodes"]:
        return cluster["problems"] or [problem("no node of the API is this host", "", _NODES)]
    # What a run has broken here is not to be worked over by the next one, from another node.
    broken = [
        problem(
            f"{each['cause']} (left so on {other})", "mend it, or take it so", playbook("patch", patching_accept=other)
        )
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


def drain_why(host: str, cluster: PlannedCluster) -> str:
    """What the drain of a node will meet."""
    node = cluster["nodes"].get(host, "")
    if cluster["lone"]:
        return "a lone node is not drained: all that runs on it is away meanwhile"
    forecast = (cluster["health"] or {}).get("forecast", {}).get(node)
    if forecast is None:
        told = ["0 pods move"]
    else:
        told = [f"{forecast['moving']} pods move"]
        for each in forecast["no_disruption"]:
            told.append(f"PodDisruptionBudget {each['budget']} allows no disruption of {', '.join(each['pods'])}")
        for pod in forecast["two_budgets"]:
            told.append(f"{pod['pod']} is under two PodDisruptionBudgets, {' and '.join(pod['budgets'])}")
        named = (
            ("no controller makes these anew, so they block the drain", forecast["bare"]),
            ("the only one of its workload", forecast["only"]),
            ("a job's, begun anew", forecast["job"]),
            ("loses its emptyDir", forecast["empty_dir"]),
            ("its data is on this node only", forecast["local"]),
            ("no other node has room", forecast["homeless"]),
        )
        told += [f"{words}: {', '.join(pods)}" for words, pods in named if pods]
    if gate.outage(cluster, cluster["health"], node):
        told.append("the API is away meanwhile")
    return "; ".join(told)


def baseline(before: Baseline, cluster: PlannedCluster | None) -> Baseline:
    """The health that counts after the run: of a node that may be drained its units, and the ports of sshd and K3s.

    With ``k3s``, how the cluster was: where `before` comes from an earlier run that broke something, as it was then.
    """
    if cluster is None:
        return before
    ports = [port for port in before["listeners"] if port in _PORTS]
    return {**before, "listeners": ports, "containers": 0, "k3s": before.get("k3s") or cluster["baseline"]}
