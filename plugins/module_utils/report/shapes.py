# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The shape of the report; docs/report.schema.json is the same for others, and says what its fields mean. Pure."""

from __future__ import annotations

from typing import TypedDict

from ..core.change import Change
from ..core.problem import Problem
from ..core.shapes import Kernel
from ..run.shapes import Advice, Timed


class Fix(TypedDict, total=False):
    """What the changelog of a downloaded package says."""

    source: str
    cves: list[str] | None
    fixed: str | None


class Exposure(Change):
    source: str
    closed: bool
    cves: list[str] | None
    fixed: str | None
    since: str
    days: int


class BootIds(TypedDict):
    before: str | None
    after: str | None


class RunningKernels(TypedDict):
    before: Kernel | None
    after: Kernel | None


class _Host(TypedDict):
    result: str
    reason: str
    remedy: str
    problems: list[Problem]
    wanted: bool
    os: str
    node: str
    began: float | None
    steps: list[Timed]
    seconds: dict[str, float]
    installed: list[Change]
    pending: list[Change] | None
    security: list[Exposure] | None
    advice: Advice | None
    boot_id: BootIds
    kernel: RunningKernels


class HostReport(_Host, total=False):
    log: list[str]


class Report(TypedDict):
    schema: int
    run: str
    began: float
    ended: float
    ok: bool
    wrong: list[str]
    stopped: str
    counts: dict[str, int]
    waves: list[list[str]]
    clusters: dict[str, list[str]]
    hosts: dict[str, HostReport]
