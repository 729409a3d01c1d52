# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which Debian archive the lab uses: the one this machine's own apt uses, or LAB_ARCHIVE."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

from lab.config import LabError
from lab.system import run

FORMAT = "$(REPO_URI) $(RELEASE)"
MAIN = ("bullseye", "bookworm", "trixie", "forky", "sid", "oldoldstable", "oldstable", "stable", "testing", "unstable")
SECURITY = tuple(f"{suite}-security" for suite in MAIN)


@dataclass(frozen=True)
class Archive:
    """The two addresses, as apt wants them behind apt-cacher-ng."""

    main: str
    security: str


def parse_indextargets(lines: Iterable[str]) -> tuple[str | None, str | None]:
    """(main, security) addresses among `REPO_URI RELEASE` lines; None where this apt has no such Debian suite."""
    main = security = None
    for line in lines:
        address, _, suite = line.strip().rpartition(" ")
        if not address.startswith(("http://", "https://")):
            continue  # mirror+file:, cdrom: and the like mean nothing to another machine
        if suite in MAIN:
            main = main or address
        elif suite in SECURITY:
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


def find() -> Archive:
    """The archive to use, or one line saying how to name one."""
    main, security = os.environ.get("LAB_ARCHIVE"), os.environ.get("LAB_SECURITY_ARCHIVE")
    if not (main and security):
        own_main, own_security = parse_indextargets(run("apt-get", "indextargets", "--format", FORMAT).splitlines())
        main, security = main or own_main, security or own_security
    if not main:
        raise LabError(
            "the apt of this machine has no Debian archive; name one: LAB_ARCHIVE=http://MIRROR/debian "
            "LAB_SECURITY_ARCHIVE=http://MIRROR/debian-security"
        )
    if not security:
        raise LabError(
            "the apt of this machine has no Debian security archive; name one: "
            "LAB_SECURITY_ARCHIVE=http://MIRROR/debian-security"
        )
    for name, value in (("LAB_ARCHIVE", main), ("LAB_SECURITY_ARCHIVE", security)):
        if not value.startswith(("http://", "https://")):
            raise LabError(f"{name}={value}: an address that begins with http:// or https:// is wanted")
    return Archive(through_cacher(main), through_cacher(security))


def box_proxy() -> str | None:
    """The proxy that this machine's apt goes through, if any."""
    said = run("apt-config", "shell", "PROXY", "Acquire::http::Proxy").strip()
    value = said.partition("=")[2].strip("'\"")
    return value if value.startswith("http") else None
