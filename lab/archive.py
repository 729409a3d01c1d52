# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which archive a distribution of the lab comes from: the one this machine's own apt uses, or one that is named."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lab.config import PENDING, LabError
from lab.system import run

FORMAT = "$(REPO_URI) $(RELEASE)"


@dataclass(frozen=True)
class Family:
    """Distributions that come from one archive."""

    title: str
    variable: str  # names its archive; SECURITY_ in front of ARCHIVE names that of its security updates
    suites: tuple[str, ...]
    pockets: tuple[str, ...]  # beside the suite itself and its security updates
    security_label: str  # of its security updates; the label of all else is the title
    path: str  # of the archive on its mirrors
    security_path: str
    keyring_package: str
    keyring: Path

    @property
    def security_variable(self) -> str:
        """The variable that names the archive of the security updates."""
        return self.variable.replace("ARCHIVE", "SECURITY_ARCHIVE")


FAMILIES = {
    "debian": Family(
        title="Debian",
        variable="LAB_ARCHIVE",
        suites=(
            *("bullseye", "bookworm", "trixie", "forky", "sid"),
            *("oldoldstable", "oldstable", "stable", "testing", "unstable"),
        ),
        pockets=("-updates",),
        security_label="Debian-Security",
        path="debian",
        security_path="debian-security",
        keyring_package="debian-archive-keyring",
        keyring=Path("/usr/share/keyrings/debian-archive-keyring.gpg"),
    ),
    "ubuntu": Family(
        title="Ubuntu",
        variable="LAB_UBUNTU_ARCHIVE",
        suites=("jammy", "noble", "questing", "resolute"),
        pockets=(),
        security_label="Ubuntu",
        path="ubuntu",
        security_path="ubuntu",
        keyring_package="ubuntu-keyring",
        # A mirror that somebody signs himself has a keyring of its own.
        keyring=Path(os.environ.get("LAB_UBUNTU_KEYRING") or "/usr/share/keyrings/ubuntu-archive-keyring.gpg"),
    ),
}


@dataclass(frozen=True)
class Archive:
    """The two addresses, as apt wants them behind apt-cacher-ng."""

    main: str
    security: str

    def sources(self, family: str, suite: str) -> str:
        """What a host of this suite has in its sources.list."""
        if PENDING:
            return f"deb {self.main} {suite} main\n"  # the lab's repository plays the rest
        pockets = [(self.main, suite + pocket) for pocket in ("", *FAMILIES[family].pockets)]
        return "".join(f"deb {uri} {name} main\n" for uri, name in [*pockets, (self.security, f"{suite}-security")])


def parse_indextargets(lines: Iterable[str], family: str = "debian") -> tuple[str | None, str | None]:
    """(main, security) addresses among `REPO_URI RELEASE` lines; None where this apt has no such suite."""
    suites = FAMILIES[family].suites
    main = security = None
    for line in lines:
        address, _, suite = line.strip().rpartition(" ")
        if not address.startswith(("http://", "https://")):
            continue  # mirror+file:, cdrom: and the like mean nothing to another machine
        if suite in suites:
            main = main or address
        elif suite.removesuffix("-security") in suites:
            security = security or address
    return main, security


def through_cacher(address: str) -> str:
    """The address for a client of apt-cacher-ng, which fetches https itself when asked in this way."""
    address = address.rstrip("/")
    return f"http://HTTPS///{address.removeprefix('https://')}" if address.startswith("https://") else address


def refresh_if_empty() -> None:
    """apt names no suites before its lists were fetched once, as on a machine that was just made."""
    if not run("apt-get", "indextargets", "--format", FORMAT).strip():
        run("apt-get", "update", "-qq")


def find(family: str = "debian") -> Archive:
    """The archive to use, or one line saying how to name one."""
    kind = FAMILIES[family]
    main, security = os.environ.get(kind.variable), os.environ.get(kind.security_variable)
    if not (main and security):
        lines = run("apt-get", "indextargets", "--format", FORMAT).splitlines()
        own_main, own_security = parse_indextargets(lines, family)
        main, security = main or own_main, security or own_security
    if kind.security_path == kind.path:
        security = security or main
    names = [f"{kind.variable}=http://MIRROR/{kind.path}"]
    if kind.security_path != kind.path:
        names.append(f"{kind.security_variable}=http://MIRROR/{kind.security_path}")
    if not main:
        raise LabError(f"the apt of this machine has no {kind.title} archive; name one: {' '.join(names)}")
    if not security:
        raise LabError(f"the apt of this machine has no {kind.title} security archive; name one: {names[-1]}")
    for name, value in ((kind.variable, main), (kind.security_variable, security)):
        if not value.startswith(("http://", "https://")):
            raise LabError(f"{name}={value}: an address that begins with http:// or https:// is wanted")
    return Archive(through_cacher(main), through_cacher(security))


def box_proxy() -> str | None:
    """The proxy that this machine's apt goes through, if any."""
    said = run("apt-config", "shell", "PROXY", "Acquire::http::Proxy").strip()
    value = said.partition("=")[2].strip("'\"")
    return value if value.startswith("http") else None
