# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a run as a page for a person, and the index of the last runs. Pure; reads only its own templates.

It is none of module_utils because it wants Jinja, which hosts lack.

A report of an earlier schema has less to tell: what is not known is left out, never shown as zero or as none.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timezone, tzinfo
from pathlib import Path
from typing import cast

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ..module_utils.core.change import Change, due, full_name
from ..module_utils.core.problem import Command, place, typed
from ..module_utils.core.visible import visible
from ..module_utils.run.steps import legend, step
from .timeline import span, spent, timeline

# The order is that of the page: who needs a person comes first. Shape and word say what the colour says.
_RESULTS = {
    "failed": ("✕", "bad"),
    "lost": ("?", "bad"),
    "refused": ("⊘", "bad"),
    "not attempted": ("–", "bad"),
    "reboot pending": ("↻", "warn"),
    "patched": ("✓", "good"),
    "nothing to do": ("✓", "good"),
    "powered off": ("○", "quiet"),
}
_ORDER = {result: place for place, result in enumerate(_RESULTS)}

# A security update of which nothing is known.
_UPDATE = {"source": "", "closed": False, "cves": None, "since": None, "days": None}

_TEMPLATES = Path(__file__).parent
_RUN = re.compile(r"(\d{8}T\d{6}Z)-[0-9a-f]{4}")


def page(report: Mapping, zone: tzinfo | None = None) -> str:
    """A run as a page of HTML that needs nothing but itself.

    :param report: as docs/report.schema.json has it, of this schema or an earlier one.
    :param zone: of the times that are shown; None: that of this machine.
    :returns: the text of the page. Nothing in the report is taken for HTML.
    """
    waves = report.get("waves") or []
    wave_of = {host: number for number, members in enumerate(waves, 1) for host in members}
    cluster_of = {host: name for name, hosts in (report.get("clusters") or {}).items() for host in hosts}
    entries = sorted(report["hosts"].items(), key=lambda item: (_ORDER.get(item[1]["result"], -1), item[0]))
    hosts = {
        name: _host(f"h{number}", name, known)
        | {"wave": wave_of.get(name), "waves": len(waves), "cluster": cluster_of.get(name)}
        for number, (name, known) in enumerate(entries)
    }
    security = [item for host in hosts.values() for item in host["security"]]
    return _render(
        "report.html.j2",
        run=report["run"],
        zone=zone,
        verdict=_verdict(report),
        began=report.get("began"),
        ended=ended(report),
        took=_took(report),
        hosts=hosts,
        counts=_counts(report["counts"]),
        figures=_figures(report, security),
        next=_next(report, hosts),
        again=not report["ok"],
        timeline=timeline(report, hosts, ended(report)),
        spent=spent(hosts),
        open=_cves(item for item in security if not item["closed"]),
        closed=_cves(item for item in security if item["closed"]),
        assessed=any(host["assessed"] for host in hosts.values()),
        unknown=[name for name, host in hosts.items() if not host["assessed"]],
        waiting=[name for name, host in hosts.items() if host["result"] == "reboot pending"],
        advice=_advice(hosts),
    )


def index(entries: Iterable[Mapping], zone: tzinfo | None = None) -> str:
    """The last runs as a page of HTML.

    :param entries: from `entry` or `unreadable`, the newest first.
    :param zone: as for `page`.
    """
    return _render("index.html.j2", entries=list(entries), zone=zone)


def entry(name: str, report: Mapping, has_page: bool) -> dict:
    """A run as the index lists it.

    :param name: of its files, without their suffix.
    :param report: as for `page`.
    :param has_page: is there a page beside the report? Else its JSON is linked.
    :raises AttributeError, KeyError, OverflowError, TypeError, ValueError: this is no report.
    """
    security = [item for host in report["hosts"].values() for item in host.get("security") or []]
    known = any(host.get("security") is not None for host in report["hosts"].values())
    return {
        "run": name,
        "link": f"{name}.{'html' if has_page else 'json'}",
        "ended": ended(report),
        "took": _took(report),
        "ok": bool(report["ok"]),
        "verdict": _verdict(report),
        "hosts": len(report["hosts"]),
        "counts": _counts(report["counts"]),
        "closed": _distinct(item for item in security if item["closed"]) if known else None,
        "open": _distinct(item for item in security if not item["closed"]) if known else None,
        "problem": "",
    }


