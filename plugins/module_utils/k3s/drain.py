# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a drain has left on a node, and why. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TypedDict

from ..core.shapes import DaemonPod
from .pods import Object, allows, budgets_of, claim_names, controller, is_ready, key, stays

# `pods/"NAME" -n "NAMESPACE"`; before kubectl 1.20 `pod "NAME"`.
_EVICTION_ERROR = re.compile(
    r'error when (?:evicting|deleting) pods?(?:/| )"(?P<name>[^"]+)"(?: -n "(?P<namespace>[^"]+)")?'
    r"(?P<retry> \(will retry after [^)]*\))?: (?P<message>.*)"
)
TWO_BUDGETS = "more than one PodDisruptionBudget"


class Blocker(TypedDict):
    """What keeps pods on a node."""

    why: str
    """``budget``, ``two budgets``, ``bare`` or ``error``."""
    name: str
    """Of the budgets, else empty."""
    pods: list[str]
    message: str
    hopeless: bool
    """Time alone will not change it."""


def blockers(stderr: str, blocking: list[Object], budgets: list[Object]) -> list[Blocker]:
    """Why a slice of a drain did not move what it left.

    :param stderr: what kubectl drain wrote there.
    :param blocking: the pods that are left and that nobody has ended.
    :param budgets: all PodDisruptionBudgets.
    """
    by_name = {key(pod): pod for pod in blocking}
    found: dict[tuple[str, str], Blocker] = {}

    def note(why: str, name: str, pod: str, message: str) -> None:
        hopeless = why in ("two budgets", "bare")
        entry: Blocker = {"why": why, "name": name, "pods": [], "message": message, "hopeless": hopeless}
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
            closed = [budget for budget in covering if allows(budget) < 1] or covering
            for budget in closed:
                note("budget", key(budget), name, message)
        else:
            note("error", "", name, message)
    if not found and blocking and "cannot delete" in stderr:
        line = next(line for line in stderr.splitlines() if "cannot delete" in line)
        for name in by_name:
            note("error", "", name, line.strip())
    return [found[each] for each in sorted(found)]


def daemon_containers(node: str, objects: Mapping[str, list[Object]]) -> dict[str, DaemonPod]:
    """The DaemonSets' pods on a node: ``namespace/name`` of the DaemonSet -> ``ready`` and ``containers`` (ids).

    :param objects: Kind -> list, of pods and DaemonSets; a DaemonSet without a pod there is not ready.
    """
    found: dict[str, DaemonPod] = {
        key(thing): {"ready": False, "containers": []} for thing in objects.get("DaemonSet", [])
    }
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


def attached(
    node: str, attachments: Iterable[Object], pods: Iterable[Object], claims: Mapping[str, Object]
) -> list[str]:
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
