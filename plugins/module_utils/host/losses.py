# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What speaks for making a host anew, and what that would lose, as the host itself knows it.

It runs on the hosts (Python 3.10).
"""

from __future__ import annotations

import csv
import glob
import gzip
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from . import dpkg, system

# Of each list; who has more than that knows without us that it is a pet.
_MOST = 200
_SUPPORT = Path("/usr/share/distro-info")
_HISTORY = "/var/log/apt/history.log*"
_STATES = "/var/lib/apt/extended_states"
_VOLUMES = ("/var/lib/rancher/k3s/storage/*", "/var/lib/docker/volumes/*/_data")


def facts(release: dict, conffiles: Iterable[Mapping]) -> dict:
    """What a rebuild is about.

    :param release: ``id`` and ``version_id`` of its os-release.
    :param conffiles: `dpkg.modified_conffiles`.
    :returns: ``end_of_support`` (``YYYY-MM-DD``; empty: unknown), and what a rebuild would lose: ``manual`` (packages
        that somebody installed since the image), ``conffiles`` (paths that somebody changed), ``volumes`` (paths),
        each a mapping of ``count`` and ``names``, which are 200 at most.
    """
    return {
        "end_of_support": _end_of_support(release),
        "manual": _some(_installed_by_hand()),
        "conffiles": _some(item["path"] for item in conffiles if not item["missing"]),
        "volumes": _some(path for pattern in _VOLUMES for path in glob.glob(pattern)),
    }


def _some(names) -> dict:
    names = sorted(set(names))
    return {"count": len(names), "names": names[:_MOST]}


def _end_of_support(release: dict) -> str:
    """From the table of distro-info-data, which comes with unattended-upgrades. Debian: LTS, which needs no contract.

    Ubuntu: without Pro.
    """
    try:
        with (_SUPPORT / f"{release['id']}.csv").open(encoding="utf-8") as stream:
            for row in csv.DictReader(stream):
                # Ubuntu writes `24.04 LTS`.
                if (row["version"] or "").split(" ")[0] == release["version_id"]:
                    return row.get("eol-server") or row.get("eol-lts") or row.get("eol") or ""
    except (OSError, KeyError):
        pass
    return ""


def _installed_by_hand() -> set:
    """Packages that apt's history names as installed and not as automatic, and that still are there and manual."""
    named = set()
    for path in glob.glob(_HISTORY):
        try:
            opened = gzip.open if path.endswith(".gz") else open
            with opened(path, "rt", encoding="utf-8", errors="replace") as stream:
                for line in stream:
                    if line.startswith("Install: "):
                        # `Install: NAME:ARCHITECTURE (VERSION[, automatic]), ...`
                        named |= set(re.findall(r"([a-z0-9][a-z0-9.+-]+):\S+ \([^,)]*\)", line))
        except (OSError, EOFError):
            continue
    installed = {name.partition(":")[0] for name in dpkg.installed_packages()}
    return (named & installed) - _automatic()


def _automatic() -> set:
    """Packages that came for the sake of others. `apt-mark` would read all of apt's lists to say so."""
    text = system.read(_STATES)
    return set(re.findall(r"^Package: (\S+)$(?=(?:\n\S.*)*?\nAuto-Installed: 1$)", text, re.MULTILINE))