def unreadable(name: str, problem: str) -> dict:
    """A run of which only the name is known, as the index lists it."""
    return {"run": name, "link": f"{name}.json", "ended": _time_of(name), "ok": False, "problem": problem}


def ended(report: Mapping) -> float | None:
    """When a run ended, in seconds since the epoch; an early report says only when it began; None: not known."""
    known = report.get("ended")
    if known is None:
        return _time_of(report["run"])
    return datetime.fromtimestamp(known, timezone.utc).timestamp()


def _time_of(run: str) -> float | None:
    found = _RUN.fullmatch(run)
    if not found:
        return None
    try:
        made = datetime.strptime(found[1], "%Y%m%dT%H%M%SZ")
    except ValueError:
        return None
    return made.replace(tzinfo=timezone.utc).timestamp()


def _render(name: str, **values: object) -> str:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_shown,
    )
    environment.filters |= {"span": span, "when": _when, "title_of": lambda key: step(key).title}
    environment.globals |= {"results": _RESULTS, "legend": legend()}
    script = (_TEMPLATES / "page.js").read_text(encoding="utf-8")
    # The browser itself holds the page to it: no request, and no script but the one below.
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    style = (_TEMPLATES / "page.css").read_text(encoding="utf-8")
    own = {"policy": policy, "style": Markup(style), "script": Markup(script)}
    return environment.get_template(name).render(**own, **values)


def _shown(value: object) -> object:
    """What a template prints, with nothing in it that a browser would not show."""
    return visible(value, keep="\n\t") if isinstance(value, str) and not isinstance(value, Markup) else value


def _when(epoch: float | None, zone: tzinfo | None, form: str = "%a %d %b %Y, %H:%M %Z") -> str:
    return "" if epoch is None else datetime.fromtimestamp(epoch, timezone.utc).astimezone(zone).strftime(form)


def _took(report: Mapping) -> float | None:
    known = report.get("began") is not None and report.get("ended") is not None
    return max(0.0, report["ended"] - report["began"]) if known else None


def _many(count: int, one: str, more: str = "") -> str:
    return f"{count} {one if count == 1 else more or one + 's'}"


def _verdict(report: Mapping) -> dict:
    """The first thing to read: ``tone``, ``glyph``, ``title`` and ``text``."""
    hosts, counts = report["hosts"], report["counts"]
    stopped = report.get("stopped") or ""
    if report["ok"]:
        done = counts.get("patched", 0)
        text = f"{_many(done, 'host')} patched, none of {len(hosts)} in trouble." if done else "Nothing had to be done."
        waiting = counts.get("reboot pending", 0)
        text += f" {_many(waiting, 'host')} upgraded, with the reboot left to you by policy." if waiting else ""
        return {"tone": "good", "glyph": "✓", "title": "All is well" if hosts else "No hosts", "text": text}
    wrong = report["wrong"]
    causes = [host for host in wrong if hosts[host]["result"] in ("failed", "lost")] or wrong
    named = ", ".join(causes[:3]) + (f" and {len(causes) - 3} more" if len(causes) > 3 else "")
    untouched = counts.get("not attempted", 0)
    if stopped or untouched:
        text = f"{stopped[:1].upper()}{stopped[1:].rstrip('.')}. " if stopped else ""
        text += f"{_many(untouched, 'host was', 'hosts were')} not attempted." if untouched else ""
        return {"tone": "bad", "glyph": "✕", "title": f"Stopped: {named}", "text": text.strip()}
    text = f"{_many(len(wrong), 'host needs', 'hosts need')} you; the run went on to its end."
    return {"tone": "bad", "glyph": "!", "title": f"Not well: {named}", "text": text}


