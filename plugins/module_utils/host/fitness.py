# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is a host fit to be patched, and what should a person know before the upgrade? Pure.

A problem here is also ``mendable``: recovering the host puts it right.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

# apt does not trust an archive of the future, and claims expire by the host's own clock.
_CLOCK_SECONDS = 300


def _problem(message: str, remedy: str, mendable: bool = False) -> dict:
    return {"message": message, "remedy": remedy, "mendable": mendable}


def host_problems(
    hypervisor: bool, audit: str, lost_disks: Iterable[str], clock_difference: float, shutdown: str | None
) -> list:
    """What speaks against any work on the host.

    :param hypervisor: it is a Proxmox VE host itself.
    :param audit: what `dpkg --audit` says.
    :param lost_disks: where grub-pc would install the boot loader, and nothing is.
    :param clock_difference: seconds by which its clock is ahead of the control node's.
    :param shutdown: what is scheduled, or None.
    """
    problems = []
    if hypervisor:
        remedy = "leave it out: tag it nopatch, or -e 'patching_hosts=...'"
        problems.append(_problem("this is a Proxmox VE host, not a guest", remedy))
    if audit:
        cause = f"dpkg was interrupted: {audit.splitlines()[0]}"
        problems.append(_problem(cause, "on the host: dpkg --configure -a", mendable=True))
    for disk in lost_disks:
        cause = f"grub-pc would be installed on {disk}, which is not there"
        problems.append(_problem(cause, "on the host: dpkg-reconfigure grub-pc"))
    if abs(clock_difference) > _CLOCK_SECONDS:
        cause = f"its clock is {round(clock_difference)} s away from the control node's"
        problems.append(_problem(cause, "on the host: timedatectl set-ntp true"))
    if shutdown:
        remedy = "wait for it, or on the host: shutdown -c"
        problems.append(_problem(f"a {shutdown} is scheduled on the host", remedy))
    return problems


def list_problems(refresh: Mapping) -> list:
    """Why the package lists could not be refreshed.

    :param refresh: what Ansible registered of it; empty where it was not tried.
    """
    if refresh.get("rc", 0) == 0:
        return []
    text = f"{refresh.get('stderr', '')}\n{refresh.get('msg', '')}"
    cause = next((line for line in text.splitlines() if line.startswith("E:")), text.strip()[-200:])
    return [_problem(f"the package lists cannot be refreshed: {cause}", "on the host: apt-get update")]


def upgrade_problems(removals: Sequence[str], full_disks: Iterable[Mapping]) -> list:
    """What speaks against the upgrade that apt would make.

    :param removals: names of packages that it would remove.
    :param full_disks: `disk.short_of_space`.
    """
    problems = []
    if removals:
        remedy = "look at it on the host: apt-get --simulate dist-upgrade"
        problems.append(_problem(f"the upgrade would remove {', '.join(sorted(removals))}", remedy))
    for disk in full_disks:
        free, needed = disk["free"] // 1_000_000, disk["needed"] // 1_000_000
        cause = f"only {free} MB free in {disk['path']}, the upgrade needs {needed} MB"
        problems.append(_problem(cause, f"on the host: make room in {disk['path']}"))
    return problems


def node_problems(k3s: Mapping | None, automatic_reboot: bool) -> list:
    """What speaks against work on a node of a K3s cluster.

    :param k3s: what the host knows of its K3s, or None.
    :param automatic_reboot: unattended-upgrades may reboot it.
    """
    if not k3s:
        return []
    problems = [_problem(each["message"], each["remedy"]) for each in k3s["problems"]]
    if automatic_reboot:
        cause = "it is a K3s node, and Unattended-Upgrade::Automatic-Reboot is on: it would go undrained"
        remedy = "unattended_upgrades_automatic_reboot: false, then ansible-playbook homelab.patching.policy"
        problems.append(_problem(cause, remedy))
    return problems


def warnings(conffiles: Iterable[Mapping], upgrades: Iterable[Mapping], holder: Mapping | None, reboots: bool) -> list:
    """What a person should know before the upgrade, and what stops nothing; in sentences.

    :param conffiles: `dpkg.modified_conffiles`.
    :param upgrades: `pending.pending`.
    :param holder: `dpkg.lock_holder`.
    :param reboots: unattended-upgrades may reboot the host.
    """
    names = {item["name"] for item in upgrades if item["old"]}
    texts = [
        f"{item['path']} of {item['package']} was changed here and stays as it is"
        for item in conffiles
        # dpkg writes the architecture behind the name of a package that may be there in several; apt does not.
        if not item["missing"] and {item["package"], item["package"].partition(":")[0]} & names
    ]
    if holder:
        texts.append(f"dpkg is locked by {holder['command']} (process {holder['pid']}): the run waits for it")
    if reboots:
        texts.append("Unattended-Upgrade::Automatic-Reboot is on: the daily updates may reboot it on any day")
    return texts


def kept_back(pending: Mapping, held: Iterable[str], exclude: Iterable[str]) -> list:
    """The packages that an upgrade leaves as they are, each with ``name`` and ``why``.

    :param pending: `pending.pending`.
    :param held: names of packages that are on hold.
    :param exclude: names that the policy excludes.
    """
    held, exclude = set(held), set(exclude)
    reasons = {name: "held" if name in held else "its dependencies do not allow it" for name in pending["kept_back"]}
    for name, percentage in pending["phased"].items():
        reasons[name] = f"phased{f', {percentage} %' if percentage else ''}: not this host's turn yet"
    reasons |= {name: "excluded by patching_exclude_packages" for name in reasons if name.partition(":")[0] in exclude}
    return [{"name": name, "why": reasons[name]} for name in sorted(reasons)]
