# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What else works on a cluster: kured, Longhorn, the system-upgrade-controller. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import datetime, timedelta

from ..core.shapes import Kured
from .pods import Object


def kured(daemon_sets: Iterable[Object], nodes: Iterable[str], now: datetime) -> Kured | None:
    """Is there a kured, which reboots nodes by itself, and does somebody hold its lock by hand?

    :param daemon_sets: all DaemonSets.
    :param nodes: names of the nodes; a lock that is one of theirs is kured at work.
    :param now: with its zone.
    :returns: ``namespace``, ``name`` and ``held``; None where there is none.
    """
    for thing in daemon_sets:
        images = [container.get("image", "") for container in thing["spec"]["template"]["spec"]["containers"]]
        if thing["metadata"]["name"] != "kured" and not any(re.search(r"(^|/)kured(:|@|$)", image) for image in images):
            continue
        annotation = (thing["metadata"].get("annotations") or {}).get("weave.works/kured-node-lock", "")
        held = _lock_holds(annotation, set(nodes), now)
        return {"namespace": thing["metadata"]["namespace"], "name": thing["metadata"]["name"], "held": held}
    return None


def _lock_holds(annotation: str, nodes: set[str], now: datetime) -> bool:
    try:
        lock = json.loads(annotation)
        holder, ttl = lock.get("nodeID"), int(lock.get("TTL") or 0)  # ns
        if not holder or holder in nodes:
            return False
        if not ttl:
            return True
        # Fractions of a second come in nanoseconds, which Python does not read.
        created = datetime.fromisoformat(re.sub(r"\.\d+", "", lock["created"]).replace("Z", "+00:00"))
        return now < created + timedelta(microseconds=ttl // 1000)
    except (ValueError, AttributeError, KeyError, TypeError):
        return False


def longhorn(volumes: Iterable[Object]) -> dict[str, str]:
    """``namespace/name`` of each attached Longhorn volume -> its robustness."""
    return {
        f"{volume['metadata']['namespace']}/{volume['metadata']['name']}": volume["status"].get("robustness", "unknown")
        for volume in volumes
        if (volume.get("status") or {}).get("state") == "attached"
    }


def applying(plans: Iterable[Object]) -> list[str]:
    """``namespace/name`` of the system-upgrade-controller's Plans that are at work on a node."""
    return sorted(
        f"{plan['metadata']['namespace']}/{plan['metadata']['name']}"
        for plan in plans
        if (plan.get("status") or {}).get("applying")
    )
