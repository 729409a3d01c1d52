# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One update of one package, in one shape from apt to the page. Pure.

What is pending and what was installed are lists of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypedDict


class Change(TypedDict):
    """A package on a host, and its version before and after."""

    name: str
    """Of the package, without its architecture."""
    arch: str
    """Its architecture where that is not the host's own; empty: the host's, or none in particular."""
    old: str | None
    """None: it is new on the host."""
    new: str | None
    """None: it was removed."""
    security: str | None
    """The newest version above `old`, up to `new`, that a security archive offers; None: there is none."""
    held_by: str
    """Why an upgrade leaves it as it is; empty: it does not."""


def change(full_name: str, old: str | None, new: str | None, security: str | None = None, held_by: str = "") -> Change:
    """A change of a package that apt calls by this name."""
    name, arch = split(full_name)
    return {"name": name, "arch": arch, "old": old, "new": new, "security": security, "held_by": held_by}


def split(full_name: str) -> tuple[str, str]:
    """Name and architecture of a package as apt and dpkg write them together: ``curl``, ``libc6:i386``."""
    name, _colon, arch = full_name.partition(":")
    return name, arch


def full_name(package: Change) -> str:
    """The name of a package as apt writes it, and takes it."""
    return f"{package['name']}:{package['arch']}" if package["arch"] else package["name"]


def due(pending: Iterable[Change]) -> list[Change]:
    """Those that an upgrade would install: nothing holds them."""
    # A report of an earlier schema lists no others.
    return [each for each in pending if not each.get("held_by")]
