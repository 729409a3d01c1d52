# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What dpkg knows of this host: packages, configuration files, who holds its lock, how old apt's lists are."""

from __future__ import annotations

import fcntl
import hashlib
import os
import struct
from contextlib import suppress
from pathlib import Path

from . import system

# apt's and dpkg's own: whoever installs holds the lock; either path changes when the package lists are refreshed.
LOCKS = ("/var/lib/dpkg/lock-frontend", "/var/lib/dpkg/lock")
LISTS = (Path("/var/lib/apt/lists"), Path("/var/lib/apt/periodic/update-success-stamp"))


def installed_packages() -> dict[str, str]:
    """Name -> version of every package that is unpacked or installed.

    The names are apt's: with an architecture only where it is not the host's own. dpkg also writes it where a package
    may be there for several (``libc6:amd64``).
    """
    listing = "${Package}\t${Architecture}\t${Version}\t${db:Status-Status}\n"
    listed = system.run(["dpkg-query", "-W", "-f", listing]).stdout
    plain = {"all", system.run(["dpkg", "--print-architecture"]).stdout.strip()}
    rows = (line.split("\t") for line in listed.splitlines())
    return {
        row[0] if row[1] in plain else f"{row[0]}:{row[1]}": row[2]
        for row in rows
        if len(row) == 4 and row[3] not in ("not-installed", "config-files")
    }


def mapped_packages(services: tuple) -> list:
    """Packages whose libraries the main processes of these services have in memory.

    :param services: names of units.
    """
    libraries = set()
    for service in services:
        pid = system.run(["systemctl", "show", "-p", "MainPID", "--value", service]).stdout.strip()
        for line in system.read(f"/proc/{pid}/maps").splitlines():
            path = line.partition("/")[1] + line.partition("/")[2]
            if ".so" in path:
                # Before Debian 13 dpkg knows libraries by their names from before the merge of /usr.
                libraries |= {path, path.removeprefix("/usr")}
    if not libraries:
        return []
    found = system.run(["dpkg-query", "-S", *sorted(libraries)])
    return sorted({line.rpartition(": ")[0] for line in found.stdout.splitlines() if ": " in line})


def grub_devices() -> list:
    """Where the package grub-pc installs the boot loader; on a clone the device may be gone."""
    if not Path("/var/lib/dpkg/info/grub-pc.list").exists():
        return []
    shown = system.run(["debconf-show", "grub-pc"]).stdout
    lines = [line for line in shown.splitlines() if "grub-pc/install_devices:" in line]
    return [device.strip() for line in lines for device in line.partition(":")[2].split(",") if device.strip()]


def modified_conffiles(packages: list) -> list:
    """Configuration files of these packages that somebody has changed: ``package`` and ``path`` of each."""
    if not packages:
        return []
    shown = system.run(["dpkg-query", "-W", "-f", "${binary:Package}\n${Conffiles}\n", *packages]).stdout
    package, modified = "", []
    for line in shown.splitlines():
        if not line.startswith(" "):
            package = line.strip() or package
            continue
        # ` /etc/file 0123456789abcdef`, with `obsolete` or `remove-on-upgrade` behind it where dpkg is done with it.
        path, checksum, *state = line.split()
        with suppress(OSError):
            if not state and hashlib.md5(Path(path).read_bytes(), usedforsecurity=False).hexdigest() != checksum:
                modified.append({"package": package, "path": path})
    return modified


def lock_holder() -> str | None:
    """Who holds dpkg's lock (such as ``apt-get (process 71)``), or None."""
    try:
        with open(LOCKS[0], "rb") as stream:
            wanted = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            kind, _whence, _start, _length, pid = struct.unpack("hhqqi4x", fcntl.fcntl(stream, fcntl.F_GETLK, wanted))
    except OSError:
        return None
    return None if kind == fcntl.F_UNLCK else f"{system.read(f'/proc/{pid}/comm') or '?'} (process {pid})"


def lists_age(now: float) -> float | None:
    """Seconds since the package lists were refreshed; None where they never were.

    :param now: seconds since the epoch.
    """
    times = [stamp.stat().st_mtime for stamp in LISTS if stamp.exists()]
    return max(0.0, now - max(times)) if times else None
