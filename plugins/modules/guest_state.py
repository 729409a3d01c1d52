#!/usr/bin/python
# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin guest_state, which does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: guest_state
short_description: Query the current state of guests from Proxmox VE
version_added: 0.1.0
author: The homelab.patching maintainers (@homelab)
description:
  - Queries the Proxmox VE on which the inventory plugin P(homelab.patching.proxmox#inventory) found the hosts, with the
    options of that inventory file, whether they are running and whether they are locked. Neither reads nor writes a
    cache.
  - Makes one API call for each inventory file. Does not contact the hosts.
  - Proxmox VE updates C(status) every 10 seconds; C(lock) is the current value in the guest's configuration.
options:
  hosts:
    description: Names of hosts. Hosts from another inventory are omitted from the result.
    type: list
    elements: str
    required: true
extends_documentation_fragment:
  - homelab.patching.control_node
"""

EXAMPLES = r"""
- name: Wait until no backup of the guest is running
  homelab.patching.guest_state:
    hosts: ["{{ inventory_hostname }}"]
  register: answer
  until: not answer.guests[inventory_hostname].lock
  retries: 40
  delay: 15
"""

RETURN = r"""
guests:
  description:
    - For each host, C(status), C(lock) (empty for none) and C(node).
    - C(error) says why nothing is known. Either it is empty, or the other fields are.
  returned: success
  type: dict
  sample: {"web1": {"status": "running", "lock": "backup", "node": "pve1", "error": ""}}
"""
