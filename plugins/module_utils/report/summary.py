# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run came to: a result for every host, whether the run went well, and what to type next. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timezone

from ..core.change import Change, full_name
from ..core.problem import playbook, problem, remedies
from ..run import record as recording
from ..run.shapes import Entry, Plan, Record
from ..run.steps import step
from ..run.waves import closed_clusters
from . import exposure
from .shapes import Fix, HostReport, Report

AMBER = ("reboot pending",)
RED = ("refused", "failed", "lost", "not attempted")
# The shape of the report: docs/report.schema.json. A change that breaks its readers counts one up.
SCHEMA = 3
_RUN_AGAIN = "run again when it answers; the next run puts the host in order first"


def summarize(
    plan: Plan,
    records: Mapping[str, Record | None],
    stopped: str = "",
    unreleased: Mapping[str, str | None] | None = None,
    *,
    ended: float = 0.0,
    fixes: Mapping[str, Mapping[str, Fix] | None] | None = None,
    seen: Mapping[str, Mapping[str, str]] | None = None,
) -> Report:
    """The end of a run.

    :param records: host -> what its transaction wrote, or None where it never began.
    :param stopped: why no later wave was opened.
    :param unreleased: host -> why its claim could not be given back; None where it was.
    :param ended: seconds since the epoch.
    :param fixes: host -> what the downloaded changelogs say, see `exposure.security`; None where nothing was.
    :param seen: host -> what earlier runs saw open, see `exposure.sightings`.
    """
    still, closed = unreleased or {}, closed_clusters(plan, records)
    today = datetime.fromtimestamp(ended, timezone.utc).date()
    hosts: dict[str, HostReport] = {}
    for host, entry in plan["hosts"].items():
        told = _host(host, entry, records.get(host), _why_never(host, closed, stopped), still.get(host))
        if "before" in entry:
            told = _with_updates(told, entry["pending"], (fixes or {}).get(host), (seen or {}).get(host, {}), today)
        hosts[host] = told
    counts: dict[str, int] = {}
    for told in hosts.values():
        counts[told["result"]] = counts.get(told["result"], 0) + 1
    wrong = [host for host, told in hosts.items() if told["result"] in RED or not told["wanted"]]
    return {
        "schema": SCHEMA,
        "run": plan["run"],
        "began": plan["began"],
        "ended": ended,
        "ok": not wrong,
        "wrong": wrong,
        "stopped": stopped,
        "counts": counts,
        "waves": plan["waves"],
        "clusters": {name: cluster["order"] for name, cluster in plan["k3s"]["clusters"].items()},
        "hosts": hosts,
    }


def _with_updates(
    told: HostReport,
    pending: list[Change],
    fixes: Mapping[str, Fix] | None,
    seen: Mapping[str, str],
    today: date,
) -> HostReport:
    """The report of a host with what the run closed on it, and what is pending after it."""
    changed = exposure.brought(told["installed"])
    fixing = {full_name(each): each["security"] for each in pending}
    return {
        **told,
        "installed": [
            {**each, "security": fixing.get(full_name(each)) if each["new"] else None} for each in told["installed"]
        ],
        "pending": [each for each in pending if full_name(each) not in changed],
        "security": exposure.security(pending, told["installed"], fixes, seen, today),
    }


def _host(host: str, entry: Entry, record: Record | None, stopped: str, unreleased: str | None) -> HostReport:
    before = entry.get("before")
    told: HostReport = {
        "result": entry["result"] or "not attempted",
        "reason": entry["reason"],
        "remedy": "",
        "problems": entry["problems"],
        "wanted": True,
        "os": entry["os"],
        "node": entry["node"] or "",
        "began": None,
        "steps": [],
        "seconds": {},
        "installed": [],
        # Of who was not asked nothing is known: that is not the same as nothing.
        "pending": None,
        "security": None,
        "advice": entry["advice"],
        "boot_id": {"before": before["boot_id"] if before else None, "after": None},
        "kernel": {"before": before["kernel"]["running"] if before else None, "after": None},
    }
    if entry["result"] is None and record is None:
        never = problem(stopped or "its wave was never opened", "run again")
        told |= {"reason": never["cause"], "problems": [never]}
    elif record is not None:
        told["began"] = record["marks"][0]["at"]
        told["steps"] = recording.steps(record)
        failures = [step(each["step"]).failed(host, each["cause"]) for each in record.get("failures", [])]
        told["problems"] = failures
        if record["result"] == "lost":
            ended = record["ended"]["reason"] if "ended" in record else ""
            silent = problem(f"no answer any more during: {record['step']}", _RUN_AGAIN)
            told |= {"result": "lost", "reason": "; ".join(filter(None, [ended, silent["cause"]]))}
            told["problems"] = [*failures, silent]
        else:
            told |= {"result": record["result"], "reason": record["reason"]}
            told["seconds"] = record["seconds"]
        if "ended" in record or record["result"] != "lost":
            told |= {"installed": record["installed"], "log": record["log"]}
            told["boot_id"]["after"] = record["boot_id"]
            told["kernel"]["after"] = record["kernel"]
    if unreleased:
        why = f"it is still claimed, and its daily updates are off until the claim expires: {unreleased}"
        told["reason"] = "; ".join(filter(None, (told["reason"], why)))
        back = problem(why, "give it back", playbook("recover", patching_hosts=host))
        told["problems"] = [*told["problems"], back]
    told["remedy"] = remedies(told["problems"])
    # Amber is what the policy asked for only if it asked for it: a reboot that was skipped for another reason is not.
    asked = "policy" in entry and entry["policy"]["reboot"] == "never"
    told["wanted"] = not unreleased and (told["result"] not in AMBER or asked)
    return told


def _why_never(host: str, closed: Mapping[str, str], stopped: str) -> str:
    if host in closed and host != closed[host]:
        return f"its cluster was closed after {closed[host]}"
    return stopped
