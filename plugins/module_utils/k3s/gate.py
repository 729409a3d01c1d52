# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""May a node go now, and is the API away meanwhile? Pure.

What is not known is None. It is a problem wherever it is asked for, and never means "no".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypedDict

from ..core.problem import Problem, on_host, on_server, ping, playbook, problem
from ..core.shapes import AskedMember, Cluster, Health, Rest
from .node import ON_A_SERVER
from .settle import LONGHORN


class Quorum(TypedDict):
    problems: list[Problem]
    outage: bool
    """The API will be away meanwhile."""


def quorum(etcd: list[AskedMember] | None, node: str) -> Quorum:
    """May the server `node` go without etcd losing its majority?

    A member whose Node is gone stops every server, also while it still answers.

    :param etcd: `members.members`, each with ``healthy``; None where they could not be listed.
    """
    if etcd is None:
        return {"outage": False, "problems": [problem("the members of etcd are unknown", "", *ON_A_SERVER)]}
    voters = [member for member in etcd if not member["learner"]]
    sick = [member["name"] or member["id"] for member in etcd if not member["healthy"]]
    mine = [member for member in voters if member["node"] == node]
    mend = ("mend etcd first", *ON_A_SERVER)
    if len(mine) != 1:
        return {"outage": False, "problems": [problem(f"etcd does not list {node} once as a voting member", *mend)]}
    lost = [member["name"] or member["id"] for member in etcd if member["node"] is None]
    if lost:
        # Nobody can say what becomes of it next: it may answer now and be taken away with its machine at any moment.
        why = f"etcd's member {', '.join(lost)} has no node in the API"
        return {"outage": False, "problems": [problem(why, "let its server join again, or remove it", *ON_A_SERVER)]}
    if len(voters) < len(etcd):
        joining = ", ".join(member["name"] or member["id"] for member in etcd if member["learner"])
        return {"outage": False, "problems": [problem(f"etcd's member {joining} is still joining", "wait for it")]}
    if len(voters) <= 2:
        # Their majority cannot survive the loss of one: all have to be well, and the API will be away.
        problems = [problem(f"etcd's member {', '.join(sick)} is not healthy", *mend)] if sick else []
        return {"outage": True, "problems": problems}
    if not mine[0]["healthy"]:
        # Its pods would not leave it, and a reboot is no repair that anybody asked for.
        return {"outage": False, "problems": [problem(f"etcd's member {', '.join(sick)} is not healthy", *mend)]}
    needed = len(voters) // 2 + 1
    remaining = [member for member in voters if member["healthy"] and member["node"] != node]
    if len(remaining) >= needed:
        return {"outage": False, "problems": []}
    why = f"without {node} etcd would have {len(remaining)} healthy members of {len(voters)}, and needs {needed}"
    return {"outage": False, "problems": [problem(f"{why} (not healthy: {', '.join(sick) or 'none'})", *mend)]}


def outage(cluster: Cluster, health: Health | None, node: str) -> bool:
    """Will the API be away while `node` reboots?

    :param health: see `gate`.
    """
    if node not in [cluster["nodes"].get(host) for host in cluster["servers"]]:
        return False
    if cluster["datastore"] == "etcd":
        return quorum((health or {}).get("etcd"), node)["outage"]
    return len(cluster["servers"]) == 1


