# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stops a host's daily updates, as its configuration, its units and their log tell. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from ..core.problem import Command, PatchingError, Problem, on_host, problem
from .conf import ORIGIN_LISTS, OWN_FILE, Setting, lost_elements, option, place, setting_of

_HOUR = 3600
_LOG_LINE = re.compile(r"^(?P<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),\d+ (?P<level>[A-Z]+) (?P<text>.*)$")
# What unattended-upgrades logs last when it has come to its end; and when it has not.
_ENDS = ("All upgrades installed", "No packages found that can be upgraded unattended")
_INTERRUPTED = ("SIGTERM received", "SIGNAL received", "Upgrade was interrupted")


class DailyProblem(Problem):
    kind: str
    """Of the cause, in a word or two."""


class LastRun(TypedDict):
    """A run of unattended-upgrades."""

    began: str
    ended: str
    """Its last line."""
    result: str
    """``ok``, ``conffile``: all but packages at which dpkg would ask, ``interrupted`` or ``failed``."""
    said: str
    """The cause that it gave."""


class Unit(TypedDict):
    """As systemctl shows it."""

    load: str
    active: str
    enabled: str


class Source(TypedDict):
    """An archive among the package sources."""

    name: str
    origin: str
    label: str
    archive: str
    codename: str
    patterns: list[str]
    """Those of the origins in force that allow it."""


class Archive(TypedDict):
    """A security archive of the host's own distribution."""

    name: str
    allowed: bool


def last_run(log: str) -> LastRun | None:
    """The last run that unattended-upgrades' log knows of, or None.

    :param log: text of unattended-upgrades.log.
    """
    runs: list[LastRun] = []
    for line in log.splitlines():
        match = _LOG_LINE.match(line)
        if not match:
            continue
        text = match["text"]
        if text.startswith("Starting unattended upgrades script"):
            runs.append({"began": match["time"], "ended": match["time"], "result": "failed", "said": ""})
        elif text.startswith("Option --dry-run given") and runs:
            # Somebody was only looking; what it says next was not done.
            runs[-1]["result"] = "dry run"
        if not runs or runs[-1]["result"] == "dry run":
            continue
        run = runs[-1]
        run["ended"] = match["time"]
        if text.startswith(_ENDS) and run["result"] != "conffile":
            run["result"] = "ok"
        elif text.startswith(_INTERRUPTED):
            run |= {"result": "interrupted", "said": text}
        elif "has conffile prompt" in text:
            run |= {"result": "conffile", "said": text}
        elif match["level"] in ("ERROR", "CRITICAL"):
            run |= {"result": "failed", "said": text}
    return next((run for run in reversed(runs) if run["result"] != "dry run"), None)


def daily_problem(kind: str, cause: str, remedy: str = "", *commands: Command) -> DailyProblem:
    """A problem of the daily updates."""
    return {"kind": kind, **problem(cause, remedy, *commands)}


NOT_INSTALLED = daily_problem(
    "not installed",
    "unattended-upgrades is not installed",
    "",
    on_host("apt-get", "install", "unattended-upgrades"),
)
NO_LISTS = daily_problem(
    "no lists", "the host has no package lists, so nothing is known to it", "", on_host("apt-get", "update")
)
# Finishes what an interrupted dpkg left unconfigured.
_CONFIGURE = on_host("dpkg", "--configure", "-a")


def misconfigured(error: PatchingError) -> DailyProblem:
    """The configuration is such that unattended-upgrades itself stumbles on it."""
    return {"kind": "configuration", **error.problem}


