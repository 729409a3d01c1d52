# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pods as a drain meets them: what goes, what stays, what blocks, what is lost. Pure.

Pods, budgets, volumes and nodes are objects of the Kubernetes API, as its JSON has them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal

_MIRROR = "kubernetes.io/config.mirror"
_QUANTITY = re.compile(r"^(?P<number>[+-]?[\d.]+(?:[eE][+-]?\d+)?)(?P<unit>[numkMGTPE]|[KMGTPE]i)?$")
_UNITS: dict = {
    None: Decimal(1),
    **{unit: Decimal(10) ** power for unit, power in zip("numkMGTPE", (-9, -6, -3, 3, 6, 9, 12, 15, 18), strict=True)},
    **{f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("KMGTPE", start=1)},
}
# `pods/"NAME" -n "NAMESPACE"`; before kubectl 1.20 `pod "NAME"`.
_EVICTION_ERROR = re.compile(
    r'error when (?:evicting|deleting) pods?(?:/| )"(?P<name>[^"]+)"(?: -n "(?P<namespace>[^"]+)")?'
    r"(?P<retry> \(will retry after [^)]*\))?: (?P<message>.*)"
)
TWO_BUDGETS = "more than one PodDisruptionBudget"


def key(thing: Mapping) -> str:
    """``namespace/name`` of an object."""
    return f"{thing['metadata'].get('namespace', '')}/{thing['metadata']['name']}"


def quantity(text: object) -> Decimal:
    """A quantity such as ``100m`` or ``1.5Gi`` as a number; 0 where it is none."""
    match = _QUANTITY.match(str(text))
    return Decimal(match["number"]) * _UNITS[match["unit"]] if match else Decimal(0)


def controller(pod: Mapping) -> Mapping | None:
    """The owner that would make the pod anew, or None for a bare pod."""
    owners = pod["metadata"].get("ownerReferences") or []
    return next((owner for owner in owners if owner.get("controller")), None)


def finished(pod: Mapping) -> bool:
    """Has the pod ended for good?"""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def is_ready(pod: Mapping) -> bool:
    """Does the pod say that it is ready?"""
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def stays(pod: Mapping) -> bool:
    """May the pod be on a drained node? It may if it is a DaemonSet's, the kubelet's own (from a file), or finished."""
    owner = controller(pod)
    mirror = _MIRROR in (pod["metadata"].get("annotations") or {})
    return finished(pod) or mirror or bool(owner and owner["kind"] == "DaemonSet")


def left_on(node: str, pods: Iterable[Mapping]) -> dict:
    """The pods that keep a node from being empty.

    :returns: ``blocking``, pods that nobody has ended yet, and ``terminating``, which is progress.
    """
    left: dict = {"blocking": [], "terminating": []}
    for pod in pods:
        if (pod.get("spec") or {}).get("nodeName") == node and not stays(pod):
            left["terminating" if pod["metadata"].get("deletionTimestamp") else "blocking"].append(pod)
    return left


def grace(pods: Iterable[Mapping]) -> int:
    """The longest time, in seconds, that one of these pods may take to end."""
    return max((int((pod.get("spec") or {}).get("terminationGracePeriodSeconds") or 0) for pod in pods), default=0)


def selects(selector: Mapping | None, labels: Mapping) -> bool:
    """Does a label selector choose these labels? An empty one chooses all, none chooses nothing."""
    if selector is None:
        return False
    if any(labels.get(name) != value for name, value in (selector.get("matchLabels") or {}).items()):
        return False
    for rule in selector.get("matchExpressions") or []:
        present, value = rule["key"] in labels, labels.get(rule["key"])
        holds = {
            "In": present and value in (rule.get("values") or []),
            "NotIn": not present or value not in (rule.get("values") or []),
            "Exists": present,
            "DoesNotExist": not present,
        }
        if not holds.get(rule["operator"], False):
            return False
    return True


def budgets_of(pod: Mapping, budgets: Iterable[Mapping]) -> list:
    """The PodDisruptionBudgets that cover a pod."""
    labels = pod["metadata"].get("labels") or {}
    namespace = pod["metadata"].get("namespace")
    return [
        budget
        for budget in budgets
        if budget["metadata"].get("namespace") == namespace and selects(budget["spec"].get("selector"), labels)
    ]


def _allows(budget: Mapping) -> int:
    return int((budget.get("status") or {}).get("disruptionsAllowed") or 0)


