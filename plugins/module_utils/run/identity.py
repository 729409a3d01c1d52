# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which run is this, and is another one still alive? Reads /proc of the control node."""

from __future__ import annotations

import getpass
import hashlib
import multiprocessing
import os
import secrets
import socket
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from ..core.shapes import Owner

# Fields of /proc/PID/stat, counted from behind the command's name.
_STATE, _STARTED = 0, 19


def _stat(pid: int) -> list[str]:
    """What /proc says of process `pid`; empty where it says nothing."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return []
    # The command's name is in parentheses and may hold anything.
    return stat.rpartition(")")[2].split()


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


def _machine() -> str:
    """This control node, the same over its reboots; empty where it cannot be known.

    Every VM reads it in its claim, and a machine-id is nobody else's business: so it is hashed. With the name, because
    clones may share a machine-id.
    """
    machine_id = _read("/etc/machine-id")
    return hashlib.sha256(f"{machine_id} {socket.gethostname()}".encode()).hexdigest()[:32] if machine_id else ""


def identity() -> Owner:
    """Who runs this playbook: enough to tell later, on the same machine, whether it is still at work.

    :returns: ``who`` (user@host), ``pid`` and ``started`` of ansible-playbook, ``boot_id`` and ``machine`` of the
        control node, and ``pid_namespace``: a pid means nothing in another container of the same machine.
    """
    # Templates are rendered in a worker that ansible-playbook forked; meta tasks in ansible-playbook itself.
    parent = multiprocessing.parent_process()
    pid = parent.pid if parent and parent.pid else os.getpid()
    stat = _stat(pid)
    return {
        "who": f"{getpass.getuser()}@{socket.gethostname()}",
        "pid": pid,
        "started": stat[_STARTED] if stat else "",
        "boot_id": _read("/proc/sys/kernel/random/boot_id"),
        "machine": _machine(),
        "pid_namespace": _pid_namespace(),
    }


def new_id(now: float | None = None) -> str:
    """A new run id, sortable by time: ``20261123T030000Z-1f2e``."""
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now)) + "-" + secrets.token_hex(2)


def _is_over(pid: int, started: object) -> bool:
    """Is there no process `pid` any more that started then? One of which nothing can be read may be it."""
    stat = _stat(pid)
    if stat:
        return stat[_STATE] in ("Z", "X") or stat[_STARTED] != started
    try:
        # A /proc mounted with hidepid=2 shows other users' processes as if there were none; the kernel tells.
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def is_dead(owner: Mapping) -> bool:
    """Is the run of this owner known to be over? False also means "cannot be known from here"."""
    boot_id = _read("/proc/sys/kernel/random/boot_id")
    if not boot_id or not owner.get("boot_id"):
        return False
    if owner["boot_id"] != boot_id:
        # Of another boot of this machine nothing lives on.
        return bool(owner.get("machine")) and owner["machine"] == _machine()
    pid, namespace = owner.get("pid"), _pid_namespace()
    if not namespace or owner.get("pid_namespace") != namespace or not isinstance(pid, int) or not 0 < pid < 2**31:
        return False
    return _is_over(pid, owner.get("started"))


def dead_runs(claims: Iterable) -> set[str]:
    """The runs that are known to be over: what one host says of a run's owner is not enough where others say otherwise.

    :param claims: what hosts say, as they say it: None where there is no claim.
    """
    owners: dict[str, list] = {}
    for claim in claims:
        if isinstance(claim, Mapping) and isinstance(claim.get("run"), str):
            owners.setdefault(claim["run"], []).append(claim.get("owner"))
    return {run for run, told in owners.items() if all(isinstance(owner, Mapping) and is_dead(owner) for owner in told)}
