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

# In the folder of the reports.
HISTORY = "history.jsonl"


def sightings(lines: Iterable[str]) -> dict:
    """What was open on each host when a run last looked at it.

    :param lines: of ``history.jsonl``, the oldest first. What is no line of ours is passed over.
    :returns: host -> package -> the day (``YYYY-MM-DD``) on which a run first saw a security update of it.
    """
    seen: dict = {}
    for line in lines:
        try:
            opened = json.loads(line)["open"].items()
            seen |= {host: {str(name): _day(day) for name, day in found.items()} for host, found in opened}
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    return seen


def _day(text: str) -> str:
    return date.fromisoformat(text).isoformat()


def installed(packages: Iterable[Mapping]) -> dict:
    """The versions that a run has brought, by each name that apt or dpkg may give the package.

    dpkg names the architecture of what may be there for several (``libc6:amd64``); apt does so for foreign ones only.

    :param packages: what the run changed: ``name``, ``new``.
    """
    brought = [(item["name"], item["new"]) for item in packages if item["new"] is not None]
    return {name.partition(":")[0]: new for name, new in brought} | dict(brought)


def security(
    pending: Iterable[Mapping], packages: Iterable[Mapping], fixes: Mapping | None, seen: Mapping, today: date
) -> list:
    """The security updates of one host, those that the run closed and those that are still open.

    :param pending: what the plan found: ``name``, ``old``, ``new``, ``security``.
    :param packages: what the run changed: ``name``, ``old``, ``new``.
    :param fixes: name -> what the changelog of the package says: ``source``, ``cves`` (None: unknown) and ``fixed``
        (the day of the entry that fixes, or None).
    :param seen: name -> the day of the first sighting.
    :param today: the day on which the run ended.
    :returns: for each its ``package``, ``source``, ``old``, ``new``, ``closed``, ``cves``, ``fixed``, ``since`` (that
        day, else the day of the first sighting, which may be today) and ``days`` from then until today.
    """
    changed = installed(packages)
    found = []
    for item in pending:
        if not item["security"]:
            continue
        name = item["name"]
        known = (fixes or {}).get(name) or {}
        since = min(filter(None, (known.get("fixed"), seen.get(name))), default=today.isoformat())
        found.append(
            {
                "package": name,
                "source": known.get("source") or name.partition(":")[0],
                "old": item["old"],
                "new": changed.get(name) or item["new"],
                "closed": changed.get(name) is not None,
                "cves": known.get("cves"),
                "fixed": known.get("fixed"),
                "since": since,
                "days": max(0, (today - date.fromisoformat(since)).days),
            }
        )
    return found


def line(report: Mapping) -> str:
    """What the history keeps of a run: one line of JSON.

    :param report: of a run that has ended; see docs/report.schema.json.
    """
    opened = {
        host: {item["package"]: item["since"] for item in entry["security"] if not item["closed"]}
        for host, entry in report["hosts"].items()
        # Of who was not asked nothing is known: what was open before is still.
        if entry["security"] is not None
    }
    kept = {"run": report["run"], "ended": report["ended"], "ok": report["ok"], "counts": report["counts"]}
    return json.dumps({**kept, "open": opened}, sort_keys=True)
