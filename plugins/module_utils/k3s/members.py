# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The members of etcd, each with its node. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from ..core.shapes import Member, Node
from .node import same_address


def members(listed: Iterable[Mapping[str, Any]], nodes: Mapping[str, Node]) -> list[Member]:
    """etcd's members, each with its node.

    :param listed: as the JSON gateway lists them.
    :param nodes: name -> `node_state`.
    :returns: dicts of ``id``, ``name``, ``node`` (None: its Node is gone), ``address`` (None where it tells none) and
        ``learner``.
    """
    found: list[Member] = []
    for member in listed:
        urls = [*(member.get("clientURLs") or []), *(member.get("peerURLs") or [])]
        hosts = [host for host in (urlsplit(url).hostname for url in urls) if host]
        name = member.get("name", "")
        by_name = [node for node, state in nodes.items() if name and state["member"] == name]
        by_address = [
            node
            for node, state in nodes.items()
            if any(same_address(host, address) for host in hosts for address in state["addresses"])
        ]
        found.append(
            {
                "id": str(member.get("ID", "")),
                "name": name,
                "node": next(iter([*by_name, *by_address]), None),
                "address": next(iter(hosts), None),
                "learner": bool(member.get("isLearner")),
            }
        )
    return found
