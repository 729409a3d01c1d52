# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What to do with nodes that a dead run left, and with those that are gone for good. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypedDict

from ..core.problem import Problem, on_server, playbook, problem
from ..core.shapes import Health, K3s, Node


class Answer(TypedDict):
    k3s: K3s | None
    """The host's own facts."""
    cluster: Health | None
    """Of k3s_info."""


class Forgettable(TypedDict):
    servers: dict[str, str]
    """node -> host"""
    problems: list[Problem]


class Recovery(TypedDict):
    do: str
    why: str


def forgettable(names: Iterable[str], hosts: Mapping[str, Answer]) -> Forgettable:
    """Nodes that are said to be gone for good: who is to be asked to forget them.

    :param hosts: host -> what it answered; None where there was no answer.
    """
    servers: dict[str, str] = {}
    problems: list[Problem] = []
    for name in names:
        states = {host: (answer["cluster"] or {}).get("nodes", {}).get(name) for host, answer in hosts.items()}
        knowing = [(host, state) for host, state in states.items() if state]
        if not knowing:
            look = on_server("k3s", "kubectl", "get", "nodes")
            problems.append(problem(f"no server that answers knows a node {name}", "", look))
            continue
        server, state = knowing[0]
        machine = state["machine_id"]
        alive = [host for host, answer in hosts.items() if answer["k3s"] and answer["k3s"]["machine_id"] == machine]
        why = "it is Ready" if state["ready"] else f"its host {', '.join(alive)} answers" if alive else ""
        if why:
            remedy = "put it in order, without patching_forget"
            problems.append(problem(f"node {name} is not gone: {why}", remedy, playbook("recover")))
        servers[name] = server
    return {"servers": servers, "problems": problems}


def recover(state: Node | None, host_boot: str | None, shutting_down: bool, reboot_wanted: bool) -> Recovery:
    """What to do with a node that carries the mark of a dead run.

    :param state: `node_state`; None where the API does not answer.
    :param host_boot: the boot_id that the host tells now; None where it does not answer.
    :param shutting_down: a shutdown of the host is under way.
    :param reboot_wanted: the host needs a reboot, and its policy allows it.
    :returns: to ``do`` are ``nothing``; ``stop`` (nothing is known); ``wait``; ``give back`` (nothing was
        rebooted); ``prove`` (it was rebooted: node gate, then give back); ``reboot`` (fenced, on the old boot).
    """
    if state is None:
        return {"do": "stop", "why": "the API does not answer, so it is not known what was left"}
    mark = state["mark"]
    if mark is None:
        return {"do": "nothing", "why": "no run has marked the node"}
    if host_boot is None:
        return {
            "do": "stop",
            "why": f"run {mark['run']} left the node in phase {mark['phase']}, and it does not answer",
        }
    if host_boot != mark["boot_id"]:
        return {"do": "prove", "why": f"the node has been rebooted since run {mark['run']} marked it"}
    if shutting_down:
        return {"do": "wait", "why": "a shutdown is under way"}
    if mark["phase"] != "reboot":
        return {"do": "give back", "why": f"run {mark['run']} ended in phase {mark['phase']}, before the reboot"}
    why = f"run {mark['run']} ended between its mark and the reboot"
    return {"do": "reboot" if reboot_wanted else "give back", "why": why}
