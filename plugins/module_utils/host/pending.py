# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an upgrade by apt would do on this host: simulated, nothing is changed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypedDict

from ..core.change import Change, change, due, full_name, split
from ..core.problem import PatchingError, on_host
from . import dpkg, system
from .apt import Simulation, Size, cause_of, parse_simulation, security_version

# What apt-get itself says of broken dependencies.
MEND = on_host("apt-get", "--fix-broken", "install")


class Pending(TypedDict):
    """What could be upgraded."""

    pending: list[Change]
    """Also what an upgrade leaves as it is."""
    removals: list[str]
    """The packages that would have to go."""
    sizes: dict[str, Size]
    """By full name, of those that an upgrade would install."""


NOTHING: Pending = {"pending": [], "removals": [], "sizes": {}}


def arguments(mode: str, pending: Iterable[Change], exclude: list[str]) -> list[str]:
    """The apt-get arguments of an upgrade.

    :param mode: ``full`` or ``security``.
    :param pending: of which ``security`` installs the security updates, in exactly the versions of the security
        archive. `install --only-upgrade` leaves the automatic marks alone; `upgrade NAME` would upgrade everything.
    :param exclude: names of packages that a full upgrade leaves as they are.
    """
    if mode == "security":
        wanted = [f"{full_name(each)}={each['security']}" for each in due(pending) if each["security"]]
        return ["install", "--only-upgrade", *wanted]
    # Asked for in its installed version a package is left alone by this call, with no pin or hold to take back.
    installed = dpkg.installed_packages() if exclude else {}
    kept = [f"{name}={version}" for name, version in installed.items() if split(name)[0] in exclude]
    # dist-upgrade would rather remove what depends on the new version of such a package; upgrade removes nothing.
    return ["upgrade", "--with-new-pkgs", *kept] if kept else ["dist-upgrade"]


def simulate(action: list[str]) -> Simulation:
    """What apt-get would do now.

    :raises PatchingError: apt-get cannot tell, for example because of broken dependencies.
    """
    done = system.run(["apt-get", "--simulate", "-o", "Debug::NoLocking=1", "--quiet", *action], timeout=120)
    if done.returncode != 0:
        cause = cause_of(done.stderr)
        raise PatchingError(f"apt-get cannot work out an upgrade: {cause}", "", MEND)
    return parse_simulation(done.stdout)


def check() -> Pending:
    """Make sure that apt-get is not stopped by broken dependencies, without asking what is pending.

    :returns: `NOTHING`.
    :raises PatchingError: it is.
    """
    text = dpkg.complaint()
    if text:
        raise PatchingError(f"apt-get check fails: {text}", "", MEND)
    return NOTHING


def _idle(cache: Any, candidates: Any) -> bool:
    """Does libapt, of which apt-get is made, find nothing that an upgrade would do, keep back or stumble on?

    apt-get takes three times as long to say so, because it plans the order of what it simulates.

    :param candidates: a DepCache, whose marks are changed, in memory.
    """
    if candidates.broken_count or not candidates.upgrade(True) or candidates.inst_count or candidates.del_count:
        return False
    return not any(package.current_ver and candidates.is_upgradable(package) for package in cache.packages)


def pending(apt_pkg: Any, exclude: list[str]) -> Pending:
    """What a full upgrade would do, and what it would leave as it is.

    :param apt_pkg: the module of python3-apt.
    :param exclude: names of packages that are left as they are.
    """
    try:
        apt_pkg.init()
        cache = apt_pkg.Cache(None)
    except SystemError:
        # What is wrong with its configuration or its lists, apt-get says in words for a person.
        simulate(arguments("full", [], exclude))
        raise
    if _idle(cache, apt_pkg.DepCache(cache)):
        return NOTHING
    found = simulate(arguments("full", [], exclude))
    kept = [*found["kept_back"], *found["phased"]]
    candidates = apt_pkg.DepCache(cache)
    # Asked for in its installed version, an excluded package is not even named among those that are kept back.
    for package in cache.packages if exclude else ():
        if package.name in exclude and package.current_ver and candidates.is_upgradable(package):
            kept.append(package.get_fullname(True))

    def known(full_name: str):
        name, arch = split(full_name)
        return cache[name, arch] if arch else cache[name]

    def security(package, new: str) -> str | None:
        if not package.current_ver:
            return None
        offered = [
            (version.ver_str, [source.archive for source, _index in version.file_list])
            for version in package.version_list
        ]
        return security_version(package.current_ver.ver_str, new, offered, apt_pkg.version_compare)

    result: Pending = {"pending": [], "removals": found["removals"], "sizes": {}}
    for each in found["pending"]:
        package = known(full_name(each))
        new = next(version for version in package.version_list if version.ver_str == each["new"])
        old = package.current_ver.installed_size if package.current_ver else 0
        result["pending"].append({**each, "security": security(package, new.ver_str)})
        result["sizes"][full_name(each)] = {
            "download": new.size,
            "unpacked": new.installed_size,
            "grows": max(0, new.installed_size - old),
        }

    held = set(system.run(["apt-mark", "showhold"]).stdout.split()) if kept else set()
    records = apt_pkg.PackageRecords(cache)
    for name in sorted(set(kept)):
        package = known(name)
        newest = candidates.get_candidate_ver(package) if candidates.is_upgradable(package) else package.version_list[0]
        if package.name in exclude:
            why = "excluded by patching_exclude_packages"
        elif name in found["phased"]:
            read = records.lookup(newest.file_list[0])
            share = apt_pkg.TagSection(records.record).get("Phased-Update-Percentage") if read else None
            why = f"phased{f', {share} %' if share else ''}: not this host's turn yet"
        else:
            why = "held" if name in held else "its dependencies do not allow it"
        old = package.current_ver.ver_str if package.current_ver else None
        result["pending"].append(change(name, old, newest.ver_str, security(package, newest.ver_str), why))
    return result
