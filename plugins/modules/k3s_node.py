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

import time

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.core.problem import PatchingError, on_host, playbook, problem
from ..module_utils.core.shapes import DaemonPod, Node
from ..module_utils.host import claim_file, system
from ..module_utils.k3s import drain, kubectl, local, pods
from ..module_utils.k3s.node import BOOT_ID, PHASE, RUN, node_gate, node_state

# A takeover waits a minute for the calls of the run it takes over.
_SLICE_SECONDS = 45
_DRAIN_SECONDS = 30
# Keeps a cordon that a person asked to keep, when ours is given back.
_HOLDER = f"{kubectl.MANAGER}-hold"


class Stop(PatchingError):
    """A failure that the caller has to know the kind of."""

    def __init__(self, kind: str, message: str, remedy: str = "") -> None:
        super().__init__(message, remedy)
        self.kind = kind


def _kind(exc: PatchingError) -> str:
    if isinstance(exc, Stop):
        return exc.kind
    if isinstance(exc, kubectl.Conflict):
        return "changed"
    return "refused" if isinstance(exc, kubectl.Refused) else "unknown"


def _require_claim(run: str) -> None:
    try:
        with system.locked():
            claim_file.require(run)
    except PatchingError as exc:
        raise Stop("claim", exc.message, exc.remedy) from exc


def _mine(node: str, states: dict, ours: list) -> bool:
    """Does the node carry our mark?

    :param ours: ids of this run, and of the dead ones that it took over.
    :raises Stop: a node carries the mark of another run.
    """
    if node not in states:
        raise Stop("refused", f"the API knows no node {node}.", "On a server: k3s kubectl get nodes")
    for name, state in sorted(states.items()):
        if state["mark"] and (name != node or state["mark"]["run"] not in ours):
            raise Stop(
                "foreign",
                f"node {name} is marked by run {state['mark']['run']}.",
                "Finish it: ansible-playbook homelab.patching.recover",
            )
    return states[node]["mark"] is not None


def _marks(run: str, phase: str, boot_id: str) -> dict:
    return {RUN: run, PHASE: phase, BOOT_ID: boot_id}


def _stop_if_uncordoned(api: kubectl.Api, params: dict, state: Node, check_mode: bool) -> None:
    """Somebody who uncordons the node while a run works on it wants the run to leave it."""
    mark = state["mark"]
    if not mark or mark["run"] != params["run"] or state["unschedulable"]:
        return
    if not check_mode:
        api.apply_node(params["node"], {}, False)
    raise Stop(
        "uncordoned",
        f"somebody uncordoned node {params['node']} while it was being drained; it is left to him.",
        "Run again when it may be drained.",
    )


def drained(api: kubectl.Api, params: dict, check_mode: bool) -> dict:
    """One slice of a drain."""
    name = params["node"]
    objects = _listing(api)
    nodes = {node["metadata"]["name"]: node for node in objects["Node"]}
    states = {node: node_state(thing) for node, thing in nodes.items()}
    _mine(name, states, [params["run"], *params["takeover"]])
    state = states[name]
    _stop_if_uncordoned(api, params, state, check_mode)
    changed = False
    if not state["mark"] or state["mark"]["run"] != params["run"] or state["mark"]["phase"] != "drain":
        changed = True
        if not check_mode:
            marks = _marks(params["run"], "drain", state["boot_id"])
            api.apply_node(name, marks, True, nodes[name]["metadata"]["resourceVersion"])
    before = pods.left_on(name, objects["Pod"])
    moving = before["blocking"] + before["terminating"]
    result = {"node": name, "grace": pods.grace(moving)}
    if check_mode:
        evicted = sorted(pods.key(pod) for pod in before["blocking"])
        return {
            **result,
            **_verdict(objects, before, "", name),
            "evicted": evicted,
            "changed": changed or bool(evicted),
        }
    said = ""
    if moving:
        seconds = max(1, min(_DRAIN_SECONDS, int(api.left()) - 12))
        words = ("drain", name, "--ignore-daemonsets", "--delete-emptydir-data", f"--timeout={seconds}s")
        # Its status is not the proof: what is left is.
        said = api.run(*words, seconds=seconds + 6).stderr
        objects = _listing(api)
    after = pods.left_on(name, objects["Pod"])
    still = {pod["metadata"]["uid"] for pod in after["blocking"]}
    evicted = sorted(pods.key(pod) for pod in before["blocking"] if pod["metadata"]["uid"] not in still)
    return {**result, **_verdict(objects, after, said, name), "evicted": evicted, "changed": changed or bool(evicted)}


def _listing(api: kubectl.Api) -> dict:
    kinds = ("nodes", "pods", "poddisruptionbudgets", "volumeattachments", "persistentvolumeclaims")
    found = api.every(*kinds)
    return {kind: found.get(kind, []) for kind in _LISTED}


_LISTED = ("Node", "Pod", "PodDisruptionBudget", "VolumeAttachment", "PersistentVolumeClaim")


