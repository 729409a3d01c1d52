#!/usr/bin/python
# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin show, which does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: show
short_description: Print lines
version_added: 0.1.0
author: The homelab.patching maintainers (@homelab)
description:
  - Prints lines on the control node's terminal without the quotes and the indentation that a callback plugin adds.
  - Does not contact the host.
options:
  lines:
    description: What to print. Control characters are spelled out, because lines quote what hosts say.
    type: list
    elements: str
    required: true
extends_documentation_fragment:
  - homelab.patching.control_node
"""

EXAMPLES = r"""
- name: Say it plainly
  homelab.patching.show:
    lines:
      - The daily policy is in force.
"""

RETURN = r"""
"""
