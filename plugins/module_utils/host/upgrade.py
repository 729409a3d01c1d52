# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""apt's upgrade on the host: downloaded, or run in a systemd unit that outlives its caller."""

from __future__ import annotations

import json
import shlex
import time

from ..core.problem import PatchingError, on_host
from . import claim_file, dpkg, system
from .apt import cause_of, changed_versions

DESCRIPTION = "homelab.patching upgrade, run "
# A question nobody is there to answer: keep the admin's file, take the maintainer's where he changed nothing.
_OPTIONS = ["-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold"]
# Finishes what an interrupted dpkg left unconfigured.
CONFIGURE = ["dpkg", "--force-confdef", "--force-confold", "--configure", "-a"]
_ENVIRONMENT = {
    "DEBIAN_FRONTEND": "noninteractive",
    "DEBIAN_PRIORITY": "critical",
    "APT_LISTCHANGES_FRONTEND": "none",
    "NEEDRESTART_SUSPEND": "1",
    "LC_ALL": "C.UTF-8",
}


def download(action: list, timeout: float) -> int:
    """Fetch the packages of an upgrade into apt's cache.

    :param timeout: seconds.
    :returns: how many packages files were new in the cache.
    :raises PatchingError: they cannot be fetched.
    """
    archives = "/var/cache/apt/archives"
    before = set(system.run(["ls", archives]).stdout.splitlines())
    done = system.run(
        ["apt-get", "--yes", "--quiet", "--download-only", "-o", "DPkg::Lock::Timeout=300", *action],
        timeout=timeout,
        env=_ENVIRONMENT,
    )
    if done.returncode != 0:
        cause = cause_of(done.stderr)
        look = on_host("apt-get", "--download-only", "dist-upgrade")
        raise PatchingError(f"the packages cannot be downloaded: {cause}", "", look)
    return len({name for name in system.run(["ls", archives]).stdout.splitlines() if name.endswith(".deb")} - before)


def install_command(action: list) -> list:
    """The command that carries out `arguments`."""
    return ["apt-get", "--yes", "--quiet", "--no-remove", "-o", "DPkg::Lock::Timeout=600", *_OPTIONS, *action]


def start(run: str, command: list, upgrade: bool = True) -> None:
    """Start the upgrade in a unit of a fixed name: a dropped connection does not touch it, a second start is refused.

    :param run: the run's id; the host must be claimed by it.
    :param command: `install_command`, or `CONFIGURE`.
    :param upgrade: whether it is the upgrade itself, and not the repair before it.
    :raises PatchingError: it cannot be started, or another one is at work.
    """
    with system.locked():
        claim_file.require(run)
        if upgrade and collected(run):
            return
        # Written first: whoever finds the unit later needs the versions from before it.
        record = {"run": run, "upgrade": upgrade, "before": dpkg.installed_packages(), "command": shlex.join(command)}
        if loaded(system.unit(system.UPGRADE_UNIT)):
            look = on_host("systemctl", "status", system.UPGRADE_UNIT)
            raise PatchingError("another upgrade is on this host;", "", look)
        system.write(system.OUTCOME, json.dumps(record))
        started = system.run(
            [
                "systemd-run",
                f"--unit={system.UPGRADE_UNIT}",
                f"--description={DESCRIPTION}{run}",
                "--service-type=oneshot",
                "--no-block",
                "--property=RemainAfterExit=yes",
                *[f"--setenv={name}={value}" for name, value in _ENVIRONMENT.items()],
                "--",
                *command,
            ]
        )
        if started.returncode != 0:
            system.OUTCOME.unlink()
            raise PatchingError(f"the upgrade cannot be started: {started.stderr.strip()}")


def loaded(state: dict) -> bool:
    """Has systemd a unit of that name, at work or ended? Its name is taken until it is stopped and forgotten."""
    return system.at_work(state) or state.get("ActiveState") in ("active", "failed")


def wait(timeout: float) -> dict:
    """Wait for the upgrade unit's end. A deadline ends the waiting, never dpkg.

    :param timeout: seconds.
    :returns: the unit's state, still `system.at_work` when the time is over; it is not `loaded` after a reboot.
    """
    deadline = time.monotonic() + timeout
    while True:
        state = system.unit(system.UPGRADE_UNIT)
        if not system.at_work(state) or time.monotonic() > deadline:
            return state
        time.sleep(0.5)


def collected(run: str) -> dict | None:
    """What came of the upgrade of this run, if somebody has collected it already; see `collect`."""
    recorded = system.read_json(system.OUTCOME) or {}
    return recorded.get("outcome") if recorded.get("run") == run and recorded.get("upgrade") else None


def collect() -> dict | None:
    """The outcome of an upgrade that has ended, None while it is at work; frees the unit's name for the next one.

    It is kept until the host is given back: a call that was cut off may be at it as well, and gets the same answer.

    :returns: ``run`` (empty where there was none), ``ok``, ``status``, ``installed`` (what changed), ``log`` (last
        lines).
    """
    with system.locked():
        recorded = system.read_json(system.OUTCOME) or {}
        if "outcome" in recorded:
            return recorded["outcome"]
        state = system.unit(system.UPGRADE_UNIT)
        # Stopping the unit would kill dpkg in the middle.
        if system.at_work(state):
            return None
        there = loaded(state)
        before = recorded.get("before")
        outcome = {
            "run": recorded.get("run", ""),
            "ok": state.get("ActiveState") == "active"
            and state.get("Result") == "success"
            and state.get("ExecMainStatus") == "0",
            "status": state.get("ExecMainStatus", "") if there else "",
            "installed": [] if before is None else changed_versions(before, dpkg.installed_packages()),
            "log": system.journal(system.UPGRADE_UNIT, state.get("InvocationID", "")) if there else [],
        }
        if recorded:
            system.write(system.OUTCOME, json.dumps({**recorded, "outcome": outcome}))
        if there:
            system.run(["systemctl", "stop", system.UPGRADE_UNIT])
            system.run(["systemctl", "reset-failed", system.UPGRADE_UNIT])
        return outcome
