#!/usr/bin/python
# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module host_upgrade: download or install the pending updates of a host that a run has claimed."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_upgrade
short_description: Upgrade a claimed host in its own systemd unit
version_added: 0.1.0
author: The homelab.patching maintainers (@homelab)
description:
  - Runs C(apt-get) in the transient systemd unit C(homelab-patching-upgrade) on the host and waits until it finishes. A
    dropped connection or a dead controller does not affect the upgrade; repeating the same call waits for it.
  - Keeps configuration files that the admin changed, restarts no services with needrestart, and fails if the upgrade
    would remove a package.
  - In contrast, M(ansible.builtin.apt) marks the packages it names as manually installed, cannot download only, and is
    killed with its connection.
options:
  state:
    description:
      - V(downloaded) only downloads the packages.
      - V(finished) upgrades.
      - V(settled) waits for an upgrade that a dead run left behind, and completes an interrupted dpkg.
    type: str
    choices: [downloaded, finished, settled]
    default: finished
  run:
    description: The id of the run that claimed the host.
    type: str
    required: true
  upgrade:
    description: V(full) is C(dist-upgrade), V(security) upgrades exactly the security updates in O(pending).
    type: str
    choices: [full, security]
    default: full
  pending:
    description: The pending updates, as returned by M(homelab.patching.host_info).
    type: list
    elements: dict
    default: []
  exclude:
    description: Names of packages that V(full) does not upgrade.
    type: list
    elements: str
    default: []
  timeout:
    description:
      - Seconds to wait. After this timeout, RV(finished) is false and the upgrade continues; call the module again.
      - A download, however, ends with the module, and V(settled) fails on timeout.
    type: int
    default: 3600
attributes:
  check_mode:
    description: Can run in check mode and return changed status prediction without modifying target.
    support: none
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in check mode), when in diff mode.
    support: none
  platform:
    description: Target OS/families that can be operated against.
    platforms: debian
    support: full
"""

EXAMPLES = r"""
- name: Install everything that is pending
  homelab.patching.host_upgrade:
    run: 20261123T030000Z-1f2e
"""

RETURN = r"""
finished:
  description: Whether the upgrade has finished.
  returned: success
  type: bool
installed:
  description: What changed, each as M(homelab.patching.host_info) has what is pending.
  returned: success, failure
  type: list
  elements: dict
fixes:
  description:
    - For each downloaded security update in O(pending), from its changelog, its C(source), the C(cves) that the update
      fixes (null if unknown), and C(fixed), the date of the fix (or null).
  returned: success, and O(state=downloaded)
  type: dict
problem:
  description: What is wrong, with C(cause), C(remedy) and C(commands) (where to type what).
  returned: failure
  type: dict
earlier:
  description: How the upgrade of a dead run failed; empty if it did not fail.
  returned: success, and O(state=settled)
  type: str
log:
  description: The last lines that apt-get and dpkg wrote.
  returned: failure
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.core.change import due, full_name
from ..module_utils.core.problem import PatchingError
from ..module_utils.host import debs, system, upgrade
from ..module_utils.host.pending import arguments

# For the changelogs of all packages together; the kernel's takes 2 s.
_CHANGELOG_SECONDS = 60


def downloaded(params: dict) -> dict:
    """Fetch the packages, and read what the security updates among them fix."""
    action = arguments(params["upgrade"], params["pending"], params["exclude"])
    changed = upgrade.download(action, params["timeout"]) > 0
    names = [full_name(each) for each in due(params["pending"]) if each["security"]]
    return {"changed": changed, "fixes": debs.fixes(names, _CHANGELOG_SECONDS)}


def finished(params: dict) -> dict:
    """Upgrade, or go on waiting for the upgrade that this run has started."""
    state = system.unit(system.UPGRADE_UNIT)
    ours = upgrade.loaded(state) and state.get("Description") == upgrade.DESCRIPTION + params["run"]
    if not ours and not upgrade.collected(params["run"]):
        action = arguments(params["upgrade"], params["pending"], params["exclude"])
        upgrade.start(params["run"], upgrade.install_command(action))
    upgrade.wait(params["timeout"])
    outcome = upgrade.collect()
    return _result(outcome) if outcome else {"changed": True, "finished": False, "installed": []}


def _result(outcome: dict) -> dict:
    result = {"changed": bool(outcome["installed"]), "finished": True, "installed": outcome["installed"]}
    if outcome["ok"]:
        return result
    return {**result, "failed": True, "msg": f"the upgrade {_how_it_ended(outcome)}", "log": outcome["log"]}


def _how_it_ended(outcome: dict) -> str:
    last = next((line for line in reversed(outcome["log"]) if line.startswith(("E:", "dpkg: error"))), "")
    return f"ended with status {outcome['status'] or 'unknown'}. {last}".strip()


def settled(params: dict) -> dict:
    """Put in order what a dead run left."""
    outcome = _to_the_end(params["timeout"])
    earlier = ""
    if outcome["run"] and not outcome["ok"]:
        earlier = f"the upgrade of run {outcome['run']} {_how_it_ended(outcome)}"
    if system.run(["dpkg", "--audit"]).stdout.strip():
        upgrade.start(params["run"], upgrade.CONFIGURE, upgrade=False)
        return {**_result(_to_the_end(params["timeout"])), "changed": True, "earlier": earlier}
    return {
        "changed": bool(outcome["installed"]),
        "finished": True,
        "installed": outcome["installed"],
        "earlier": earlier,
    }


def _to_the_end(timeout: float) -> dict:
    """The outcome of an upgrade; waited for.

    :raises PatchingError: it is still at work when the time is over.
    """
    upgrade.wait(timeout)
    outcome = upgrade.collect()
    if outcome is None:
        raise PatchingError(
            f"an earlier upgrade is still at work after {timeout:.0f} s; it goes on.",
            f"On the host: journalctl -fu {system.UPGRADE_UNIT}",
        )
    return outcome


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["downloaded", "finished", "settled"], "default": "finished"},
            "run": {"type": "str", "required": True},
            "upgrade": {"type": "str", "choices": ["full", "security"], "default": "full"},
            "pending": {"type": "list", "elements": "dict", "default": []},
            "exclude": {"type": "list", "elements": "str", "default": []},
            "timeout": {"type": "int", "default": 3600},
        },
    )
    action = {"downloaded": downloaded, "finished": finished, "settled": settled}[module.params["state"]]
    try:
        result = action(module.params)
    except PatchingError as exc:
        module.fail_json(msg=str(exc), problem=exc.problem, installed=[], log=[])
    module.exit_json(**result)


if __name__ == "__main__":
    main()