def pinned_to(pod: Mapping, claims: Mapping, volumes: Mapping) -> list:
    """The nodes that hold local data of a pod, sorted; empty for a pod that may run anywhere.

    :param claims: ``namespace/name`` of a PersistentVolumeClaim -> the claim.
    :param volumes: name of a PersistentVolume -> the volume.
    """
    nodes = set()
    for name in claim_names(pod):
        volume = volumes.get((claims.get(name) or {"spec": {}})["spec"].get("volumeName")) or {"spec": {}}
        required = (volume["spec"].get("nodeAffinity") or {}).get("required") or {}
        for term in required.get("nodeSelectorTerms") or []:
            for rule in term.get("matchExpressions") or []:
                if rule["key"] == "kubernetes.io/hostname" and rule["operator"] == "In":
                    nodes |= set(rule["values"])
            for rule in term.get("matchFields") or []:
                if rule["key"] == "metadata.name" and rule["operator"] == "In":
                    nodes |= set(rule["values"])
    return sorted(nodes)


def claim_names(pod: Mapping) -> list:
    """``namespace/name`` of the PersistentVolumeClaims that a pod uses, also those it makes for itself."""
    names = []
    for volume in (pod.get("spec") or {}).get("volumes") or []:
        if "persistentVolumeClaim" in volume:
            names.append(volume["persistentVolumeClaim"]["claimName"])
        elif "ephemeral" in volume:
            names.append(f"{pod['metadata']['name']}-{volume['name']}")
    return [f"{pod['metadata'].get('namespace', '')}/{name}" for name in names]


def requests(pod: Mapping) -> dict:
    """What the scheduler reserves for a pod: ``cpu`` (cores), ``memory`` (bytes)."""
    spec = pod.get("spec") or {}

    def wants(container: Mapping, resource: str) -> Decimal:
        return quantity(((container.get("resources") or {}).get("requests") or {}).get(resource, 0))

    total = {}
    for resource in ("cpu", "memory"):
        starting = spec.get("initContainers") or []
        # A sidecar is an init container that goes on running.
        beside = sum((wants(each, resource) for each in starting if each.get("restartPolicy") == "Always"), Decimal(0))
        first = max((wants(each, resource) for each in starting), default=Decimal(0))
        running = sum((wants(each, resource) for each in spec.get("containers") or []), beside)
        total[resource] = max(first, running) + quantity((spec.get("overhead") or {}).get(resource, 0))
    return total


def _tolerates(pod: Mapping, taint: Mapping) -> bool:
    for toleration in (pod.get("spec") or {}).get("tolerations") or []:
        same_value = toleration.get("operator") == "Exists" or toleration.get("value", "") == taint.get("value", "")
        if (
            toleration.get("key", taint["key"]) == taint["key"]
            and same_value
            and toleration.get("effect", taint["effect"]) == taint["effect"]
        ):
            return True
    return False


def _may_run(pod: Mapping, node: Mapping) -> bool:
    """Do labels and taints let the pod run on the node? (Affinities are not looked at.)"""
    labels = node["metadata"].get("labels") or {}
    if any(labels.get(name) != value for name, value in ((pod.get("spec") or {}).get("nodeSelector") or {}).items()):
        return False
    taints = (node.get("spec") or {}).get("taints") or []
    return all(taint["effect"] == "PreferNoSchedule" or _tolerates(pod, taint) for taint in taints)


def homeless(moving: list, others: Iterable[Mapping], pods: Iterable[Mapping]) -> list:
    """The pods among `moving` for which the other nodes have no room left, by the requests of all pods.

    :param others: the nodes that may take them: ready and schedulable.
    :param pods: all pods of the cluster.
    """
    free: dict = {}
    nodes = {node["metadata"]["name"]: node for node in others}
    for name, node in nodes.items():
        room = (node.get("status") or {}).get("allocatable") or {}
        free[name] = {what: quantity(room.get(what, 0)) for what in ("cpu", "memory", "pods")}
    for pod in pods:
        name = (pod.get("spec") or {}).get("nodeName")
        if name in free and not finished(pod):
            _take(free[name], pod)
    without = []
    for pod in sorted(moving, key=lambda each: requests(each)["memory"], reverse=True):
        wanted = requests(pod)
        fitting = [
            name
            for name, node in nodes.items()
            if _may_run(pod, node)
            and free[name]["pods"] >= 1
            and all(wanted[what] <= free[name][what] for what in wanted)
        ]
        if fitting:
            _take(free[max(fitting, key=lambda name: free[name]["memory"])], pod)
        else:
            without.append(pod)
    return without


def _take(room: dict, pod: Mapping) -> None:
    for what, amount in requests(pod).items():
        room[what] -= amount
    room["pods"] -= 1


