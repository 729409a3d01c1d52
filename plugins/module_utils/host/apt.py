# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What apt's output means: pending packages, what is security, what an upgrade would remove. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TypedDict

from ..core.change import Change, change, full_name

# `Inst libssl3 [3.0.15-1] (3.0.17-1 Debian-Security:12/oldstable-security [amd64])`; a new package has no [old].
# apt appends `[...]` lists of what is unconfigured meanwhile, and writes foreign packages as name:arch.
_INST = re.compile(r"^Inst (?P<name>\S+) (?:\[(?P<old>[^\]]+)\] )?\((?P<new>\S+) ")
_REMV = re.compile(r"^Remv (?P<name>\S+) \[(?P<old>[^\]]+)\]")
# apt's caches of its lists, dpkg's database, logs.
_OWN_BYTES = 100_000_000
_KEPT = "The following packages have been kept back:"
_PHASED = "The following upgrades have been deferred due to phasing:"


class Simulation(TypedDict):
    """What apt-get says that it would do."""

    pending: list[Change]
    """What it would install; whether that is a security update it does not say."""
    removals: list[str]
    kept_back: list[str]
    """The packages that it leaves as they are, by their full names, and so are those that are ``phased``."""
    phased: list[str]


class Size(TypedDict):
    """What an update takes, in bytes."""

    download: int
    unpacked: int
    """On the disk."""
    grows: int
    """How many more than the version before."""


def parse_simulation(text: str) -> Simulation:
    """Read `LC_ALL=C apt-get --simulate dist-upgrade`.

    :param text: standard output of apt-get.
    """
    result: Simulation = {"pending": [], "removals": [], "kept_back": [], "phased": []}
    listing: list[str] | None = None
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
                result["pending"].append(change(match["name"], match["old"], match["new"]))
            elif match := _REMV.match(line):
                result["removals"].append(match["name"])
    # A package that is removed to be replaced in the same transaction is printed as both.
    installed = {full_name(each) for each in result["pending"]}
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


def space_needed(
    changes: Iterable[Change], sizes: Mapping[str, Size], kernel_bytes: int, initrd_bytes: int
) -> dict[str, int]:
    """What an upgrade needs of the disk: path -> bytes.

    :param changes: what it would install.
    :param sizes: full name -> what that takes.
    :param kernel_bytes: what a kernel takes in ``/boot``, with its initramfs.
    :param initrd_bytes: what the largest initramfs takes: it is written anew beside the old one.
    :returns: ``/usr`` (what grows, and the largest package once more, because it is unpacked beside its old files),
        ``/`` and ``/var/cache/apt`` (what apt and dpkg keep for themselves, and the downloaded packages), ``/boot``.
    """
    changes = list(changes)
    if not changes:
        return {}
    taken = [sizes[full_name(each)] for each in changes]
    kernels = [each for each in changes if each["old"] is None and re.match(r"linux-image-\d", each["name"])]
    return {
        "/": _OWN_BYTES,
        "/usr": sum(size["grows"] for size in taken) + max(size["unpacked"] for size in taken),
        "/boot": len(kernels) * kernel_bytes + initrd_bytes,
        "/var/cache/apt": _OWN_BYTES + sum(size["download"] for size in taken),
    }


def changed_versions(before: Mapping[str, str], after: Mapping[str, str]) -> list[Change]:
    """The packages whose installed version differs between two mappings of full names to versions, sorted by name."""
    return [
        change(name, before.get(name), after.get(name))
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]


def cause_of(stderr: str) -> str:
    """The line in which apt-get says what is wrong."""
    return next((line for line in stderr.splitlines() if line.startswith("E:")), stderr.strip()[-200:])