def disabled(
    options: Mapping[str, str | list[str]], settings: Sequence[Setting], own_file: str = OWN_FILE
) -> list[DailyProblem]:
    """Which periodic options keep the daily run from doing anything, and where they are set."""
    problems = []
    for name, default in (
        ("APT::Periodic::Enable", "1"),
        ("APT::Periodic::Update-Package-Lists", "0"),
        ("APT::Periodic::Unattended-Upgrade", "0"),
    ):
        value = option(options, name, default)
        if value != "0":
            continue
        setting = setting_of(settings, name)
        if setting is None:
            message = f'{name} is not set, and apt\'s default for it is "0"'
        else:
            message = f'{name} is "0" by {place(setting)}'
            loser = next((s for s in settings if s["op"] == "set" and s["key"] == name and s["value"] != "0"), None)
            if loser:
                message += f', which overrides "{loser["value"]}" in {place(loser)}'
        remedy = f"remove it there, or set it in a later file; {own_file} is the policy's"
        problems.append(daily_problem("disabled", message, remedy))
    return problems


def unit_problems(units: Mapping[str, Unit]) -> list[DailyProblem]:
    """Timers and services that will not start by themselves."""
    problems = []
    for name, unit in sorted(units.items()):
        if unit["load"] == "masked":
            problems.append(daily_problem("masked", f"{name} is masked", "", on_host("systemctl", "unmask", name)))
        elif unit["load"] == "not-found":
            reinstall = on_host("apt-get", "install", "--reinstall", "apt")
            problems.append(daily_problem("missing", f"there is no {name}", "", reinstall))
        elif name.endswith(".timer") and unit["active"] not in ("active", "activating"):
            problems.append(
                daily_problem(
                    "timer",
                    f"{name} does not run ({unit['active']})",
                    "",
                    on_host("systemctl", "enable", "--now", name),
                )
            )
        elif name.endswith(".timer") and unit["enabled"] not in ("enabled", "static", "generated"):
            problems.append(
                daily_problem(
                    "timer",
                    f"{name} is {unit['enabled']}: it ends with the next boot",
                    "",
                    on_host("systemctl", "enable", name),
                )
            )
    return problems


def uncovered(
    archives: Sequence[Archive], settings: Sequence[Setting], origins: Sequence[str], distro: str
) -> list[DailyProblem]:
    """Why the host would not take its own security updates; empty where it would.

    :param origins: the origins in force.
    :param distro: for the message.
    """
    if not archives:
        return [
            daily_problem(
                "no security archive",
                f"none of the package sources is {distro}'s security archive",
                "add it below /etc/apt/sources.list.d, then refresh the lists",
                on_host("apt-get", "update"),
            )
        ]
    missing = [archive["name"] for archive in archives if not archive["allowed"]]
    if not missing:
        return []
    message = f"no allowed origin matches {', '.join(missing)}"
    message += f"; in force: {', '.join(origins)}" if origins else "; none is in force"
    lost = [loss for key in ORIGIN_LISTS for loss in lost_elements(settings, key)]
    # The last ones are what a person meant to be in force; the earlier ones were mostly replaced on purpose.
    if lost:
        last = lost[-1]["file"]
        told = [f'{place(loss)} "{loss["value"]}" is lost: {loss["why"]}' for loss in lost if loss["file"] == last]
        message += "; " + "; ".join(told)
    return [
        daily_problem(
            "origins",
            message,
            "set it right there, or in a later file, and look",
            on_host("apt-config", "dump", ORIGIN_LISTS[0].partition("::")[0]),
        )
    ]


def stale(age: float | None, since: float, powered: float, limit: float, run: LastRun | None) -> list[DailyProblem]:
    """No daily run has come to a good end for too long.

    :param age: seconds since the last good end, None where there was none.
    :param since: seconds for which the host could have had one.
    :param powered: seconds for which it has been on; a missed run starts soon after boot.
    :param limit: seconds.
    :param run: from `last_run`.
    """
    if (since if age is None else age) <= limit or powered < 86400:
        return []
    days = limit / 86400
    message = (
        f"no daily run has ended well, for more than {days:.0f} days"
        if age is None
        else f"the last daily run that ended well was {age / 86400:.0f} days ago"
    )
    if run and run["result"] != "ok":
        message += f"; the last one, at {run['began']}, {run['result']}: {run['said'] or 'it came to no end'}"
    look = on_host("unattended-upgrade", "-v"), on_host("journalctl", "-u", "apt-daily-upgrade")
    return [daily_problem("stale", message, "", *look)]


