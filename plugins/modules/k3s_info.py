#!/usr/bin/python
# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module k3s_info: which part of which K3s cluster a host is, and how the cluster is now. Changes nothing."""

from __future__ import annotations

DOCUMENTATION = r"""
module: k3s_info
short_description: Report the state of a K3s cluster
version_added: 0.1.0
author: The homelab.patching maintainers (@homelab)
description:
  - Reports what a host with K3s knows about itself and, if run on a live server, the state of its cluster.
  - Needs nothing on the host but K3s, whose own C(kubectl) it uses. Changes nothing.
  - If the API does not answer, the module fails. It never returns a partial result.
options:
  gather:
    description:
      - V(local) is what the host knows about its K3s without the API; this also works on agents and without K3s.
      - V(rest) is whether the host is idle, also without the API.
      - V(health) is everything that must be checked before a node is drained, nodes, etcd, kured, K3s upgrades,
        Longhorn.
      - V(workloads) is how many replicas of each workload are ready, for later comparison.
      - V(drain) is what a drain of each node would encounter.
    type: list
    elements: str
    choices: [local, rest, health, workloads, drain]
    default: [local, rest, health, workloads, drain]
  timeout:
    description: Timeout in seconds for an answer from the API.
    type: int
    default: 60
extends_documentation_fragment:
  - homelab.patching.managed_host
"""

EXAMPLES = r"""
- name: Ask each host which K3s it runs
  homelab.patching.k3s_info:
    gather: [local]
  register: k3s

- name: Get the state of the cluster from a server, and what draining its nodes would encounter
  homelab.patching.k3s_info:
    gather: [health, drain]
  register: cluster
"""

RETURN = r"""
local:
  description:
    - What the host knows about its K3s, or null if it has none.
  returned: with O(gather=local)
  type: dict
  contains:
    role:
      description: V(server) or V(agent).
      type: str
    unit:
      description: The systemd unit.
      type: str
    active:
      description: Whether the unit is active.
      type: bool
    version:
      description: The K3s version, or null if unknown.
      type: str
    cluster:
      description: The fingerprint (SHA-256) of the CA of the cluster's servers, the same on all of its nodes, or null.
      type: str
    datastore:
      description: V(etcd) (embedded), V(sqlite) or V(external); null on an agent.
      type: str
    split:
      description: Flags that make it a partial server (split roles), such as V(disable-etcd).
      type: list
      elements: str
    problems:
      description: Why this K3s is not supported, each with cause, remedy and commands.
      type: list
      elements: dict
rest:
  description:
    - Whether the host is idle, with C(upgrade) and C(daily_run) (in progress), C(shutdown) (the scheduled one, or
      null), C(stopping), C(clock) (seconds since the epoch, by the host) and C(boot_id).
  returned: with O(gather=rest)
  type: dict
cluster:
  description: The cluster of this server.
  returned: with O(gather=health), O(gather=workloads) or O(gather=drain)
  type: dict
  contains:
    nodes:
      description:
        - By name, each with C(ready), C(unschedulable), C(boot_id), C(machine_id), C(version), C(addresses), C(roles),
          C(hold) (an admin wants to keep the cordon), C(mark) (run, phase and boot_id that a run annotated, or null),
          C(member) (of etcd) and C(voter) (as last reported by K3s, or null).
      type: dict
    unready:
      description: Why the API server on this host is not ready; empty if it is ready. With O(gather=health).
      type: str
    etcd:
      description:
        - The etcd members, each with C(id), C(name), C(node) (null if its Node is gone), C(address), C(learner) and
          C(healthy) (checked now). Null without an embedded etcd, and if they are unknown. With O(gather=health).
      type: list
      elements: dict
    kured:
      description:
        - The C(namespace) and C(name) of kured and whether its lock is C(held) manually, or null. With
          O(gather=health).
      type: dict
    plans:
      description: Plans of the system-upgrade-controller that are being applied. With O(gather=health).
      type: list
      elements: str
    longhorn:
      description: Robustness of each attached Longhorn volume; null without Longhorn. With O(gather=health).
      type: dict
    workloads:
      description:
        - By kind and name, how many replicas are C(desired) and C(ready), and C(pinned), the number of pods that wait
          for data on one node. With O(gather=workloads).
      type: dict
    forecast:
      description:
        - By node, what a drain would encounter. C(moving) is a number of pods, C(grace) a number of seconds. The pods
          in C(no_disruption) and C(two_budgets) are listed with their PodDisruptionBudgets. C(bare), C(only), C(job),
          C(empty_dir), C(local) and C(homeless) are lists of pods. With O(gather=drain).
      type: dict
kind:
  description: V(unknown) if the API did not answer, V(refused) if it rejected the request.
  returned: failure
  type: str
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.core.problem import PatchingError
from ..module_utils.k3s import kubectl, local, survey


def main() -> None:
    """Entry point."""
    parts = ["local", "rest", "health", "workloads", "drain"]
    module = AnsibleModule(
        argument_spec={
            "gather": {"type": "list", "elements": "str", "choices": parts, "default": parts},
            "timeout": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    of_the_cluster = [part for part in module.params["gather"] if part not in ("local", "rest")]
    result: dict = {}
    try:
        if "rest" in module.params["gather"]:
            result["rest"] = local.rest()
        if "local" in module.params["gather"]:
            result["local"] = local.facts()
        if of_the_cluster:
            binary = local.server()
            if not binary:
                raise kubectl.Refused("this host is no server of a K3s cluster.", "Ask a server: agents cannot.")
            result["cluster"] = survey.gathered(kubectl.Api(binary, module.params["timeout"]), of_the_cluster)
    except PatchingError as exc:
        module.fail_json(msg=str(exc), kind="refused" if isinstance(exc, kubectl.Refused) else "unknown")
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
