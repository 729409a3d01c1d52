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
extends_documentation_fragment:
  - homelab.patching.managed_host
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
    system_uuid:
      description:
        - What its firmware calls this machine (DMI), which is C(smbios1) of a VM of Proxmox VE. Empty in a container,
          and without a DMI.
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

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.respawn import has_respawned, probe_interpreters_for_module, respawn_module

from ..module_utils.core.problem import PatchingError
from ..module_utils.host.assess import assess
from ..module_utils.k3s import local

try:
    import apt_pkg
except ImportError:
    apt_pkg = None


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
        host = assess(apt_pkg, module.params, local.facts())
    except PatchingError as exc:
        module.fail_json(msg=str(exc))
    module.exit_json(changed=False, host=host)


if __name__ == "__main__":
    main()
