#!/usr/bin/python
# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin run_wave, which does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: run_wave
short_description: Close a wave of a run
version_added: 0.1.0
author: The homelab.patching maintainers (@homelab)
description:
  - Says whether the next wave may open. Every host of the waves so far is looked at; one without a record is lost.
  - Does not contact the hosts.
options:
  plan:
    description: The plan, of M(homelab.patching.run_plan).
    type: dict
    required: true
  wave:
    description: The wave that has ended, V(0) before the first.
    type: int
    required: true
extends_documentation_fragment:
  - homelab.patching.control_node
"""

EXAMPLES = r"""
- name: Let the first wave open
  homelab.patching.run_wave:
    plan: "{{ patch_plan_result }}"
    wave: 0
  register: next
"""

RETURN = r"""
go:
  description: The wave that may open next, V(0) where none may.
  returned: success
  type: int
stopped:
  description: Why none may.
  returned: success
  type: str
"""
