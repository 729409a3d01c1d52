# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What apt's output means: pending packages, what is security, what an upgrade would remove. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

# `Inst libssl3 [3.0.15-1] (3.0.17-1 Debian-Security:12/oldstable-security [amd64])`; a new package has no [old].
# apt appends `[...]` lists of what is unconfigured meanwhile, and writes foreign packages as name:arch.
_INST = re.compile(r"^Inst (?P<name>\S+) (?:\[(?P<old>[^\]]+)\] )?\((?P<new>\S+) (?P<origins>[^\[)]*)")
_REMV = re.compile(r"^Remv (?P<name>\S+) \[(?P<old>[^\]]+)\]")
# apt's caches of its lists, dpkg's database, logs.
_OWN_BYTES = 100_000_000
_KEPT = "The following packages have been kept back:"
_PHASED = "The following upgrades have been deferred due to phasing:"


def parse_simulation(text: str) -> dict:
    """Read `LC_ALL=C apt-get --simulate dist-upgrade`.

    :param text: standard output of apt-get.
    :returns: ``upgrades`` (dicts of name, old (None for a new package), new, origins), ``removals`` (names),
        ``kept_back`` and ``phased`` (names).
    """
    result: dict = {"upgrades": [], "removals": [], "kept_back": [], "phased": []}
    listing: list | None = None
    for line in text.splitlines():
        if line.startswith(_KEPT):
            listing = result["kept_back"]
        elif line.startswith(_PHASED):
            listing = result["phased"]
        elif listing is not None and line.startswith("  "):
            listing.extend(line.split())
        else:
            listing = None
            if match := _INST.match(line):
                origins = [origin.strip() for origin in match["origins"].split(",") if origin.strip()]
                result["upgrades"].append(
                    {"name": match["name"], "old": match["old"], "new": match["new"], "origins": origins}
                )
            elif match := _REMV.match(line):
                result["removals"].append(match["name"])
    # A package that is removed to be replaced in the same transaction is printed as both.
    installed = {upgrade["name"] for upgrade in result["upgrades"]}
    result["removals"] = [name for name in result["removals"] if name not in installed]
    return result


def security_version(
    installed: str, candidate: str, versions: Iterable[tuple[str, Iterable[str]]], compare: Callable[[str, str], int]
) -> str | None:
    """The newest version above `installed` and up to `candidate` that a security archive offers, or None.

    This is apt's own rule (``IsSecurityUpdate`` in apt-pkg/upgrade.cc): the candidate's own archive alone would
    miss a fix whose newer build came through another suite.

    :param installed: the installed version.
    :param candidate: the version apt would install.
    :param versions: every known version with the names of the archives (``Suite:``) that offer it.
    :param compare: dpkg's version comparison, such as ``apt_pkg.version_compare``.
    """
    best = None
    for version, archives in versions:
        if compare(version, installed) <= 0 or compare(version, candidate) > 0:
            continue
        if not any(archive.endswith("-security") for archive in archives):
            continue
        if best is None or compare(version, best) > 0:
            best = version
    return best


def space_needed(upgrades: Iterable, kernel_bytes: int, initrd_bytes: int) -> dict:
    """What an upgrade needs of the disk: path -> bytes.

    :param upgrades: as `pending.pending` gives them.
    :param kernel_bytes: what a kernel takes in ``/boot``, with its initramfs.
    :param initrd_bytes: what the largest initramfs takes: it is written anew beside the old one.
    :returns: ``/usr`` (what grows, and the largest package once more, because it is unpacked beside its old files),
        ``/`` and ``/var/cache/apt`` (what apt and dpkg keep for themselves, and the downloaded packages), ``/boot``.
    """
    upgrades = list(upgrades)
    if not upgrades:
        return {}
    kernels = [item for item in upgrades if item["old"] is None and re.match(r"linux-image-\d", item["name"])]
    return {
        "/": _OWN_BYTES,
        "/usr": sum(item["grows"] for item in upgrades) + max(item["unpacked"] for item in upgrades),
        "/boot": len(kernels) * kernel_bytes + initrd_bytes,
        "/var/cache/apt": _OWN_BYTES + sum(item["download"] for item in upgrades),
    }


def changed_versions(before: dict, after: dict) -> list:
    """The packages whose installed version differs between two `name -> version` mappings, sorted by name."""
    return [
        {"name": name, "old": before.get(name), "new": after.get(name)}
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]


def cause_of(stderr: str) -> str:
    """The line in which apt-get says what is wrong."""
    return next((line for line in stderr.splitlines() if line.startswith("E:")), stderr.strip()[-200:])
