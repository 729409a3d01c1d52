# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small helpers over the operating system: commands, processes, mounts, locks."""

from __future__ import annotations

import ctypes
import fcntl
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from lab.config import CHECKOUT, LOCK, LabError

LOCK_SECONDS = 600  # building roots for the first time takes minutes

_libc = ctypes.CDLL(None, use_errno=True)


def say(text: str) -> None:
    """One line of progress."""
    print(text, flush=True)


@contextmanager
def step(what: str, usual: int | None = None) -> Iterator[None]:
    """Say what is being done and how long it usually takes; afterwards how long it took."""
    say(f"==> {what}" + (f" (usually {usual} s)" if usual else ""))
    begin = time.monotonic()
    yield
    if usual:
        say(f"    {what}: {time.monotonic() - begin:.0f} s")


def run(*command: str | Path, text: str | None = None, env: dict[str, str] | None = None) -> str:
    """Run a command; its standard output, or a LabError with the last line it said."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words, input=text, stdin=None if text is not None else subprocess.DEVNULL, capture_output=True, text=True,
            env=env, check=False,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise LabError(f"the command {words[0]} is missing; install it and try again") from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["(it said nothing)"]
        raise LabError(f"`{' '.join(words)}` failed with status {done.returncode}: {said[-1]}")
    return done.stdout


def attempt(*command: str | Path) -> bool:
    """Run a command whose failure is no surprise."""
    words = [str(word) for word in command]
    try:
        return subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


# --- processes ---


def die_with_parent() -> None:
    """In a child, before exec: be killed when the thread that forked it ends."""
    _libc.prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG


def start_time(pid: int) -> int | None:
    """The clock tick at which a process began; with its pid it names the process. None: gone, or a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    after_name = stat.rpartition(")")[2].split()
    return None if after_name[0] in "ZX" else int(after_name[19])


def alive(process: dict[str, int] | None) -> bool:
    """Is this recorded process ({pid, start}) still the same one?"""
    return bool(process) and start_time(process["pid"]) == process["start"]  # type: ignore[index]


def process(pid: int) -> dict[str, int]:
    """A process, as `alive` reads it."""
    return {"pid": pid, "start": start_time(pid) or 0}


def pids() -> list[int]:
    """All processes."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def kill(pid: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Signal one process by its id; gone is fine."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


# --- mounts ---


@dataclass(frozen=True)
class Mount:
    """A line of /proc/self/mountinfo."""

    point: str
    kind: str


def parse_mounts(text: str) -> list[Mount]:
    """The mounts of a mountinfo text, in its order."""
    out = []
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        point = re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), before.split()[4])
        out.append(Mount(point.removesuffix("//deleted"), after.split()[0]))
    return out


def mounts() -> list[Mount]:
    """The mounts of this machine."""
    return parse_mounts(Path("/proc/self/mountinfo").read_text())


def below(table: list[Mount], *roots: Path) -> list[str]:
    """The mount points at or below these folders, innermost and last first: the order to unmount in."""
    found = [m.point for m in table if any(m.point == str(r) or m.point.startswith(f"{r}/") for r in roots)]
    return found[::-1]


def filesystem(table: list[Mount], path: Path) -> str:
    """The kind of file system a path lies on (the path itself need not exist)."""
    best = Mount("", "")
    for mount in table:
        root = mount.point.rstrip("/")
        if (str(path) == mount.point or str(path).startswith(root + "/")) and len(root) >= len(best.point.rstrip("/")):
            best = mount
    return best.kind


def unmount(point: str, patience: float = 3) -> None:
    """Unmount; what dies beside it may hold it for a moment, after that it is detached."""
    deadline = time.monotonic() + patience
    while not attempt("umount", point):
        if point not in {mount.point for mount in mounts()}:
            return
        if time.monotonic() > deadline:
            run("umount", "--lazy", point)
            return
        time.sleep(0.05)


def remove_tree(folder: Path) -> None:
    """Remove a folder of the lab. Mounts in it are undone first; no other file system is ever entered."""
    for point in below(mounts(), folder):
        unmount(point)
    if left := below(mounts(), folder):
        raise LabError(
            f"{left[0]} cannot be unmounted, so {folder} is not removed; `fuser -vm {left[0]}` says who has it"
        )
    if folder.is_symlink():
        raise LabError(f"{folder} is a symbolic link, so it is not removed; look where it leads, and remove the link")
    if folder.exists():
        run("rm", "-rf", "--one-file-system", folder)


# --- the lock ---


@contextmanager
def locked(lock: Path = LOCK) -> Iterator[None]:
    """One `up`, `down` at a time of a lab. The file goes when it is given back."""
    told = False
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(handle, 4096, 0).decode(errors="replace").strip()
            os.close(handle)
            if not told and owner:
                print(f"lab: waiting for {owner}", file=sys.stderr, flush=True)
                told = True
            if time.monotonic() > deadline:
                raise LabError(f"{owner} has not ended in {LOCK_SECONDS} s; try again later") from None
            time.sleep(0.2)
            continue
        try:
            same = os.fstat(handle).st_ino == os.stat(lock).st_ino
        except FileNotFoundError:
            same = False
        if same:  # else: it was given back and removed between open and flock
            break
        os.close(handle)
    os.truncate(handle, 0)
    os.pwrite(handle, f"pid {os.getpid()}, which changes the lab of {CHECKOUT}\n".encode(), 0)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)
        os.close(handle)
