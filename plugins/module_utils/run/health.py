# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is a host as healthy as before? Health is the difference from a baseline. Pure."""

from __future__ import annotations


def regressions(before: dict, after: dict) -> list:
    """What was well in the baseline and is not any more, one sentence each; empty when all is as before.

    :param before: baseline: ``failed_units`` (names), ``listeners`` (ports), ``mounts`` (paths) and ``containers`` (how
        many run); an older one has not all of them.
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


def kept_baseline(host: dict) -> dict | None:
    """The health from before a run that broke something, or that died: then its claim kept it.

    :param host: the assessment of a host.
    :returns: ``run`` and ``baseline``; None where no run has left one.
    """
    claim = host.get("claim")
    if host.get("kept_baseline") or not (claim and claim.get("baseline")):
        return host.get("kept_baseline")
    return {"run": claim.get("run"), "baseline": claim["baseline"]}
