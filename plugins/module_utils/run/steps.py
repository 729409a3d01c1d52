# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps of a host's transaction, one row each; plan, estimate, record, report, page and docs use them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..core.problem import Command, Problem, in_words, on_host, on_server, playbook, problem
from .shapes import PlannedStep


def _cluster(_host: str) -> tuple[Command, ...]:
    return (on_server("k3s", "kubectl", "get", "nodes,pods", "-A"),)


def _dpkg(host: str) -> tuple[Command, ...]:
    return (on_host("dpkg", "--audit", host=host), on_host("apt-get", "--fix-broken", "install", host=host))


def _reboot(host: str) -> tuple[Command, ...]:
    return (playbook("reboot", patching_hosts=host),)


def _boot(host: str) -> tuple[Command, ...]:
    return (on_host("last", "-x", host=host), on_host("journalctl", "-b", "-e", host=host))


def _services(host: str) -> tuple[Command, ...]:
    return (on_host("needrestart", "-r", "l", host=host),)


def _health(host: str) -> tuple[Command, ...]:
    return (on_host("systemctl", "--failed", host=host), playbook("patch", patching_accept=host))


def _nothing(_host: str) -> tuple[Command, ...]:
    return ()


@dataclass(frozen=True)
class Step:
    """One row."""

    key: str
    """Its name in the record, in the report and in the tasks of the roles."""
    title: str
    """What a person reads of it in the plan, in the report and on the page."""
    about: str
    """What happens in it, for the docs."""
    seconds: int = 0
    """How long it may take, for the estimate: a rule of thumb."""
    remedy: str = "run again"
    """What to do after a failure in it, in words."""
    kind: str = "other"
    """Its pattern on the page's timeline, a class of page.css."""
    away: bool = False
    """Does the host not answer for a while? Then a late answer may be one from before."""
    node: bool = False
    """Is it for nodes of a K3s cluster only?"""
    always: bool = False
    """Does every host of the roll go through it? Else the plan decides."""
    decided: bool = False
    """Is it decided anew when the host has been upgraded? Then the plan says what is expected."""
    commands: Callable[[str], tuple[Command, ...]] = _nothing
    """What to type after a failure in it on a host."""

    def failed(self, host: str, cause: str) -> Problem:
        """Its failure on a host."""
        return problem(cause, self.remedy, *self.commands(host))


# In the order in which they run.
STEPS: tuple[Step, ...] = (
    Step("claim", "claim", "the claim on the host is renewed", 2, always=True),
    Step(
        "recover",
        "recover",
        "what a dead run had begun is finished",
        60,
        "put the packages in order, then run again",
        commands=_dpkg,
    ),
    Step(
        "recover node",
        "recover node",
        "a node that a dead run left cordoned is given back",
        90,
        "mend the cluster, then run again: it gives the node back",
        "cluster",
        node=True,
        commands=_cluster,
    ),
    Step(
        "patching_before",
        "your tasks before",
        "tasks of yours, by `patching_before`",
        15,
        "mend the task file, then run again",
    ),
    Step(
        "gate",
        "gate",
        "the cluster is asked whether the node may go",
        5,
        "mend that, then run again",
        "cluster",
        node=True,
        always=True,
    ),
    Step(
        "upgrade",
        "upgrade",
        "the packages are installed",
        30,
        "put the packages in order, then run again, which does the rest",
        "upgrade",
        commands=_dpkg,
    ),
    Step(
        "assess",
        "assess again",
        "the host is asked whether it needs a reboot now",
        3,
        always=True,
    ),
    Step(
        "lock",
        "lock",
        "a lock of Proxmox VE on the guest, such as a backup's, is waited for",
        2,
        "reboot it when the lock is gone",
        commands=_reboot,
        decided=True,
    ),
    Step(
        "drain",
        "drain",
        "the node is cordoned and its pods are moved",
        90,
        "mend that, or set patching_k3s_on_blocked: skip; then run again",
        "cluster",
        node=True,
        decided=True,
    ),
    Step(
        "reboot",
        "reboot",
        "the reboot, and the proof that it happened",
        90,
        "see what became of the reboot, then run again",
        "reboot",
        away=True,
        commands=_boot,
        decided=True,
    ),
    Step(
        "restart services",
        "restart services",
        "where no reboot is needed, what runs replaced files is restarted",
        15,
        "see what is left to restart, then run again",
        "reboot",
        commands=_services,
        decided=True,
    ),
    Step(
        "restore",
        "give back",
        "the node is proved and given back",
        30,
        "mend the cluster, then run again: it gives the node back",
        "cluster",
        node=True,
        commands=_cluster,
        decided=True,
    ),
    Step(
        "settle",
        "settle",
        "everything in the cluster that was ready is ready again",
        30,
        "mend the cluster, then run again",
        "cluster",
        node=True,
        always=True,
        commands=_cluster,
    ),
    Step(
        "prove",
        "prove",
        "the host is as healthy as before, and nothing is left to upgrade",
        15,
        "mend it and run again, or take it as it is",
        "prove",
        always=True,
        commands=_health,
    ),
    Step(
        "patching_after",
        "your tasks after",
        "tasks of yours, by `patching_after`, whatever the outcome",
        15,
        "mend the task file, then run again",
    ),
)


def step(key: str) -> Step:
    """The row of a step; of one that an older report names, and that is none any more, a plain one."""
    return next((row for row in STEPS if row.key == key), Step(key, key, ""))


def planned(decided: Mapping[str, str], node: bool) -> list[PlannedStep]:
    """The steps of a host in their order.

    :param decided: step -> why, for those that not every host goes through; a reason for one of the others is kept.
    :param node: is the host a node of a K3s cluster?
    """
    keys = [row.key for row in STEPS if row.key in decided or (row.always and (node or not row.node))]
    return [{"step": key, "why": decided.get(key, "")} for key in keys]


def legend() -> dict[str, str]:
    """kind -> the steps that are of it, in words; the rest comes last."""
    kinds: dict[str, list[str]] = {}
    for row in STEPS:
        kinds.setdefault(row.kind, []).append(row.title)
    other = {"other": kinds.pop("other", [])}
    return {kind: ", ".join(titles) for kind, titles in {**kinds, **other}.items()}


def markdown() -> list[str]:
    """The table of the docs, as lines."""
    lines = ["| step | what happens | for | may take | after a failure in it |", "|---|---|---|---|---|"]
    for row in STEPS:
        name = f"`{row.key}`" + (f", {row.title}" if row.title != row.key else "")
        about = row.about + ("; the host is away" if row.away else "")
        whom = "K3s nodes" if row.node else "all hosts"
        then = in_words(row.remedy, row.commands("HOST"))
        lines.append(f"| {name} | {about} | {whom} | {row.seconds} s | {then} |")
    return lines
