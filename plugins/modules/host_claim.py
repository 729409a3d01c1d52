#!/usr/bin/python
# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module host_claim: a host belongs to a run, which keeps other runs and the daily updates off it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_claim
short_description: Claim a host for a run, or release it
version_added: 0.1.0
author: The homelab.patching maintainers (@homelab)
description:
  - A claim says which run may change a host. While it is valid, another run is refused, and C(apt-daily.service) and
    C(apt-daily-upgrade.service) are skipped, also after a reboot.
  - A claim expires by itself. An expired claim has no effect, even if nothing removes it.
options:
  state:
    description:
      - V(claimed) claims the host, and waits for a daily update that is in progress.
      - V(renewed) extends the claim, and fails if this run no longer holds it.
      - V(released) releases the claim; the claim of another run is not changed.
    type: str
    choices: [claimed, renewed, released]
    default: claimed
  run:
    description: The id of the run.
    type: str
    required: true
  owner:
    description: The process and user of the run, from the plan (C(owner)).
    type: dict
    default: {}
  seconds:
    description: Seconds until the claim expires.
    type: int
    default: 14400
  gate:
    description:
      - With V(state=renewed), the time when the gate of the host's K3s cluster that it passed began, in seconds since
        the epoch by the host's own clock. A host with K3s is rebooted within a minute of it, or not at all.
    type: float
  takeover:
    description: Ids of runs that are known to be dead; their claims may be taken over.
    type: list
    elements: str
    default: []
  record:
    description:
      - With V(state=released), the outcome of the run on this host. It is stored in
        C(/etc/ansible/facts.d/patching.fact), so C(ansible_local.patching) contains it.
    type: dict
    default: {}
  baseline:
    description:
      - With V(state=claimed), the health of the host, which is stored with the claim in case the run dies.
      - With O(record), the health before a run that broke something. Later runs compare with it.
      - An empty baseline removes an earlier one.
    type: dict
    default: {}
  daily_run_timeout:
    description: Seconds to wait for a daily update that is already in progress.
    type: int
    default: 1800
extends_documentation_fragment:
  - homelab.patching.managed_host
"""

EXAMPLES = r"""
- name: Claim the host for an hour
  homelab.patching.host_claim:
    run: 20261123T030000Z-1f2e
    seconds: 3600

- name: Release it
  homelab.patching.host_claim:
    run: 20261123T030000Z-1f2e
    state: released
"""

RETURN = r"""
claim:
  description: The claim on the host after the module has run, or null.
  returned: success
  type: dict
taken_over:
  description: The claim of a dead or expired run that was taken over, or null.
  returned: success
  type: dict
problem:
  description: What is wrong, with C(cause), C(remedy) and C(commands) (where to type what).
  returned: failure
  type: dict
"""

import time

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.core.problem import PatchingError
from ..module_utils.host import claim_file
from ..module_utils.host.claim import taken_over


def claimed(params: dict, check_mode: bool) -> dict:
    """Take the host or renew its claim."""
    if check_mode:
        previous = taken_over(claim_file.read(), params["run"], params["takeover"], time.time())
    else:
        previous = claim_file.claim(
            params["run"], params["owner"], params["seconds"], params["takeover"], params["baseline"]
        )
        claim_file.await_daily_run(params["daily_run_timeout"])
    return {"changed": True, "taken_over": previous, "claim": claim_file.read()}


def renewed(params: dict, check_mode: bool) -> dict:
    """Put the end of the claim off."""
    if not check_mode:
        claim_file.renew(params["run"], params["seconds"], params["gate"])
    return {"changed": True, "taken_over": None, "claim": claim_file.read()}


def released(params: dict, check_mode: bool) -> dict:
    """Give the host back."""
    if check_mode:
        current = claim_file.read()
        changed = bool(current and current.get("run") == params["run"])
    else:
        changed = claim_file.release(params["run"], params["record"], params["baseline"])
    return {"changed": changed, "taken_over": None, "claim": claim_file.read()}


def main() -> None:
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["claimed", "renewed", "released"], "default": "claimed"},
            "run": {"type": "str", "required": True},
            "owner": {"type": "dict", "default": {}},
            "seconds": {"type": "int", "default": 14400},
            "gate": {"type": "float"},
            "takeover": {"type": "list", "elements": "str", "default": []},
            "record": {"type": "dict", "default": {}},
            "baseline": {"type": "dict", "default": {}},
            "daily_run_timeout": {"type": "int", "default": 1800},
        },
        supports_check_mode=True,
    )
    action = {"claimed": claimed, "renewed": renewed, "released": released}[module.params["state"]]
    try:
        result = action(module.params, module.check_mode)
    except PatchingError as exc:
        module.fail_json(msg=str(exc), problem=exc.problem)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
