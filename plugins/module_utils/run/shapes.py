# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The shapes of what travels through a run, from a host's assessment over the plan to its record. Pure."""

from __future__ import annotations

from typing import Any, TypedDict

from ..core.change import Change
from ..core.problem import Problem
from ..core.shapes import Baseline, Cluster, ClusterBaseline, Health, Host, Kernel, Kernels, Os, Owner, Some


class Policy(TypedDict):
    """The ``patching_*`` values of a host that the plan reads, by their names without the prefix."""

    upgrade: str
    reboot: str
    ring: int
    apart: list[str]
    exclude_packages: list[str]
    before: str | None
    after: str | None
    wave_size: int
    max_failures: int
    per_node: int
    until: str | None
    k3s_kured: str
    k3s_api_outage: str
    k3s_foreign_nodes: str
    rebuild_image_days: int
    rebuild_support_days: int


class RunPolicy(TypedDict):
    """The values that hold for the whole run."""

    wave_size: int
    max_failures: int
    per_node: int
    until: str | None


class Image(TypedDict):
    """What a host was made from; empty where it is not known."""

    name: str
    date: str


class Published(Image):
    """An image that can be had."""

    os: str
    version: str


class OwnImage(Image):
    age_days: int | None
    newer: str
    """The newest published one that is younger; empty: none that is known."""


class Losses(TypedDict):
    manual: Some
    conffiles: Some
    volumes: Some


class Advice(TypedDict):
    """Patch or rebuild?"""

    advice: str
    why: list[str]
    image: OwnImage
    end_of_support: str
    takes_along: list[str]
    loses: Losses


class Assessment(TypedDict):
    """What is known about a host before the plan."""

    state: str
    """``ok``, ``off`` or ``refused``."""
    reason: str
    problems: list[Problem]
    """Why it is refused."""
    policy: Policy | None
    host: Host
    node: str | None
    """Of Proxmox VE."""
    image: Image
    cluster: Health | None
    """Of K3s; None where no API answered on it."""


class PlannedStep(TypedDict):
    step: str
    why: str
    """Empty: it needs no reason."""


class Before(TypedDict):
    """How a host was before its transaction."""

    boot_id: str
    kernel: Kernels
    os: Os
    warnings: list[str]
    starting: list[str]
    baseline: Baseline


class _Entry(TypedDict):
    result: str | None
    """None: it is in the roll."""
    reason: str
    """Why that result, in a line."""
    problems: list[Problem]
    steps: list[PlannedStep]
    node: str | None
    os: str
    pending: list[Change]
    advice: Advice | None


class Entry(_Entry, total=False):
    """The plan of one host; what follows is there where the host was fit to be asked."""

    policy: Policy
    before: Before


class PlannedCluster(Cluster):
    """A cluster with hosts of the run."""

    marked: dict[str, str]
    """host -> the dead run that left its mark on the node."""
    health: Health | None
    baseline: ClusterBaseline
    broken: dict[str, list[Problem]]
    """host -> what the run that failed there left worse than it was."""


class Clusters(TypedDict):
    clusters: dict[str, PlannedCluster]
    of: dict[str, str]
    """host -> the id of its cluster."""


class Totals(TypedDict):
    hosts: int
    waves: int
    updates: int
    security: int
    reboots: int
    seconds: int
    """An estimate."""


class Decided(TypedDict):
    """A plan before its waves are formed."""

    run: str
    began: float
    owner: Owner
    mode: str
    policy: RunPolicy
    hosts: dict[str, Entry]
    k3s: Clusters
    dead: list[str]
    """Runs that are over: their claims and marks are taken over."""
    deadline: float | None
    """No wave opens after it."""


class RollMember(TypedDict):
    name: str
    wave: int
    conductor: bool


class Plan(Decided):
    waves: list[list[str]]
    sizes: list[int]
    """Of Ansible's batches: each wave and its conductor."""
    roll: list[RollMember]
    """The hosts in the order of the batches."""
    held: list[str]
    """Nodes that are not in the roll, and belong to the clusters of those that are: they are claimed as well."""
    totals: Totals
    claim_seconds: int


class Go(TypedDict):
    go: int
    """The wave that may open next, or 0."""
    stopped: str
    """Why none may."""


class Begun(TypedDict):
    step: str
    at: float


class Timed(TypedDict):
    name: str
    seconds: float | None
    """None: the host was lost in it."""


class FailedStep(TypedDict):
    step: str
    cause: str


class Ended(TypedDict):
    """What a transaction came to."""

    result: str
    step: str
    reason: str
    failures: list[FailedStep]


class Fact(TypedDict):
    """What a host keeps of its own record."""

    result: str
    reason: str
    packages: int
    kernel: str | None


class Record(TypedDict, total=False):
    """The record of a host's transaction; empty before it begins. At its end come ``over`` and what follows."""

    result: str
    step: str
    away: bool
    """The host does not answer for a while."""
    marks: list[Begun]
    begun: bool
    """The step that the wave has come to is this host's now."""
    over: bool
    reason: str
    failures: list[FailedStep]
    """At most one of the transaction and one of the tasks of the user after it."""
    seconds: dict[str, float]
    installed: list[Change]
    log: list[str]
    boot_id: str | None
    kernel: Kernel | None
    kept: Fact
    ended: Ended
    """What it had come to before the tasks of the user began."""


class Failure(TypedDict):
    """What became of a step that failed."""

    result: dict[str, Any]
    """Of the task."""
    task: str
    again: dict[str, Any]
    """Of asking the host whether it still answers; skipped where that says nothing."""
