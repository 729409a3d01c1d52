# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node as the API tells of it: its state, a run's mark on it, and whether it is whole again. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

from ..core.problem import Problem, on_host, on_server, problem
from ..core.shapes import DaemonPod, Mark, Node

# What a run writes on the node that it works on, and what a person writes to keep a cordon.
RUN = "homelab-patching/run"
PHASE = "homelab-patching/phase"
BOOT_ID = "homelab-patching/boot-id"
HOLD = "homelab-patching/hold"

_K3S = on_host("systemctl", "status", "k3s*")
_ROLE = "node-role.kubernetes.io/"
# K3s's own: the name of the node's etcd member.
_MEMBER = "etcd.k3s.cattle.io/node-name"

# Where to look when the cluster does not say.
ON_A_SERVER = (on_server("journalctl", "-u", "k3s"), on_server("k3s", "kubectl", "get", "nodes"))


def node_state(node: Mapping[str, Any]) -> Node:
    """What counts of a Node object of the API. ``mark`` is what a run wrote on it, None where none did."""
    metadata, status = node["metadata"], node.get("status") or {}
    annotations, labels = metadata.get("annotations") or {}, metadata.get("labels") or {}
    conditions = {condition["type"]: condition["status"] for condition in status.get("conditions") or []}
    info = status.get("nodeInfo") or {}
    mark: Mark | None = None
    if RUN in annotations:
        mark = {"run": annotations[RUN], "phase": annotations.get(PHASE), "boot_id": annotations.get(BOOT_ID)}
    return {
        "ready": conditions.get("Ready") == "True",
        "unschedulable": bool((node.get("spec") or {}).get("unschedulable")),
        "boot_id": info.get("bootID", ""),
        "machine_id": info.get("machineID", ""),
        "version": info.get("kubeletVersion", ""),
        "addresses": sorted(
            address["address"] for address in status.get("addresses") or [] if address["type"] == "InternalIP"
        ),
        "roles": sorted(name.removeprefix(_ROLE) for name in labels if name.startswith(_ROLE)),
        "hold": HOLD in annotations,
        "mark": mark,
        "member": annotations.get(_MEMBER),
        # Written by etcd's leader every 15 s at best, and absent on old releases: told, never waited for.
        "voter": {"True": True, "False": False}.get(conditions.get("EtcdIsVoter", "")),
    }


def same_address(one: str, other: str) -> bool:
    """Are two texts the same IP address? False where one is none."""
    try:
        return ip_address(one) == ip_address(other)
    except ValueError:
        return False


def node_gate(
    state: Node | None,
    host_boot: str,
    old_boot: str,
    before: Mapping[str, list[str]],
    now: Mapping[str, DaemonPod],
) -> list[Problem]:
    """Is the node whole again after its reboot? The problems say what is missing.

    :param state: `node_state`; None where the API does not know.
    :param host_boot: the boot_id that the host itself tells.
    :param old_boot: the one from before; empty where there was no reboot.
    :param before: ``namespace/name`` of a DaemonSet -> ids of its containers on the node, before the reboot.
    :param now: the same for all DaemonSets there are, with ``ready`` and ``containers``.
    """
    if state is None:
        return [problem("the API does not know the node", "", *ON_A_SERVER)]
    problems = []
    if state["boot_id"] == old_boot:
        problems.append(problem("the API still shows the boot from before", "", _K3S))
    elif state["boot_id"] != host_boot:
        problems.append(problem("the API shows another boot than the host", "", _K3S))
    if not state["ready"]:
        problems.append(problem("the node is not Ready", "", on_server("k3s", "kubectl", "describe", "node")))
    for name, old in sorted(before.items()):
        if name not in now:
            continue  # Somebody deleted the DaemonSet.
        if not now[name]["ready"]:
            problems.append(problem(f"the pod of DaemonSet {name} is not ready", f"look at DaemonSet {name}"))
        elif old_boot and set(old) & set(now[name]["containers"]):
            problems.append(problem(f"the pod of DaemonSet {name} is from before the reboot", f"look at {name}"))
    return problems
