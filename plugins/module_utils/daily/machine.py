# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The daily updates of this host, asked of its files, of apt and of systemd. Writes nothing."""

from __future__ import annotations

import os
import re
import time
from datetime import datetime, timezone
from pathlib import Path

from ..core.problem import PatchingError
from ..host import system
from .conf import conf_files, option, parse_conf
from .program import PROGRAM
from .verdict import LastRun

STAMP = Path("/var/lib/apt/periodic/upgrade-stamp")
UNITS = ("apt-daily.timer", "apt-daily-upgrade.timer", "apt-daily.service", "apt-daily-upgrade.service")


def dump() -> str:
    """`apt-config dump`.

    :raises PatchingError: apt cannot read its configuration; then nothing of apt works.
    """
    done = system.run(["apt-config", "dump"])
    if done.returncode != 0 or "E:" in done.stderr:
        raise PatchingError(f"apt cannot read its configuration: {done.stderr.strip()}", "correct that line")
    return done.stdout


def settings() -> list:
    """The settings of all of apt's configuration files, in apt's order."""
    folder = "/etc/apt/apt.conf.d"
    names = os.listdir(folder) if os.path.isdir(folder) else []
    found = []
    for path in [*(f"{folder}/{name}" for name in conf_files(names)), "/etc/apt/apt.conf"]:
        if os.path.isfile(path):
            found += parse_conf(Path(path).read_text(encoding="utf-8", errors="replace"), path)
    return found


def dpkg_journal() -> bool:
    """Was dpkg interrupted in the middle of its work? Then apt refuses to do anything."""
    return any(name.isdigit() for name in os.listdir("/var/lib/dpkg/updates"))


def unfinished_packages() -> list:
    """Packages that dpkg has not configured. apt goes on with these by itself."""
    lines = system.run(["dpkg", "--audit"]).stdout.splitlines()
    return [line.split()[0] for line in lines if line.startswith(" ") and line.split()]


def _when(text: str) -> str | None:
    """`Mon 2026-11-23 06:10:34 UTC` as an ISO time."""
    match = re.search(r"(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)", text)
    return f"{match[1]}T{match[2]}Z" if match else None


def units() -> dict:
    """Timers and services of the daily updates: ``load``, ``active``, ``enabled``; timers also ``next``, ``last``."""
    found = {}
    for name in UNITS:
        shown = system.run(
            ["systemctl", "show", name, "-p"
             "LoadState,ActiveState,UnitFileState,NextElapseUSecRealtime,LastTriggerUSec"],
            env={"TZ": "UTC"},
        )  # fmt: skip
        values = dict(line.split("=", 1) for line in shown.stdout.splitlines() if "=" in line)
        found[name] = {
            "load": values.get("LoadState", ""),
            "active": values.get("ActiveState", ""),
            "enabled": values.get("UnitFileState", ""),
        }
        if name.endswith(".timer"):
            found[name]["next"] = _when(values.get("NextElapseUSecRealtime", ""))
            found[name]["last"] = _when(values.get("LastTriggerUSec", ""))
    return found


def version() -> str | None:
    """The installed version of unattended-upgrades, or None."""
    shown = system.run(["dpkg-query", "-W", "-f", "${Version} ${db:Status-Status}", "unattended-upgrades"])
    installed, _separator, status = shown.stdout.partition(" ")
    return installed if status == "installed" and PROGRAM.exists() else None


def iso(moment: float) -> str:
    """A time of this host's clock, as ISO text."""
    return datetime.fromtimestamp(moment, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def mtime(path: str | Path) -> float | None:
    """When a file was written, or None where there is none."""
    try:
        return os.stat(path).st_mtime
    except OSError:
        return None


def chance(own_file: str) -> float:
    """Seconds for which the daily updates could have run: since their package, this machine or its policy began."""
    began = [mtime("/var/lib/dpkg/info/unattended-upgrades.list"), mtime("/etc/machine-id"), mtime(own_file)]
    return time.time() - max(moment for moment in [*began, 0.0] if moment is not None)


def last_success(run: LastRun | None) -> float | None:
    """When a run last ended well: by the daily script's stamp, or by the log."""
    moments = [mtime(STAMP)]
    if run and run["result"] in ("ok", "conffile"):
        moments.append(time.mktime(time.strptime(run["ended"], "%Y-%m-%d %H:%M:%S")))
    return max((moment for moment in moments if moment is not None), default=None)


def log(options: dict) -> str:
    """The log of unattended-upgrades.

    :param options: apt's, from `dump`.
    """
    folder = option(options, "Unattended-Upgrade::LogDir", "/var/log/unattended-upgrades")
    return system.read(os.path.join(folder, option(options, "Unattended-Upgrade::LogFile", "unattended-upgrades.log")))
