#!/usr/bin/python
# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin run_guard, which does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: run_guard
short_description: Refuse a run that must not begin
version_added: 0.1.0
author: The homelab.patching maintainers (@homelab)
description:
  - Fails where the command line or the inventory would cut safety steps or hosts out of a run, with one line that says
    what to type instead. The first play of every playbook that works on the guests.
  - Does not contact the hosts.
options:
  hosts:
    description: The hosts of the run. The names of their variables are looked at.
    type: list
    elements: str
    required: true
extends_documentation_fragment:
  - homelab.patching.control_node
"""

EXAMPLES = r"""
- name: Refuse what would cut safety steps out of the run
  homelab.patching.run_guard:
    hosts: "{{ query('ansible.builtin.inventory_hostnames', 'proxmox_patchable') }}"
  run_once: true
  delegate_to: localhost
"""

RETURN = r"""
"""
