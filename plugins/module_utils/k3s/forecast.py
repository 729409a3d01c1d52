# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a drain will meet: what goes, what blocks it, what is lost. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal

from ..core.shapes import Forecast
from .pods import Object, allows, budgets_of, controller, finished, grace, key, left_on, pinned_to

_QUANTITY = re.compile(r"^(?P<number>[+-]?[\d.]+(?:[eE][+-]?\d+)?)(?P<unit>[numkMGTPE]|[KMGTPE]i)?$")
_UNITS: dict[str | None, Decimal] = {
    None: Decimal(1),
    **{unit: Decimal(10) ** power for unit, power in zip("numkMGTPE", (-9, -6, -3, 3, 6, 9, 12, 15, 18), strict=True)},
    **{f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("KMGTPE", start=1)},
}


def quantity(text: object) -> Decimal:
    """A quantity such as ``100m`` or ``1.5Gi`` as a number; 0 where it is none."""
    match = _QUANTITY.match(str(text))
    return Decimal(match["number"]) * _UNITS[match["unit"]] if match else Decimal(0)


def requests(pod: Object) -> dict[str, Decimal]:
    """What the scheduler reserves for a pod: ``cpu`` (cores), ``memory`` (bytes)."""
    spec = pod.get("spec") or {}

    def wants(container: Object, resource: str) -> Decimal:
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


def _tolerates(pod: Object, taint: Object) -> bool:
    for toleration in (pod.get("spec") or {}).get("tolerations") or []:
        same_value = toleration.get("operator") == "Exists" or toleration.get("value", "") == taint.get("value", "")
        if (
            toleration.get("key", taint["key"]) == taint["key"]
            and same_value
            and toleration.get("effect", taint["effect"]) == taint["effect"]
        ):
            return True
    return False


def _may_run(pod: Object, node: Object) -> bool:
    """Do labels and taints let the pod run on the node? (Affinities are not looked at.)"""
    labels = node["metadata"].get("labels") or {}
    if any(labels.get(name) != value for name, value in ((pod.get("spec") or {}).get("nodeSelector") or {}).items()):
        return False
    taints = (node.get("spec") or {}).get("taints") or []
    return all(taint["effect"] == "PreferNoSchedule" or _tolerates(pod, taint) for taint in taints)


def homeless(moving: list[Object], others: Iterable[Object], pods: Iterable[Object]) -> list[Object]:
    """The pods among `moving` for which the other nodes have no room left, by the requests of all pods.

    :param others: the nodes that may take them: ready and schedulable.
    :param pods: all pods of the cluster.
    """
    free: dict[str, dict[str, Decimal]] = {}
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


def _take(room: dict[str, Decimal], pod: Object) -> None:
    for what, amount in requests(pod).items():
        room[what] -= amount
    room["pods"] -= 1


def forecast(
    node: str,
    pods: list[Object],
    budgets: list[Object],
    nodes: list[Object],
    claims: Mapping[str, Object],
    volumes: Mapping[str, Object],
) -> Forecast:
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
    siblings: dict[str, int] = {}
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
            if allows(budget) < 1 and any(budget in some for some in covered.values())
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


def _takes_pods(node: Object) -> bool:
    conditions = (node.get("status") or {}).get("conditions") or []
    ready = any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
    return ready and not (node.get("spec") or {}).get("unschedulable")
