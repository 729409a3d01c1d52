# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring a node into a state: drained by a slice, marked for its reboot, given back, forgotten. Runs on a server."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping

from ..core.problem import Command, PatchingError, Problem, on_host, playbook, problem
from ..core.shapes import DaemonPod, Node
from ..host import claim_file, system
from . import drain, kubectl, local, pods
from .node import BOOT_ID, PHASE, RUN, node_gate, node_state

# A takeover waits a minute for the calls of the run it takes over.
_SLICE_SECONDS = 45
_DRAIN_SECONDS = 30
# Keeps a cordon that a person asked to keep, when ours is given back.
_HOLDER = f"{kubectl.MANAGER}-hold"


class Stop(PatchingError):
    """A failure that the caller has to know the kind of."""

    def __init__(self, kind: str, message: str, remedy: str = "", *commands: Command) -> None:
        super().__init__(message, remedy, *commands)
        self.kind = kind


def kind(exc: PatchingError) -> str:
    """Which kind of failure this is, for the caller; see RETURN of k3s_node."""
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
        raise Stop("claim", exc.message, exc.remedy, *exc.commands) from exc


def _mine(node: str, states: Mapping[str, Node], runs: Collection[str]) -> bool:
    """Does the node carry our mark?

    :param runs: ids of this run, and of the dead ones that it took over.
    :raises Stop: a node carries the mark of another run.
    """
    if node not in states:
        raise Stop("refused", f"the API knows no node {node}.", "On a server: k3s kubectl get nodes")
    for name, state in sorted(states.items()):
        if state["mark"] and (name != node or state["mark"]["run"] not in runs):
            raise Stop(
                "foreign",
                f"node {name} is marked by run {state['mark']['run']}.",
                "Finish it: ansible-playbook homelab.patching.recover",
            )
    return states[node]["mark"] is not None


def _marks(run: str, phase: str, boot_id: str) -> dict:
    return {RUN: run, PHASE: phase, BOOT_ID: boot_id}


def _stop_if_uncordoned(api: kubectl.Api, params: Mapping, state: Node, check_mode: bool) -> None:
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


def drained(api: kubectl.Api, params: Mapping, check_mode: bool) -> dict:
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
    stderr = ""
    if moving:
        seconds = max(1, min(_DRAIN_SECONDS, int(api.left()) - 12))
        words = ("drain", name, "--ignore-daemonsets", "--delete-emptydir-data", f"--timeout={seconds}s")
        # Its status is not the proof: what is left is.
        stderr = api.run(*words, seconds=seconds + 6).stderr
        objects = _listing(api)
    after = pods.left_on(name, objects["Pod"])
    still = {pod["metadata"]["uid"] for pod in after["blocking"]}
    evicted = sorted(pods.key(pod) for pod in before["blocking"] if pod["metadata"]["uid"] not in still)
    return {**result, **_verdict(objects, after, stderr, name), "evicted": evicted, "changed": changed or bool(evicted)}


def _listing(api: kubectl.Api) -> dict:
    kinds = ("nodes", "pods", "poddisruptionbudgets", "volumeattachments", "persistentvolumeclaims")
    objects = api.every(*kinds)
    return {name: objects.get(name, []) for name in _LISTED}


_LISTED = ("Node", "Pod", "PodDisruptionBudget", "VolumeAttachment", "PersistentVolumeClaim")


def _verdict(objects: Mapping, left: Mapping, stderr: str, node: str) -> dict:
    """Is the node empty, and what keeps it from that?"""
    blocked = drain.blockers(stderr, left["blocking"], objects["PodDisruptionBudget"])
    claims = {pods.key(claim): claim for claim in objects["PersistentVolumeClaim"]}
    volumes = drain.attached(node, objects["VolumeAttachment"], objects["Pod"], claims)
    return {
        "drained": not left["blocking"] and not left["terminating"] and not volumes,
        "terminating": sorted(pods.key(pod) for pod in left["terminating"]),
        "blocked": blocked,
        "hopeless": any(each["hopeless"] for each in blocked),
        "volumes": volumes,
    }


def rebooting(api: kubectl.Api, params: Mapping, check_mode: bool) -> dict:
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
    ready = {daemon: pod["containers"] for daemon, pod in daemons.items() if pod["ready"]}
    return {"changed": changed, "node": name, "containers": ready}


def schedulable(api: kubectl.Api, params: Mapping, check_mode: bool) -> dict:
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
    changed = marked and not problems
    if changed and not check_mode:
        if states[name]["hold"] and states[name]["unschedulable"]:
            api.apply_node(name, {}, True, manager=_HOLDER)
        states[name] = node_state(api.apply_node(name, {}, False))
    return {"changed": changed, "node": name, "problems": problems, "unschedulable": states[name]["unschedulable"]}


def _not_yet(params: Mapping, state: Node, daemons: Mapping[str, DaemonPod]) -> list[Problem]:
    """Why the node must not be given back yet."""
    mark = state["mark"]
    old_boot = mark["boot_id"] or "" if mark and mark["phase"] == "reboot" and not params["recover"] else ""
    if params["boot_id"]:
        return node_gate(state, params["boot_id"], old_boot, params["containers"], daemons)
    if old_boot and state["boot_id"] == old_boot:
        why = "the node was to be rebooted, and still runs in the boot from before"
        return [problem(why, "finish it", playbook("recover"))]
    return []


def _api_problems(api: kubectl.Api, state: Node) -> list[Problem]:
    if any(api.ready_at(state["addresses"]).values()):
        return []
    look = on_host("k3s", "kubectl", "get", "--raw", "/readyz?verbose"), on_host("journalctl", "-u", "k3s")
    return [problem("the node's own API server is not ready", "", *look)]


def forgotten(api: kubectl.Api, params: Mapping, check_mode: bool) -> dict:
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


STATES = {"drained": drained, "rebooting": rebooting, "schedulable": schedulable, "forgotten": forgotten}


def bring(params: Mapping, check_mode: bool) -> dict:
    """Bring the node into a state, as far as one call of k3s_node gets; see its RETURN.

    :param params: of k3s_node.
    :raises PatchingError: it cannot be had, see `kind`.
    """
    begun = time.monotonic()
    _require_claim(params["run"])
    binary = local.server()
    if not binary:
        raise Stop("refused", "this host is no server of a K3s cluster.", "Delegate it to a server.")
    result = STATES[params["state"]](kubectl.Api(binary, _SLICE_SECONDS), params, check_mode)
    return {**result, "seconds": round(time.monotonic() - begun, 1)}
