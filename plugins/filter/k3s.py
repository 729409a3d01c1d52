# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of the K3s roles. The decisions are in module_utils/k3s; here they meet what Ansible registered."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ansible.errors import AnsibleFilterError

from ..module_utils.core import problem
from ..module_utils.core.shapes import Cluster, Health
from ..module_utils.k3s import gate, progress, recovery
from ..module_utils.k3s.settle import others_cordons, settled, volumes_settled
from ..module_utils.run import identity


def k3s_gate(
    cluster: Cluster,
    node: str,
    health: Health | None,
    asked: Sequence,
    runs: Sequence = (),
    kured: str = "refuse",
    api_outage: str = "announce",
    foreign: str = "refuse",
    drained: bool = False,
) -> list:
    """Why a node must not go now; see k3s_gate.yml."""
    rest = dict(zip(cluster["order"], [result.get("rest") for result in asked], strict=True))
    return gate.gate(node, cluster, health, rest, runs, kured, api_outage, foreign, drained)


def k3s_settled(baseline: Mapping, cluster: Mapping) -> list:
    """What was ready at the baseline and is not any more; see k3s_settled.yml."""
    return settled(baseline["workloads"], cluster["workloads"], others_cordons(cluster["nodes"]))


def k3s_volumes_settled(baseline: Mapping, cluster: Mapping) -> list:
    """Which Longhorn volumes are worse than at the baseline; see k3s_volumes_settled.yml."""
    return volumes_settled(baseline.get("longhorn"), cluster.get("longhorn"))


def k3s_nodes(assessments: Mapping) -> list:
    """The hosts that are K3s nodes; see k3s_nodes.yml."""
    return [host for host, known in assessments.items() if ((known or {}).get("host") or {}).get("k3s")]


def k3s_forget(names: str | Sequence, infos: Mapping, clusters: Mapping) -> dict:
    """Who is to be asked to forget nodes, and as which run; see k3s_forget.yml."""
    wanted = names.replace(",", " ").split() if isinstance(names, str) else list(names)
    told = {host: ((infos[host] or {}).get("host") or {}) for host in infos}
    hosts: dict[str, recovery.Told] = {
        host: {"k3s": told[host].get("k3s"), "cluster": (clusters.get(host) or {}).get("cluster")} for host in infos
    }
    found = recovery.forgettable(wanted, hosts)
    if found["problems"]:
        raise AnsibleFilterError(problem.told(found["problems"]))
    claims = [told[host].get("claim") for host in found["servers"].values()]
    dead = [claim["run"] for claim in claims if claim and identity.is_dead(claim.get("owner") or {})]
    return {"run": identity.new_id(), "owner": identity.identity(), "dead": dead, "servers": found["servers"]}


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable]:
        """Names under homelab.patching."""
        return {
            "k3s_forget": k3s_forget,
            "k3s_gate": k3s_gate,
            "k3s_nodes": k3s_nodes,
            "k3s_progress": progress.progress,
            "k3s_recover": recovery.recover,
            "k3s_settled": k3s_settled,
            "k3s_told": problem.told,
            "k3s_volumes_settled": k3s_volumes_settled,
        }
