# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a lab leaves on the machine when it is killed, how it is recognised, and how it is removed.

Only this: processes that are provably the lab's, mounts and files below its folders, its bridge, its cgroups.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lab import network
from lab.config import CACHE, INFO, MACHINE_PREFIX, NAME, STATE
from lab.system import alive, below, kill, mounts, pids, unmount

CGROUPS = Path("/sys/fs/cgroup")


def info() -> dict[str, Any]:
    """What the last `up` wrote down about its lab; empty when there is nothing."""
    try:
        found: dict[str, Any] = json.loads(INFO.read_text())
    except (OSError, ValueError):
        return {}
    return found


def running() -> dict[str, Any] | None:
    """The lab that is up on this machine, if its supervisor lives."""
    found = info()
    return found if alive(found.get("supervisor")) else None


def is_ours(argv: list[str], cgroups: str, hosts: Iterable[str]) -> bool:
    """Is a process the lab's, by its command line or by the cgroup it lives in?

    A pager that reads a log of the lab is not: the program counts, not only the path among its arguments.
    """
    program = os.path.basename(argv[0]) if argv else ""
    if program == "systemd-nspawn" and any(word.startswith(f"{STATE}/") for word in argv):
        return True
    if program == "apt-cacher-ng" and any(word.startswith(f"{STATE}/") for word in argv):
        return True
    scopes = {f"machine-{MACHINE_PREFIX}{name}.scope".replace("-", "\\x2d").replace("machine\\x2d", "machine-", 1)
              for name in hosts}  # fmt: skip
    for line in cgroups.splitlines():
        parts = line.split(":", 2)[-1].split("/")
        if NAME in parts or scopes & set(parts):
            return True
    return False


def processes(hosts: Iterable[str]) -> list[int]:
    """The lab's processes, without its supervisor."""
    names = list(hosts)
    out = []
    for pid in pids():
        try:
            argv = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
            cgroups = Path(f"/proc/{pid}/cgroup").read_text()
        except OSError:
            continue
        if pid != os.getpid() and is_ours(argv, cgroups, names):
            out.append(pid)
    return out


def stop_processes(hosts: Iterable[str]) -> None:
    """End the supervisor, then whatever of the lab outlived it."""
    supervisor = info().get("supervisor")
    if alive(supervisor):
        kill(supervisor["pid"], signal.SIGTERM)
        deadline = time.monotonic() + 5
        while alive(supervisor) and time.monotonic() < deadline:
            time.sleep(0.02)
        if alive(supervisor):
            kill(supervisor["pid"])
    names = list(hosts)
    deadline = time.monotonic() + 10
    while found := processes(names):
        for pid in found:
            kill(pid)
        if time.monotonic() > deadline:
            break  # in the kernel's hands; what they hold is detached below
        time.sleep(0.05)


def cgroup_folders() -> list[Path]:
    """The lab's own cgroups, in whatever hierarchies this machine has."""
    return [path for path in (CGROUPS / NAME, *CGROUPS.glob(f"*/{NAME}")) if path.is_dir()]


def remove_cgroups() -> None:
    """Remove the lab's cgroups, innermost first; the kernel needs a moment after the last process."""
    deadline = time.monotonic() + 2
    while folders := cgroup_folders():
        for folder in folders:
            for path, _, _ in os.walk(folder, topdown=False):
                try:
                    os.rmdir(path)
                except OSError:
                    pass
        if time.monotonic() > deadline:
            break
        time.sleep(0.02)


def remove_files(hosts: Iterable[str]) -> None:
    """Unmount what is mounted below the lab's folders, then remove its state."""
    for point in below(mounts(), STATE, CACHE / "roots"):
        unmount(point)
    if STATE.exists():
        shutil.rmtree(STATE)
    # nspawn's own, per machine name.
    for name in hosts:
        shutil.rmtree(Path("/run/systemd/nspawn/propagate") / f"{MACHINE_PREFIX}{name}", ignore_errors=True)


def clean(hosts: Iterable[str]) -> None:
    """Leave nothing of a lab but its cache."""
    names = list(hosts)
    stop_processes(names)
    remove_files(names)
    network.bridge_down()
    for name in names:
        network.forget_cable(name)
    remove_cgroups()


def any_left() -> list[str]:
    """What of a lab is there, for a line of progress; empty: nothing."""
    out = []
    if STATE.exists():
        out.append(str(STATE))
    if Path("/sys/class/net", network.BRIDGE).exists():
        out.append(f"bridge {network.BRIDGE}")
    out += [str(path) for path in cgroup_folders()]
    return out
