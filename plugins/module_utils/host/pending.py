# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an upgrade by apt would do on this host: simulated, nothing is changed."""

from __future__ import annotations

from typing import Any

from ..core.problem import PatchingError
from . import dpkg, system
from .apt import cause_of, parse_simulation, security_version

# What `pending` says of a host with nothing to do.
NOTHING: dict = {**parse_simulation(""), "phased": {}}


def arguments(mode: str, security: list, exclude: list) -> list:
    """The apt-get arguments of an upgrade.

    :param mode: ``full`` or ``security``.
    :param security: ``name=version`` of each pending security update. `install --only-upgrade` of exact versions
        leaves the automatic marks alone; `upgrade NAME` would upgrade everything.
    :param exclude: names of packages that a full upgrade leaves as they are.
    """
    if mode == "security":
        return ["install", "--only-upgrade", *security]
    # Asked for in its installed version a package is left alone by this call, with no pin or hold to take back.
    installed = dpkg.installed_packages() if exclude else {}
    kept = [f"{name}={version}" for name, version in installed.items() if name.partition(":")[0] in exclude]
    # dist-upgrade would rather remove what depends on the new version of such a package; upgrade removes nothing.
    return ["upgrade", "--with-new-pkgs", *kept] if kept else ["dist-upgrade"]


def simulate(action: list) -> dict:
    """What apt-get would do now.

    :raises PatchingError: apt-get cannot tell, for example because of broken dependencies.
    """
    done = system.run(["apt-get", "--simulate", "-o", "Debug::NoLocking=1", "--quiet", *action], timeout=120)
    if done.returncode != 0:
        cause = cause_of(done.stderr)
        raise PatchingError(f"apt-get cannot work out an upgrade: {cause}", "on the host: apt-get --fix-broken install")
    return parse_simulation(done.stdout)


def check() -> dict:
    """Make sure that apt-get is not stopped by broken dependencies, without asking what is pending.

    :returns: `NOTHING`.
    :raises PatchingError: it is.
    """
    text = dpkg.complaint()
    if text:
        raise PatchingError(f"apt-get check fails: {text}", "on the host: apt-get --fix-broken install")
    return NOTHING


def _idle(cache: Any, candidates: Any) -> bool:
    """Does libapt, of which apt-get is made, find nothing that an upgrade would do, keep back or stumble on?

    apt-get takes three times as long to say so, because it plans the order of what it simulates.

    :param candidates: a DepCache, whose marks are changed, in memory.
    """
    if candidates.broken_count or not candidates.upgrade(True) or candidates.inst_count or candidates.del_count:
        return False
    return not any(package.current_ver and candidates.is_upgradable(package) for package in cache.packages)


def pending(apt_pkg: Any, exclude: list) -> dict:
    """What a full upgrade would do, each package with its security version where it has one.

    :param apt_pkg: the module of python3-apt.
    :param exclude: names of packages that are left as they are.
    :returns: as `parse_simulation`; each upgrade also has ``security`` (a version or None), ``download`` (bytes of the
        package) and ``unpacked`` and ``grows`` (bytes on the disk, and how many more than now). ``phased`` is a mapping
        of names to percentages (None where none is told).
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
    result = simulate(arguments("full", [], exclude))
    result["phased"] = dict.fromkeys(result["phased"])
    # Asked for in its installed version, an excluded package is not even named among those that are kept back.
    candidates = apt_pkg.DepCache(cache)
    for package in cache.packages if exclude else ():
        if package.name in exclude and package.current_ver and candidates.is_upgradable(package):
            full_name = package.get_fullname(True)
            result["kept_back"] += [full_name] if full_name not in result["kept_back"] else []
    records = apt_pkg.PackageRecords(cache)
    for name in result["phased"]:
        newest = _package(cache, name).version_list[0]
        if records.lookup(newest.file_list[0]):
            result["phased"][name] = apt_pkg.TagSection(records.record).get("Phased-Update-Percentage")
    for upgrade in result["upgrades"]:
        package = _package(cache, upgrade["name"])
        new = next(version for version in package.version_list if version.ver_str == upgrade["new"])
        old = package.current_ver.installed_size if package.current_ver else 0
        upgrade |= {
            "download": new.size,
            "unpacked": new.installed_size,
            "grows": max(0, new.installed_size - old),
        }
        offered = [
            (version.ver_str, [source.archive for source, _index in version.file_list])
            for version in package.version_list
        ]
        upgrade["security"] = (
            security_version(upgrade["old"], upgrade["new"], offered, apt_pkg.version_compare)
            if upgrade["old"]
            else None
        )
    return result


def _package(cache: Any, full_name: str) -> Any:
    """A package of the cache by the name that apt-get writes."""
    name, _separator, architecture = full_name.partition(":")
    return cache[name, architecture] if architecture else cache[name]
