# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of one host's transaction, written step by step. Pure.

A record says ``lost`` from its first step to its end: a host that stops answering leaves no other word.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise


def step(record: Mapping, name: str, at: float) -> dict:
    """The record of a host that has begun a step.

    :param record: the record so far; empty at the beginning.
    :param name: the step, in the words of the plan.
    :param at: seconds since the epoch.
    """
    return {**record, "result": "lost", "step": name, "marks": [*record.get("marks", []), {"step": name, "at": at}]}


def finish(
    record: Mapping,
    result: str,
    at: float,
    after: Mapping | None = None,
    packages: list | None = None,
    reason: str = "",
    remedy: str = "",
    log: list | None = None,
) -> dict:
    """The record of a host whose transaction has ended.

    :param result: ``patched``, ``reboot pending`` or ``failed``.
    :param at: seconds since the epoch.
    :param after: the assessment after the transaction, where the host gave one.
    :param packages: what was upgraded: name, old, new.
    :param log: the last lines of apt-get and dpkg, where the upgrade failed.
    """
    marks = [*record.get("marks", []), {"step": "", "at": at}]
    seconds: dict = {}
    for begun, ended in pairwise(marks):
        seconds[begun["step"]] = round(seconds.get(begun["step"], 0) + ended["at"] - begun["at"], 1)
    after = after or {}
    return {
        **record,
        "result": result,
        "seconds": seconds,
        "packages": list(packages or []),
        "reason": " ".join(reason.split()),
        "remedy": remedy,
        "log": list(log or []),
        "boot_id": after.get("boot_id"),
        "kernel": (after.get("kernel") or {}).get("running"),
    }


def fact(record: Mapping) -> dict:
    """What a host keeps of its own record: ``result``, ``reason``, ``packages`` (how many), ``kernel``."""
    return {
        "result": record["result"],
        "reason": record["reason"],
        "packages": len(record["packages"]),
        "kernel": (record["kernel"] or {}).get("release"),
    }
