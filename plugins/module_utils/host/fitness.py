# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is a host fit to be patched, and what should a person know before the upgrade? Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..core.change import Change
from ..core.problem import Problem, on_host, playbook, problem
from ..core.shapes import K3s

# apt does not trust an archive of the future, and claims expire by the host's own clock.
_CLOCK_SECONDS = 300


def interrupted(audit: str) -> list[Problem]:
    """What dpkg has left in the middle. A run that left it so may also mend it.

    :param audit: what `dpkg --audit` says.
    """
    finish = on_host("dpkg", "--configure", "-a")
    return [problem(f"dpkg was interrupted: {audit.splitlines()[0]}", "", finish)] if audit else []


def host_problems(
    hypervisor: bool, lost_disks: Iterable[str], clock_difference: float, shutdown: str | None
) -> list[Problem]:
    """What speaks against any work on the host.

    :param hypervisor: it is a Proxmox VE host itself.
    :param lost_disks: where grub-pc would install the boot loader, and nothing is.
    :param clock_difference: seconds by which its clock is ahead of the control node's.
    :param shutdown: what is scheduled, or None.
    """
    problems = []
    if hypervisor:
        leave = "leave it out: tag it nopatch, or -e 'patching_hosts=...'"
        problems.append(problem("this is a Proxmox VE host, not a guest", leave))
    for disk in lost_disks:
        cause = f"grub-pc would be installed on {disk}, which is not there"
        problems.append(problem(cause, "", on_host("dpkg-reconfigure", "grub-pc")))
    if abs(clock_difference) > _CLOCK_SECONDS:
        cause = f"its clock is {round(clock_difference)} s away from the control node's"
        problems.append(problem(cause, "", on_host("timedatectl", "set-ntp", "true")))
    if shutdown:
        cause = f"a {shutdown} is scheduled on the host"
        problems.append(problem(cause, "wait for it, or cancel it", on_host("shutdown", "-c")))
    return problems


def list_problems(refresh: Mapping[str, Any]) -> list[Problem]:
    """Why the package lists could not be refreshed.

    :param refresh: what Ansible registered of it; empty where it was not tried.
    """
    if refresh.get("rc", 0) == 0:
        return []
    text = f"{refresh.get('stderr', '')}\n{refresh.get('msg', '')}"
    cause = next((line for line in text.splitlines() if line.startswith("E:")), text.strip()[-200:])
    return [problem(f"the package lists cannot be refreshed: {cause}", "", on_host("apt-get", "update"))]


def upgrade_problems(removals: Sequence[str], full_disks: Iterable[Mapping[str, Any]]) -> list[Problem]:
    """What speaks against the upgrade that apt would make.

    :param removals: names of packages that it would remove.
    :param full_disks: `disk.short_of_space`.
    """
    problems = []
    if removals:
        look = on_host("apt-get", "--simulate", "dist-upgrade")
        problems.append(problem(f"the upgrade would remove {', '.join(sorted(removals))}", "look at it", look))
    for disk in full_disks:
        free, needed = disk["free"] // 1_000_000, disk["needed"] // 1_000_000
        cause = f"only {free} MB free in {disk['path']}, the upgrade needs {needed} MB"
        problems.append(problem(cause, f"make room in {disk['path']}"))
    return problems


def node_problems(k3s: K3s | None, automatic_reboot: bool) -> list[Problem]:
    """What speaks against work on a node of a K3s cluster.

    :param k3s: what the host knows of its K3s, or None.
    :param automatic_reboot: unattended-upgrades may reboot it.
    """
    if not k3s:
        return []
    problems = list(k3s["problems"])
    if automatic_reboot:
        cause = "it is a K3s node, and Unattended-Upgrade::Automatic-Reboot is on: it would go undrained"
        remedy = "unattended_upgrades_automatic_reboot: false, then put the daily policy in force"
        problems.append(problem(cause, remedy, playbook("policy")))
    return problems


def warnings(
    conffiles: Iterable[Mapping[str, Any]], changes: Iterable[Change], holder: Mapping[str, Any] | None, reboots: bool
) -> list[str]:
    """What a person should know before the upgrade, and what stops nothing; in sentences.

    :param conffiles: `dpkg.modified_conffiles`.
    :param changes: what the upgrade would install.
    :param holder: `dpkg.lock_holder`.
    :param reboots: unattended-upgrades may reboot the host.
    """
    names = {each["name"] for each in changes if each["old"]}
    texts = [
        f"{item['path']} of {item['package']} was changed here and stays as it is"
        for item in conffiles
        # dpkg writes the architecture behind the name of a package that may be there in several.
        if not item["missing"] and item["package"].partition(":")[0] in names
    ]
    if holder:
        texts.append(f"dpkg is locked by {holder['command']} (process {holder['pid']}): the run waits for it")
    if reboots:
        texts.append("Unattended-Upgrade::Automatic-Reboot is on: the daily updates may reboot it on any day")
    return texts
