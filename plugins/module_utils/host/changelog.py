# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which CVEs an update fixes, and since when the fix is there, as the changelog of its package tells. Pure.

It runs on the hosts (Python 3.10).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timezone
from email.utils import parsedate_to_datetime
from typing import TypedDict

# deb-changelog(5): `source (version) distributions; metadata`, and at its end ` -- maintainer <address>  date`. Whoever
# makes a package writes what he likes: no two parts of an expression here may match the same text, or a long line would
# take the square of its length.
_HEAD = re.compile(r"(?P<source>[a-z0-9][a-z0-9+.-]*) \((?P<version>[^()\s]+)\)(?P<suites>[^;]*);")
_CVE = re.compile(r"\bCVE-(\d{4})-(\d{4,12})\b", re.IGNORECASE)
# `Tue, 30 Sep 2025 20:10:00 +0200`, with room.
_LONGEST_DATE = 100


class Fixes(TypedDict):
    """What an update fixes."""

    cves: list[str] | None
    """Sorted. None: unknown, because nothing could be read, or not all of it and what was read names none."""
    fixed: str | None
    """The day of the oldest entry that names one, else of the oldest entry; None: unknown."""


@dataclass
class Entry:
    """One entry: its version, the release it was made for, the CVEs that it names, its day (empty: unknown)."""

    version: str
    release: str
    cves: set[str] = field(default_factory=set)
    day: str = ""


def entries(text: str, source: str) -> Iterator[Entry]:
    """The entries of a changelog, in its order: the newest first.

    :param source: the name of the source package. Entries of another one end it, but for what a signed kernel is made
        from: those of ``linux`` are in the changelog of ``linux-signed-amd64``.
    """
    entry = None
    for line in text.splitlines():
        head = _HEAD.match(line)
        if head:
            if not f"{source}-".startswith(f"{head['source']}-"):
                break
            # `bookworm-security` is for the release `bookworm`.
            entry = Entry(head["version"], head["suites"].strip().partition(" ")[0].partition("-")[0])
        elif entry:
            entry.cves |= {f"CVE-{year}-{number}" for year, number in _CVE.findall(line)}
            maintainer, closed, date = line.rpartition(">")
            if closed and maintainer.startswith(" -- ") and "<" in maintainer and date[:1].isspace() and date.strip():
                entry.day = _day(date)
                yield entry
                entry = None


def _day(text: str) -> str:
    if len(text) > _LONGEST_DATE:
        return ""
    try:
        return parsedate_to_datetime(text.strip()).astimezone(timezone.utc).date().isoformat()
    except (ValueError, TypeError, IndexError):
        return ""


def fixes(text: str, source: str, old: str, new: str, compare: Callable[[str, str], int]) -> Fixes:
    """What is between two versions of a source package.

    :param text: the changelog that comes with the new one.
    :param old: the installed version, and ``new`` the one that is pending; both of the source package.
    :param compare: dpkg's comparison of versions: below 0, 0, or above.
    """
    between: list[Entry] = []
    complete, home, day = False, "", ""
    for entry in entries(text, source):
        home = home or entry.release
        # What was made for another release (unstable) came to this one with the next entry for it, which is the newer.
        day = entry.day if entry.release == home else day
        entry.day = day
        if compare(entry.version, old) <= 0:
            complete = True
            break
        # Below the new version's own entry all is part of it, also 3.11-1.1 below 3.11-1.1~deb13u1, which is the lower.
        if between or compare(entry.version, new) <= 0:
            between.append(entry)
    named = [entry for entry in between if entry.cves]
    days = sorted(filter(None, (entry.day for entry in named or between)))
    # Ubuntu cuts changelogs short: what was read is true, and may be too little.
    unknown = not between or (not complete and not named)
    return {
        "cves": None if unknown else sorted(set().union(*(entry.cves for entry in named))),
        "fixed": days[0] if days else None,
    }
