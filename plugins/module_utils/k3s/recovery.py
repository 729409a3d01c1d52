# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What to do with nodes that a dead run left, and with those that are gone for good. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..core.problem import problem


def forgettable(names: Iterable[str], hosts: Mapping) -> dict:
    """Nodes that are said to be gone for good: who is to be asked to forget them.

    :param hosts: host -> ``k3s`` (its own facts) and ``cluster`` (of k3s_info); None where there was no answer.
    :returns: ``servers`` (node -> host) and ``problems``.
    """
    servers, problems = {}, []
    for name in names:
        knowing = [host for host, answer in hosts.items() if name in (answer["cluster"] or {"nodes": {}})["nodes"]]
        if not knowing:
            remedy = "on a server: k3s kubectl get nodes"
            problems.append(problem(f"no server that answers knows a node {name}", remedy))
            continue
        state = hosts[knowing[0]]["cluster"]["nodes"][name]
        machine = state["machine_id"]
        alive = [host for host, answer in hosts.items() if (answer["k3s"] or {}).get("machine_id") == machine]
        why = "it is Ready" if state["ready"] else f"its host {', '.join(alive)} answers" if alive else ""
        if why:
            remedy = "put it in order: ansible-playbook homelab.patching.recover, without patching_forget"
            problems.append(problem(f"node {name} is not gone: {why}", remedy))
        servers[name] = knowing[0]
    return {"servers": servers, "problems": problems}


def recover(state: Mapping | None, host_boot: str | None, shutting_down: bool, reboot_wanted: bool) -> dict:
    """What to do with a node that carries the mark of a dead run.

    :param state: `node_state`; None where the API does not answer.
    :param host_boot: the boot_id that the host tells now; None where it does not answer.
    :param shutting_down: a shutdown of the host is under way.
    :param reboot_wanted: the host needs a reboot, and its policy allows it.
    :returns: ``do`` and ``why``. ``nothing``; ``stop`` (nothing is known); ``wait``; ``give back`` (nothing was
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
