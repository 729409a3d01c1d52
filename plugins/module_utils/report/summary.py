# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run came to: a result for every host, whether the run went well, and what to type next. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timezone

from ..core.change import full_name
from ..run import record as recording
from ..run.waves import closed_clusters
from . import exposure

AMBER = ("reboot pending",)
RED = ("refused", "failed", "lost", "not attempted")
# The shape of the report: docs/report.schema.json. A change that breaks its readers counts one up.
SCHEMA = 3
_RUN_AGAIN = "run again when it answers; the next run puts the host in order first"


def summarize(
    plan: Mapping,
    records: Mapping,
    stopped: str = "",
    unreleased: Mapping | None = None,
    *,
    ended: float = 0.0,
    fixes: Mapping | None = None,
    seen: Mapping | None = None,
) -> dict:
    """The end of a run.

    :param plan: from `plan.make_plan`.
    :param records: host -> what its transaction wrote, or None where it never began.
    :param stopped: why no later wave was opened.
    :param unreleased: host -> why its claim could not be given back; None where it was.
    :param ended: seconds since the epoch.
    :param fixes: host -> what the downloaded changelogs say, see `exposure.security`; None where nothing was.
    :param seen: host -> what earlier runs saw open, see `exposure.sightings`.
    :returns: as docs/report.schema.json has it.
    """
    still, closed = unreleased or {}, closed_clusters(plan, records)
    today = datetime.fromtimestamp(ended, timezone.utc).date()
    hosts = {}
    for host, entry in plan["hosts"].items():
        hosts[host] = _host(host, entry, records.get(host), _why_never(host, closed, stopped), still.get(host))
        # Of who was not asked nothing is known: that is not the same as nothing.
        hosts[host] |= {"pending": None, "security": None}
        if "before" in entry:
            hosts[host] |= _updates(entry, hosts[host], (fixes or {}).get(host), (seen or {}).get(host), today)
    counts: dict = {}
    for entry in hosts.values():
        counts[entry["result"]] = counts.get(entry["result"], 0) + 1
    wrong = [host for host, entry in hosts.items() if entry["result"] in RED or not entry["wanted"]]
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


def _updates(entry: Mapping, summary: Mapping, fixes: Mapping | None, seen: Mapping | None, today: date) -> dict:
    """What the run closed on a host, and what is pending after it."""
    changed = exposure.brought(summary["installed"])
    fixing = {full_name(each): each["security"] for each in entry["pending"]}
    return {
        "installed": [
            {**each, "security": fixing.get(full_name(each)) if each["new"] else None} for each in summary["installed"]
        ],
        "pending": [each for each in entry["pending"] if full_name(each) not in changed],
        "security": exposure.security(entry["pending"], summary["installed"], fixes, seen or {}, today),
    }


def _host(host: str, entry: Mapping, record: Mapping | None, stopped: str, unreleased: str | None) -> dict:
    before = entry.get("before") or {}
    summary = {
        "result": entry["result"] or "not attempted",
        "reason": entry["reason"],
        "remedy": entry["remedy"],
        "os": entry["os"],
        "node": entry["node"] or "",
        "began": None,
        "steps": [],
        "installed": [],
        "seconds": {},
        "boot_id": {"before": before.get("boot_id"), "after": None},
        "kernel": {"before": (before.get("kernel") or {}).get("running"), "after": None},
    }
    if entry["result"] is None and record is None:
        summary |= {"reason": stopped or "its wave was never opened", "remedy": "run again"}
    elif record is not None:
        summary["began"] = record["marks"][0]["at"]
        summary["steps"] = recording.steps(record)
        if record["result"] == "lost":
            reasons = [record.get("ended", {}).get("reason"), f"no answer any more during: {record['step']}"]
            summary |= {"result": "lost", "reason": "; ".join(filter(None, reasons)), "remedy": _RUN_AGAIN}
        else:
            summary |= {name: record[name] for name in ("result", "reason", "remedy", "seconds")}
        if "ended" in record or record["result"] != "lost":
            summary |= {"installed": record["packages"], "log": record["log"]}
            summary["boot_id"]["after"] = record["boot_id"]
            summary["kernel"]["after"] = record["kernel"]
    # Amber is what the policy asked for only if it asked for it: a reboot that was skipped for another reason is not.
    never = (entry.get("policy") or {}).get("reboot") == "never"
    if unreleased:
        why = f"it is still claimed, and its daily updates are off until the claim expires: {unreleased}"
        summary["reason"] = "; ".join(filter(None, (summary["reason"], why)))
        then = "to give it back: ansible-playbook homelab.patching.recover -e patching_hosts=HOST"
        summary["remedy"] = "; ".join(filter(None, (summary["remedy"], then)))
    return {
        **summary,
        "remedy": summary["remedy"].replace("HOST", host),
        "advice": entry["advice"],
        "wanted": not unreleased and (summary["result"] not in AMBER or never),
    }


def _why_never(host: str, closed: Mapping, stopped: str) -> str:
    if host in closed and host != closed[host]:
        return f"its cluster was closed after {closed[host]}"
    return stopped
