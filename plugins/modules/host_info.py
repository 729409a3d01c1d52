#!/usr/bin/python
# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module host_info: what a host needs, whether it is fit to be patched, and how healthy it is. Changes nothing."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_info
short_description: Assess one host for patching
version_added: 0.1.0
author: The homelab.patching maintainers (@homelab)
description:
  - Reports in one round trip which packages an upgrade would install, whether a reboot is needed or expected, whether
    the host is fit to be patched, and its current health.
  - Changes nothing and downloads nothing. Refresh the package lists first.
options:
  upgrade:
    description:
      - Which updates count as pending.
      - V(full) is what C(apt-get dist-upgrade) installs, V(security) only what a security archive offers,
        V(none) nothing.
    type: str
    choices: [full, security, none]
    default: full
  exclude:
    description: Names of packages that are not upgraded.
    type: list
    elements: str
    default: []
  controller_clock:
    description:
      - The control node's clock in seconds since the epoch. A host whose clock differs by more than five minutes is
        unfit, because apt would not trust the archive, and claims would not expire when they should.
    type: float
  lists:
    description: The result of refreshing the package lists, so that a failure is reported with its cause.
    type: dict
requirements:
  - python3-apt on the host (found in another interpreter of the host if needed)
attributes:
  check_mode:
    description: Can run in check mode and return changed status prediction without modifying target.
    support: full
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in check mode), when in diff mode.
    support: none
  platform:
    description: Target OS/families that can be operated against.
    platforms: debian
    support: full
"""

EXAMPLES = r"""
- name: Ask a host what an upgrade would do
  homelab.patching.host_info:
  register: assessment

- name: Show why it needs a reboot
  ansible.builtin.debug:
    var: assessment.host.reboot.reasons
"""

RETURN = r"""
host:
  description: The assessment.
  returned: success
  type: dict
  contains:
    os:
      description: V(id), V(version_id), V(codename) and V(pretty) of the distribution.
      type: dict
    boot_id:
      description: The id of the current boot.
      type: str
    machine_id:
      description: The id of the machine.
      type: str
    kernel:
      description: The C(running) kernel and the C(newest) installed one (null in a container).
      type: dict
    pending:
      description:
        - The updates. Each has C(name) of the package, C(arch) (empty unless it differs from the host's), C(old) (null
          for a new package), C(new), C(security) (the version that a security archive offers, or null), and C(held_by)
          (why an upgrade does not install it; empty if it does).
      type: list
      elements: dict
    kept_baseline:
      description: The baseline before a run that broke something, with the run's id, or null.
      type: dict
    reboot:
      description: Whether a reboot is C(required) now, and why; and why one is expected after the upgrade.
      type: dict
    unfit:
      description:
        - Why the host must not be patched now, each with C(cause), C(remedy), C(commands) and C(mendable) (recovery can
          fix it).
      type: list
      elements: dict
    starting:
      description: Units that systemd is about to start or stop.
      type: list
      elements: str
    needrestart:
      description: Whether needrestart is installed, which finds the services that still run replaced files.
      type: bool
    warnings:
      description: Messages for the admin to read before the upgrade. None of them stops a run.
      type: list
      elements: str
    image:
      description: The content of C(/etc/cloud/build.info) about the host's image; empty without that file.
      type: dict
    rebuild:
      description:
        - Facts for the advice to rebuild; empty with O(upgrade=none). C(end_of_support) of its release (a date, without
          a paid contract; empty if unknown), and what a rebuild would lose, each with C(count) and C(names) (200 at
          most), C(manual) (manually installed packages), C(conffiles) (changed configuration files), C(volumes) (local
          volumes of K3s and Docker).
      type: dict
    lists_age:
      description: Seconds since the package lists were refreshed, or null.
      type: float
    baseline:
      description:
        - Its health, for later comparison. C(failed_units), C(listeners) (TCP ports), C(mounts) (mount points with
          data) and C(containers) (how many Docker and Podman are running).
      type: dict
    claim:
      description: The claim on the host, or null.
      type: dict
    k3s:
      description: Its K3s, as C(local) of M(homelab.patching.k3s_info), or null.
      type: dict
    clock:
      description: The host's clock, in seconds since the epoch.
      type: float
