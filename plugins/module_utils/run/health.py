# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is a host as healthy as before? Health is the difference from a baseline. Pure."""

from __future__ import annotations

from ..core.shapes import Baseline, Host, KeptBaseline


def regressions(before: Baseline, after: Baseline) -> list[str]:
    """What was well in the baseline and is not any more, one sentence each; empty when all is as before.

    :param before: an older baseline has not all fields.
    :param after: the same, now. A unit that was failed before is nobody's business; one that failed since is.
    """
    problems = [
        f"{unit} has failed since the baseline"
        for unit in sorted(set(after["failed_units"]).difference(before["failed_units"]))
    ]
    problems += [
        f"nothing listens on TCP port {port} any more"
        for port in sorted(set(before["listeners"]) - set(after["listeners"]))
    ]
    problems += [
        f"nothing is mounted on {path} any more"
        for path in sorted(set(before.get("mounts", [])).difference(after.get("mounts", [])))
    ]
    if after.get("containers", 0) < before.get("containers", 0):
        problems.append(f"{after.get('containers', 0)} containers run, before it were {before['containers']}")
    return problems


def kept_baseline(host: Host) -> KeptBaseline | None:
    """The health from before a run that broke something, or that died: then its claim kept it.

    :returns: None where no run has left one.
    """
    claim = host.get("claim")
    if host.get("kept_baseline") or not (claim and claim.get("baseline")):
        return host.get("kept_baseline")
    return {"run": claim["run"], "baseline": claim["baseline"]}
