# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which hosts are a cluster, in which order they go, and why a cluster cannot be worked on. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

from ..core.problem import Problem, of_host, on_host, on_server, problem
from ..core.shapes import Cluster, Health, K3s, Node
from .node import ON_A_SERVER, same_address


class Topology(TypedDict):
    clusters: dict[str, Cluster]
    of: dict[str, str]
    """host -> the id of its cluster."""


def topology(hosts: Mapping[str, K3s | None], healths: Mapping[str, Health | None]) -> Topology:
    """Which hosts are a cluster, in which order they go, and why a cluster cannot be worked on.

    :param hosts: host -> what it says of itself; None where it has no K3s.
    :param healths: server's host -> what the API says there; None where it gave no answer.
    """
    groups: dict[str, dict[str, K3s]] = {}
    for host, facts in sorted(hosts.items()):
        if facts:
            groups.setdefault(facts["cluster"] or f"unknown cluster of {host}", {})[host] = facts
    clusters = {name: _cluster(name, some, healths) for name, some in sorted(groups.items())}
    return {"clusters": clusters, "of": {host: name for name, some in groups.items() for host in some}}


def _cluster(identity: str, hosts: Mapping[str, K3s], healths: Mapping[str, Health | None]) -> Cluster:
    servers = [host for host, facts in hosts.items() if facts["role"] == "server"]
    agents = [host for host in hosts if host not in servers]
    answering = [host for host in servers if healths.get(host)]
    delegate = answering[-1] if answering else None
    health = healths[delegate] if delegate else None
    nodes = _nodes_of(hosts, health["nodes"] if health else {})
    foreign = sorted(set(health["nodes"]) - set(nodes.values())) if health else []
    datastores = sorted({kind for host in servers if (kind := hosts[host]["datastore"])})
    problems = [of_host(each, host) for host, facts in hosts.items() for each in facts["problems"]]
    if not servers:
        problems.append(
            problem(f"no server of the cluster of {', '.join(agents)} is among the hosts", "add it to the inventory")
        )
    elif health is None:
        problems.append(
            problem(f"the API answers on none of {', '.join(servers)}, so nothing is known of it", "", *ON_A_SERVER)
        )
    if len(datastores) > 1:
        problems.append(problem(f"its servers do not agree on a datastore: {', '.join(datastores)}", "", *ON_A_SERVER))
    for host in hosts:
        if health and host not in nodes:
            look = (
                on_server("k3s", "kubectl", "get", "nodes", "-o", "wide"),
                on_host("journalctl", "-u", hosts[host]["unit"], host=host),
            )
            problems.append(problem(f"{host} has K3s and is no node of its cluster", "", *look))
    problems += _split_roles(hosts, nodes, health["nodes"] if health else {})
    return {
        "id": identity,
        "name": identity[:12] if len(identity) == 64 else identity,
        "datastore": datastores[0] if len(datastores) == 1 else None,
        "servers": servers,
        "agents": agents,
        "delegate": delegate,
        "order": [*agents, *(host for host in servers if host != delegate), *([delegate] if delegate else [])],
        "nodes": nodes,
        "foreign": foreign,
        "lone": len(hosts) == 1 and not foreign,
        "problems": problems,
    }


def _nodes_of(hosts: Mapping[str, K3s], states: Mapping[str, Node]) -> dict[str, str]:
    """host -> the name of its node: by the machine's id, and where that is not unique, by address."""
    found = {}
    for host, facts in hosts.items():
        matching = [name for name, state in states.items() if state["machine_id"] == facts["machine_id"]]
        if len(matching) != 1:
            matching = [
                name
                for name, state in states.items()
                if any(same_address(one, other) for one in state["addresses"] for other in facts["addresses"])
            ]
        if len(matching) == 1:
            found[host] = matching[0]
    return found


def _split_roles(hosts: Mapping[str, K3s], nodes: Mapping[str, str], states: Mapping[str, Node]) -> list[Problem]:
    remedy = "servers without etcd, or without the API, are not supported yet: leave the cluster out (tag it nopatch)"
    problems = []
    for host, facts in hosts.items():
        if facts["split"]:
            problems.append(problem(f"{host} is a server with {', '.join(facts['split'])}", remedy))
    embedded = any(facts["datastore"] == "etcd" for facts in hosts.values())
    of_node = {node: host for host, node in nodes.items()}
    for node, state in states.items():
        # Also of nodes that are no host here; servers said it themselves above.
        own = of_node.get(node)
        if own and (hosts[own]["split"] or hosts[own]["role"] != "server"):
            continue
        api, etcd = "control-plane" in state["roles"], "etcd" in state["roles"]
        if (etcd and not api) or (api and embedded and not etcd):
            problems.append(problem(f"node {node} is a server {'without the API' if etcd else 'without etcd'}", remedy))
    return problems
