# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What actions are given, read of the hosts of a run, and hand over."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping


def collect(task_vars: Mapping, hosts: Iterable[str], name: str) -> dict:
    """host -> the value of a fact or a registered result, None where it has none.

    Both are plain values, and are read as such: looking for templates in them takes seconds with 1,000 hosts.
    """
    hostvars = task_vars["hostvars"]
    return {host: hostvars.raw_get(host).get(name) for host in hosts}


def plain(value: dict) -> dict:
    """The same without Ansible's tags on every text: to hand those over takes longer than to plan 1,000 hosts."""
    return json.loads(json.dumps(value))


def unregistered(result: Mapping) -> dict:
    """What an action returned, without what Ansible adds when it registers that."""
    return {name: value for name, value in result.items() if name not in ("changed", "failed")}


def listed(names: str | Iterable[str] | None) -> list[str]:
    """Names as a person gives them: a list, or one text with commas or spaces between them."""
    return names.replace(",", " ").split() if isinstance(names, str) else list(names or [])
