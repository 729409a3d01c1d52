# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The daily policy in force on this host, whoever wrote it, and what becomes of it. Writes nothing."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ..core.problem import PatchingError
from ..host import claim_file, dpkg, system
from . import conf, machine, verdict
from .program import NO_CACHE_FILES, Program

_DAY = 86400
# apt would keep what it has read in /var/cache/apt.
_READ_ONLY = [word for name in NO_CACHE_FILES for word in ("-o", f"{name}=")]
_TREES = ("unattended-upgrade::", "apt::periodic::")


def policy(apt_pkg: Any, max_age: int) -> dict:
    """The policy of this host; see RETURN of unattended_upgrades_info.

    :param apt_pkg: the module of python3-apt.
    :param max_age: days after which the daily updates count as stalled when none of them has ended well.
    """
    answer: dict = {
        "installed": machine.version(), "enabled": False, "options": {}, "timers": {}, "origins": [],
        "security_archives": [], "security_covered": False, "uncovered": [], "would_install": [], "would_hold": [],
        "last_success": None, "last_run": None, "stalled": [], "warnings": [], "overridden": [],
        "reboot_policy": {"automatic": False, "with_users": True, "time": "now"},
    }  # fmt: skip
    if answer["installed"] is None:
        return {**answer, "stalled": [verdict.NOT_INSTALLED]}
    units = machine.units()
    timers = {name.removesuffix(".timer"): units[name] for name in units if name.endswith(".timer")}
    options = conf.parse_dump(machine.dump())
    settings = machine.settings()
    off = verdict.disabled(options, settings) + verdict.unit_problems(units)
    last_run = verdict.last_run(machine.log(options))
    last_success = machine.last_success(last_run)
    answer |= {
        "enabled": not off,
        "options": {name: value for name, value in options.items() if name.lower().startswith(_TREES)},
        "timers": {**timers, "held": _held(claim_file.read(), time.time())},
        "last_success": None if last_success is None else machine.iso(last_success),
        "last_run": last_run,
        "overridden": conf.overridden(settings),
        "reboot_policy": _reboot_policy(options),
    }
    stalled = off + verdict.stopped_by_host(machine.dpkg_journal(), dpkg.complaint(_READ_ONLY), dpkg.lock_holder())
    stalled += verdict.stale(
        None if last_success is None else time.time() - last_success,
        machine.chance(conf.OWN_FILE),
        system.process_age(1),
        max_age * _DAY,
        last_run,
    )
    try:
        program = Program(apt_pkg)
        stalled += verdict.stopped_by_itself(program.stop_reasons())
        answer |= _coverage(program, settings)
        proposals = program.proposals()
        answer |= {"would_install": proposals["install"], "would_hold": proposals["hold"]}
    except PatchingError as exc:
        stalled.append(verdict.misconfigured(exc))
    # What stops them is told there, and not again.
    warnings = [] if stalled else verdict.warnings(last_run, machine.unfinished_packages())
    return {**answer, "stalled": stalled, "warnings": warnings}


def _held(claim: Mapping | None, now: float) -> dict | None:
    """The run that keeps the daily updates off the host, and until when."""
    if not claim or claim.get("expires", 0) <= now:
        return None
    return {"run": claim.get("run"), "until": machine.iso(claim["expires"])}


def _reboot_policy(options: Mapping) -> dict:
    name = "Unattended-Upgrade::Automatic-Reboot"
    return {
        "automatic": conf.is_true(conf.option(options, name), False),
        "with_users": conf.is_true(conf.option(options, f"{name}-WithUsers"), True),
        "time": conf.option(options, f"{name}-Time", "now"),
    }


def _coverage(program: Program, settings: list) -> dict:
    """Which archives the program itself allows, and whether the security updates are among them."""
    patterns = program.origins()
    archives = program.archives(patterns, settings)
    distro, codename = program.distro()
    security = verdict.security_archives(archives, distro, codename)
    uncovered = verdict.uncovered(security, settings, patterns, distro) if archives else [verdict.NO_LISTS]
    return {
        "origins": [
            {"pattern": each, "archives": [file["name"] for file in archives if each in file["patterns"]]}
            for each in patterns
        ],
        "security_archives": security,
        "uncovered": uncovered,
        "security_covered": not uncovered,
    }
