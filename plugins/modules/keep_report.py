#!/usr/bin/python
# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin keep_report, which does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: keep_report
short_description: Save the report of a run
version_added: 0.1.0
author: The homelab.patching maintainers (@homelab)
description:
  - Writes the report of a run as C(<run>.json) to a folder on the control node, and creates the folder if necessary.
  - Next to it, generates C(<run>.html), a page for people; C(index.html), the last 24 runs in the folder; and
    C(patching.prom), a textfile for the Prometheus node_exporter.
  - Lists an earlier report that cannot be read as such. If one of the three cannot be written, warns.
  - Does not contact the host.
options:
  report:
    description: The report, as returned by M(homelab.patching.run_report).
    type: dict
    required: true
  folder:
    description: Where to save it.
    type: path
    required: true
extends_documentation_fragment:
  - homelab.patching.control_node
"""

EXAMPLES = r"""
- name: Save the report
  homelab.patching.keep_report:
    report: "{{ patch_report_result }}"
    folder: /var/lib/patching/reports
"""

RETURN = r"""
path:
  description: The path of the report.
  returned: success
  type: str
page:
  description: The path of its page.
  returned: success
  type: str
index:
  description: The path of the page that lists the last runs.
  returned: success
  type: str
textfile:
  description: The path of the textfile for Prometheus.
  returned: success
  type: str
"""
