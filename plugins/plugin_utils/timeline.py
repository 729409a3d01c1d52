# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The timeline of a run on its page: when each host was in which step, and where the time went. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from ..module_utils.run.steps import step

# Up to so many hosts the timeline shows each of them at once; beyond, a wave is opened by hand.
_ALL_AT_ONCE = 40
_TICKS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)


def span(seconds: float | None) -> str:
    """A duration as people say it: ``0.3 s``, ``45 s``, ``4 min 05 s``, ``1 h 02 min``."""
    if seconds is None:
        return ""
    if seconds < 9.95:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s" if rest else f"{minutes} min"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02} min" if minutes else f"{hours} h"


def timeline(report: Mapping, hosts: Mapping, over: float | None) -> dict | None:
    """Where each step lies between the beginning and the end of the run, in percent; None where that is not known.

    Where there are too many hosts for one picture, those of a wave are drawn on the wave's own scale.

    :param report: the report of the run.
    :param hosts: host -> what the page shows of it.
    :param over: when the run ended, in seconds since the epoch; None where that is not known.
    """
    timed = {name: host for name, host in hosts.items() if host["timed"]}
    if not timed or report.get("began") is None:
        return None
    first = min(host["began"] for host in timed.values())
    begins = min(report["began"], first)
    whole = max(*map(_over, timed.values()), over or 0) - begins or 1
    every = len(timed) <= _ALL_AT_ONCE

    waves = []
    for number, members in enumerate(report.get("waves") or [sorted(timed)], 1):
        known = [hosts[name] for name in members if name in timed]
        start = min((host["began"] for host in known), default=begins)
        took = max(map(_over, known), default=begins) - start
        scale = (begins, whole) if every or len(known) < 2 else (start, took or 1)
        waves.append(
            {
                "number": number,
                "rows": [_row(host, *scale) for host in known],
                "left": [hosts[name] for name in members if name in hosts and name not in timed],
                "start": _percent(start - begins, whole),
                "width": _percent(took, whole),
                "seconds": took,
                "bad": any(host["tone"] == "bad" for host in known),
            }
        )
    tick = next((each for each in _TICKS if whole / each <= 5), whole)
    return {
        "waves": waves,
        "opened": [wave for wave in waves if wave["rows"]],
        "unopened": [wave for wave in waves if not wave["rows"]],
        "ticks": [(_percent(at * tick, whole), span(at * tick) if at else "0") for at in range(int(whole / tick) + 1)],
        "every": _percent(tick, whole),
        "lead": _percent(first - begins, whole),
        "lead_seconds": first - begins,
        "all": every,
        "kinds": {step(key).kind for host in timed.values() for key, _seconds in host["steps"]},
        "stopped": report.get("stopped") or "",
    }


def _over(host: Mapping) -> float:
    """When the last step of a host was over."""
    return host["began"] + sum(seconds for _step, seconds in host["steps"])


def _percent(seconds: float, whole: float) -> float:
    return round(100 * seconds / whole, 3)


def _row(host: Mapping, begins: float, whole: float) -> dict:
    """The bars of a host: step, seconds, kind, and where it begins and how wide it is, in percent."""
    at, bars = host["began"] - begins, []
    for key, seconds in host["steps"]:
        row = step(key)
        bars.append((row.title, seconds, row.kind, _percent(at, whole), _percent(seconds, whole)))
        at += seconds
    return {"host": host, "bars": bars, "end": _percent(at, whole), "seconds": _over(host) - host["began"]}


def spent(hosts: Mapping) -> list:
    """Where the time went: of each step the sum over the hosts, its share, and who took longest; the longest first."""
    steps: dict = {}
    for host in hosts.values():
        for key, seconds in host["steps"]:
            steps.setdefault(key, []).append((seconds, host))
    whole = sum(seconds for took in steps.values() for seconds, _host in took)
    rows = []
    for key, took in steps.items():
        longest, slowest = max(took, key=lambda item: item[0])
        total = sum(seconds for seconds, _host in took)
        rows.append(
            {
                "step": step(key).title,
                "kind": step(key).kind,
                "total": total,
                "share": 100 * total / whole if whole else 0,
                "longest": longest,
                "slowest": slowest,
                "hosts": len(took),
            }
        )
    return sorted(rows, key=lambda item: -item["total"])
