# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The managed host as seen from itself: its files, its commands, its units. Runs on the host, Python 3.10 and newer."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..core.problem import PatchingError

# Everything a run leaves on a host between its steps. Nobody but root may look into it: who could open the lock could
# hold it.
STATE = Path("/var/lib/homelab-patching")
LOCK = STATE / "lock"
LOCK_SECONDS = 30
UPGRADE_UNIT = "homelab-patching-upgrade"
# What the upgrade was called for, and what came of it; kept until the host is given back.
OUTCOME = STATE / "upgrade.json"


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


def fields(path: str, separator: str) -> dict:
    """A file of `NAME SEPARATOR VALUE` lines, without quotes and comments; what has no value is left out."""
    lines = [line.partition(separator) for line in read(path).splitlines() if not line.startswith("#")]
    values = {name.strip(): value.strip().strip("\"'") for name, _separator, value in lines}
    return {name: value for name, value in values.items() if value}


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


def write(path: Path, text: str, mode: int = 0o600) -> None:
    """Replace a file in one step, so that nobody ever reads half of it, also after a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
        os.fchmod(stream.fileno(), mode)
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

    :raises PatchingError: somebody else holds it for longer than `LOCK_SECONDS`.
    """
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    # Earlier releases let everybody in.
    LOCK.parent.chmod(0o700)
    with open(LOCK, "w", encoding="utf-8") as stream:
        os.fchmod(stream.fileno(), 0o600)
        deadline = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as exc:
                if time.monotonic() > deadline:
                    raise PatchingError(f"{LOCK} is held by another process.", f"See who: fuser {LOCK}") from exc
                time.sleep(0.2)
        yield


def unit(name: str) -> dict:
    """State of a systemd unit: ``ActiveState``, ``Job`` (missing: none waits), ``Result``, ``Description`` and others.

    :raises PatchingError: systemd does not answer, also not after a while: it may be upgrading itself.
    """
    properties = "ActiveState,SubState,Job,Result,ExecMainStatus,Description,InvocationID"
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

    One that systemd has yet to start is inactive, as one that was never there; only its job tells them apart.

    :param state: from `unit`.
    """
    return state.get("ActiveState") in ("activating", "deactivating") or state.get("Job", "0") not in ("", "0")


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


def shutdown_scheduled() -> str | None:
    """What systemd-logind has scheduled (such as ``reboot``), or None."""
    for line in read("/run/systemd/shutdown/scheduled").splitlines():
        if line.startswith("MODE="):
            return line.removeprefix("MODE=")
    return None


def process_age(pid: int) -> float:
    """Seconds for which a process has been running; that of process 1 is this boot's, also in a container."""
    fields = read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    uptime = read("/proc/uptime").split()
    if len(fields) < 20 or not uptime:
        return 0.0
    return float(uptime[0]) - int(fields[19]) / os.sysconf("SC_CLK_TCK")


def journal(unit_name: str, invocation: str, lines: int = 60) -> list:
    """The last lines that one run of a unit wrote, without time stamps."""
    found = run(
        ["journalctl", f"_SYSTEMD_INVOCATION_ID={invocation}", "-o", "cat", "-n", str(lines), "--no-pager"]
        if invocation
        else ["journalctl", "-u", unit_name, "-o", "cat", "-n", str(lines), "--no-pager"]
    )
    return found.stdout.splitlines()
