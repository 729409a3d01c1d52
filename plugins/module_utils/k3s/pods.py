# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pods: what keeps a node from being empty, what covers them, where their data is. Pure.

Pods, budgets, volumes and nodes are objects of the Kubernetes API, as its JSON has them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

# Of the Kubernetes API, as its JSON has it.
Object = Mapping[str, Any]
_MIRROR = "kubernetes.io/config.mirror"


def key(thing: Object) -> str:
    """``namespace/name`` of an object."""
    return f"{thing['metadata'].get('namespace', '')}/{thing['metadata']['name']}"


def controller(pod: Object) -> Object | None:
    """The owner that would make the pod anew, or None for a bare pod."""
    owners = pod["metadata"].get("ownerReferences") or []
    return next((owner for owner in owners if owner.get("controller")), None)


def finished(pod: Object) -> bool:
    """Has the pod ended for good?"""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def is_ready(pod: Object) -> bool:
    """Does the pod say that it is ready?"""
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def stays(pod: Object) -> bool:
    """May the pod be on a drained node? It may if it is a DaemonSet's, the kubelet's own (from a file), or finished."""
    owner = controller(pod)
    mirror = _MIRROR in (pod["metadata"].get("annotations") or {})
    return finished(pod) or mirror or bool(owner and owner["kind"] == "DaemonSet")


def left_on(node: str, pods: Iterable[Object]) -> dict[str, list[Object]]:
    """The pods that keep a node from being empty.

    :returns: ``blocking``, pods that nobody has ended yet, and ``terminating``, which is progress.
    """
    left: dict[str, list[Object]] = {"blocking": [], "terminating": []}
    for pod in pods:
        if (pod.get("spec") or {}).get("nodeName") == node and not stays(pod):
            left["terminating" if pod["metadata"].get("deletionTimestamp") else "blocking"].append(pod)
    return left


def grace(pods: Iterable[Object]) -> int:
    """The longest time, in seconds, that one of these pods may take to end."""
    return max((int((pod.get("spec") or {}).get("terminationGracePeriodSeconds") or 0) for pod in pods), default=0)


def selects(selector: Object | None, labels: Mapping[str, str]) -> bool:
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


def budgets_of(pod: Object, budgets: Iterable[Object]) -> list[Object]:
    """The PodDisruptionBudgets that cover a pod."""
    labels = pod["metadata"].get("labels") or {}
    namespace = pod["metadata"].get("namespace")
    return [
        budget
        for budget in budgets
        if budget["metadata"].get("namespace") == namespace and selects(budget["spec"].get("selector"), labels)
    ]


def allows(budget: Object) -> int:
    return int((budget.get("status") or {}).get("disruptionsAllowed") or 0)


def pinned_to(pod: Object, claims: Mapping[str, Object], volumes: Mapping[str, Object]) -> list[str]:
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


def claim_names(pod: Object) -> list[str]:
    """``namespace/name`` of the PersistentVolumeClaims that a pod uses, also those it makes for itself."""
    names = []
    for volume in (pod.get("spec") or {}).get("volumes") or []:
        if "persistentVolumeClaim" in volume:
            names.append(volume["persistentVolumeClaim"]["claimName"])
        elif "ephemeral" in volume:
            names.append(f"{pod['metadata']['name']}-{volume['name']}")
    return [f"{pod['metadata'].get('namespace', '')}/{name}" for name in names]
