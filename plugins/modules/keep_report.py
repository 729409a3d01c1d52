#!/usr/bin/python
# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin keep_report, which does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: keep_report
short_description: Keep the report of a run
version_added: 0.1.0
author: The homelab.patching maintainers (@homelab)
description:
  - Writes the report of a run as C(<run>.json) into a folder of the control node, which is made where needed.
  - Beside it, made of it, C(<run>.html), a page for a person; C(index.html), the last 24 runs of the folder; and
    C(patching.prom), a textfile for the node_exporter of Prometheus.
  - An earlier report that cannot be read is listed as such. Where one of the three cannot be written it warns.
  - The host is not asked.
options:
  report:
    description: The report, as the filter P(homelab.patching.summary#filter) gives it.
    type: dict
    required: true
  folder:
    description: Where it is kept.
    type: path
    required: true
attributes:
  action:
    description: Indicates this has a corresponding action plugin so some parts of the options can be executed
      on the controller.
    support: full
  check_mode:
    description: Can run in check mode and return changed status prediction without modifying target.
    support: full
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in check mode), when in diff mode.
    support: none
  platform:
    description: Target OS/families that can be operated against.
    platforms: all
    support: full
"""

EXAMPLES = r"""
- name: Keep the report
  homelab.patching.keep_report:
    report: "{{ patch_report_result }}"
    folder: /var/lib/patching/reports
"""

RETURN = r"""
path:
  description: The report.
  returned: success
  type: str
page:
  description: Its page.
  returned: success
  type: str
index:
  description: The page that lists the last runs.
  returned: success
  type: str
textfile:
  description: The textfile for Prometheus.
  returned: success
  type: str
"""
