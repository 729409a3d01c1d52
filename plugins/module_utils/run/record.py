# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of one host's transaction, written step by step. Pure.

A record says ``lost`` from its first step to its end: a host that stops answering leaves no other word. So it does once
more while the tasks of the user run after the end of the transaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from . import steps as table


def step(record: Mapping, name: str, at: float) -> dict:
    """The record of a host that has begun a step.

    :param record: the record so far; empty at the beginning.
    :param name: the step, a key of `steps.STEPS`.
    :param at: seconds since the epoch.
    """
    begun = {**record, "result": "lost", "step": name, "away": table.step(name).away}
    begun["marks"] = [*_begun(record), {"step": name, "at": at}]
    if record.get("result", "lost") != "lost":
        begun["ended"] = {key: record[key] for key in ("result", "step", "reason", "remedy")}
    return begun


def _begun(record: Mapping) -> list:
    """The steps with their beginnings, without the mark of an end."""
    return [mark for mark in record.get("marks", []) if mark["step"]]


def steps(record: Mapping) -> list:
    """The steps in their order: ``name`` and ``seconds``, None for the one in which the host was lost."""
    taken = [
        {"name": mark["step"], "seconds": round(after["at"] - mark["at"], 1)}
        for mark, after in pairwise(record["marks"])
    ]
    if record["result"] != "lost":
        return taken
    return [*taken[: len(_begun(record)) - 1], {"name": record["step"], "seconds": None}]


def finish(
    record: Mapping,
    result: str,
    at: float,
    after: Mapping | None = None,
    packages: list | None = None,
    reason: str = "",
    log: list | None = None,
) -> dict:
    """The record of a host whose transaction has ended.

    :param result: ``patched``, ``reboot pending`` or ``failed``; ``lost`` where the host does not answer any more.
    :param at: seconds since the epoch.
    :param after: the assessment after the transaction, where the host gave one.
    :param packages: what was upgraded: name, old, new.
    :param log: the last lines of apt-get and dpkg, where the upgrade failed.
    """
    after = after or {}
    return _with_kept(
        {
            **_ended(record, at),
            "over": True,
            "result": result,
            "packages": list(packages or []),
            "reason": " ".join(reason.split()),
            "remedy": table.step(record["step"]).remedy if result == "failed" else "",
            "log": list(log or []),
            "boot_id": after.get("boot_id"),
            "kernel": (after.get("kernel") or {}).get("running"),
        }
    )


def finish_after(record: Mapping, at: float, failure: str = "") -> dict:
    """The record of a host on which the tasks of the user after the transaction have run.

    What the transaction came to is not forgotten: ``step`` is the first one that failed.

    :param at: seconds since the epoch.
    :param failure: why a task failed; empty: none did.
    """
    whole, ended = _ended(record, at), record["ended"]
    if not failure:
        return _with_kept({**whole, **ended})
    return _with_kept(
        {
            **whole,
            "result": "failed",
            "step": ended["step"] if ended["result"] == "failed" else record["step"],
            "reason": _joined(ended["reason"], f"{record['step']}: {' '.join(failure.split())}"),
            "remedy": _joined(ended["remedy"], table.step(record["step"]).remedy),
        }
    )


def _joined(*texts: str) -> str:
    return "; ".join(dict.fromkeys(filter(None, texts)))


def _ended(record: Mapping, at: float) -> dict:
    """The record with its end, and with the seconds of each step added up."""
    marks = [*_begun(record), {"step": "", "at": at}]
    seconds: dict = {}
    for begun, ended in pairwise(marks):
        seconds[begun["step"]] = round(seconds.get(begun["step"], 0) + ended["at"] - begun["at"], 1)
    return {**record, "marks": marks, "seconds": seconds}


def _with_kept(record: dict) -> dict:
    """The record with what the host itself keeps of it: ``result``, ``reason``, ``packages`` (how many), ``kernel``."""
    kept = {name: record[name] for name in ("result", "reason")}
    kept |= {"packages": len(record["packages"]), "kernel": (record["kernel"] or {}).get("release")}
    return {**record, "kept": kept}