"""

import shutil
import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.respawn import has_respawned, probe_interpreters_for_module, respawn_module

from ..module_utils.core.change import Change, due, full_name
from ..module_utils.core.problem import PatchingError, Problem, on_host, playbook, problem
from ..module_utils.core.shapes import Kernels
from ..module_utils.host import claim_file, disk, dpkg, health, kernels, losses, system
from ..module_utils.host.apt import Size, space_needed
from ..module_utils.host.pending import NOTHING, check, pending
from ..module_utils.host.reboot import (
    REBOOT_SERVICES,
    Needrestart,
    kernel_outdated,
    newest_kernel,
    parse_needrestart,
    predicted_reasons,
    reboot_reasons,
)
from ..module_utils.k3s import local

try:
    import apt_pkg
except ImportError:
    apt_pkg = None

_CLOCK_SECONDS = 300
# For /boot, where no kernel is there to be measured.
_KERNEL_BYTES = 100_000_000


def _os() -> dict:
    fields = dict(
        line.split("=", 1)
        for line in system.read("/etc/os-release").splitlines()
        if "=" in line and not line.startswith("#")
    )
    fields = {key: value.strip("\"'") for key, value in fields.items()}
    return {
        "id": fields.get("ID", ""),
        "version_id": fields.get("VERSION_ID", ""),
        "codename": fields.get("VERSION_CODENAME", ""),
        "pretty": fields.get("PRETTY_NAME", ""),
    }


def _unfit(clock: float | None) -> list[Problem]:
    """Why the host must not be patched now, but for a dpkg that was interrupted."""
    problems = []
    if shutil.which("pveversion"):
        leave = "leave it out: tag it nopatch, or -e 'patching_hosts=...'"
        problems.append(problem("this is a Proxmox VE host, not a guest", leave))
    for device in dpkg.grub_devices():
        if not Path(device).exists():
            why = f"grub-pc would be installed on {device}, which is not there"
            problems.append(problem(why, "", on_host("dpkg-reconfigure", "grub-pc")))
    if clock and abs(time.time() - clock) > _CLOCK_SECONDS:
        why = f"its clock is {round(time.time() - clock)} s away from the control node's"
        problems.append(problem(why, "", on_host("timedatectl", "set-ntp", "true")))
    scheduled = system.shutdown_scheduled()
    if scheduled:
        why = f"a {scheduled} is scheduled on the host"
        problems.append(problem(why, "wait for it, or cancel it", on_host("shutdown", "-c")))
    return problems


def _interrupted() -> list[Problem]:
    """What dpkg has left in the middle. A run that left it so may also mend it."""
    audit = system.run(["dpkg", "--audit"]).stdout.strip()
    finish = on_host("dpkg", "--configure", "-a")
    return [problem(f"dpkg was interrupted: {audit.splitlines()[0]}", "", finish)] if audit else []


def _needrestart() -> Needrestart | None:
    if not shutil.which("needrestart"):
        return None
    return parse_needrestart(system.run(["needrestart", "-b"], timeout=120).stdout)


def _reboot_required() -> tuple[Kernels, list[str]]:
    """The kernels, and why a reboot is required now."""
    running = kernels.running_kernel()
    newest = newest_kernel(running["release"], kernels.installed_kernels(), apt_pkg.version_compare)
    flagged = None
    if Path("/run/reboot-required").exists():
        flagged = system.read("/run/reboot-required.pkgs").split()
    return {"running": running, "newest": newest}, reboot_reasons(
        flagged, kernel_outdated(running, newest), _needrestart()
    )


def _expected(changes: list[Change]) -> list[str]:
    """Why a reboot is to be expected after the upgrade."""
    return predicted_reasons(changes, dpkg.mapped_packages(REBOOT_SERVICES)) if changes else []


def _no_room(changes: list[Change], sizes: dict[str, Size]) -> list[Problem]:
    """Where the disk is too small for the upgrade."""
    kernel, initrd = disk.boot_bytes()
    short = disk.short_of_space(space_needed(changes, sizes, kernel or _KERNEL_BYTES, initrd))
    return [
        problem(
            f"only {item['free'] // 1_000_000} MB free in {item['path']},"
            f" the upgrade needs {item['needed'] // 1_000_000} MB",
            f"make room in {item['path']}",
        )
        for item in short
    ]


def _warnings(conffiles: list) -> list:
    """What a person should know before the upgrade, and what stops nothing."""
    warnings = [f"{item['path']} of {item['package']} was changed here and stays as it is" for item in conffiles]
    holder = dpkg.lock_holder()
    if holder:
        warnings.append(f"dpkg is locked by {holder}: the run waits for it")
    if _automatic_reboot():
        warnings.append("Unattended-Upgrade::Automatic-Reboot is on: the daily updates may reboot it on any day")
    return warnings


def _automatic_reboot() -> bool:
    """May unattended-upgrades reboot the host by itself?"""
    shown = system.run(["apt-config", "dump", "--format=%v%n", "Unattended-Upgrade::Automatic-Reboot"])
    return shown.stdout.strip() in ("true", "1", "yes", "on")


def _image() -> dict:
    """What the image says of its build; empty where it says nothing."""
    lines = [line.partition(":") for line in system.read("/etc/cloud/build.info").splitlines()]
    return {key.strip(): value.strip() for key, _separator, value in lines if value.strip()}


def assess(upgrade: str, exclude: list, clock: float | None, lists: dict) -> dict:
    """The assessment of this host; see RETURN."""
    interrupted, problems = _interrupted(), _unfit(clock)
    if lists.get("rc", 0) != 0:
        text = f"{lists.get('stderr', '')}\n{lists.get('msg', '')}"
        cause = next((line for line in text.splitlines() if line.startswith("E:")), text.strip()[-200:])
        problems.append(problem(f"the package lists cannot be refreshed: {cause}", "", on_host("apt-get", "update")))

    found = NOTHING
    try:
        # Working an upgrade out is `apt-get check` as well: with broken dependencies it fails.
        found = check() if interrupted or problems or upgrade == "none" else pending(apt_pkg, exclude)
    except PatchingError as exc:
        problems.append(exc.problem)
    listed, removals = found["pending"], found["removals"]
    if upgrade == "security":
        wanted: list[Change] = [{**each, "new": each["security"]} for each in due(listed) if each["security"]]
        listed, removals = [*wanted, *(each for each in listed if each["held_by"])], []
    changes = due(listed)
    if removals:
        look = on_host("apt-get", "--simulate", "dist-upgrade")
        problems.append(problem(f"the upgrade would remove {', '.join(sorted(removals))}", "look at it", look))

    problems += _no_room(changes, found["sizes"])
    k3s = local.facts()
    problems += k3s["problems"] if k3s else []
    if k3s and _automatic_reboot():
        why = "it is a K3s node, and Unattended-Upgrade::Automatic-Reboot is on: it would go undrained"
        problems.append(problem(why, "put the daily policy of this collection in force", playbook("policy")))

    kernel, reasons = _reboot_required()
    now = time.time()
    tcp = [system.read("/proc/net/tcp"), system.read("/proc/net/tcp6")]
    ports = set().union(*(health.listeners(text, health.ephemeral_ports()) for text in tcp))
    return {
        "os": _os(),
        "boot_id": system.read("/proc/sys/kernel/random/boot_id"),
        "machine_id": system.read("/etc/machine-id"),
        "kernel": kernel,
        "pending": listed,
        "reboot": {
            "required": bool(reasons),
            "reasons": reasons,
            "expected": _expected(changes),
        },
        "unfit": [
            *({**each, "mendable": True} for each in interrupted),
            *({**each, "mendable": False} for each in problems),
        ],
        "starting": system.queued_jobs(),
        "needrestart": bool(shutil.which("needrestart")),
        "warnings": _warnings(dpkg.modified_conffiles([full_name(each) for each in changes if each["old"]])),
        "image": _image(),
        # Who only looks at a host's health need not read all its configuration files.
        "rebuild": losses.facts(_os()) if upgrade != "none" else {},
        "lists_age": dpkg.lists_age(now),
        "baseline": {
            "failed_units": system.failed_units(),
            "listeners": sorted(ports),
            "mounts": health.mounts(),
            "containers": health.containers(),
        },
        "kept_baseline": system.read_json(claim_file.BASELINE),
        "claim": claim_file.read(),
        "k3s": k3s,
        "clock": now,
    }


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "upgrade": {"type": "str", "choices": ["full", "security", "none"], "default": "full"},
            "exclude": {"type": "list", "elements": "str", "default": []},
            "controller_clock": {"type": "float"},
            "lists": {"type": "dict"},
        },
        supports_check_mode=True,
    )
    if not shutil.which("apt-get"):
        module.fail_json(msg="apt-get is not on this host. Only Debian and Ubuntu hosts can be patched.")
    if apt_pkg is None:
        interpreter = None if has_respawned() else probe_interpreters_for_module(["/usr/bin/python3"], "apt_pkg")
        if interpreter is None:
            module.fail_json(msg="python3-apt is missing on this host. On the host: apt-get install python3-apt")
        respawn_module(interpreter)
    try:
        host = assess(
            module.params["upgrade"],
            module.params["exclude"],
            module.params["controller_clock"],
            module.params["lists"] or {},
        )
    except PatchingError as exc:
        module.fail_json(msg=str(exc))
    module.exit_json(changed=False, host=host)


if __name__ == "__main__":
    main()
