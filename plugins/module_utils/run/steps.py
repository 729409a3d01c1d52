# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps of a host's transaction, one row each; plan, estimate, record, report, page and docs use them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .shapes import PlannedStep

_CLUSTER = "on a server: k3s kubectl get nodes,pods -A; mend it, then run again"


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
    remedy: str = "then run again"
    """What to type after a failure in it."""
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


# In the order in which they run.
STEPS: tuple[Step, ...] = (
    Step("claim", "claim", "the claim on the host is renewed", 2, always=True),
    Step(
        "recover",
        "recover",
        "what a dead run had begun is finished",
        60,
        "on the host: dpkg --audit; apt-get --fix-broken install; then run again",
    ),
    Step(
        "recover node",
        "recover node",
        "a node that a dead run left cordoned is given back",
        90,
        f"{_CLUSTER}: it gives the node back",
        "cluster",
        node=True,
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
        "on the host: dpkg --audit; apt-get --fix-broken install; then run again, which finishes the rest",
        "upgrade",
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
        "when the lock is gone: ansible-playbook homelab.patching.reboot -e patching_hosts=HOST",
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
        "on the host: last -x; journalctl -b -e; then run again",
        "reboot",
        away=True,
        decided=True,
    ),
    Step(
        "restart services",
        "restart services",
        "where no reboot is needed, what runs replaced files is restarted",
        15,
        "on the host: needrestart -r l; then run again",
        "reboot",
        decided=True,
    ),
    Step(
        "restore",
        "give back",
        "the node is proved and given back",
        30,
        f"{_CLUSTER}: it gives the node back",
        "cluster",
        node=True,
        decided=True,
    ),
    Step(
        "settle",
        "settle",
        "everything in the cluster that was ready is ready again",
        30,
        _CLUSTER,
        "cluster",
        node=True,
        always=True,
    ),
    Step(
        "prove",
        "prove",
        "the host is as healthy as before, and nothing is left to upgrade",
        15,
        "on the host: systemctl --failed; mend it and run again, or take it as it is: -e patching_accept=HOST",
        "prove",
        always=True,
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
        lines.append(f"| {name} | {about} | {whom} | {row.seconds} s | {row.remedy} |")
    return lines
