# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What dpkg knows of this host, and apt of it: packages, configuration files, who holds the lock, how old lists are."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import struct
from collections.abc import Iterable
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


def complaint(options: Iterable[str] = ()) -> str:
    """What `apt-get check` complains of, such as broken dependencies; empty where it does not.

    The lock is left out: who holds it is asked of the kernel.

    :param options: of apt's, as words of the command line.
    """
    done = system.run(["apt-get", "check", "--quiet", "-o", "Debug::NoLocking=1", *options], timeout=120)
    if done.returncode == 0:
        return ""
    unmet = [line.strip() for line in done.stdout.splitlines() if re.match(r" \S+ : ", line)]
    errors = [line.removeprefix("E: ") for line in done.stderr.splitlines() if line.startswith("E:")]
    return "; ".join(unmet or errors) or done.stderr.strip() or f"status {done.returncode}"


def mapped_packages(services: tuple) -> list:
    """Packages whose libraries the main processes of these services have in memory.

    :param services: names of units.
    """
    libraries = set()
    for pid in system.run(["systemctl", "show", "-p", "MainPID", "--value", *services]).stdout.split():
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


def modified_conffiles(packages: Iterable[str] = ()) -> list:
    """Configuration files that are not as their packages brought them: ``package``, ``path``, ``missing`` of each.

    :param packages: their names; none for all that are installed.
    """
    form = "${binary:Package} ${db:Status-Status}\n${Conffiles}\n"
    package, modified = "", []
    for line in system.run(["dpkg-query", "-W", "-f", form, *packages]).stdout.splitlines():
        fields = line.split()
        if line and not line.startswith(" "):
            package = fields[0] if fields[1:] != ["config-files"] else ""
        # ` /etc/file 0123456789abcdef`, with `obsolete` or `remove-on-upgrade` behind it where dpkg is done with it.
        elif package and len(fields) == 2 and fields[1] != "newconffile":
            path, checksum = fields
            current = _md5(path)
            if current != checksum:
                modified.append({"package": package, "path": path, "missing": current is None})
    return modified


def _md5(path: str) -> str | None:
    """The checksum that dpkg keeps; None where the file cannot be read."""
    try:
        return hashlib.md5(Path(path).read_bytes(), usedforsecurity=False).hexdigest()
    except OSError:
        return None


def lock_holder() -> dict | None:
    """Who holds dpkg's lock, as the kernel knows it: ``pid``, ``command``, ``seconds`` since it started; or None."""
    for path in LOCKS:
        try:
            with open(path, "rb") as stream:
                wanted = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
                lock = fcntl.fcntl(stream, fcntl.F_GETLK, wanted)
        except OSError:
            continue
        kind, _whence, _start, _length, pid = struct.unpack("hhqqi4x", lock)
        if kind != fcntl.F_UNLCK:
            command = system.read(f"/proc/{pid}/comm") or "?"
            return {"pid": pid, "command": command, "seconds": system.process_age(pid)}
    return None


def lists_age(now: float) -> float | None:
    """Seconds since the package lists were refreshed; None where they never were.

    :param now: seconds since the epoch.
    """
    times = [stamp.stat().st_mtime for stamp in LISTS if stamp.exists()]
    return max(0.0, now - max(times)) if times else None
