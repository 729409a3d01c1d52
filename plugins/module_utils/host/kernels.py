# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernels of this host: the running one, and those that are installed."""

from __future__ import annotations

import os
from pathlib import Path

from ..core.change import split
from ..core.shapes import Kernel
from . import dpkg, system


def installed_kernels() -> list[Kernel]:
    """Release and package version of every kernel image that dpkg put into /boot."""
    kernels: list[Kernel] = []
    images = sorted(Path("/boot").glob("vmlinuz-*"))
    if not images:
        return kernels
    owners = system.run(["dpkg-query", "-S", *[str(image) for image in images]])
    packages = dict(reversed(line.split(": ", 1)) for line in owners.stdout.splitlines() if ": " in line)
    versions = dpkg.installed_packages()
    for image in images:
        package = packages.get(str(image))
        if package:
            # dpkg also names the host's own architecture, where a package may be there for several.
            version = versions.get(package) or versions.get(split(package)[0], "")
            kernels.append({"release": image.name.removeprefix("vmlinuz-"), "version": version})
    return kernels


def running_kernel() -> Kernel:
    """Release and version of the running kernel, as ``uname`` tells them."""
    return {"release": os.uname().release, "version": os.uname().version}
