# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose is a host? What a claim says and who may take it over. Pure.

Its end, ``expires``, is in seconds since the epoch by the host's own clock.
"""

from __future__ import annotations

from ..core.problem import PatchingError, playbook
from ..core.shapes import Claim


def describe(claim: Claim) -> str:
    """A claim in words: the run, and who works it from where."""
    owner = claim.get("owner") or {}
    return f"run {claim.get('run')} of {owner.get('who', 'somebody')} (pid {owner.get('pid', '?')})"


def expired(claim: Claim, now: float) -> bool:
    """Does the claim mean nothing any more?

    :param now: the clock of the host that holds the claim, in seconds since the epoch.
    """
    return now >= float(claim.get("expires", 0))


def taken_over(current: Claim | None, run: str, takeover: list[str], now: float) -> Claim | None:
    """The claim that `run` takes over when it claims the host; None where the host is free or already its own.

    :param current: the claim found on the host.
    :param run: the id of the run that wants the host.
    :param takeover: ids of runs that are known to be dead.
    :param now: the clock of the host, in seconds since the epoch.
    :raises PatchingError: a live run has the host.
    """
    if current is None or current.get("run") == run:
        return None
    if expired(current, now) or current.get("run") in takeover:
        return current
    minutes = max(1, round((float(current["expires"]) - now) / 60))
    raise PatchingError(
        f"the host is claimed by {describe(current)} for another {minutes} min:",
        "wait for that run, or take its claim over if it is known to be dead",
        playbook("patch", patching_takeover=current.get("run", "")),
    )
