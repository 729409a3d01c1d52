# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Room on the disks of this host."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def boot_bytes() -> tuple[int, int]:
    """Bytes that a kernel with its initramfs takes in /boot at most, and that the largest initramfs takes."""
    largest = {
        kind: max((path.stat().st_size for path in Path("/boot").glob(f"{kind}-*") if path.is_file()), default=0)
        for kind in ("vmlinuz", "initrd.img", "System.map", "config")
    }
    return sum(largest.values()), largest["initrd.img"]


def short_of_space(needed: dict) -> list:
    """Where there is less free than needed: ``path``, ``free`` and ``needed`` (bytes) of each file system.

    :param needed: path -> bytes; what falls on the same file system is added up, and a path that is not there is none.
    """
    devices: dict = {}
    for path, size in needed.items():
        if Path(path).is_dir():
            devices.setdefault(os.stat(path).st_dev, []).append((path, size))
    short = []
    for parts in devices.values():
        path, total = parts[0][0], sum(size for _path, size in parts)
        free = shutil.disk_usage(path).free
        if free < total:
            short.append({"path": path, "free": free, "needed": total})
    return short
