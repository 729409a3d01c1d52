#!/usr/bin/python
# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module unattended_upgrades_info: which updates a host takes by itself, and why not others. Changes nothing."""

from __future__ import annotations

DOCUMENTATION = r"""
module: unattended_upgrades_info
short_description: Report which updates a host installs by itself, and what prevents that
version_added: 0.1.0
author: The homelab.patching maintainers (@homelab)
description:
  - Reports the effective policy for daily updates on a Debian or Ubuntu host, whoever wrote it. Uses C(apt-config
    dump), systemd, and unattended-upgrades' own functions.
  - Determines what the next daily run would install and what it would not install, with a reason for each package.
  - Downloads nothing and writes nothing, not even stamps and logs. The result is as current as the host's package
    lists.
options:
  max_age:
    description: Number of days without a successful run after which the daily updates count as stalled.
    type: int
    default: 7
requirements:
  - python3-apt on the host (found in another interpreter of the host if needed); unattended-upgrades depends on it
  - root
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
- name: Get the daily updates of a host
  homelab.patching.unattended_upgrades_info:
  register: daily

- name: Verify that it installs its security updates
  ansible.builtin.assert:
    that:
      - daily.policy.security_covered
      - not daily.policy.stalled
"""

RETURN = r"""
policy:
  description: The effective policy, and its results.
  returned: success
  type: dict
  contains:
    installed:
      description: The version of unattended-upgrades, or null.
      type: str
    enabled:
      description: Whether apt's periodic options and both timers allow the daily run.
      type: bool
    options:
      description: The effective options below C(Unattended-Upgrade) and C(APT::Periodic).
      type: dict
    timers:
      description: >-
        C(apt-daily) and C(apt-daily-upgrade), each with C(active), C(enabled), C(next) and C(last); and C(held), the
        run whose claim currently keeps the daily updates off the host, and until when, or null.
      type: dict
    origins:
      description: The effective origins as unattended-upgrades reads them, each with the C(archives) it matches.
      type: list
      elements: dict
    security_archives:
      description: >-
        The security archives of the host's distribution in its package sources, and whether each is C(allowed).
      type: list
      elements: dict
    security_covered:
      description: Whether the host has security archives of its distribution, and all of them are allowed.
      type: bool
    uncovered:
      description: Why security updates are not covered, each with C(kind), C(cause), C(remedy) and C(commands).
      type: list
      elements: dict
    would_install:
      description: What the next run would install, each with C(name), C(old), C(new), C(security) and C(origins).
      type: list
      elements: dict
    would_hold:
      description: >-
        What apt could upgrade but the next run would not, each with C(name), C(old), C(new), C(security),
        C(reason) (V(held), V(blacklisted), V(whitelist), V(conffile), V(origin), V(untrusted), V(phased), V(removal),
        V(dependency)) and C(why).
      type: list
      elements: dict
    last_success:
      description: >-
        When a run last succeeded, in UTC, or null, from the daily script's stamp or unattended-upgrades' log. A run
        that only skipped packages for which dpkg would prompt counts as successful, although the script then writes no
        stamp.
      type: str
    last_run:
      description: The last run in unattended-upgrades' log, or null.
      type: dict
    stalled:
      description: >-
        What stops the daily updates, each with C(kind), C(cause), C(remedy) and C(commands). Empty if nothing does.
      type: list
      elements: dict
    warnings:
      description: What does not stop the security updates but is worth knowing, in the same format.
      type: list
      elements: dict
    overridden:
      description: >-
        Options from the file of the role C(unattended_upgrades) that a later file changes, each with C(option),
        C(wanted), C(at), C(effective) and C(by).
      type: list
      elements: dict
    reboot_policy:
      description: C(automatic), C(with_users) and C(time) of reboots by unattended-upgrades.
      type: dict
"""

import os
import shutil
import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.respawn import has_respawned, probe_interpreters_for_module, respawn_module

from ..module_utils.core.problem import PatchingError, on_host
from ..module_utils.daily import conf, machine, verdict
from ..module_utils.daily.program import PROGRAM, Program
from ..module_utils.daily.verdict import daily_problem
from ..module_utils.host import claim_file

try:
    import apt_pkg
except ImportError:
    apt_pkg = None

_HOUR = 3600


# Finishes what an interrupted dpkg left unconfigured.
_CONFIGURE = on_host("dpkg", "--configure", "-a")


def _nothing() -> dict:
    """The answer before anything is known."""
    return {
        "installed": None, "enabled": False, "options": {}, "timers": {}, "origins": [], "security_archives": [],
        "security_covered": False, "uncovered": [], "would_install": [], "would_hold": [], "last_success": None,
        "last_run": None, "stalled": [], "warnings": [], "overridden": [],
        "reboot_policy": {"automatic": False, "with_users": True, "time": "now"},
    }  # fmt: skip


def _timers(units: dict) -> dict:
    claim = claim_file.read()
    held = None
    if claim and claim.get("expires", 0) > time.time():
        held = {"run": claim.get("run"), "until": machine.iso(claim["expires"])}
    timers = {name.removesuffix(".timer"): units[name] for name in units if name.endswith(".timer")}
    return {**timers, "held": held}


def _stalled_by_host() -> list:
    """What stops every daily run, whatever its configuration."""
    problems = []
    complaint = machine.check()
    if machine.dpkg_journal():
        message = "dpkg was interrupted in the middle of a package, so the daily script ends without a word"
        problems.append(daily_problem("dpkg", message, "", _CONFIGURE))
    elif complaint:
        problems.append(
            daily_problem(
                "apt-get check",
                f"apt-get check fails, so the daily script ends without a word: {complaint}",
                "",
                on_host("apt-get", "--fix-broken", "install"),
            )
        )
    holder = machine.lock_holder()
    if holder and holder["seconds"] > _HOUR:
        who = f"{holder['command']} (pid {holder['pid']})"
        message = f"{who} has had dpkg's lock for up to {holder['seconds'] / _HOUR:.0f} hours"
        problems.append(daily_problem("lock", message, "", on_host("ps", "-fp", str(holder["pid"]))))
    return problems


