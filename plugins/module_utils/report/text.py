# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan and the report of a run as a person reads them in a terminal. Pure."""

from __future__ import annotations

from ..core.change import full_name
from ..core.problem import remedies
from ..core.table import table
from ..run.advice import PATCH
from ..run.shapes import Plan, PlannedStep, Totals
from ..run.steps import step
from .shapes import Report


def plan_lines(plan: Plan) -> list[str]:
    """The plan as a person reads it."""
    wave_of = {host: number for number, members in enumerate(plan["waves"], start=1) for host in members}
    rows = []
    for host in sorted(plan["hosts"], key=lambda name: (wave_of.get(name, len(plan["hosts"]) + 1), name)):
        entry = plan["hosts"][host]
        remedy = remedies(entry["problems"])
        system = entry["before"]["os"]["pretty"] if "before" in entry else "-"
        if entry["steps"]:
            rows.append([str(wave_of[host]), host, system, ", ".join(map(_step, entry["steps"]))])
        else:
            why = f": {entry['reason']}" if entry["reason"] else ""
            then = f" -> {remedy}" if remedy else ""
            rows.append(["-", host, system, f"{entry['result']}{why}{then}"])
    count, waves = len(wave_of), len(plan["waves"])
    title = f"Plan of run {plan['run']}: {count} of {len(rows)} hosts in {waves} wave{'' if waves == 1 else 's'}"
    return [title, *_sums(plan["totals"]), "", *table(["Wave", "Host", "System", "What and why"], rows), *_notes(plan)]


def _step(planned: PlannedStep) -> str:
    return step(planned["step"]).title + (f" ({planned['why']})" if planned["why"] else "")


def _notes(plan: Plan) -> list[str]:
    """What the roll will leave as it is, and what else a person should know before it begins."""
    rows = []
    for members in plan["waves"]:
        for host in members:
            before = plan["hosts"][host]["before"]
            kept: dict[str, list[str]] = {}
            for each in plan["hosts"][host]["pending"]:
                kept.setdefault(each["held_by"], []).append(full_name(each))
            kept.pop("", None)
            notes = [f"not upgraded: {', '.join(names)} ({why})" for why, names in kept.items()]
            rows += [[host, note] for note in [*notes, *before["warnings"]]]
    for host, entry in sorted(plan["hosts"].items()):
        advice = entry["advice"]
        if advice and advice["advice"] != PATCH:
            rows.append([host, f"{advice['advice']}: {'; '.join(advice['why'])}"])
    return ["", *table(["Host", "Note"], rows)] if rows else []


def _sums(totals: Totals) -> list[str]:
    """The totals in a line; none where there is nothing to do."""
    if not totals["hosts"]:
        return []
    minutes = -(-totals["seconds"] // 60)
    counted = f"{totals['updates']} updates ({totals['security']} security), up to {totals['reboots']} reboots"
    return [f"{counted}, in about {minutes} min at most"]


def report_lines(summary: Report) -> list[str]:
    """The summary as a person reads it."""
    rows = []
    for host, entry in summary["hosts"].items():
        rebooted = "yes" if entry["boot_id"]["after"] not in (None, entry["boot_id"]["before"]) else "-"
        seconds = entry["seconds"]
        note = entry["reason"] + (f" -> {entry['remedy']}" if entry["remedy"] else "")
        if not note and seconds:
            note = ", ".join(f"{step(key).title} {took:.0f} s" for key, took in seconds.items())
        held = [each for each in entry["pending"] or [] if each["held_by"]]
        if held:
            left = ", ".join(f"{full_name(each)} ({each['held_by']})" for each in held)
            note = "; ".join(part for part in (note, f"left alone: {left}") if part)
        rows.append([host, entry["result"], str(len(entry["installed"]) or "-"), rebooted, note])
    counts = ", ".join(f"{count} {result}" for result, count in sorted(summary["counts"].items()))
    verdict = "all is well" if summary["ok"] else f"not well: {', '.join(summary['wrong'])}"
    title = f"Report of run {summary['run']}: {counts or 'no hosts'}; {verdict}"
    return [title, "", *table(["Host", "Result", "Packages", "Rebooted", "Where the time went, or what to do"], rows)]
