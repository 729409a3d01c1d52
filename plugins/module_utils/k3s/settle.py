# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is all that was ready at the baseline ready again? Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..core.problem import Problem, on_server, problem
from ..core.shapes import ClusterBaseline, Health, Node, Workload

LONGHORN = on_server("k3s", "kubectl", "-n", "longhorn-system", "get", "volumes.longhorn.io")


def settled(before: Mapping[str, Workload], now: Mapping[str, Workload], cordoned: Iterable[str]) -> list[Problem]:
    """Is all that was ready at the baseline ready again? The problems say what is not.

    :param now: of it ``pinned``: node -> how many of its pods wait for data that is there and nowhere else.
    :param cordoned: nodes that somebody else has cordoned: what waits for those alone is no fault of this run.
    """
    problems = []
    for name, old in sorted(before.items()):
        new = now.get(name)
        if new is None:
            continue  # Somebody deleted it.
        wanted = min(old["ready"], new["desired"])
        excused = sum(count for node, count in new["pinned"].items() if node in cordoned)
        if new["ready"] + excused < wanted:
            kind, _space, rest = name.partition(" ")
            namespace, _slash, bare = rest.rpartition("/")
            look = on_server("k3s", "kubectl", *(["-n", namespace] if namespace else []), "describe", kind, bare)
            problems.append(problem(f"{name} has {new['ready']} ready, and had {old['ready']}", "", look))
    return problems


def volumes_settled(before: Mapping[str, str] | None, now: Mapping[str, str] | None) -> list[Problem]:
    """Is every Longhorn volume that was healthy at the baseline healthy again? A detached one is nobody's problem.

    :param before: name -> robustness, of the attached volumes; None where there is no Longhorn.
    """
    return [
        problem(f"Longhorn's volume {name} is {now[name]}", "", LONGHORN)
        for name, state in sorted((before or {}).items())
        if state == "healthy" and now is not None and now.get(name, state) != state
    ]


def worse(before: ClusterBaseline, now: Health) -> list[Problem]:
    """What of a cluster is not as well as at the baseline; see `settled` and `volumes_settled`."""
    workloads = settled(before.get("workloads") or {}, now["workloads"] or {}, others_cordons(now["nodes"]))
    return workloads + volumes_settled(before.get("longhorn"), now.get("longhorn"))


def others_cordons(nodes: Mapping[str, Node]) -> list[str]:
    """The nodes that somebody has cordoned who is no run."""
    return [name for name, state in nodes.items() if state["unschedulable"] and not state["mark"]]