def gate(
    node: str,
    cluster: Cluster,
    health: Health | None,
    hosts: Mapping[str, Rest | None],
    runs: Iterable[str] = (),
    kured: str = "refuse",
    api_outage: str = "announce",
    foreign: str = "refuse",
    drained: bool = False,
) -> list[Problem]:
    """May this node go now? The problems say why not; none means that it may.

    :param node: its name in the API.
    :param health: of it ``nodes``, ``etcd``, ``kured``, ``plans``, ``longhorn``; None where the API
        did not answer.
    :param hosts: host -> is it at rest (`local.rest`); None where it did not say.
    :param runs: ids of runs whose mark on the node itself is no obstacle: this run, and the dead one it recovers.
    :param kured: ``refuse`` or ``ignore`` a kured that could reboot another node.
    :param api_outage: ``announce``, or ``refuse`` to take the API down.
    :param foreign: ``refuse``, or ``announce`` nodes of the cluster that no host of the inventory is.
    :param drained: the node is empty already: Longhorn's replicas on it are stopped, and that degrades their volumes.
    """
    if health is None:
        return [problem("the API of the cluster does not answer, so nothing is known", "", *ON_A_SERVER)]
    problems = list(cluster["problems"])
    if node not in health["nodes"]:
        problems.append(problem(f"the API knows no node {node}", "", *ON_A_SERVER))
    for name, state in sorted(health["nodes"].items()):
        mark = state["mark"]
        # A node that a dead run left in the middle may be as it left it.
        recovers = name == node and mark and mark["run"] in runs
        if not state["ready"] and not recovers:
            problems.append(
                problem(f"node {name} is not Ready", "", on_server("k3s", "kubectl", "describe", "node", name))
            )
        if mark and (name != node or mark["run"] not in runs):
            why = f"node {name} is still marked by run {mark['run']}"
            problems.append(problem(why, "finish it", playbook("recover")))
    problems += _rest_problems(cluster, hosts)
    if cluster["foreign"] and foreign == "refuse":
        names = ", ".join(cluster["foreign"])
        remedy = "add them to the inventory, or set patching_k3s_foreign_nodes: announce"
        problems.append(problem(f"nobody keeps other work off {names}: no host that answers is that node", remedy))
    problems += _neighbours({**health, "longhorn": None} if drained else health, kured)
    server = node in [cluster["nodes"].get(host) for host in cluster["servers"]]
    if server and cluster["datastore"] == "etcd":
        problems += quorum(health["etcd"], node)["problems"]
    elif (
        server
        and len(cluster["servers"]) > 1
        and not [
            name
            for name, state in health["nodes"].items()
            if name != node and state["ready"] and "control-plane" in state["roles"]
        ]
    ):
        problems.append(problem("no other server is Ready", "", *ON_A_SERVER))
    if server and api_outage == "refuse" and outage(cluster, health, node):
        remedy = "add a third server, or allow it: patching_k3s_api_outage: announce"
        problems.append(problem(f"the API would be away while {node} reboots", remedy))
    return problems


def _rest_problems(cluster: Cluster, hosts: Mapping[str, Rest | None]) -> list[Problem]:
    problems = []
    for host in cluster["order"]:
        rest = hosts.get(host)
        if rest is None:
            why = f"{host} does not say whether it is at rest"
            problems.append(problem(why, "make sure that it can be reached, then run again", ping(host)))
            continue
        if rest["upgrade"]:
            problems.append(problem(f"an upgrade is at work on {host}", "wait for it"))
        if rest["daily_run"]:
            problems.append(problem(f"the daily update is at work on {host}", "wait for it"))
        if rest["shutdown"]:
            why = f"a {rest['shutdown']} is scheduled on {host}"
            problems.append(problem(why, "wait for it, or cancel it", on_host("shutdown", "-c", host=host)))
    return problems


def _neighbours(health: Health, kured: str) -> list[Problem]:
    """What else works on the cluster, or is not whole."""
    problems = []
    found = health["kured"]
    if found and not found["held"] and kured == "refuse":
        lock = 'weave.works/kured-node-lock={"nodeID":"manual"}'
        hold = on_server("k3s", "kubectl", "-n", found["namespace"], "annotate", "daemonset", found["name"], lock)
        remedy = "hold its lock, or set patching_k3s_kured: ignore"
        problems.append(problem("kured is in the cluster and may reboot another node meanwhile", remedy, hold))
    for plan in health["plans"]:
        problems.append(problem(f"the system-upgrade-controller applies {plan}", "wait for it"))
    sick = [f"{name} ({state})" for name, state in sorted((health["longhorn"] or {}).items()) if state != "healthy"]
    if sick:
        problems.append(problem(f"Longhorn's volumes are not healthy: {', '.join(sick)}", "", LONGHORN))
    return problems
