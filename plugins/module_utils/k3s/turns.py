# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls on the servers of a cluster, by turns until one answers: whose turn is next, and when they end. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core.problem import told
from ..core.shapes import Health
from .settle import others_cordons, settled, volumes_settled

# After these nothing is put back: the host, or the node, is somebody else's by now.
_NOT_OURS = ("claim", "uncordoned", "foreign")
_PAUSE = 3


def turn(calls: Mapping[str, Any], answer: Mapping[str, Any], now: float) -> dict[str, Any]:
    """What the calls have come to with one more answer, and whose turn is next.

    A server that does not answer is followed by the next one. When the time is over and none of them has answered,
    nothing is known, and that stops.

    :param calls: at first ``servers`` (in the order of their turns), ``began`` (seconds since the epoch), ``timeout``
        (seconds; 0: each server has one turn) and ``asks`` (the module only asks), and for a comparison ``baseline``
        (``cluster`` of k3s_info) and ``volumes_timeout``; then what this function returned before.
    :param answer: what Ansible registered, of k3s_node or k3s_info.
    :param now: seconds since the epoch.
    :returns: that, with ``ready``; ``again`` and ``pause`` (seconds before it); why it ended otherwise, ``blocked``
        (by what is on the node, or in the cluster) or ``stop`` (anything else); ``undo`` (False: the node is not ours
        any more); ``evicted`` and ``containers``.
    """
    end: dict[str, Any] = {"evicted": [], "containers": {}, "grace": 0, "silent": 0, "undo": True, **calls}
    end |= {"ready": False, "again": False, "pause": 0, "blocked": "", "stop": ""}
    end["evicted"] = [*end["evicted"], *answer.get("evicted", [])]
    end["grace"] = max(end["grace"], answer.get("grace", 0))
    late = now > end["began"] + max(end["timeout"], end["grace"] + 60 if end["grace"] else 0)
    if not answer.get("failed") and ("node" in answer or "cluster" in answer):
        end["silent"] = 0
        reasons, hopeless = _unsettled(end, answer["cluster"], now) if "cluster" in answer else _undone(answer, late)
        if not reasons:
            return {**end, "ready": True, "containers": answer.get("containers", end["containers"])}
        if hopeless:
            return {**end, "blocked": reasons}
        # A call that ended early found nothing to wait for; asking at once would only keep the API busy.
        return {**end, "again": True, "pause": _PAUSE if answer.get("seconds", 0) < 5 else 0}
    message = " ".join(str(answer.get("msg") or "it does not answer").split())
    kind = "unknown" if answer.get("unreachable") else answer.get("kind", "unknown")
    if kind in _NOT_OURS or (kind == "refused" and not end["asks"]):
        return {**end, "stop": message, "undo": kind == "refused"}
    last = f"{end['servers'][0]}: {message}"
    if kind == "changed":
        return {**end, "stop": last} if late else {**end, "again": True, "pause": _PAUSE}
    end["silent"] += 1
    everybody = end["silent"] >= len(end["servers"])
    if everybody and late:
        return {**end, "stop": f"the API of the cluster does not answer, so nothing is known; {last}"}
    servers = [*end["servers"][1:], end["servers"][0]]
    return {**end, "servers": servers, "again": True, "pause": _PAUSE if everybody else 0}


def ends(calls: Mapping[str, Any], answer: Mapping[str, Any], now: float) -> bool:
    """Is it not the same server's turn again after this answer?"""
    end = turn(calls, answer, now)
    return bool(not end["again"] or end["servers"][0] != calls["servers"][0])


def _unsettled(calls: Mapping[str, Any], cluster: Health, now: float) -> tuple[str, bool]:
    """What of the cluster is not as well as at the baseline, in words, and whether its time is over."""
    if not calls.get("baseline"):
        return "", False
    baseline, age = calls["baseline"], now - calls["began"]
    workloads = settled(baseline["workloads"], cluster["workloads"] or {}, others_cordons(cluster["nodes"]))
    volumes = volumes_settled(baseline.get("longhorn"), cluster.get("longhorn"))
    late = bool(workloads and age > calls["timeout"]) or bool(volumes and age > calls["volumes_timeout"])
    return told([*workloads, *volumes]), late


def _undone(answer: Mapping[str, Any], late: bool) -> tuple[str, bool]:
    """What a call of k3s_node left to be done, in words, empty where it is done; and whether to give up."""
    if "problems" in answer:
        return told(answer["problems"]), late
    if answer.get("drained", True):
        return "", False
    reasons = []
    for each in answer["blocked"]:
        pods = ", ".join(each["pods"])
        reasons.append(
            {
                "budget": f"PodDisruptionBudget {each['name']} does not let {pods} go",
                "two budgets": f"{pods} is under two PodDisruptionBudgets ({each['name']}), so nobody can evict it",
                "bare": f"{pods} has no controller that would make it anew: delete it yourself, or give it one",
                "error": f"{pods} cannot be evicted: {each['message']}",
            }[each["why"]]
        )
    if answer["terminating"]:
        reasons.append(f"still ending: {', '.join(answer['terminating'])}")
    if answer["volumes"]:
        reasons.append(f"still attached: {', '.join(answer['volumes'])}")
    text = f"node {answer['node']} cannot be drained: {'; '.join(reasons) or 'pods are left on it'}"
    return text, late or bool(answer.get("hopeless"))
