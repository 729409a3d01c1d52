#!/usr/bin/python
# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin run_plan, which does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: run_plan
short_description: Make the plan of a run
version_added: 0.1.0
author: The homelab.patching maintainers (@homelab)
description:
  - Decides, from what role P(homelab.patching.patch_assess#role) has left on each host, who is patched, in which order
    and by which steps; and shows it as a table.
  - With O(plan) it makes no new one, but takes out of that one the hosts with a C(patch_host_refusal).
  - Does not contact the hosts.
options:
  hosts:
    description: The hosts of the run.
    type: list
    elements: str
  pattern:
    description: The Ansible pattern that O(hosts) came from, which is named where no host matches it.
    type: str
    default: all
  peers:
    description: Other hosts that were assessed because they may be nodes of the same K3s clusters.
    type: list
    elements: str
    default: []
  mode:
    description: V(reboot) plans no upgrade; V(recover) only for hosts that a dead run left in the middle.
    type: str
    choices: [patch, reboot, recover]
    default: patch
  takeover:
    description: The id of a run that is known to be dead.
    type: raw
  accept:
    description: Hosts whose health is taken as it is, as a list or as one text.
    type: raw
  image_catalogue:
    description: A file or URL that lists the images that can be had.
    type: str
  plan:
    description: A plan that this module has made. Either this or O(hosts) is needed.
    type: dict
extends_documentation_fragment:
  - homelab.patching.control_node
"""

EXAMPLES = r"""
- name: Decide who is patched, and in which order
  homelab.patching.run_plan:
    hosts: "{{ groups['proxmox_patchable'] }}"
  register: patch_plan_result
"""

RETURN = r"""
hosts:
  description: Each host's steps, or its result where it has none.
  returned: success
  type: dict
waves:
  description: The hosts that are patched, in the order in which they are, a list for each wave.
  returned: success
  type: list
  elements: list
lines:
  description: The plan as a table.
  returned: success
  type: list
  elements: str
"""
