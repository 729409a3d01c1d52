# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What repeated calls of k3s_node have come to, and whether there is to be one more. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core.problem import told

# After these nothing is put back: the host, or the node, is somebody else's by now.
_NOT_OURS = ("claim", "uncordoned", "foreign")


def progress(so_far: Mapping[str, Any], result: Mapping[str, Any], now: float) -> dict[str, Any]:
    """What a repeated call of k3s_node has come to, and whether it is to be repeated once more.

    :param so_far: ``began`` (seconds since the epoch), ``timeout`` (seconds) and ``ask`` (servers, to be asked in this
        order), or what this function returned before.
    :param result: what Ansible registered.
    :param now: seconds since the epoch.
    :returns: that, with ``ready``; ``again`` and ``pause`` (seconds before it); why it ended otherwise, ``blocked``
        (by what is on the node) or ``stop`` (anything else); ``undo`` (False: the node is not ours any more);
        ``evicted`` and ``containers``.
    """
    end = {"evicted": [], "containers": {}, "grace": 0, "undo": True, **so_far}
    end |= {"ready": False, "again": False, "pause": 0, "blocked": "", "stop": ""}
    end["evicted"] = [*end["evicted"], *result.get("evicted", [])]
    end["grace"] = max(end["grace"], result.get("grace", 0))
    late = now > end["began"] + max(end["timeout"], end["grace"] + 60 if end["grace"] else 0)
    if "node" in result and not result.get("failed"):
        why = _unfinished(result)
        if not why:
            return {**end, "ready": True, "containers": result.get("containers", end["containers"])}
        if result.get("hopeless") or late:
            return {**end, "blocked": why}
        # A call that ended early found nothing to wait for; asking at once would only keep the API busy.
        return {**end, "again": True, "pause": 3 if result.get("seconds", 0) < 5 else 0}
    message = " ".join(str(result.get("msg") or "it does not answer").split())
    kind = "unknown" if result.get("unreachable") else result.get("kind", "unknown")
    if kind in _NOT_OURS or kind == "refused":
        return {**end, "stop": message, "undo": kind == "refused"}
    if late:
        return {**end, "stop": f"{end['ask'][0]}: {message}"}
    if kind == "unknown":
        end["ask"] = [*end["ask"][1:], end["ask"][0]]
    return {**end, "again": True, "pause": 3}


def _unfinished(result: Mapping[str, Any]) -> str:
    """What a call of k3s_node left to be done, in words; empty where it is done."""
    if "problems" in result:
        return told(result["problems"])
    if result.get("drained", True):
        return ""
    reasons = []
    for each in result["blocked"]:
        pods = ", ".join(each["pods"])
        reasons.append(
            {
                "budget": f"PodDisruptionBudget {each['name']} does not let {pods} go",
                "two budgets": f"{pods} is under two PodDisruptionBudgets ({each['name']}), so nobody can evict it",
                "bare": f"{pods} has no controller that would make it anew: delete it yourself, or give it one",
                "error": f"{pods} cannot be evicted: {each['message']}",
            }[each["why"]]
        )
    if result["terminating"]:
        reasons.append(f"still ending: {', '.join(result['terminating'])}")
    if result["volumes"]:
        reasons.append(f"still attached: {', '.join(result['volumes'])}")
    return f"node {result['node']} cannot be drained: {'; '.join(reasons) or 'pods are left on it'}"
