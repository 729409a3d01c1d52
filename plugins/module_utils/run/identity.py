# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which run is this, and is another one still alive? Reads /proc of the control node."""

from __future__ import annotations

import getpass
import multiprocessing
import os
import secrets
import socket
import time
from pathlib import Path

from ..core.shapes import Owner


def _start_time(pid: int) -> str | None:
    """When process `pid` started, in clock ticks since boot; None where there is no such process (or no /proc)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return None
    # The command's name is in parentheses and may hold anything; field 22 is counted from behind it.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in ("Z", "X") else fields[19]


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _pid_namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def identity() -> Owner:
    """Who runs this playbook: enough to tell later, on the same machine, whether it is still at work.

    :returns: ``who`` (user@host), ``pid`` and ``started`` of ansible-playbook, ``boot_id`` of the control node, and
        ``pid_namespace``: a pid means nothing in another container of the same machine.
    """
    # Templates are rendered in a worker that ansible-playbook forked; meta tasks in ansible-playbook itself.
    parent = multiprocessing.parent_process()
    pid = parent.pid if parent and parent.pid else os.getpid()
    return {
        "who": f"{getpass.getuser()}@{socket.gethostname()}",
        "pid": pid,
        "started": _start_time(pid) or "",
        "boot_id": _read("/proc/sys/kernel/random/boot_id"),
        "pid_namespace": _pid_namespace(),
    }


def new_id(now: float | None = None) -> str:
    """A new run id, sortable by time: ``20261123T030000Z-1f2e``."""
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now)) + "-" + secrets.token_hex(2)


def is_dead(owner: dict) -> bool:
    """Is the run of this owner known to be over? False also means "cannot be known from here"."""
    here = (_read("/proc/sys/kernel/random/boot_id"), _pid_namespace())
    if not all(here) or (owner.get("boot_id"), owner.get("pid_namespace")) != here:
        return False
    return _start_time(int(owner.get("pid") or 0)) != owner.get("started")