def _stopped(words: list) -> list:
    causes = {"battery": "ac power", "metered": "metered"}
    return [
        daily_problem(
            next((cause for word, cause in causes.items() if word in line), "stopped"),
            f"unattended-upgrade ends at once: {line}",
            "set Unattended-Upgrade::OnlyOnACPower or ::Skip-Updates-On-Metered-Connections to false",
        )
        for line in words
    ]


def _security_archives(archives: list, distro: str, codename: str) -> list:
    """Those of this distribution and release that carry security updates; for Ubuntu ESM as well."""
    return [
        {"name": each["name"], "allowed": bool(each["patterns"])}
        for each in archives
        if each["origin"].startswith(distro)
        and each["archive"].endswith("-security")
        and (each["codename"].startswith(codename) or each["archive"].startswith(codename))
    ]


def _warnings(policy: dict) -> list:
    """What does not stop the next run."""
    problems = []
    run = policy["last_run"]
    if run and run["result"] != "ok" and not policy["stalled"]:
        message = f"the run of {run['began']} did not do all: {run['said'] or 'it came to no end'}"
        problems.append(daily_problem(run["result"], message, "", on_host("unattended-upgrade", "-v")))
    unfinished = machine.unfinished_packages()
    if unfinished and not policy["stalled"]:
        message = f"dpkg has not finished {', '.join(unfinished)}"
        problems.append(daily_problem("dpkg", message, "", _CONFIGURE))
    return problems


def inform(max_age: int) -> dict:
    """The policy of this host; see RETURN."""
    policy = _nothing()
    policy["installed"] = machine.version()
    if policy["installed"] is None:
        policy["stalled"].append(
            daily_problem(
                "not installed",
                "unattended-upgrades is not installed",
                "",
                on_host("apt-get", "install", "unattended-upgrades"),
            )
        )
        return policy
    units = machine.units()
    policy["timers"] = _timers(units)
    options = conf.parse_dump(machine.dump())
    settings = machine.settings()
    trees = ("unattended-upgrade::", "apt::periodic::")
    policy["options"] = {name: value for name, value in options.items() if name.lower().startswith(trees)}
    policy["reboot_policy"] = {
        "automatic": conf.is_true(conf.option(options, "Unattended-Upgrade::Automatic-Reboot"), False),
        "with_users": conf.is_true(conf.option(options, "Unattended-Upgrade::Automatic-Reboot-WithUsers"), True),
        "time": conf.option(options, "Unattended-Upgrade::Automatic-Reboot-Time", "now"),
    }
    policy["overridden"] = conf.overridden(settings)
    off = verdict.disabled(options, settings) + verdict.unit_problems(units)
    policy["enabled"] = not off
    policy["stalled"] += off + _stalled_by_host()

    policy["last_run"] = verdict.last_run(machine.log(options))
    succeeded = machine.last_success(policy["last_run"])
    policy["last_success"] = machine.iso(succeeded) if succeeded else None
    policy["stalled"] += verdict.stale(
        None if succeeded is None else time.time() - succeeded,
        machine.chance(conf.OWN_FILE),
        machine.powered(),
        max_age * 24 * _HOUR,
        policy["last_run"],
    )
    try:
        program = Program(apt_pkg)
        policy["stalled"] += _stopped(program.stop_reasons())
        patterns = program.origins()
        archives = program.archives(patterns, settings)
        policy["origins"] = [
            {"pattern": each, "archives": [file["name"] for file in archives if each in file["patterns"]]}
            for each in patterns
        ]
        policy["security_archives"] = _security_archives(archives, *program.distro())
        distro = program.distro()[0]
        policy["uncovered"] = verdict.uncovered(policy["security_archives"], settings, patterns, distro)
        if not archives:
            message = "the host has no package lists, so nothing is known to it"
            policy["uncovered"] = [daily_problem("no lists", message, "", on_host("apt-get", "update"))]
        policy["security_covered"] = not policy["uncovered"]
        found = program.proposals()
        policy["would_install"], policy["would_hold"] = found["install"], found["hold"]
    except PatchingError as exc:
        policy["stalled"].append({"kind": "configuration", **exc.problem})
    policy["warnings"] = _warnings(policy)
    return policy


def main() -> None:
    """Entry point."""
    module = AnsibleModule(argument_spec={"max_age": {"type": "int", "default": 7}}, supports_check_mode=True)
    if module.params["max_age"] < 1:
        module.fail_json(msg=f"max_age is {module.params['max_age']}. Use a number of days, at least 1.")
    if not shutil.which("apt-get"):
        module.fail_json(msg="apt-get is not on this host. Only Debian and Ubuntu hosts have these daily updates.")
    if os.geteuid() != 0:
        module.fail_json(msg="Only root may ask for the daily updates of this host. Set become: true")
    if apt_pkg is None and PROGRAM.exists():
        interpreter = None if has_respawned() else probe_interpreters_for_module(["/usr/bin/python3"], "apt_pkg")
        if interpreter is None:
            module.fail_json(msg="python3-apt is missing on this host. On the host: apt-get install python3-apt")
        respawn_module(interpreter)
    try:
        policy = inform(module.params["max_age"])
    except PatchingError as exc:
        module.fail_json(msg=str(exc))
    module.exit_json(changed=False, policy=policy)


if __name__ == "__main__":
    main()
