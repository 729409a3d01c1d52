#!/usr/bin/python
# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin run_report, which does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: run_report
short_description: Add up what a run came to
version_added: 0.1.0
author: The homelab.patching maintainers (@homelab)
description:
  - Makes the report of a run from its plan and from what role P(homelab.patching.patch_host#role) has left on each
    host; and shows it as a table.
  - Does not contact the hosts.
options:
  plan:
    description: The plan, of M(homelab.patching.run_plan).
    type: dict
    required: true
  stopped:
    description: Why no later wave was opened.
    type: str
    default: ""
  folder:
    description: The folder of the reports, whose C(history.jsonl) tells when earlier runs saw an update first.
    type: path
    required: true
extends_documentation_fragment:
  - homelab.patching.control_node
"""

EXAMPLES = r"""
- name: Add everything up
  homelab.patching.run_report:
    plan: "{{ patch_plan_result }}"
    folder: /var/lib/patching/reports
  register: patch_report_result
"""

RETURN = r"""
ok:
  description: Whether every host is well. The other fields are those of C(docs/report.schema.json).
  returned: success
  type: bool
lines:
  description: The report as a table.
  returned: success
  type: list
  elements: str
"""
