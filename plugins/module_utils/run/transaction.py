# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One host's transaction: is it the turn of a step, is the host proved, and what is the outcome? Pure.

``answers`` are what the steps have registered, by their keys; empty where one did
not run.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ..core.change import Change, full_name
from ..core.shapes import Host, Reboot
from . import record as recording
from .health import regressions
from .shapes import Before, Entry, Failure, Record
from .steps import STEPS, step

Answers = Mapping[str, Mapping[str, Any]]
# Runs in every outcome in which the host answers.
_AFTER = "patching_after"


def reboot_why(wanted: str, reboot: Reboot, upgrades: bool) -> str:
    """Why a host is rebooted; empty where it is not.

    :param wanted: ``patching_reboot``: ``if_required``, ``never`` or ``always``.
    :param reboot: ``required`` with its ``reasons``; before an upgrade also what is ``expected`` of it.
    :param upgrades: does the run upgrade the host?
    """
    if wanted == "never":
        return ""
    if reboot["required"]:
        return "; ".join(reboot["reasons"])
    if upgrades and wanted == "always":
        return "patching_reboot is always"
    return f"expected: {'; '.join(reboot['expected'])}" if upgrades and reboot["expected"] else ""


def _planned(entry: Entry) -> set[str]:
    return {each["step"] for each in entry["steps"]}


def _is_node(planned: Collection[str]) -> bool:
    return any(step(key).node for key in planned)


def walk(hosts: Mapping[str, Entry], names: Collection[str]) -> list[str]:
    """The steps that some of these hosts may go through, in their order: a wave takes them together.

    :param hosts: host -> its entry.
    :param names: the hosts of the wave; one that is not in the plan, such as a conductor, has no steps.
    """
    possible: set[str] = set()
    for planned in filter(None, (_planned(hosts[name]) for name in names if name in hosts)):
        # What the upgrade brings may want a reboot that nobody expected.
        possible |= planned | {row.key for row in STEPS if row.decided and (_is_node(planned) or not row.node)}
    return [row.key for row in STEPS if row.key in possible]


def due(key: str, entry: Entry, answers: Answers) -> bool:
    """Does this host go through the step?"""
    planned = _planned(entry)
    if not step(key).decided:
        return key in planned
    node = _is_node(planned)
    reboots = bool(reboot_why(entry["policy"]["reboot"], answers["assess"]["host"]["reboot"], "upgrade" in planned))
    if reboots and node and key not in ("lock", "drain"):
        reboots = bool(answers["drain"]["ready"])
    if key == "restart services":
        return not reboots
    return reboots and (node or not step(key).node)


def advance(key: str, entry: Entry, record: Record, answers: Answers, at: float) -> Record:
    """The record of a host when the wave comes to a step.

    :param key: the step; empty at the end of all.
    :param record: the record so far; empty at the beginning.
    :param at: seconds since the epoch.
    :returns: the record, with ``begun``: is the step this host's now?
    """
    over = record.get("over", False)
    if key not in ("", _AFTER):
        begins = not over and due(key, entry, answers)
    else:
        if not over:
            record = _end(entry, record, answers, at)
        elif not key and record["step"] == _AFTER and record["result"] == "lost":
            record = recording.finish_after(record, at)
        begins = key == _AFTER and record["result"] != "lost" and due(key, entry, answers)
    return {**(recording.step(record, key, at) if begins else record), "begun": begins}


def _end(entry: Entry, record: Record, answers: Answers, at: float) -> Record:
    """The record of a host when no task of it has failed: what the host itself says at the end decides all the same."""
    problems = unproved(answers["prove"], entry["before"])
    if problems:
        reason = f"prove: {'; '.join(problems)}"
        return recording.finish(record, "failed", at, installed=_installed(answers), reason=reason)
    after: Host = answers["prove"]["host"]
    installed, restless = _installed(answers), _restless(entry["before"], after)
    notes = [answers["drain"].get("skipped"), answers["recover"].get("earlier")]
    if installed and answers["restart services"].get("skipped"):
        notes.append("needrestart is not installed, so services that run replaced files were not restarted")
    if restless:
        notes.append(f"still starting: {', '.join(restless)}")
    return recording.finish(
        record,
        "reboot pending" if after["reboot"]["required"] else "patched",
        at,
        after=after,
        installed=installed,
        reason="; ".join(filter(None, [*after["reboot"]["reasons"], *notes])),
    )


def fail(record: Record, answers: Answers, failure: Failure, at: float) -> Record:
    """The record of a host on which a step has failed.

    :param at: seconds since the epoch.
    """
    result, again = failure["result"], failure["again"]
    cause = result.get("msg") or result.get("reason") or failure["task"] or "unknown"
    if record["step"] == _AFTER:
        return {**recording.finish_after(record, at, cause), "begun": False}
    silent = "timedout" in result and any(again.get(word) for word in ("skipped", "failed", "unreachable"))
    ended = recording.finish(
        record,
        "lost" if silent else "failed",
        at,
        installed=_installed(answers),
        reason=f"{record['step']}: {cause}",
        log=result.get("log", answers["upgrade"].get("log", [])),
    )
    return {**ended, "begun": False}


def _installed(answers: Answers) -> list[Change]:
    return [*answers["recover"].get("installed", []), *answers["upgrade"].get("installed", [])]


def _restless(before: Before, after: Host) -> list[str]:
    """The units that are starting and were not before: one of them may fail yet."""
    return [unit for unit in after["starting"] if unit not in before["starting"]]


def proved(answer: Mapping[str, Any], before: Before) -> bool:
    """Is the host as healthy as before, with nothing that may still change it? Asked until it is, or time is over.

    :param answer: the result of ``host_info``; without ``host`` where it failed.
    :param before: the host before the run, of its entry.
    """
    if "host" not in answer:
        return False
    after: Host = answer["host"]
    return not _restless(before, after) and not regressions(before["baseline"], after["baseline"])


def unproved(answer: Mapping[str, Any], before: Before) -> list[str]:
    """What speaks against the host when time is over, one sentence each; a unit that is still starting does not."""
    if "host" not in answer:
        return [f"it cannot be assessed: {answer.get('msg', '')}"]
    left = ", ".join(full_name(each) for each in answer["host"]["pending"] if not each["held_by"])
    pending = [f"{left} should have been upgraded and is still pending"] if left else []
    return regressions(before["baseline"], answer["host"]["baseline"]) + pending
