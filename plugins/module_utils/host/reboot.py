# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does a host have to be rebooted, will it have to be, and did it boot what it should? Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TypedDict

from ..core.change import Change, split
from ..core.shapes import Kernel

# Services that keep running on replaced libraries until the machine restarts: restarting them on a live system
# breaks it, so needrestart only ever lists them.
REBOOT_SERVICES = ("dbus.service", "dbus-broker.service")

# Their own scripts ask for a reboot. The decision itself is taken after the upgrade.
_REBOOT_PACKAGES = re.compile(r"^(linux-image-.*|dbus|dbus-daemon|dbus-broker|intel-microcode|amd64-microcode)$")

_FLAVOUR = re.compile(r"^\d+(?:\.\d+)*(?:\+[^-]+)?(?:-(?:rc\d+|\d+(?:\.\d+)*))*-?(?P<flavour>[a-z].*)?$")


def flavour(release: str) -> str:
    """The kernel flavour of a release: ``6.1.0-38-cloud-amd64`` has ``cloud-amd64``."""
    match = _FLAVOUR.match(release)
    return (match["flavour"] or "") if match else release


def newest_kernel(running: str, installed: list[Kernel], compare: Callable[[str, str], int]) -> Kernel | None:
    """The newest installed kernel of the running one's flavour; of all of them where that flavour has none.

    :param running: ``uname -r``.
    :param installed: dicts of release and version (of the package that owns the image).
    :param compare: dpkg's version comparison.
    :returns: one of `installed`, or None where no kernel is installed, as in a container.
    """
    candidates = [kernel for kernel in installed if flavour(kernel["release"]) == flavour(running)] or installed
    newest = None
    for kernel in candidates:
        if newest is None or compare(kernel["release"], newest["release"]) > 0:
            newest = kernel
    return newest


def kernel_outdated(running: Kernel, newest: Kernel | None) -> str | None:
    """Why the running kernel is not the newest installed one, or None.

    :param running: release (``uname -r``) and version (``uname -v``).
    :param newest: from `newest_kernel`. Debian writes the package's version into ``uname -v``, so a rebuilt kernel
        of the same release is seen as well; where no version stands there only the release is compared.
    """
    if newest is None:
        return None
    if running["release"] != newest["release"]:
        return f"kernel {newest['release']} is installed, {running['release']} is running"
    built = re.search(r"Debian (\S+)", running["version"])
    if built and newest.get("version") and built[1] != newest["version"]:
        return f"kernel {newest['release']} {newest['version']} is installed, {built[1]} is running"
    return None


class Needrestart(TypedDict):
    """What needrestart says."""

    kernel_status: int
    """KSTA: 0 unknown, 1 current, 2 ABI-compatible upgrade pending, 3 upgrade pending."""
    kernel_expected: str | None
    """KEXP."""
    services: list[str]
    """Units that run replaced files."""


def parse_needrestart(text: str) -> Needrestart:
    """Read `needrestart -b`."""
    result: Needrestart = {"kernel_status": 0, "kernel_expected": None, "services": []}
    for line in text.splitlines():
        key, _separator, value = line.partition(": ")
        value = value.strip()
        if key == "NEEDRESTART-KSTA" and value.isdigit():
            result["kernel_status"] = int(value)
        elif key == "NEEDRESTART-KEXP":
            result["kernel_expected"] = value
        elif key == "NEEDRESTART-SVC":
            result["services"].append(value)
    return result


def reboot_reasons(flagged_by: list[str] | None, kernel: str | None, needrestart: Needrestart | None) -> list[str]:
    """Why the host has to be rebooted; an empty list where it has not.

    :param flagged_by: packages named in ``/run/reboot-required.pkgs``; None where ``/run/reboot-required`` is absent.
    :param kernel: from `kernel_outdated`.
    :param needrestart: from `parse_needrestart`; None where needrestart is not installed.
    """
    reasons = []
    if flagged_by is not None:
        names = ", ".join(sorted(set(flagged_by))) or "/run/reboot-required"
        reasons.append(f"asked for by {names}")
    if kernel:
        reasons.append(kernel)
    elif needrestart and needrestart["kernel_status"] in (2, 3):
        reasons.append(f"needrestart expects kernel {needrestart['kernel_expected']}")
    if needrestart:
        stale = [service for service in needrestart["services"] if service in REBOOT_SERVICES]
        if stale:
            reasons.append(f"{', '.join(stale)} runs replaced libraries")
    return reasons


def predicted_reasons(changes: Iterable[Change], in_memory: Iterable[str]) -> list[str]:
    """Why an upgrade is expected to end in a reboot.

    :param changes: what it would install.
    :param in_memory: full names of the packages whose libraries one of `REBOOT_SERVICES` has in memory.
    """
    own = {each["name"] for each in changes}
    libraries = own & {split(name)[0] for name in in_memory}
    asking = {name for name in own if _REBOOT_PACKAGES.match(name)}
    reasons = [f"{', '.join(sorted(asking))} will be upgraded"] if asking else []
    if libraries - asking:
        reasons.append(f"dbus runs {', '.join(sorted(libraries - asking))}")
    return reasons
