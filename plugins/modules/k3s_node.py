#!/usr/bin/python
# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module k3s_node: empty one node of a K3s cluster, mark its reboot, give it back. Runs on a live server."""

from __future__ import annotations

DOCUMENTATION = r"""
module: k3s_node
short_description: Drain a node of a K3s cluster, or uncordon it
version_added: 0.1.0
author: The homelab.patching maintainers (@homelab)
description:
  - Runs on a live server of the cluster, which must be claimed by the run, and uses the C(kubectl) of K3s.
  - >-
    The run owns its cordon. The module applies it with server-side apply under the field manager C(homelab-patching),
    together with the annotations C(homelab-patching/run), C(homelab-patching/phase) and C(homelab-patching/boot-id)
    (the mark). The API server then removes only what nobody else owns: an admin's cordon stays, and so does an admin's
    uncordon.
  - Only one node of a cluster can carry such a mark.
  - To keep a node cordoned, an admin sets the annotation C(homelab-patching/hold).
options:
  state:
    description:
      - V(drained) cordons the node and drains it for at most 45 seconds. Repeat it until RV(drained) is true.
      - V(rebooting) records that the reboot comes next. From then on, the node is uncordoned only after it has
        rebooted.
      - V(schedulable) removes the run's mark and cordon. The node stays cordoned if somebody else has cordoned it too.
      - V(forgotten) deletes a node that is permanently gone, as C(kubectl delete node) does, but only if a run has
        marked it and it is not Ready.
    type: str
    choices: [drained, rebooting, schedulable, forgotten]
    required: true
  node:
    description: The name of the node in the API.
    type: str
    required: true
  run:
    description: The id of the run, which must have claimed the host that the module runs on.
    type: str
    required: true
  takeover:
    description: Ids of dead runs whose mark on the node may be taken over.
    type: list
    elements: str
    default: []
  cordon:
    description: Whether V(state=rebooting) keeps the node cordoned. A single node is marked but not cordoned.
    type: bool
    default: true
  boot_id:
    description:
      - With V(state=schedulable), the boot_id that the host itself reports. The node is uncordoned only when the API
        shows this boot and Ready in the same object, its DaemonSets' pods run in new containers, and, on a server, its
        own API server reports ready. With embedded etcd that is a read through its own member.
    type: str
    default: ""
  containers:
    description: With O(boot_id), the containers of the node's DaemonSets before the reboot (RV(containers)).
    type: dict
    default: {}
  wait:
    description: With O(boot_id), seconds (at most 40) to wait for that. The node is uncordoned as soon as it is true.
    type: int
    default: 0
  recover:
    description:
      - With V(state=schedulable), uncordon the node in its old boot, because it is known that no reboot will follow.
    type: bool
    default: false
extends_documentation_fragment:
  - homelab.patching.managed_host
seealso:
  - module: homelab.patching.k3s_info
  - module: homelab.patching.host_claim
"""

EXAMPLES = r"""
- name: Drain the node, one slice at a time
  homelab.patching.k3s_node:
    state: drained
    node: agent1
    run: 20261123T030000Z-1f2e
  delegate_to: server1
  register: slice
  until: slice.drained or slice.hopeless
  retries: 15
  delay: 0

- name: Uncordon it
  homelab.patching.k3s_node:
    state: schedulable
    node: agent1
    run: 20261123T030000Z-1f2e
  delegate_to: server1
"""

RETURN = r"""
node:
  description: The name of the node.
  returned: success
  type: str
drained:
  description: Whether only pods that may stay are left, and no volume is attached to the node for other pods.
  returned: O(state=drained)
  type: bool
evicted:
  description: The pods that this slice evicted (in check mode, would evict), as namespace/name.
  returned: O(state=drained)
  type: list
  elements: str
terminating:
  description: The pods that are terminating.
  returned: O(state=drained)
  type: list
  elements: str
blocked:
  description:
    - Why pods remain, each with C(why) (V(budget), V(two budgets), V(bare) or V(error)), C(name) (of the
      PodDisruptionBudget), C(pods), C(message) and C(hopeless).
  returned: O(state=drained)
  type: list
  elements: dict
hopeless:
  description: Whether waiting longer will not empty the node.
  returned: O(state=drained)
  type: bool
volumes:
  description: Volumes that are still attached to the node although no pod there uses them.
  returned: O(state=drained)
  type: list
  elements: str
grace:
  description: The longest grace period, in seconds, of the pods found.
  returned: O(state=drained)
  type: int
containers:
  description: By DaemonSet, the ids of its ready containers on the node.
  returned: O(state=rebooting)
  type: dict
problems:
  description: >-
    What the node is still waiting for, each with C(cause), C(remedy) and C(commands). If there are any, it was not
    uncordoned.
  returned: O(state=schedulable)
  type: list
  elements: dict
unschedulable:
  description: Whether the node is still cordoned by somebody else (in check mode, its current state).
  returned: O(state=schedulable)
  type: bool
seconds:
  description: How long the module took, in seconds.
  returned: success
  type: float
kind:
  description:
    - V(unknown), the API did not answer, and another server may be tried. V(claim), the run no longer holds the claim
      on the host. V(uncordoned), somebody uncordoned the node in the meantime, and the run's mark has been removed.
      V(foreign), another run has marked a node. V(changed), the node changed during the call. V(refused), any other
      error response from the API.
  returned: failure
  type: str
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.core.problem import PatchingError
from ..module_utils.k3s import transitions


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": list(transitions.STATES), "required": True},
            "node": {"type": "str", "required": True},
            "run": {"type": "str", "required": True},
            "takeover": {"type": "list", "elements": "str", "default": []},
            "cordon": {"type": "bool", "default": True},
            "boot_id": {"type": "str", "default": ""},
            "containers": {"type": "dict", "default": {}},
            "wait": {"type": "int", "default": 0},
            "recover": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    try:
        result = transitions.bring(module.params, module.check_mode)
    except PatchingError as exc:
        module.fail_json(msg=str(exc), kind=transitions.kind(exc))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
