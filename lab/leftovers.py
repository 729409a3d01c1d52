# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a lab leaves on the machine when it is killed, how it is recognised, and how it is removed.

Only this: processes that are provably the lab's, mounts and files below its folders, its bridge, its cgroups.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lab import containers, network
from lab.config import BASE, CACHE, HOSTS, INFO, MACHINE_PREFIX, NAME, NUMBER, NUMBERS, STATE
from lab.system import alive, below, kill, mounts, pids, remove_tree, unmount

CGROUPS = Path("/sys/fs/cgroup")
# Each systemd watches files with about seven instances of inotify; the kernel's 128 are root's in all labs together.
WATCHERS = Path("/proc/sys/fs/inotify/max_user_instances")
ENOUGH_WATCHERS = 4096


def info() -> dict[str, Any]:
    """What the last `up` wrote down about its lab; empty when there is nothing."""
    return _read(INFO)


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found


def running() -> dict[str, Any] | None:
    """The lab that is up on this machine, if its supervisor lives."""
    found = info()
    return found if alive(found.get("supervisor")) else None


def every() -> dict[int, dict[str, Any]]:
    """What each lab of this machine wrote down, by number; a dead one's files may be left."""
    read = {number: _read(STATE.with_name(f"{BASE}-{number}" if number else BASE) / INFO.name) for number in NUMBERS}
    return {number: lab for number, lab in read.items() if lab}


def others() -> dict[int, dict[str, Any]]:
    """The other labs that are up on this machine, by number."""
    return {number: lab for number, lab in every().items() if number != NUMBER and alive(lab.get("supervisor"))}


def watch_more() -> str:
    """Let root watch as many files as all labs need; what it was before the first of them."""
    before = next((lab["watchers"] for lab in others().values() if "watchers" in lab), WATCHERS.read_text().strip())
    if int(WATCHERS.read_text()) < ENOUGH_WATCHERS:
        WATCHERS.write_text(str(ENOUGH_WATCHERS))
    return before


def abandoned(lab: dict[str, Any]) -> str:
    """Why nobody can want a lab that is up any more; empty: somebody may."""
    if lab.get("owner") and not alive(lab["owner"]):
        return f"pid {lab['owner']['pid']}, for which it was started, has ended"
    if not Path(lab["checkout"]).is_dir():
        return f"its checkout {lab['checkout']} is gone"
    return ""


def is_ours(argv: list[str], cgroups: str, hosts: Iterable[str]) -> bool:
    """Is a process the lab's, by its command line or by the cgroup it lives in?

    A pager that reads a log of the lab is not: the program counts, not only the path among its arguments.
    """
    program = os.path.basename(argv[0]) if argv else ""
    folders = {"systemd-nspawn": STATE, "apt-cacher-ng": STATE, "gpg-agent": STATE}
    if program in folders and any(f"{folders[program]}/" in word for word in argv):
        return True
    if "lab.supervisor" in argv and str(INFO) in argv:
        return True
    # Its own cgroup, or the scope that systemd gave nspawn (in whose names a dash of ours is escaped).
    prefix = MACHINE_PREFIX.replace("-", "\\x2d")
    ours = {NAME, *(f"machine-{prefix}{name}.scope" for name in hosts)}
    return any(ours & set(line.split(":", 2)[-1].split("/")) for line in cgroups.splitlines())


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
    if supervisor and alive(supervisor):
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
                with contextlib.suppress(OSError):
                    os.rmdir(path)
        if time.monotonic() > deadline:
            break
        time.sleep(0.02)


def remove_nspawn_files(hosts: Iterable[str]) -> None:
    """A killed nspawn leaves a lock named after its root's inode, and a folder named after its machine."""
    run = Path("/run/systemd/nspawn")
    for name in hosts:
        shutil.rmtree(run / "propagate" / f"{MACHINE_PREFIX}{name}", ignore_errors=True)
        with contextlib.suppress(OSError):
            root = (HOSTS / name / "root").stat()
            (run / "locks" / f"inode-{root.st_dev}:{root.st_ino}").unlink()


def remove_files() -> None:
    """Unmount what is mounted below the lab's folders, then remove its state."""
    remove_tree(STATE)
    for point in below(mounts(), CACHE):
        unmount(point)


def clean(hosts: Iterable[str]) -> None:
    """Leave nothing of a lab but its cache."""
    # The table may have changed since the lab was started: the folders say what there was.
    there = [path.name for path in HOSTS.iterdir()] if HOSTS.is_dir() else []
    names = list(dict.fromkeys([*hosts, *there]))
    left = info()
    stop_processes(names)
    containers.restore(left.get("sysctls", {}))
    if "watchers" in left and not others():
        WATCHERS.write_text(left["watchers"])
    remove_nspawn_files(names)
    remove_files()
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
