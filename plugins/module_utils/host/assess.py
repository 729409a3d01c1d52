# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The assessment of this host: everything that a run asks of it in one round trip. Changes nothing."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..core.change import Change, due
from ..core.problem import PatchingError, Problem
from ..core.shapes import Kernels
from . import claim_file, disk, dpkg, fitness, health, kernels, losses, system
from .apt import space_needed
from .pending import NOTHING, Pending, check, pending
from .reboot import (
    REBOOT_SERVICES,
    Needrestart,
    kernel_outdated,
    newest_kernel,
    parse_needrestart,
    predicted_reasons,
    reboot_reasons,
)

# For /boot, where no kernel is there to be measured.
_KERNEL_BYTES = 100_000_000


def assess(apt_pkg: Any, params: Mapping[str, Any], k3s: Any) -> dict:
    """The assessment of this host; see RETURN of host_info.

    :param apt_pkg: the module of python3-apt.
    :param params: of host_info.
    :param k3s: what the host knows of its K3s, or None.
    """
    full = params["upgrade"] != "none"
    interrupted = fitness.interrupted(system.run(["dpkg", "--audit"]).stdout.strip())
    with ThreadPoolExecutor(max_workers=1) as beside:
        # It looks at every process, for about as long as apt reads its lists.
        needrestart = beside.submit(_needrestart)
        problems = _host_problems(params)
        upgrade, stopped = _upgrade(apt_pkg, params, simulated=full and not (interrupted or problems))
        kernel, reasons = _reboot_required(apt_pkg, needrestart.result())
    changes = due(upgrade["pending"])
    kernel_bytes, initrd_bytes = disk.boot_bytes()
    needed = space_needed(changes, upgrade["sizes"], kernel_bytes or _KERNEL_BYTES, initrd_bytes)
    reboots = _automatic_reboot(apt_pkg)
    problems += [
        *stopped,
        *fitness.upgrade_problems(upgrade["removals"], disk.short_of_space(needed)),
        *fitness.node_problems(k3s, reboots),
    ]
    unfit = [{**each, "mendable": True} for each in interrupted] + [{**each, "mendable": False} for each in problems]
    release = _release()
    # Who only looks at a host's health need not read all its configuration files.
    conffiles = dpkg.modified_conffiles() if full else []
    return {
        "os": release,
        "boot_id": system.read("/proc/sys/kernel/random/boot_id"),
        "machine_id": system.read("/etc/machine-id"),
        "system_uuid": _system_uuid(),
        "kernel": kernel,
        "pending": upgrade["pending"],
        "reboot": {"required": bool(reasons), "reasons": reasons, "expected": _reboot_expected(changes)},
        "unfit": unfit,
        "starting": system.queued_jobs(),
        "needrestart": bool(shutil.which("needrestart")),
        "warnings": fitness.warnings(conffiles, changes, dpkg.lock_holder(), reboots),
        "image": system.fields("/etc/cloud/build.info", ":"),
        "rebuild": losses.facts(release, conffiles) if full else {},
        "lists_age": dpkg.lists_age(time.time()),
        "baseline": {
            "failed_units": system.failed_units(),
            "listeners": health.listening(),
            "mounts": health.mounts(),
            "containers": health.containers(),
        },
        "kept_baseline": system.read_json(claim_file.BASELINE),
        "claim": claim_file.read(),
        "k3s": k3s,
        "clock": time.time(),
    }


def _system_uuid() -> str:
    """What the firmware calls this machine; a container would see its host's."""
    return "" if Path("/run/systemd/container").exists() else system.read("/sys/class/dmi/id/product_uuid").lower()


def _host_problems(params: Mapping[str, Any]) -> list[Problem]:
    """What speaks against any work on this host."""
    now = time.time()
    return fitness.list_problems(params["lists"] or {}) + fitness.host_problems(
        hypervisor=bool(shutil.which("pveversion")),
        lost_disks=[device for device in dpkg.grub_devices() if not Path(device).exists()],
        clock_difference=now - (params["controller_clock"] or now),
        shutdown=system.shutdown_scheduled(),
    )


def _upgrade(apt_pkg: Any, params: Mapping[str, Any], simulated: bool) -> tuple[Pending, list[Problem]]:
    """What the policy's upgrade would do, and why apt could not do it.

    :param simulated: work it out, which is `apt-get check` as well: with broken dependencies it fails.
    """
    try:
        upgrade = pending(apt_pkg, params["exclude"]) if simulated else check()
    except PatchingError as exc:
        return NOTHING, [exc.problem]
    if params["upgrade"] == "security":
        listed = upgrade["pending"]
        chosen: list[Change] = [{**each, "new": each["security"]} for each in due(listed) if each["security"]]
        upgrade = {**upgrade, "pending": [*chosen, *(each for each in listed if each["held_by"])], "removals": []}
    return upgrade, []


def _release() -> dict:
    """The distribution, as its os-release says it."""
    fields = system.fields("/etc/os-release", "=")
    return {
        "id": fields.get("ID", ""),
        "version_id": fields.get("VERSION_ID", ""),
        "codename": fields.get("VERSION_CODENAME", ""),
        "pretty": fields.get("PRETTY_NAME", ""),
    }


def _needrestart() -> Needrestart | None:
    if not shutil.which("needrestart"):
        return None
    return parse_needrestart(system.run(["needrestart", "-b"], timeout=120).stdout)


def _reboot_required(apt_pkg: Any, needrestart: Needrestart | None) -> tuple[Kernels, list[str]]:
    """The kernels, and why a reboot is required now."""
    running = kernels.running_kernel()
    newest = newest_kernel(running["release"], kernels.installed_kernels(), apt_pkg.version_compare)
    flagged = None
    if Path("/run/reboot-required").exists():
        flagged = system.read("/run/reboot-required.pkgs").split()
    reasons = reboot_reasons(flagged, kernel_outdated(running, newest), needrestart)
    return {"running": running, "newest": newest}, reasons


def _reboot_expected(changes: list[Change]) -> list[str]:
    """Why a reboot is to be expected after the upgrade."""
    return predicted_reasons(changes, dpkg.mapped_packages(REBOOT_SERVICES)) if changes else []


def _automatic_reboot(apt_pkg: Any) -> bool:
    """May unattended-upgrades reboot the host by itself?"""
    # A configuration that apt cannot read is a problem of its own by now.
    with suppress(SystemError):
        apt_pkg.init_config()
    return apt_pkg.config.find_b("Unattended-Upgrade::Automatic-Reboot", False)