def forecast(node: str, pods: list, budgets: list, nodes: list, claims: Mapping, volumes: Mapping) -> dict:
    """What draining a node will meet, before anything is touched.

    :param pods: all pods of the cluster.
    :param budgets: all PodDisruptionBudgets.
    :param nodes: all nodes.
    :param claims: see `pinned_to`.
    :param volumes: see `pinned_to`.
    :returns: ``moving`` (how many pods go), ``grace`` (seconds), ``no_disruption`` (budgets that allow none now, with
        the pods), ``two_budgets`` (pods, with the budgets), and by name the pods that are ``bare``, the ``only`` one
        of their controller, a ``job``'s, have an ``empty_dir``, have ``local`` data, or are ``homeless``.
    """
    moving = [pod for kind in left_on(node, pods).values() for pod in kind]
    covered = {key(pod): budgets_of(pod, budgets) for pod in moving}
    siblings: dict = {}
    for pod in pods:
        owner = controller(pod)
        if owner and not finished(pod):
            siblings[owner["uid"]] = siblings.get(owner["uid"], 0) + 1
    owners = {key(pod): controller(pod) for pod in moving}
    local = {key(pod) for pod in moving if node in pinned_to(pod, claims, volumes)}
    others = [other for other in nodes if other["metadata"]["name"] != node and _takes_pods(other)]
    roomless = homeless([pod for pod in moving if key(pod) not in local and owners[key(pod)]], others, pods)
    return {
        "moving": len(moving),
        "grace": grace(moving),
        "no_disruption": [
            {"budget": key(budget), "pods": sorted(name for name in covered if budget in covered[name])}
            for budget in budgets
            if _allows(budget) < 1 and any(budget in some for some in covered.values())
        ],
        "two_budgets": [
            {"pod": name, "budgets": sorted(key(budget) for budget in some)}
            for name, some in sorted(covered.items())
            if len(some) > 1
        ],
        "bare": sorted(name for name, owner in owners.items() if owner is None),
        "only": sorted(
            name
            for name, owner in owners.items()
            if owner and owner["kind"] != "Job" and siblings.get(owner["uid"], 0) == 1
        ),
        "job": sorted(name for name, owner in owners.items() if owner and owner["kind"] == "Job"),
        "empty_dir": sorted(
            key(pod)
            for pod in moving
            if any("emptyDir" in volume for volume in (pod.get("spec") or {}).get("volumes") or [])
        ),
        "local": sorted(local),
        "homeless": sorted(key(pod) for pod in roomless),
    }


def _takes_pods(node: Mapping) -> bool:
    conditions = (node.get("status") or {}).get("conditions") or []
    ready = any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
    return ready and not (node.get("spec") or {}).get("unschedulable")


def blockers(stderr: str, blocking: list, budgets: list) -> list:
    """Why a slice of a drain did not move what it left.

    :param stderr: what kubectl drain wrote there.
    :param blocking: the pods that are left and that nobody has ended.
    :param budgets: all PodDisruptionBudgets.
    :returns: dicts of ``why`` (``budget``, ``two budgets``, ``bare`` or ``error``), ``name`` (of the budgets, else
        empty), ``pods``, ``message`` and ``hopeless`` (time alone will not change it).
    """
    by_name = {key(pod): pod for pod in blocking}
    found: dict = {}

    def note(why: str, name: str, pod: str, message: str) -> None:
        hopeless = why in ("two budgets", "bare")
        entry = {"why": why, "name": name, "pods": [], "message": message, "hopeless": hopeless}
        pods = found.setdefault((why, name), entry)["pods"]
        if pod and pod not in pods:
            pods.append(pod)

    for name, pod in by_name.items():
        if controller(pod) is None:
            note("bare", "", name, "no controller would make it anew")
    for match in _EVICTION_ERROR.finditer(stderr):
        named = [name for name in by_name if name.endswith(f"/{match['name']}")]
        name = f"{match['namespace']}/{match['name']}" if match["namespace"] else next(iter(named), match["name"])
        message = match["message"].strip()
        # A pod that has gone since; the end of the slice, which is no reason.
        if name not in by_name or message.startswith("global timeout reached"):
            continue
        covering = budgets_of(by_name[name], budgets)
        if TWO_BUDGETS in message:
            note("two budgets", ", ".join(sorted(key(budget) for budget in covering)), name, message)
        elif match["retry"] and covering:
            closed = [budget for budget in covering if _allows(budget) < 1] or covering
            for budget in closed:
                note("budget", key(budget), name, message)
        else:
            note("error", "", name, message)
    if not found and blocking and "cannot delete" in stderr:
        line = next(line for line in stderr.splitlines() if "cannot delete" in line)
        for name in by_name:
            note("error", "", name, line.strip())
    return [found[each] for each in sorted(found)]


