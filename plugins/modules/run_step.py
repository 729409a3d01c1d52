#!/usr/bin/python
# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin run_step, which does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: run_step
short_description: Begin a step of a host's transaction, or end the transaction
version_added: 0.1.0
author: The homelab.patching maintainers (@homelab)
description:
  - Decides whether the host needs the step, and records when it began. Role C(patch_host) registers the record.
  - Private to the collection. Does not contact the host.
options:
  step:
    description: The step that the wave has reached; empty at the end of the transaction.
    type: str
    default: ""
  entry:
    description: The host's entry in the plan.
    type: dict
    required: true
  record:
    description: The record so far; empty at the beginning.
    type: dict
    required: true
  answers:
    description: The registered results of the steps, by step key.
    type: dict
    required: true
  failure:
    description: The C(result) and name (C(task)) of the failed task, and whether the host answers (C(again)).
    type: dict
extends_documentation_fragment:
  - homelab.patching.control_node
"""

EXAMPLES = r"""
- name: Begin the upgrade
  homelab.patching.run_step:
    step: upgrade
    entry: "{{ patch_host_plan.hosts[inventory_hostname] }}"
    record: "{{ patch_host_result }}"
    answers: {}
  register: patch_host_result
"""

RETURN = r"""
begun:
  description: Whether the host begins the step now.
  type: bool
  returned: always
result:
  description: C(lost) until the transaction has ended; then its outcome.
  type: str
  returned: once a step has begun
step:
  description: The step that the host is in, or was in when it ended.
  type: str
  returned: once a step has begun
"""
