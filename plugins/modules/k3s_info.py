#!/usr/bin/python
# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module k3s_info: which part of which K3s cluster a host is, and how the cluster is now. Changes nothing."""

from __future__ import annotations

DOCUMENTATION = r"""
module: k3s_info
short_description: Tell how a K3s cluster is
version_added: 0.1.0
author: The homelab.patching maintainers (@homelab)
description:
  - Tells what a host with K3s knows of itself, and, asked on a live server, how its cluster is.
  - Needs nothing on the host but K3s, whose own C(kubectl) it uses. Changes nothing.
  - Where the API does not answer the module fails. It never answers with less.
options:
  gather:
    description:
      - V(local) is what the host knows of its K3s, with no API to ask; it works on agents and without K3s as well.
      - V(rest) is whether the host is at rest, the same way.
      - V(health) is what a node must wait for before it goes, nodes, etcd, kured, upgrades of K3s, Longhorn.
      - V(workloads) is how many of each workload are ready, to be compared with later.
      - V(drain) is what a drain of each node will meet.
    type: list
    elements: str
    choices: [local, rest, health, workloads, drain]
    default: [local, rest, health, workloads, drain]
  timeout:
    description: Seconds after which the API has not answered.
    type: int
    default: 60
attributes:
  check_mode:
    description: Can run in check mode and return changed status prediction without modifying target.
    support: full
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in check mode), when in diff mode.
    support: none
  platform:
    description: Target OS/families that can be operated against.
    platforms: debian
    support: full
"""

EXAMPLES = r"""
- name: Ask each host which K3s it has
  homelab.patching.k3s_info:
    gather: [local]
  register: k3s

- name: Ask a server how its cluster is, and what draining its nodes would meet
  homelab.patching.k3s_info:
    gather: [health, drain]
  register: cluster
"""

RETURN = r"""
local:
  description:
    - What the host knows of its K3s, or null where it has none.
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
      description: The release of K3s, or null where it does not tell.
      type: str
    cluster:
      description: The fingerprint (SHA-256) of the CA of the cluster's servers, the same on all of its nodes, or null.
      type: str
    datastore:
      description: V(etcd) (embedded), V(sqlite) or V(external); null on an agent.
      type: str
    split:
      description: Flags that make it half a server, such as V(disable-etcd).
      type: list
      elements: str
    problems:
      description: Why this K3s cannot be worked on, each with message and remedy.
      type: list
      elements: dict
rest:
  description:
    - Whether the host is at rest, with C(upgrade) and C(daily_run) (at work), C(shutdown) (what is scheduled, or null),
      C(stopping), C(clock) (seconds since the epoch, by the host) and C(boot_id).
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
          C(hold) (somebody wants its cordon kept), C(mark) (run, phase and boot_id that a run wrote on it, or null),
          C(member) (of etcd) and C(voter) (as K3s last said, or null).
      type: dict
    unready:
      description: Why the API server here does not call itself ready; empty where it does. With O(gather=health).
      type: str
    etcd:
      description:
        - The members of etcd, each with C(id), C(name), C(node) (null where its Node is gone), C(address), C(learner)
          and C(healthy) (asked now). Null without an embedded etcd, and where they are not known. With
          O(gather=health).
      type: list
      elements: dict
    kured:
      description:
        - The C(namespace) and C(name) of kured and whether its lock is C(held) by hand, or null. With O(gather=health).
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
        - By kind and name, how many are C(desired) and C(ready), and C(pinned), the number of pods that wait for data
          of one node. With O(gather=workloads).
      type: dict
    forecast:
      description:
        - By node, what a drain will meet. C(moving) and C(grace) are a number of pods and of seconds. The pods of
          C(no_disruption) and C(two_budgets) are named with their PodDisruptionBudgets. The lists C(bare), C(only),
          C(job), C(empty_dir), C(local) and C(homeless) are of pods. With O(gather=drain).
      type: dict
kind:
  description: V(unknown) where the API did not answer, V(refused) where it did and said no.
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
    asked = [part for part in module.params["gather"] if part not in ("local", "rest")]
    result: dict = {}
    try:
        if "rest" in module.params["gather"]:
            result["rest"] = local.rest()
        if "local" in module.params["gather"]:
            result["local"] = local.facts()
        if asked:
            binary = local.server()
            if not binary:
                raise kubectl.Refused("this host is no server of a K3s cluster.", "Ask a server: agents cannot.")
            result["cluster"] = survey.gathered(kubectl.Api(binary, module.params["timeout"]), asked)
    except PatchingError as exc:
        module.fail_json(msg=str(exc), kind="refused" if isinstance(exc, kubectl.Refused) else "unknown")
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