def _counts(counts: Mapping) -> list:
    """``result``, ``count``, ``glyph`` and ``tone`` in the order of the page."""
    ordered = sorted(counts.items(), key=lambda item: _ORDER.get(item[0], -1))
    return [(result, count, *_RESULTS.get(result, ("•", "quiet"))) for result, count in ordered]


def _host(mark: str, name: str, known: Mapping) -> dict:
    """A host with every field there, whatever the schema of its report."""
    glyph, tone = _RESULTS.get(known["result"], ("•", "quiet"))
    if tone == "good" and not known.get("wanted", True):
        tone = "warn"
    # How long the step took in which a host was lost nobody knows.
    steps = [(item["name"], float(item["seconds"] or 0.0)) for item in known.get("steps") or []]
    boot = known.get("boot_id") or {}
    kernel = known.get("kernel") or {}
    pending, problems = known.get("pending"), known.get("problems")
    words = dict.fromkeys(each["remedy"] for each in problems or [] if each["remedy"])
    # Before the third schema what is held was a list of its own, and what was installed had another name.
    held = [{**each, "held_by": each["why"]} for each in known.get("kept_back") or []]
    return {
        "id": mark,
        "name": name,
        "result": known["result"],
        "glyph": glyph,
        "tone": tone,
        "reason": known.get("reason") or "",
        "remedy": known.get("remedy") or "",
        # Before the third schema there were words alone.
        "words": known.get("remedy") or "" if problems is None else "; ".join(words),
        "commands": [command for each in problems or [] for command in each["commands"]],
        "wanted": known.get("wanted", True),
        "began": known.get("began"),
        "steps": steps or [(step, float(seconds)) for step, seconds in (known.get("seconds") or {}).items()],
        "timed": bool(steps) and known.get("began") is not None,
        "rebooted": boot.get("after") not in (None, boot.get("before")),
        "kernels": [
            f"{each['release']} {each['version']}" if each else "" for each in map(kernel.get, ("before", "after"))
        ],
        "installed": [_change(each) for each in known.get("installed", known.get("packages")) or []],
        "held": [_change(each) for each in held or pending or [] if each.get("held_by")],
        "pending": None if pending is None else [_change(each) for each in due(pending)],
        "assessed": known.get("security") is not None,
        "security": [{**_UPDATE, **_change(item), "host": name} for item in known.get("security") or []],
        "os": known.get("os") or "",
        "node": known.get("node") or "",
        "advice": _whole(known["advice"]) if known.get("advice") else None,
        "log": known.get("log") or [],
    }


def _change(known: Mapping) -> dict:
    """A change with every field there, and its package by its full name."""
    whole = {"arch": "", "old": None, "new": "", "security": None, "held_by": "", **known}
    name = whole.get("name") or whole.get("package") or ""
    return {**whole, "package": full_name(cast(Change, {**whole, "name": name}))}


def _whole(advice: Mapping) -> dict:
    """An advice with every field there."""
    image = {"name": "", "date": "", "age_days": None, "newer": "", **(advice.get("image") or {})}
    nothing = {"count": 0, "names": []}
    loses = {**dict.fromkeys(("manual", "conffiles", "volumes"), nothing), **(advice.get("loses") or {})}
    bare = {"why": [], "end_of_support": "", "takes_along": []}
    return {**bare, **advice, "image": image, "loses": loses}


def _distinct(security: Iterable[Mapping]) -> int:
    return len({cve for item in security for cve in item["cves"] or []})


