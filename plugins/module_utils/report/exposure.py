# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which security updates a run closed and which it left open, and since when a host could have had them. Pure.

The folder of reports keeps a line of JSON for each run, `history.jsonl`. A run learns from it when an update that is
still open was seen first.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import date

from ..core.change import Change, due, full_name
from .shapes import Exposure, Fix, Report

# In the folder of the reports.
HISTORY = "history.jsonl"


def sightings(lines: Iterable[str]) -> dict[str, dict[str, str]]:
    """What was open on each host when a run last looked at it.

    :param lines: of ``history.jsonl``, the oldest first. What is no line of ours is passed over.
    :returns: host -> package -> the day (``YYYY-MM-DD``) on which a run first saw a security update of it.
    """
    seen: dict[str, dict[str, str]] = {}
    for line in lines:
        try:
            opened = json.loads(line)["open"].items()
            seen |= {host: {str(name): _day(day) for name, day in found.items()} for host, found in opened}
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    return seen


def _day(text: str) -> str:
    return date.fromisoformat(text).isoformat()


def brought(installed: Iterable[Change]) -> dict[str, str]:
    """The versions that a run has brought: full name of the package -> version."""
    return {full_name(each): each["new"] for each in installed if each["new"] is not None}


def security(
    pending: Iterable[Change],
    installed: Iterable[Change],
    fixes: Mapping[str, Fix] | None,
    seen: Mapping[str, str],
    today: date,
) -> list[Exposure]:
    """The security updates of one host, those that the run closed and those that are still open.

    :param pending: what the plan found. What is held is left to who holds it.
    :param installed: what the run changed.
    :param fixes: full name -> what the changelog of the package says: ``source``, ``cves`` (None: unknown) and
        ``fixed`` (the day of the entry that fixes, or None).
    :param seen: full name -> the day of the first sighting.
    :param today: the day on which the run ended.
    :returns: for each the change, its ``source``, ``closed``, ``cves``, ``fixed``, ``since`` (that day, else the day of
        the first sighting, which may be today) and ``days`` from then until today.
    """
    changed = brought(installed)
    found: list[Exposure] = []
    for each in due(pending):
        if not each["security"]:
            continue
        name = full_name(each)
        known: Fix = (fixes or {}).get(name) or {}
        since = min(filter(None, (known.get("fixed"), seen.get(name))), default=today.isoformat())
        found.append(
            {
                **each,
                "source": known.get("source") or each["name"],
                "new": changed.get(name) or each["new"],
                "closed": name in changed,
                "cves": known.get("cves"),
                "fixed": known.get("fixed"),
                "since": since,
                "days": max(0, (today - date.fromisoformat(since)).days),
            }
        )
    return found


def line(report: Report) -> str:
    """What the history keeps of a run: one line of JSON.

    :param report: of a run that has ended; see docs/report.schema.json.
    """
    opened = {
        host: {full_name(each): each["since"] for each in entry["security"] if not each["closed"]}
        for host, entry in report["hosts"].items()
        # Of who was not asked nothing is known: what was open before is still.
        if entry["security"] is not None
    }
    kept = {"run": report["run"], "ended": report["ended"], "ok": report["ok"], "counts": report["counts"]}
    return json.dumps({**kept, "open": opened}, sort_keys=True)
