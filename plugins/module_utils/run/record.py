# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of one host's transaction, written step by step. Pure.

A record says ``lost`` from its first step to its end: a host that stops answering leaves no other word. So it does once
more while the tasks of the user run after the end of the transaction.
"""

from __future__ import annotations

from itertools import pairwise

from ..core.change import Change
from ..core.shapes import Host
from . import steps as table
from .shapes import Begun, Fact, Record, Timed


def step(record: Record, name: str, at: float) -> Record:
    """The record of a host that has begun a step.

    :param record: the record so far; empty at the beginning.
    :param name: the step, a key of `steps.STEPS`.
    :param at: seconds since the epoch.
    """
    begun: Record = {**record, "result": "lost", "step": name, "away": table.step(name).away}
    begun["marks"] = [*_begun(record), {"step": name, "at": at}]
    if record.get("result", "lost") != "lost":
        begun["ended"] = {
            "result": record["result"],
            "step": record["step"],
            "reason": record["reason"],
            "failures": record["failures"],
        }
    return begun


def _begun(record: Record) -> list[Begun]:
    """The steps with their beginnings, without the mark of an end."""
    return [mark for mark in record.get("marks", []) if mark["step"]]


def steps(record: Record) -> list[Timed]:
    """The steps in their order: ``name`` and ``seconds``, None for the one in which the host was lost."""
    taken: list[Timed] = [
        {"name": mark["step"], "seconds": round(after["at"] - mark["at"], 1)}
        for mark, after in pairwise(record["marks"])
    ]
    if record["result"] != "lost":
        return taken
    return [*taken[: len(_begun(record)) - 1], {"name": record["step"], "seconds": None}]


def finish(
    record: Record,
    result: str,
    at: float,
    after: Host | None = None,
    installed: list[Change] | None = None,
    reason: str = "",
    log: list[str] | None = None,
) -> Record:
    """The record of a host whose transaction has ended.

    :param result: ``patched``, ``reboot pending`` or ``failed``; ``lost`` where the host does not answer any more.
    :param at: seconds since the epoch.
    :param after: the assessment after the transaction, where the host gave one.
    :param installed: what the run changed.
    :param log: the last lines of apt-get and dpkg, where the upgrade failed.
    """
    reason = " ".join(reason.split())
    return _with_kept(
        {
            **_ended(record, at),
            "over": True,
            "result": result,
            "installed": list(installed or []),
            "reason": reason,
            "failures": [{"step": record["step"], "cause": reason}] if result == "failed" else [],
            "log": list(log or []),
            "boot_id": after["boot_id"] if after else None,
            "kernel": after["kernel"]["running"] if after else None,
        }
    )


def finish_after(record: Record, at: float, failure: str = "") -> Record:
    """The record of a host on which the tasks of the user after the transaction have run.

    What the transaction came to is not forgotten: ``step`` is the first one that failed.

    :param at: seconds since the epoch.
    :param failure: why a task failed; empty: none did.
    """
    whole, ended = _ended(record, at), record["ended"]
    if not failure:
        return _with_kept({**whole, **ended})
    cause = f"{record['step']}: {' '.join(failure.split())}"
    return _with_kept(
        {
            **whole,
            "result": "failed",
            "step": ended["step"] if ended["result"] == "failed" else record["step"],
            "reason": "; ".join(filter(None, [ended["reason"], cause])),
            "failures": [*ended["failures"], {"step": record["step"], "cause": cause}],
        }
    )


def _ended(record: Record, at: float) -> Record:
    """The record with its end, and with the seconds of each step added up."""
    marks: list[Begun] = [*_begun(record), {"step": "", "at": at}]
    seconds: dict[str, float] = {}
    for begun, ended in pairwise(marks):
        seconds[begun["step"]] = round(seconds.get(begun["step"], 0) + ended["at"] - begun["at"], 1)
    return {**record, "marks": marks, "seconds": seconds}


def _with_kept(record: Record) -> Record:
    """The record with what the host itself keeps of it."""
    kept: Fact = {
        "result": record["result"],
        "reason": record["reason"],
        "packages": len(record["installed"]),
        "kernel": record["kernel"]["release"] if record["kernel"] else None,
    }
    return {**record, "kept": kept}
