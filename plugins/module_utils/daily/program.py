# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What unattended-upgrades would do on this host, by its own functions. Writes nothing."""

from __future__ import annotations

import contextlib
import glob
import io
import logging
import os
import re
import subprocess
import types
from pathlib import Path

from ..core.problem import PatchingError, on_host
from ..host import dpkg
from ..host.apt import security_version
from .conf import ORIGIN_LISTS, elements_of, place
from .verdict import REASONS, reason

PROGRAM = Path("/usr/bin/unattended-upgrade")
# apt would keep what it has read of its lists in /var/cache/apt; without these names it only does so in memory.
NO_CACHE_FILES = {"Dir::Cache::pkgcache": "", "Dir::Cache::srcpkgcache": ""}
# What unattended-upgrades itself would end with: it reads patterns, expressions and lists that people wrote.
_ITS_ERRORS = (SystemError, ValueError, KeyError, AssertionError, OSError, re.error, subprocess.SubprocessError)


class _Words(logging.Handler):
    """Keeps what unattended-upgrades would log, in memory."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


class _Options:
    """The command line's options as unattended-upgrades' functions want them."""

    debug = verbose = apt_debug = dry_run = download_only = minimal_upgrade_steps = False


class Program:
    """unattended-upgrades' own functions, called without its `main`, which locks, logs, downloads and installs."""

    def __init__(self, apt_pkg) -> None:
        self.apt_pkg = apt_pkg
        self.words = _Words()
        logging.getLogger().handlers = [self.words]
        logging.getLogger().setLevel(logging.DEBUG)
        self.uu = types.ModuleType("unattended_upgrade")
        self.uu.__dict__["__file__"] = str(PROGRAM)
        with self._quiet("cannot be read"):
            # Compiled here: importing it would leave a compiled copy beside it.
            exec(compile(PROGRAM.read_text(encoding="utf-8"), str(PROGRAM), "exec"), self.uu.__dict__)
        # Afterwards: the program makes apt read its configuration.
        for name, value in NO_CACHE_FILES.items():
            apt_pkg.config.set(name, value)

    @contextlib.contextmanager
    def _quiet(self, what: str):
        """Keep the program's prints off the module's output.

        :raises PatchingError: the program fails; it would fail so every day.
        """
        try:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                yield
        except _ITS_ERRORS as exc:
            said = f"{type(exc).__name__}: {exc}"
            raise PatchingError(
                f"unattended-upgrade itself {what}: {said}", "", on_host("unattended-upgrade", "--dry-run", "-v")
            ) from exc

    def distro(self) -> tuple[str, str]:
        """Name and codename of the distribution as the program takes them from lsb_release."""
        return self.uu.get_distro_id(), self.uu.get_distro_codename()

    def stop_reasons(self) -> list:
        """Why the program would stop at once: battery, metered connection."""
        self.words.lines.clear()
        with self._quiet("fails"):
            stops = self.uu.should_stop()
        return [line for line in self.words.lines if "stopping" in line] if stops else []

    def origins(self) -> list:
        """The origins in force, as the program makes them of its configuration."""
        with self._quiet("cannot make out its allowed origins"):
            return list(self.uu.get_allowed_origins())

    def archives(self, patterns: list, settings: list) -> list:
        """Every archive among the package sources, with the patterns that allow it.

        :param settings: of apt's files, to say where a pattern stands that the program cannot read.
        """
        places = {
            self.uu.substitute(each["value"]): place(each)
            for key in ORIGIN_LISTS
            for each in elements_of(settings, key)
        }
        with self._quiet("cannot read its package sources"):
            files = [file for file in self.apt_pkg.Cache(None).file_list if file.archive != "now"]
        # An archive has a file for each architecture and language.
        found = [
            {
                "name": f"{file.origin}:{file.archive}/{file.component}" + (f" ({file.site})" if file.site else ""),
                "origin": file.origin,
                "label": file.label,
                "archive": file.archive,
                "codename": file.codename,
                "patterns": [each for each in patterns if self._allows(each, file, places)],
            }
            for file in files
        ]
        return [each for number, each in enumerate(found) if each not in found[:number]]

    def _allows(self, pattern: str, file, places: dict) -> bool:
        where = f" of {places[pattern]}" if pattern in places else ""
        with self._quiet(f'cannot match its allowed origin "{pattern}"{where}'):
            return self.uu.is_allowed_origin(file, [pattern])

    def proposals(self) -> dict:
        """What the next run would install and what it would leave as it is: ``install``, ``hold``."""
        with self._quiet("cannot work out its upgrade"):
            cache = self._cache()
            if cache.broken_count:
                # Then the program ends; `dpkg.complaint` tells why.
                return {"install": [], "hold": []}
            chosen = self._choose(cache)
            prompts = self._prompts(chosen)
            if prompts:
                # As the program does after its download: such packages, and what needs them, are left alone.
                for name in prompts:
                    self.apt_pkg.config.set("Unattended-Upgrade::Package-Blacklist::", f"{re.escape(name)}$")
                cache = self._cache()
                chosen = self._choose(cache)
            names = {package.name for package in chosen}
            held = [
                self._held(cache, package, prompts)
                for package in cache
                if package.is_installed and package.name not in names and self._newer(cache, package)
            ]
            return {"install": sorted((self._row(package) for package in chosen), key=lambda row: row["name"]),
                    "hold": sorted(held, key=lambda row: row["name"])}  # fmt: skip

    def _cache(self):
        """The program's cache, which also remembers what apt would choose without the program's own pins."""

        class Cache(self.uu.UnattendedUpgradesCache):
            plain: dict = {}

            def apply_pinning(self, pins):
                if not self.plain:
                    self.plain = {p.name: p.candidate.version for p in self if p.is_installed and p.candidate}
                super().apply_pinning(pins)

        # Not "/", as the program has it: with that, apt.Cache makes an empty sources.list where there is none.
        return Cache(rootdir=None)

    def _choose(self, cache) -> list:
        return sorted(self.uu.calculate_upgradable_pkgs(cache, _Options()), key=lambda package: package.name)

    def _newer(self, cache, package) -> str | None:
        """The version above the installed one that apt alone, or this program, would take."""
        plain = cache.plain.get(package.name)
        if plain and self.apt_pkg.version_compare(plain, package.installed.version) > 0:
            return plain
        better = cache.find_better_version(package)
        return better.version if better else None

    def _security(self, package, new: str) -> bool:
        offered = [(each.version, [origin.archive for origin in each.origins]) for each in package.versions]
        found = security_version(package.installed.version, new, offered, self.apt_pkg.version_compare)
        return found is not None

    def _row(self, package) -> dict:
        new = package.candidate.version
        return {
            "name": package.name,
            "old": package.installed.version,
            "new": new,
            "security": self._security(package, new),
            "origins": sorted({f"{o.origin}:{o.archive}" for o in package.candidate.origins if o.archive != "now"}),
        }

    def _held(self, cache, package, prompts: dict) -> dict:
        key, why = self._why_held(cache, package, prompts)
        new = self._newer(cache, package) or ""
        return {
            "name": package.name,
            "old": package.installed.version,
            "new": new,
            "security": bool(new) and self._security(package, new),
            "reason": key,
            "why": why,
        }

    def _why_held(self, cache, package, prompts: dict) -> tuple[str, str]:
        uu = self.uu
        if package._pkg.selected_state == self.apt_pkg.SELSTATE_HOLD:
            return "held", REASONS["held"]
        if package.name in prompts:
            return "conffile", prompts[package.name]
        if uu.is_pkgname_in_blacklist(package.name, cache.blacklist):
            pattern = next(each for each in cache.blacklist if re.match(each, package.name))
            return "blacklisted", f"blacklisted by {pattern}"
        if cache.strict_whitelist and not uu.is_pkgname_in_whitelist(package.name, cache.whitelist):
            return "whitelist", REASONS["whitelist"]
        newer = [version for version in package.versions if version > package.installed]
        allowed = [version for version in newer if uu.is_in_allowed_origin(version, cache.allowed_origins)]
        if not allowed:
            origins = sorted(
                {f"{o.origin}:{o.archive}" for version in newer for o in version.origins if o.archive != "now"}
            )
            return "origin", f"not an allowed origin: {', '.join(origins)}"
        if not any(origin.trusted for version in allowed for origin in version.origins):
            return "untrusted", REASONS["untrusted"]
        cache.clear()
        cache.adjust_candidate(package)
        cache.mark_upgrade_adjusted(package, from_user=not package.is_auto_installed)
        problem = uu.sanity_problem(cache, package)
        cache.clear()
        # The releases known in 2026 do not heed phasing; one that does would just not mark the package.
        if "not marked" in (problem or "") and any("Phased-Update-Percentage" in each.record for each in allowed):
            return "phased", REASONS["phased"]
        return reason(problem)

    def _prompts(self, packages: list) -> dict:
        """Packages at whose configuration files dpkg asks, or may ask where the .deb is not there yet: name -> why."""
        if not self.uu.dpkg_conffile_prompt():
            return {}
        found = {}
        folder = self.apt_pkg.config.find_dir("Dir::Cache::archives")
        modified: dict = {}
        for each in dpkg.modified_conffiles(package.name for package in packages) if packages else ():
            modified.setdefault(each["package"], []).append(each["path"])
        for package in packages:
            # dpkg writes the architecture behind the name of a package that may be there in several.
            paths = ", ".join(modified.get(package.name) or modified.get(package.fullname) or ())
            if not paths:
                continue
            file = package.candidate.version.replace(":", "%3a")
            debs = glob.glob(os.path.join(glob.escape(folder), f"{package.shortname}_{glob.escape(file)}_*.deb"))
            if not debs:
                found[package.name] = f"dpkg may ask about {paths}, which was modified here"
            elif self.uu.conffile_prompt(debs[0]):
                found[package.name] = f"dpkg would ask about {paths}, which was modified here"
        return found