def _verdict(objects: dict, left: dict, said: str, node: str) -> dict:
    blocked = drain.blockers(said, left["blocking"], objects["PodDisruptionBudget"])
    claims = {pods.key(claim): claim for claim in objects["PersistentVolumeClaim"]}
    volumes = drain.attached(node, objects["VolumeAttachment"], objects["Pod"], claims)
    return {
        "drained": not left["blocking"] and not left["terminating"] and not volumes,
        "terminating": sorted(pods.key(pod) for pod in left["terminating"]),
        "blocked": blocked,
        "hopeless": any(each["hopeless"] for each in blocked),
        "volumes": volumes,
    }


def rebooting(api: kubectl.Api, params: dict, check_mode: bool) -> dict:
    """Note on the node that its reboot comes next."""
    name = params["node"]
    objects = api.every("nodes", "pods", "daemonsets")
    nodes = {node["metadata"]["name"]: node for node in objects.get("Node", [])}
    states = {node: node_state(thing) for node, thing in nodes.items()}
    marked = _mine(name, states, [params["run"], *params["takeover"]])
    state = states[name]
    if params["cordon"]:
        _stop_if_uncordoned(api, params, state, check_mode)
        if not marked or not state["mark"] or state["mark"]["run"] != params["run"]:
            raise Stop("refused", f"node {name} was not drained by run {params['run']}.", "Drain it first.")
    marks = _marks(params["run"], "reboot", state["boot_id"])
    changed = state["mark"] != {"run": params["run"], "phase": "reboot", "boot_id": state["boot_id"]}
    if changed and not check_mode:
        api.apply_node(name, marks, params["cordon"], nodes[name]["metadata"]["resourceVersion"])
    daemons = drain.daemon_containers(name, objects)
    ready = {daemon: found["containers"] for daemon, found in daemons.items() if found["ready"]}
    return {"changed": changed, "node": name, "containers": ready}


def schedulable(api: kubectl.Api, params: dict, check_mode: bool) -> dict:
    """Give the node back, as soon as it is whole."""
    name = params["node"]
    deadline = time.monotonic() + min(params["wait"], 40)
    while True:
        objects = api.every("nodes", "daemonsets", "pods") if params["boot_id"] else api.every("nodes")
        states = {node["metadata"]["name"]: node_state(node) for node in objects.get("Node", [])}
        marked = _mine(name, states, [params["run"], *params["takeover"]])
        problems = _not_yet(params, states[name], drain.daemon_containers(name, objects))
        if params["boot_id"] and not problems and "control-plane" in states[name]["roles"]:
            problems = _api_problems(api, states[name])
        if not problems or time.monotonic() > deadline:
            break
        time.sleep(1)
    given = marked and not problems
    if given and not check_mode:
        if states[name]["hold"] and states[name]["unschedulable"]:
            api.apply_node(name, {}, True, manager=_HOLDER)
        states[name] = node_state(api.apply_node(name, {}, False))
    return {"changed": given, "node": name, "problems": problems, "unschedulable": states[name]["unschedulable"]}


def _not_yet(params: dict, state: Node, daemons: dict[str, DaemonPod]) -> list:
    """Why the node must not be given back yet."""
    mark = state["mark"]
    old_boot = mark["boot_id"] or "" if mark and mark["phase"] == "reboot" and not params["recover"] else ""
    if params["boot_id"]:
        return node_gate(state, params["boot_id"], old_boot, params["containers"], daemons)
    if old_boot and state["boot_id"] == old_boot:
        why = "the node was to be rebooted, and still runs in the boot from before"
        return [problem(why, "finish it", playbook("recover"))]
    return []


def _api_problems(api: kubectl.Api, state: Node) -> list:
    if any(api.ready_at(state["addresses"]).values()):
        return []
    look = on_host("k3s", "kubectl", "get", "--raw", "/readyz?verbose"), on_host("journalctl", "-u", "k3s")
    return [problem("the node's own API server is not ready", "", *look)]


def forgotten(api: kubectl.Api, params: dict, check_mode: bool) -> dict:
    """Delete a node that went while a run worked on it, and will not come back."""
    name = params["node"]
    nodes = {node["metadata"]["name"]: node for node in api.every("nodes").get("Node", [])}
    if name not in nodes:
        return {"changed": False, "node": name}
    state = node_state(nodes[name])
    if state["ready"]:
        raise Stop("refused", f"node {name} is Ready.", "Run homelab.patching.recover without patching_forget.")
    if not state["mark"]:
        raise Stop("refused", f"no run has marked node {name}.", f"Yours to delete: k3s kubectl delete node {name}")
    if not check_mode:
        api.text("delete", "node", name, "--wait=false")
    return {"changed": True, "node": name}


_STATES = {"drained": drained, "rebooting": rebooting, "schedulable": schedulable, "forgotten": forgotten}


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": list(_STATES), "required": True},
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
    begun = time.monotonic()
    action = _STATES[module.params["state"]]
    try:
        _require_claim(module.params["run"])
        binary = local.server()
        if not binary:
            raise Stop("refused", "this host is no server of a K3s cluster.", "Delegate it to a server.")
        result = action(kubectl.Api(binary, _SLICE_SECONDS), module.params, module.check_mode)
    except PatchingError as exc:
        module.fail_json(msg=str(exc), kind=_kind(exc))
    module.exit_json(**result, seconds=round(time.monotonic() - begun, 1))


if __name__ == "__main__":
    main()
