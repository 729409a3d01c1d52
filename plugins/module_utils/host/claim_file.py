# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The claim on this host: one file that says whose the host is, and the drop-ins that keep the daily updates off."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import cast

from ..core.problem import PatchingError
from ..core.shapes import Baseline, Claim, Owner
from . import system
from .claim import describe, expired, taken_over

CLAIM = system.STATE / "claim.json"
# Health from before a run that broke something: later runs compare with it, until the host is healthy or accepted.
BASELINE = system.STATE / "baseline.json"
# What became of the last run, for `ansible_local.patching`.
FACT = Path("/etc/ansible/facts.d/patching.fact")
# The end of the claim as a bare number, for the shell line of the drop-ins.
_HOLD = system.STATE / "hold-until"
_SERVICES = ("apt-daily.service", "apt-daily-upgrade.service")
# $$ and %% are systemd's way to write $ and %.
_DROP_IN = f"""# A run of homelab.patching has this host: the daily updates wait until its end, or the claim's.
[Service]
ExecCondition=/bin/sh -c 'test "$$(date +%%s)" -gt "$$(cat {_HOLD} 2>/dev/null || echo 0)"'
"""


def _drop_in(service: str) -> Path:
    return Path(f"/etc/systemd/system/{service}.d/50-homelab-patching.conf")


def read() -> Claim | None:
    """The claim on this host, or None."""
    return cast("Claim | None", system.read_json(CLAIM))


def require(run: str) -> None:
    """Make sure that the host is still this run's, under `system.locked`.

    :raises PatchingError: it is not; nothing more may be done to the host.
    """
    claim = read()
    if claim is None or claim.get("run") != run:
        holder = describe(claim) if claim else "nobody"
        raise PatchingError(f"the host is not claimed by run {run} any more, but by {holder}.", "Run again.")
    if expired(claim, time.time()):
        raise PatchingError(f"the claim of run {run} on this host has expired.", "Run again.")


def renew(run: str, seconds: int, gate: float | None = None) -> None:
    """Put the end of this run's claim off.

    :param gate: when the gate of the host's cluster began that let it go, by the host's own clock; the fence of the
        reboot looks at it.
    :raises PatchingError: the host is not this run's any more; nothing more may be done to it.
    """
    with system.locked():
        require(run)
        gated = Claim() if gate is None else Claim(gate=gate)
        _write({**(read() or Claim()), "expires": int(time.time()) + seconds, **gated})


def _write(claim: Claim) -> None:
    system.write(CLAIM, json.dumps(claim))
    system.write(_HOLD, f"{claim['expires']}\n")


def claim(run: str, owner: Owner, seconds: int, takeover: list[str], baseline: Baseline) -> Claim | None:
    """Take the host for `run`.

    :param owner: see `identity.identity`.
    :param baseline: the host's health; kept with the claim, so that it outlives a run that dies.
    :param seconds: how long the claim means something if nobody comes back for it.
    :param takeover: ids of runs that are known to be dead.
    :returns: the claim of another run that was taken over, or None.
    :raises PatchingError: a live run has the host.
    """
    with system.locked():
        now = time.time()
        current = read()
        previous = taken_over(current, run, takeover, now)
        mine = current if current and current.get("run") == run else Claim()
        claimed: Claim = {**mine, "run": run, "owner": owner, "expires": int(now) + seconds, "baseline": baseline}
        if previous:
            claimed["taken_over"] = {
                "run": previous.get("run", ""),
                "owner": previous.get("owner", {}),
                "baseline": previous.get("baseline", {}),
            }
        missing = [service for service in _SERVICES if not _drop_in(service).exists()]
        # Who was taken over may have been killed before systemd had read its drop-ins.
        if missing or previous:
            _keep_off_daily_runs(missing)
        _write(claimed)
    return previous


def _keep_off_daily_runs(services: list) -> None:
    """Put drop-ins in force. Until there is a claim they let everything pass.

    :raises PatchingError: systemd does not take them up, and a daily run could begin in the middle of this one.
    """
    for service in services:
        system.write(_drop_in(service), _DROP_IN, 0o644)
    done = system.run(["systemctl", "daemon-reload"])
    if done.returncode != 0:
        for service in services:
            _drop_in(service).unlink()
        raise PatchingError(
            f"systemd does not take up that the daily updates have to wait: {done.stderr.strip()}",
            "On the host: systemctl daemon-reload",
        )


def release(run: str, record: dict, baseline: dict) -> bool:
    """Give the host back: what the claim put there goes away. True if the host was this run's.

    :param record: what became of the run here, kept as a local fact; empty for nothing.
    :param baseline: the health from before, kept because the run broke something; empty where it did not.
    """
    with system.locked():
        current = read()
        if current is not None and current.get("run") != run:
            return False
        if system.at_work(system.unit(system.UPGRADE_UNIT)):
            raise PatchingError("the upgrade is still at work; the host stays claimed until it is over.")
        if current is not None and not record and current.get("taken_over"):
            # Taken over, and never recovered: the next run has to find it as this one did.
            _write({**current, **current["taken_over"], "expires": 0})
            return True
        found = current is not None
        if current is not None and record:
            at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            system.write(FACT, json.dumps({"run": run, "at": at, **record}), 0o644)
            if baseline:
                system.write(BASELINE, json.dumps({"run": run, "baseline": baseline}))
            else:
                BASELINE.unlink(missing_ok=True)
        for service in _SERVICES:
            path = _drop_in(service)
            if path.exists():
                path.unlink()
                found = True
                if not any(path.parent.iterdir()):
                    path.parent.rmdir()
        if found:
            system.run(["systemctl", "daemon-reload"])
        _HOLD.unlink(missing_ok=True)
        system.OUTCOME.unlink(missing_ok=True)
        # Last: until it is gone, the next run knows that there is something to put back.
        CLAIM.unlink(missing_ok=True)
    return found


def daily_run_active() -> bool:
    """Is one of the daily apt services at work?"""
    return any(
        system.unit(service).get("ActiveState") in ("activating", "active", "deactivating") for service in _SERVICES
    )


def await_daily_run(timeout: float) -> None:
    """Wait until no daily run is at work; the claim keeps new ones from starting.

    :param timeout: seconds.
    :raises PatchingError: it is still at work then.
    """
    deadline = time.monotonic() + timeout
    while daily_run_active():
        if time.monotonic() > deadline:
            raise PatchingError(
                f"the daily update of the host is still at work after {timeout:.0f} s.",
                "On the host: systemctl status apt-daily-upgrade.service",
            )
        time.sleep(1)