def stopped_by_host(journal: bool, complaint: str, holder: Mapping[str, Any] | None) -> list[DailyProblem]:
    """What stops every daily run, whatever its configuration.

    :param journal: dpkg was interrupted in the middle of a package.
    :param complaint: of `apt-get check`.
    :param holder: `dpkg.lock_holder`.
    """
    problems = []
    if journal:
        message = "dpkg was interrupted in the middle of a package, so the daily script ends without a word"
        problems.append(daily_problem("dpkg", message, "", _CONFIGURE))
    elif complaint:
        message = f"apt-get check fails, so the daily script ends without a word: {complaint}"
        mend = on_host("apt-get", "--fix-broken", "install")
        problems.append(daily_problem("apt-get check", message, "", mend))
    if holder and holder["seconds"] > _HOUR:
        who = f"{holder['command']} (pid {holder['pid']})"
        message = f"{who} has had dpkg's lock for up to {holder['seconds'] / _HOUR:.0f} hours"
        problems.append(daily_problem("lock", message, "", on_host("ps", "-fp", str(holder["pid"]))))
    return problems


def stopped_by_itself(lines: Sequence[str]) -> list[DailyProblem]:
    """Why unattended-upgrades ends at once.

    :param lines: what it says then.
    """
    causes = {"battery": "ac power", "metered": "metered"}
    return [
        daily_problem(
            next((cause for word, cause in causes.items() if word in line), "stopped"),
            f"unattended-upgrade ends at once: {line}",
            "set Unattended-Upgrade::OnlyOnACPower or ::Skip-Updates-On-Metered-Connections to false",
        )
        for line in lines
    ]


def security_archives(archives: Sequence[Source], distro: str, codename: str) -> list[Archive]:
    """The archives of this distribution and release that carry security updates; for Ubuntu ESM as well."""
    return [
        {"name": each["name"], "allowed": bool(each["patterns"])}
        for each in archives
        if each["origin"].startswith(distro)
        and each["archive"].endswith("-security")
        and (each["codename"].startswith(codename) or each["archive"].startswith(codename))
    ]


def warnings(run: LastRun | None, unfinished: Sequence[str]) -> list[DailyProblem]:
    """What does not stop the next run and is worth knowing.

    :param run: from `last_run`.
    :param unfinished: packages that dpkg has not finished.
    """
    problems = []
    if run and run["result"] != "ok":
        message = f"the run of {run['began']} did not do all: {run['said'] or 'it came to no end'}"
        problems.append(daily_problem(run["result"], message, "", on_host("unattended-upgrade", "-v")))
    if unfinished:
        message = f"dpkg has not finished {', '.join(unfinished)}"
        problems.append(daily_problem("dpkg", message, "", _CONFIGURE))
    return problems


REASONS = {
    "held": "held back by its mark (apt-mark showhold)",
    "blacklisted": "blacklisted",
    "whitelist": "not on the whitelist",
    "conffile": "a modified configuration file may make dpkg ask",
    "origin": "its origin is not allowed",
    "untrusted": "its origin is not trusted",
    "phased": "phased: not yet this host's turn",
    "removal": "another package would have to be removed",
    "dependency": "a package that it needs may not be changed",
}


def reason(problem: str) -> tuple[str, str]:
    """What unattended-upgrades' own words mean.

    :param problem: the result of its sanity check.
    :returns: a key of `REASONS` and the text.
    """
    text = problem or REASONS["dependency"]
    if "marked to be deleted" in text:
        return "removal", text
    if "trusted origin" in text:
        return "untrusted", text
    return "dependency", text