def _figures(report: Mapping, security: list) -> list:
    """The few numbers that say what the run came to: number, what it counts."""
    hosts = report["hosts"].values()
    packages = sum(len(host.get("installed", host.get("packages")) or []) for host in hosts)
    boots = [host.get("boot_id") or {} for host in hosts]
    rebooted = sum(boot.get("after") not in (None, boot.get("before")) for boot in boots)
    figures = [(len(report["hosts"]), "hosts"), (packages, "packages changed"), (rebooted, "rebooted")]
    if any(host.get("security") is not None for host in hosts):
        left = [item for item in security if not item["closed"]]
        figures += [(_distinct(item for item in security if item["closed"]), "CVEs closed")]
        figures += [(_distinct(left), "CVEs open")]
        days = [item["days"] for item in left if item["days"] is not None]
        if days:
            figures.append((max(days), "days the oldest is open"))
    return figures


def _group(items: Iterable, key: Callable) -> list:
    """Items that say the same in one group, in the order in which they come."""
    groups: dict = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return list(groups.values())


def _next(report: Mapping, hosts: Mapping) -> list:
    """What a person has to do, the hosts with the same words together."""
    wrong = set(report["wrong"])
    waiting = [host for host in hosts.values() if host["remedy"] or host["name"] in wrong]
    return [
        {
            **members[0],
            "hosts": members,
            "urgent": any(host["name"] in wrong for host in members),
            "commands": _commands(members[0], "each of them" if len(members) > 1 else members[0]["name"]),
        }
        for members in _group(waiting, _what_to_do)
    ]


def _what_to_do(host: Mapping) -> tuple:
    """What is the same for all hosts that one card of the page is about."""
    return host["result"], host["reason"], host["words"], tuple(_commands(host, "the host itself"))


def _commands(host: Mapping, itself: str) -> list:
    """What can be typed for a host: pairs of where and the command.

    :param itself: how the host is called there.
    """
    found = []
    commands: Iterable[Command] = host["commands"]
    for each in commands:
        words = ["ansible-playbook", "-i", "inventory/", *each["argv"][1:]]
        argv = words if each["argv"][0] == "ansible-playbook" else each["argv"]
        shown: Command = {**each, "argv": argv, "host": itself if each["host"] == host["name"] else each["host"]}
        found.append((place(shown), typed(shown)))
    return list(dict.fromkeys(found))


def _cves(security: Iterable[Mapping]) -> dict:
    """Updates as rows, the same update of several hosts in one, the longest exposed first."""
    rows = []
    for items in _group(
        security, lambda item: (item["source"], item["new"], item["cves"] is None or tuple(item["cves"]))
    ):
        days = [item["days"] for item in items if item["days"] is not None]
        since = [item["since"] for item in items if item["since"]]
        rows.append(
            {
                **items[0],
                "packages": sorted({item["package"] for item in items}),
                "hosts": sorted({item["host"] for item in items}),
                "days": max(days) if days else None,
                "since": min(since) if since else None,
                "cves": None if items[0]["cves"] is None else list(items[0]["cves"]),
            }
        )
    rows.sort(key=lambda item: (-1 if item["days"] is None else item["days"], item["source"]), reverse=True)
    return {
        "rows": rows,
        "cves": _distinct(rows),
        "unknown": sum(row["cves"] is None for row in rows),
        "hosts": len({host for row in rows for host in row["hosts"]}),
    }


def _advice(hosts: Mapping) -> list:
    """Patch or rebuild: hosts that get the same advice for the same reasons together, rebuilds first."""
    order = {"rebuild": 0, "rebuild when convenient": 1, "patch": 2}
    told = [host for host in hosts.values() if host["advice"]]

    def key(host: Mapping) -> tuple:
        advice = host["advice"]
        return (advice["advice"], tuple(advice["why"]), advice["image"]["name"], advice["end_of_support"])

    groups = [{**members[0]["advice"], "hosts": members} for members in _group(told, key)]
    return sorted(groups, key=lambda group: order.get(group["advice"], 3))
