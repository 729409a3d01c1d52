# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many of each thing in a cluster are there and ready. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from ..core.shapes import Workload
from .pods import Object, controller, is_ready, key, pinned_to, stays


def workloads(objects: Mapping[str, list[Object]]) -> dict[str, Workload]:
    """How many of each thing are there and ready: the health of a cluster, to be compared with a later one.

    :param objects: Kind -> list, of nodes, pods, their controllers, claims and volumes.
    :returns: ``kind namespace/name`` (``node name``) -> ``desired``, ``ready`` and ``pinned``, see `settle.settled`.
    """
    found: dict[str, Workload] = {}

    def note(kind: str, thing: Object, desired: int | None, ready: int | None) -> None:
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


def _note_pinned(found: dict[str, Workload], objects: Mapping[str, list[Object]]) -> None:
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
