#!/usr/bin/python
# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin k3s_gone, which does the work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: k3s_gone
short_description: Make sure that nodes of K3s clusters are gone for good
version_added: 0.1.0
author: The homelab.patching maintainers (@homelab)
description:
  - Looks at what the hosts have answered. Fails where a node is Ready, where its host answers, and where no server that
    answers knows it.
  - Names the servers that can forget the nodes, and a claim of this process for them. It deletes nothing and asks no
    host; M(homelab.patching.host_claim) and M(homelab.patching.k3s_node) do that.
options:
  nodes:
    description: Names of nodes, as the API knows them, as a list or separated by commas.
    type: raw
    required: true
  hosts:
    description: Host to the registered result of M(homelab.patching.host_info), or none.
    type: dict
    required: true
  clusters:
    description:
      - Host to the registered result of M(homelab.patching.k3s_info) with C(health), or none.
    type: dict
    required: true
extends_documentation_fragment:
  - homelab.patching.control_node
seealso:
  - module: homelab.patching.k3s_node
"""

EXAMPLES = r"""
- name: Make sure that agent5 is gone
  homelab.patching.k3s_gone:
    nodes: agent5
    hosts: "{{ dict(ansible_play_hosts_all | zip(ansible_play_hosts_all | map('extract', hostvars, 'info'))) }}"
    clusters: "{{ dict(ansible_play_hosts_all | zip(ansible_play_hosts_all | map('extract', hostvars, 'health'))) }}"
  register: gone
  run_once: true
"""

RETURN = r"""
servers:
  description: Node to the host of a server that can forget it.
  returned: success
  type: dict
  sample: {"agent5": "server1"}
run:
  description: The id of a run that is this process, for a claim.
  returned: success
  type: str
owner:
  description: Who works that run.
  returned: success
  type: dict
dead:
  description: Runs that have claimed one of the servers and whose process has ended.
  returned: success
  type: list
  elements: str
"""
