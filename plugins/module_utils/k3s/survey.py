# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server can find out about its cluster. Runs on the server, Python 3.10 and newer."""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone

from . import etcd
from .extensions import applying, kured, longhorn
from .forecast import forecast
from .kubectl import Api
from .local import embedded_etcd
from .members import members
from .node import node_state
from .pods import key
from .workloads import workloads

_KINDS = {
    "health": ("nodes", "daemonsets"),
    "workloads": (
        *("nodes", "pods", "deployments", "statefulsets", "daemonsets", "replicasets"),
        *("persistentvolumeclaims", "persistentvolumes"),
    ),
    "drain": ("nodes", "pods", "poddisruptionbudgets", "persistentvolumeclaims", "persistentvolumes"),
}


def gathered(api: Api, parts: Collection) -> dict:
    """What was asked for, of the cluster of this server.

    :param parts: of ``health``, ``workloads`` and ``drain``.
    :returns: see RETURN of k3s_info; only the parts that were asked for.
    :raises PatchingError: the API does not answer.
    """
    kinds = sorted({kind for part in parts for kind in _KINDS[part]})
    with ThreadPoolExecutor(max_workers=4) as pool:
        asked = pool.submit(api.every, *kinds)
        beside = pool.submit(_health, api) if "health" in parts else None
        listed = pool.submit(_listed) if "health" in parts and embedded_etcd() else None
        objects = asked.result()
        states = {node["metadata"]["name"]: node_state(node) for node in objects.get("Node", [])}
        found: dict = {"nodes": states}
        if beside:
            names = list(states)
            found |= beside.result()
            found["kured"] = kured(objects.get("DaemonSet", []), names, datetime.now(timezone.utc))
            found["etcd"] = _members(api, listed.result(), states) if listed else None
    if "workloads" in parts:
        found["workloads"] = workloads(objects)
    if "drain" in parts:
        claims = {key(claim): claim for claim in objects.get("PersistentVolumeClaim", [])}
        volumes = {volume["metadata"]["name"]: volume for volume in objects.get("PersistentVolume", [])}
        pods, budgets = objects.get("Pod", []), objects.get("PodDisruptionBudget", [])
        found["forecast"] = {node: forecast(node, pods, budgets, objects["Node"], claims, volumes) for node in states}
    return found


def _health(api: Api) -> dict:
    """What extensions say, and whether the API server of this server calls itself ready."""
    groups = api.groups()
    plans, volumes = [], None
    if "upgrade.cattle.io" in groups:
        plans = applying(api.every("plans.upgrade.cattle.io").get("Plan", []))
    if "longhorn.io" in groups:
        volumes = longhorn(api.every("volumes.longhorn.io").get("Volume", []))
    return {"unready": api.unready(), "plans": plans, "longhorn": volumes}


def _listed() -> list | None:
    try:
        return etcd.listed()
    except etcd.Unknown:
        return None  # Unknown: the gate stops at it, for a server.


def _members(api: Api, listed: list | None, states: dict) -> list | None:
    """etcd's members with their nodes and their health, asked now; None where they are not known."""
    if listed is None:
        return None
    found = members(listed, states)
    # K3s lets each API server use the member beside it, so this reads through that member. Its own /health answers
    # on the loopback of its host alone.
    healthy = api.ready_at({member["address"] for member in found if member["address"]}, "/readyz/etcd")
    return [{**member, "healthy": healthy.get(member["address"], False)} for member in found]
