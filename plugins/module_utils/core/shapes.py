# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The shapes of what hosts and clusters tell: types, and nothing that runs. Pure.

The modules that return them document their fields. It is small, because Ansible sends it along with whatever names it;
what only the control node knows is in run/shapes.py and report/shapes.py.
"""

from __future__ import annotations

from typing import TypedDict

from .change import Change
from .problem import Problem


class Owner(TypedDict, total=False):
    who: str
    pid: int
    started: str
    boot_id: str
    machine: str
    pid_namespace: str


class Baseline(TypedDict, total=False):
    failed_units: list[str]
    listeners: list[int]
    mounts: list[str]
    containers: int
    k3s: ClusterBaseline


class Claim(TypedDict, total=False):
    run: str
    owner: Owner
    expires: float
    gate: float
    baseline: Baseline
    taken_over: Claim
    """What a dead run had left."""


class KeptBaseline(TypedDict):
    run: str
    baseline: Baseline


class Os(TypedDict):
    id: str
    version_id: str
    codename: str
    pretty: str


class Kernel(TypedDict):
    release: str
    version: str


class Kernels(TypedDict):
    running: Kernel
    newest: Kernel | None


class Reboot(TypedDict):
    required: bool
    reasons: list[str]
    expected: list[str]


class Unfit(Problem):
    mendable: bool


class Some(TypedDict):
    count: int
    names: list[str]


class Rebuild(TypedDict, total=False):
    end_of_support: str
    manual: Some
    conffiles: Some
    volumes: Some


class Host(TypedDict, total=False):
    """``host`` of host_info; empty of a host that was not asked."""

    os: Os
    boot_id: str
    machine_id: str
    system_uuid: str
    kernel: Kernels
    pending: list[Change]
    reboot: Reboot
    unfit: list[Unfit]
    starting: list[str]
    needrestart: bool
    warnings: list[str]
    image: dict[str, str]
    rebuild: Rebuild
    lists_age: float | None
    baseline: Baseline
    kept_baseline: KeptBaseline | None
    claim: Claim | None
    k3s: K3s | None
    clock: float


class K3s(TypedDict):
    """``local`` of k3s_info."""

    role: str
    unit: str
    active: bool
    binary: str
    version: str | None
    cluster: str | None
    datastore: str | None
    split: list[str]
    node_name: str | None
    addresses: list[str]
    machine_id: str
    boot_id: str
    problems: list[Problem]


class Rest(TypedDict):
    """``rest`` of k3s_info."""

    upgrade: bool
    daily_run: bool
    shutdown: str | None


class Mark(TypedDict):
    run: str
    phase: str | None
    boot_id: str | None


class Node(TypedDict):
    ready: bool
    unschedulable: bool
    boot_id: str
    machine_id: str
    version: str
    addresses: list[str]
    roles: list[str]
    hold: bool
    mark: Mark | None
    member: str | None
    voter: bool | None


class Member(TypedDict):
    id: str
    name: str
    node: str | None
    address: str | None
    learner: bool


class AskedMember(Member):
    healthy: bool


class Kured(TypedDict):
    namespace: str
    name: str
    held: bool


class Workload(TypedDict):
    desired: int
    ready: int
    pinned: dict[str, int]


class Budgeted(TypedDict):
    budget: str
    pods: list[str]


class Crowded(TypedDict):
    pod: str
    budgets: list[str]


class Forecast(TypedDict):
    moving: int
    grace: int
    no_disruption: list[Budgeted]
    two_budgets: list[Crowded]
    bare: list[str]
    only: list[str]
    job: list[str]
    empty_dir: list[str]
    local: list[str]
    homeless: list[str]


class DaemonPod(TypedDict):
    ready: bool
    containers: list[str]
    """Their ids."""


class ClusterBaseline(TypedDict, total=False):
    workloads: dict[str, Workload] | None
    longhorn: dict[str, str] | None


class Health(ClusterBaseline, total=False):
    """``cluster`` of k3s_info, the parts that were asked for."""

    nodes: dict[str, Node]
    unready: str
    etcd: list[AskedMember] | None
    kured: Kured | None
    plans: list[str]
    forecast: dict[str, Forecast]


class Cluster(TypedDict):
    """A K3s cluster, as `topology.topology` makes it out."""

    id: str
    name: str
    """Short, for people."""
    datastore: str | None
    servers: list[str]
    agents: list[str]
    delegate: str | None
    """The server that is asked, patched last."""
    order: list[str]
    nodes: dict[str, str]
    """host -> its name in the API."""
    foreign: list[str]
    """Nodes that are none of the hosts."""
    lone: bool
    problems: list[Problem]
