# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The managed host as seen from itself: its files and its commands. Runs on the host, Python 3.10 and newer.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ._errors import PatchingError

# Everything a run leaves on a host between its steps.
STATE = Path("/var/lib/homelab-patching")
UPGRADE_UNIT = "homelab-patching-upgrade"


def run(argv: list, timeout: float = 60, env: dict | None = None) -> subprocess.CompletedProcess:
    """Run a command in the C locale and capture its text.

    :param argv: the command.
    :param timeout: seconds; a command that takes longer is ended.
    :param env: variables to add.
    :raises PatchingError: the command is not there or its time is over. A status other than 0 is for the caller.
    """
    try:
        return subprocess.run(
            argv,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "LC_ALL": "C.UTF-8", "LANGUAGE": "C", **(env or {})},
        )
    except FileNotFoundError as exc:
        raise PatchingError(
            f"{argv[0]} is not on this host.", "Only hosts with apt and systemd can be patched."
        ) from exc
    except subprocess.TimeoutExpired as exc:
        raise PatchingError(f"`{' '.join(argv)}` did not end within {timeout:.0f} s.") from exc


def read(path: str) -> str:
    """A file's text without surrounding white space; empty where it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def read_json(path: Path) -> dict | None:
    """A JSON object from a file; None where the file is absent.

    :raises PatchingError: the file holds something else.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as exc:
        raise PatchingError(f"{path} is not JSON: {exc}.", f"Look at it, then remove it: rm {path}") from exc
    if not isinstance(value, dict):
        raise PatchingError(f"{path} holds no JSON object.", f"Look at it, then remove it: rm {path}")
    return value


def write(path: Path, text: str) -> None:
    """Replace a file in one step, so that nobody ever reads half of it, also after a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
        os.fchmod(stream.fileno(), 0o644)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(temporary, path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


@contextmanager
def locked() -> Iterator[None]:
    """Hold the lock on this collection's state on the host. It is free again when its holder ends, however it ends.

    :raises PatchingError: somebody else holds it for more than 30 s.
    """
    STATE.mkdir(parents=True, exist_ok=True)
    with open(STATE / "lock", "w", encoding="utf-8") as stream:
        deadline = time.monotonic() + 30
        while True:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as exc:
                if time.monotonic() > deadline:
                    raise PatchingError(
                        f"{STATE}/lock is held by another process.", f"See who: fuser {STATE}/lock"
                    ) from exc
                time.sleep(0.2)
        yield


def unit(name: str) -> dict:
    """State of a systemd unit: ``ActiveState``, ``SubState``, ``Result``, ``ExecMainStatus``, ``Description``.

    :raises PatchingError: systemd does not answer, also not after a while: it may be upgrading itself.
    """
    properties = "ActiveState,SubState,Result,ExecMainStatus,Description,InvocationID"
    for _attempt in range(10):
        shown = run(["systemctl", "show", name, "-p", properties])
        if shown.returncode == 0 and "ActiveState=" in shown.stdout:
            break
        time.sleep(1)
    else:
        raise PatchingError(f"systemd does not tell how {name} is: {shown.stderr.strip()}")
    return dict(line.split("=", 1) for line in shown.stdout.splitlines() if "=" in line)


def at_work(state: dict) -> bool:
    """Is a oneshot unit, such as the upgrade, not over yet?

    :param state: from `unit`.
    """
    return state.get("ActiveState") in ("activating", "deactivating")


def failed_units() -> list:
    """Names of the units in state failed, sorted."""
    listed = run(["systemctl", "list-units", "--state=failed", "--plain", "--no-legend", "--no-pager"])
    if listed.returncode != 0:
        raise PatchingError(f"systemd does not tell which units have failed: {listed.stderr.strip()}")
    return sorted(line.split()[0] for line in listed.stdout.splitlines() if line.split())


def installed_packages() -> dict:
    """``name:architecture`` -> version of every package that is unpacked or installed."""
    listed = run(["dpkg-query", "-W", "-f", "${binary:Package}\t${Version}\t${db:Status-Status}\n"])
    rows = (line.split("\t") for line in listed.stdout.splitlines())
    return {row[0]: row[1] for row in rows if len(row) == 3 and row[2] not in ("not-installed", "config-files")}


def installed_kernels() -> list:
    """Release and package version of every kernel image that dpkg put into /boot."""
    kernels = []
    images = sorted(Path("/boot").glob("vmlinuz-*"))
    if not images:
        return kernels
    owners = run(["dpkg-query", "-S", *[str(image) for image in images]])
    packages = dict(reversed(line.split(": ", 1)) for line in owners.stdout.splitlines() if ": " in line)
    versions = installed_packages()
    for image in images:
        package = packages.get(str(image))
        if package:
            version = versions.get(package) or next(
                (version for name, version in versions.items() if name.partition(":")[0] == package), ""
            )
            kernels.append({"release": image.name.removeprefix("vmlinuz-"), "version": version})
    return kernels


def running_kernel() -> dict:
    """Release and version of the running kernel, as ``uname`` tells them."""
    return {"release": run(["uname", "-r"]).stdout.strip(), "version": run(["uname", "-v"]).stdout.strip()}


def mapped_packages(services: tuple) -> list:
    """Packages whose libraries the main processes of these services have in memory.

    :param services: names of units.
    """
    libraries = set()
    for service in services:
        pid = run(["systemctl", "show", "-p", "MainPID", "--value", service]).stdout.strip()
        for line in read(f"/proc/{pid}/maps").splitlines():
            path = line.partition("/")[1] + line.partition("/")[2]
            if ".so" in path:
                # Before Debian 13 dpkg knows libraries by their names from before the merge of /usr.
                libraries |= {path, path.removeprefix("/usr")}
    if not libraries:
        return []
    found = run(["dpkg-query", "-S", *sorted(libraries)])
    return sorted({line.rpartition(": ")[0] for line in found.stdout.splitlines() if ": " in line})


def grub_devices() -> list:
    """Where the package grub-pc installs the boot loader; on a clone the device may be gone."""
    if not Path("/var/lib/dpkg/info/grub-pc.list").exists():
        return []
    shown = run(["debconf-show", "grub-pc"]).stdout
    lines = [line for line in shown.splitlines() if "grub-pc/install_devices:" in line]
    return [device.strip() for line in lines for device in line.partition(":")[2].split(",") if device.strip()]


def ephemeral_ports() -> tuple[int, int]:
    """First and last port of ``net.ipv4.ip_local_port_range``."""
    first, last = (read("/proc/sys/net/ipv4/ip_local_port_range") or "32768 60999").split()
    return int(first), int(last)


def free_bytes(path: str) -> int:
    """Bytes that root can still write below `path`."""
    return shutil.disk_usage(path).free


def shutdown_scheduled() -> str | None:
    """What systemd-logind has scheduled (such as ``reboot``), or None."""
    for line in read("/run/systemd/shutdown/scheduled").splitlines():
        if line.startswith("MODE="):
            return line.removeprefix("MODE=")
    return None


def journal(unit_name: str, invocation: str, lines: int = 60) -> list:
    """The last lines that one run of a unit wrote, without time stamps."""
    found = run(
        ["journalctl", f"_SYSTEMD_INVOCATION_ID={invocation}", "-o", "cat", "-n", str(lines), "--no-pager"]
        if invocation
        else ["journalctl", "-u", unit_name, "-o", "cat", "-n", str(lines), "--no-pager"]
    )
    return found.stdout.splitlines()
