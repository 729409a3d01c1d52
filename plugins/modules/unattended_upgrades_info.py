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
extends_documentation_fragment:
  - homelab.patching.managed_host
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

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.respawn import has_respawned, probe_interpreters_for_module, respawn_module

from ..module_utils.core.problem import PatchingError
from ..module_utils.daily.policy import policy
from ..module_utils.daily.program import PROGRAM

try:
    import apt_pkg
except ImportError:
    apt_pkg = None


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
        answer = policy(apt_pkg, module.params["max_age"])
    except PatchingError as exc:
        module.fail_json(msg=str(exc))
    module.exit_json(changed=False, policy=answer)


if __name__ == "__main__":
    main()