def workloads(objects: Mapping) -> dict:
    """How many of each thing are there and ready: the health of a cluster, to be compared with a later one.

    :param objects: Kind -> list, of nodes, pods, their controllers, claims and volumes.
    :returns: ``kind namespace/name`` (``node name``) -> ``desired``, ``ready`` and ``pinned``, see `gate.settled`.
    """
    found = {}

    def note(kind: str, thing: Mapping, desired: int | None, ready: int | None) -> None:
        name = key(thing).removeprefix("/")
        found[f"{kind} {name}"] = {"desired": int(desired or 0), "ready": int(ready or 0), "pinned": {}}

    for node in objects.get("Node", []):
        note("node", node, 1, is_ready(node))
    for kind in ("Deployment", "StatefulSet"):
        for thing in objects.get(kind, []):
            note(kind.lower(), thing, thing["spec"].get("replicas", 1), thing["status"].get("readyReplicas"))
    for thing in objects.get("DaemonSet", []):
        note("daemonset", thing, thing["status"].get("desiredNumberScheduled"), thing["status"].get("numberReady"))
    for pod in objects.get("Pod", []):
        if controller(pod) is None and not stays(pod):
            note("pod", pod, 1, is_ready(pod))
    _note_pinned(found, objects)
    return found


def _note_pinned(found: dict, objects: Mapping) -> None:
    """Count, at their workload, the pods that wait for the node that has their data."""
    claims = {key(claim): claim for claim in objects.get("PersistentVolumeClaim", [])}
    volumes = {volume["metadata"]["name"]: volume for volume in objects.get("PersistentVolume", [])}
    replica_sets = {replica_set["metadata"]["uid"]: replica_set for replica_set in objects.get("ReplicaSet", [])}
    for pod in objects.get("Pod", []):
        nodes = pinned_to(pod, claims, volumes)
        owner = controller(pod)
        if not nodes or not owner or pod["spec"].get("nodeName"):
            continue
        if owner["uid"] in replica_sets:
            owner = controller(replica_sets[owner["uid"]]) or owner
        name = f"{owner['kind'].lower()} {pod['metadata'].get('namespace', '')}/{owner['name']}"
        if name in found:
            pinned = found[name]["pinned"]
            pinned[nodes[0]] = pinned.get(nodes[0], 0) + 1


def daemon_containers(node: str, objects: Mapping) -> dict:
    """The DaemonSets' pods on a node: ``namespace/name`` of the DaemonSet -> ``ready`` and ``containers`` (ids).

    :param objects: Kind -> list, of pods and DaemonSets; a DaemonSet without a pod there is not ready.
    """
    found = {key(thing): {"ready": False, "containers": []} for thing in objects.get("DaemonSet", [])}
    for pod in objects.get("Pod", []):
        owner = controller(pod)
        if not owner or owner["kind"] != "DaemonSet" or pod["spec"].get("nodeName") != node:
            continue
        if pod["metadata"].get("deletionTimestamp"):
            continue  # Its successor counts.
        # After a reboot the condition is the old one until the kubelet has looked at the containers.
        statuses = (pod.get("status") or {}).get("containerStatuses") or []
        up = bool(statuses) and all(status.get("ready") and status.get("containerID") for status in statuses)
        name = f"{pod['metadata'].get('namespace', '')}/{owner['name']}"
        found[name] = {
            "ready": is_ready(pod) and up,
            "containers": sorted(status["containerID"] for status in statuses if status.get("containerID")),
        }
    return found


def attached(node: str, attachments: Iterable[Mapping], pods: Iterable[Mapping], claims: Mapping) -> list:
    """Volumes that are still attached to a node though none of the pods that stay there uses them.

    :param attachments: VolumeAttachments.
    :param claims: see `pinned_to`.
    """
    used = {
        (claims.get(name) or {"spec": {}})["spec"].get("volumeName")
        for pod in pods
        if pod["spec"].get("nodeName") == node and stays(pod)
        for name in claim_names(pod)
    }
    names = [
        attachment["spec"]["source"].get("persistentVolumeName") or attachment["metadata"]["name"]
        for attachment in attachments
        if attachment["spec"]["nodeName"] == node
    ]
    return sorted(name for name in names if name not in used)
