# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The managed host as seen from itself: its files and its commands. Runs on the host, Python 3.10 and newer."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..core.problem import PatchingError

# Everything a run leaves on a host between its steps.
STATE = Path("/var/lib/homelab-patching")
UPGRADE_UNIT = "homelab-patching-upgrade"
# What the upgrade was called for, and what came of it; kept until the host is given back.
OUTCOME = STATE / "upgrade.json"
# apt's and dpkg's own: whoever installs holds the lock; either path changes when the package lists are refreshed.
LOCK = "/var/lib/dpkg/lock-frontend"
LISTS = (Path("/var/lib/apt/lists"), Path("/var/lib/apt/periodic/update-success-stamp"))


def run(argv: list, timeout: float = 60, env: dict | None = None) -> subprocess.CompletedProcess:
    """Run a command in the C locale and capture its text.

    :param argv: the command.
    :param timeout: seconds; a command that takes longer is ended.
    :param env: variables to add.
    :raises PatchingError: the command is not there or its time is over. A status other than 0 is for the caller.
    """
    try:
        # A client knows no AnsibleModule, whose run_command it would be.
        return subprocess.run(  # pylint: disable=ansible-bad-function
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


def queued_jobs() -> list:
    """Names of the units that systemd has yet to start or stop, sorted; empty when it has come to rest."""
    listed = run(["systemctl", "list-jobs", "--plain", "--no-legend", "--no-pager"])
    # `123 example.service start waiting`; without jobs some versions say so in a sentence.
    rows = [line.split() for line in listed.stdout.splitlines()]
    return sorted(row[1] for row in rows if len(row) == 4 and row[0].isdigit())


def installed_packages() -> dict:
    """``name:architecture`` -> version of every package that is unpacked or installed."""
    listed = run(["dpkg-query", "-W", "-f", "${binary:Package}\t${Version}\t${db:Status-Status}\n"])
    rows = (line.split("\t") for line in listed.stdout.splitlines())
    return {row[0]: row[1] for row in rows if len(row) == 3 and row[2] not in ("not-installed", "config-files")}


def installed_kernels() -> list:
    """Release and package version of every kernel image that dpkg put into /boot."""
    kernels: list = []
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


def modified_conffiles(packages: list) -> list:
    """Configuration files of these packages that somebody has changed: ``package`` and ``path`` of each."""
    if not packages:
        return []
    shown = run(["dpkg-query", "-W", "-f", "${binary:Package}\n${Conffiles}\n", *packages]).stdout
    package, modified = "", []
    for line in shown.splitlines():
        if not line.startswith(" "):
            package = line.strip() or package
            continue
        # ` /etc/file 0123456789abcdef`, with `obsolete` or `remove-on-upgrade` behind it where dpkg is done with it.
        path, checksum, *state = line.split()
        with suppress(OSError):
            if not state and hashlib.md5(Path(path).read_bytes(), usedforsecurity=False).hexdigest() != checksum:
                modified.append({"package": package, "path": path})
    return modified


def lock_holder() -> str | None:
    """Who holds dpkg's lock (such as ``apt-get (process 71)``), or None."""
    try:
        with open(LOCK, "rb") as stream:
            wanted = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            kind, _whence, _start, _length, pid = struct.unpack("hhqqi4x", fcntl.fcntl(stream, fcntl.F_GETLK, wanted))
    except OSError:
        return None
    return None if kind == fcntl.F_UNLCK else f"{read(f'/proc/{pid}/comm') or '?'} (process {pid})"


# Where programs mount and unmount as they like.
_PASSING = re.compile(
    r"^/(proc|sys|dev|run|tmp|snap|media|var/(tmp|snap|lib/(docker|containers|containerd|kubelet|rancher)))(/|$)"
)
_VIRTUAL = {"autofs", "tmpfs", "devtmpfs", "proc", "sysfs", "cgroup", "cgroup2", "squashfs", "overlay", "nsfs", "ramfs"}


def mounts() -> list:
    """Mount points of file systems that hold data and stay, sorted."""
    found = set()
    for line in read("/proc/self/mountinfo").splitlines():
        # 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue; blanks are \040.
        own, _separator, source = line.partition(" - ")
        point = own.split()[4].replace("\\040", " ")
        if source.split()[0] not in _VIRTUAL and not _PASSING.match(point):
            found.add(point)
    return sorted(found)


def containers() -> int:
    """How many containers Docker and Podman run for root."""
    count = 0
    # Docker's socket alone would start the daemon.
    for engine, sign in (("docker", "/run/docker.pid"), ("podman", "/var/lib/containers")):
        if shutil.which(engine) and Path(sign).exists():
            count += len(run([engine, "ps", "--quiet"], timeout=20).stdout.split())
    return count


def lists_age(now: float) -> float | None:
    """Seconds since the package lists were refreshed; None where they never were.

    :param now: seconds since the epoch.
    """
    times = [stamp.stat().st_mtime for stamp in LISTS if stamp.exists()]
    return max(0.0, now - max(times)) if times else None


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
