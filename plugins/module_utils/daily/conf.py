# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host's daily-update configuration means: apt.conf files line by line, and what stops the updates. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

# The file that the role writes; it sorts behind the package's own 50unattended-upgrades.
OWN_FILE = "/etc/apt/apt.conf.d/52unattended-upgrades-homelab"
ORIGIN_LISTS = ("Unattended-Upgrade::Allowed-Origins", "Unattended-Upgrade::Origins-Pattern")
BLACKLIST = "Unattended-Upgrade::Package-Blacklist"
WHITELIST = "Unattended-Upgrade::Package-Whitelist"

_DIRECTIVES = ("#clear", "#include", "#x-apt-configure-index")
_DUMPED = re.compile(r'^(?P<key>\S.*?) "(?P<value>.*)";$')
_LOG_LINE = re.compile(r"^(?P<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),\d+ (?P<level>[A-Z]+) (?P<text>.*)$")
# What unattended-upgrades logs last when it has come to its end; and when it has not.
_ENDS = ("All upgrades installed", "No packages found that can be upgraded unattended")
_INTERRUPTED = ("SIGTERM received", "SIGNAL received", "Upgrade was interrupted")


# --- apt.conf ---


def conf_files(names: Iterable[str]) -> list:
    """The files of an apt.conf.d that apt reads, in its order: no extension or .conf, and plain characters only."""
    return sorted(name for name in names if re.fullmatch(r"[A-Za-z0-9_-]+|[A-Za-z0-9_-][A-Za-z0-9_.-]*\.conf", name))


def _without_comments(text: str) -> str:
    """The text with its comments as spaces, so that every character stays on its line."""
    out, quoted, i = [], False, 0
    while i < len(text):
        char = text[i]
        if char == "\n":
            quoted = False  # apt looks for quotes line by line
        elif char == '"':
            quoted = not quoted
        elif not quoted and text.startswith("/*", i):
            end = text.find("*/", i)
            end = len(text) if end < 0 else end + 2
            out.append(re.sub(r"[^\n]", " ", text[i:end]))
            i = end
            continue
        elif not quoted and (
            text.startswith("//", i) or (char == "#" and not text[i:].lower().startswith(_DIRECTIVES))
        ):
            end = text.find("\n", i)
            end = len(text) if end < 0 else end
            out.append(" " * (end - i))
            i = end
            continue
        out.append(char)
        i += 1
    return "".join(out)


def _statements(text: str) -> Iterator[tuple]:
    """Line, words and terminator (``{``, ``}`` or ``;``) of each statement; no words where a block just ends."""
    words: list = []
    line = began = 1
    for token in re.findall(r'"[^"\n]*"?|[{};]|\n|[^\s{};"]+|[^\S\n]+', _without_comments(text)):
        if token == "\n":
            line += 1
        elif token in "{};":
            yield began, [word.strip('"') for word in words], token
            words = []
        elif not token.isspace():
            if not words:
                began = line
            words.append(token)


def parse_conf(text: str, file: str) -> list:
    """Read one file as apt does.

    :param text: its content.
    :param file: its path.
    :returns: the settings in order, dicts of ``op`` (``set``, ``append`` or ``clear``), ``key``, ``value``, ``file``,
        ``line``. A list's element that lacks its `;` becomes a ``set`` of an option that is called like it, as for apt.
    """
    settings: list = []
    parents: list = []

    for line, words, end in _statements(text):
        at = {"file": file, "line": line}
        key = "::".join([*parents, *words[:1]])
        if end == "{":
            parents += words[:1]
        elif words and words[0].startswith("#"):
            if words[0].lower() == "#clear" and len(words) > 1:
                settings.append({"op": "clear", "key": words[1], "value": "", **at})
        elif len(words) == 1 and parents:
            settings.append({"op": "append", "key": "::".join(parents), "value": words[0], **at})
        elif len(words) > 1 and key.endswith("::"):
            settings.append({"op": "append", "key": key[:-2], "value": words[1], **at})
        elif len(words) > 1:
            settings.append({"op": "set", "key": key, "value": words[1], **at})
        if end == "}" and parents:
            parents.pop()
    return settings


def _below(key: str, root: str) -> bool:
    key, root = key.lower(), root.lower()
    return key == root or key.startswith(f"{root}::")


def setting_of(settings: Iterable[Mapping], key: str) -> Mapping | None:
    """The setting of an option that won, or None where no file sets it."""
    found = None
    for setting in settings:
        if setting["op"] == "clear" and _below(key, setting["key"]):
            found = None
        elif setting["op"] == "set" and setting["key"].lower() == key.lower():
            found = setting
    return found


def elements_of(settings: Iterable[Mapping], key: str) -> list:
    """The settings that are the elements of a list in the end, in order."""
    alive: list = []
    for setting in settings:
        if setting["op"] == "clear" and _below(key, setting["key"]):
            alive = []
        elif setting["op"] == "append" and setting["key"].lower() == key.lower():
            alive.append(setting)
    return alive


def parse_dump(text: str) -> dict:
    """Read `apt-config dump`.

    :returns: option -> its value, or its elements if it has any, in the spelling of the dump.
    """
    options: dict = {}
    for line in text.splitlines():
        match = _DUMPED.match(line)
        if not match:
            continue
        key, value = match["key"], match["value"]
        if key.endswith("::"):
            elements = options.get(key[:-2])
            if not isinstance(elements, list):
                elements = options[key[:-2]] = []
            elements.append(value)
        elif value or key not in options:
            options[key] = value
    return options


def option(options: Mapping, key: str, default: str = "") -> str:
    """The value of an option; apt's names have no case."""
    value = next((value for name, value in options.items() if name.lower() == key.lower()), "")
    return default if isinstance(value, list) or not value else value


def elements(options: Mapping, key: str) -> list:
    """The elements of a list option."""
    value: object = next((value for name, value in options.items() if name.lower() == key.lower()), None)
    return list(value) if isinstance(value, list) else []


def is_true(value: str, default: bool) -> bool:
    """A boolean option as apt reads it."""
    if value.lower() in ("1", "yes", "true", "with", "on", "enable"):
        return True
    return default if value.lower() not in ("0", "no", "false", "without", "off", "disable") else False


def place(setting: Mapping) -> str:
    """``file:line``."""
    return f"{setting['file']}:{setting['line']}"


def lost_elements(settings: Sequence[Mapping], key: str) -> list:
    """Elements that somebody gave a list and that are not in it in the end, each with a ``why``.

    An element that has become an option of its own for want of a `;` is one of them.
    """
    lost = []
    for number, setting in enumerate(settings):
        if setting["op"] == "append" and setting["key"].lower() == key.lower():
            clear = next((s for s in settings[number:] if s["op"] == "clear" and _below(key, s["key"])), None)
            if clear:
                lost.append({**setting, "why": f"{place(clear)} clears {clear['key']}", "by": clear})
        elif setting["op"] == "set" and setting["key"].lower().startswith(f"{key.lower()}::"):
            name = setting["key"][len(key) + 2 :]
            lost.append(
                {**setting, "value": name, "why": f"a ; is missing after it in {place(setting)}", "by": setting}
            )
    return lost


def overridden(settings: Sequence[Mapping], own_file: str = OWN_FILE) -> list:
    """What `own_file` says and a later file changes: option, wanted, effective, and the places of both."""
    own = [setting for setting in settings if setting["file"] == own_file]
    if not own:
        return []
    result = []

    def note(name: str, wanted: Mapping, effective: str, by: Mapping) -> None:
        result.append(
            {"option": name, "wanted": wanted["value"], "at": place(wanted), "effective": effective, "by": place(by)}
        )

    for mine in {setting["key"].lower(): setting for setting in own if setting["op"] == "set"}.values():
        winner = setting_of(settings, mine["key"])
        if winner is None:
            clear = next(s for s in reversed(settings) if s["op"] == "clear" and _below(mine["key"], s["key"]))
            note(mine["key"], mine, "", clear)
        elif winner["file"] != own_file and winner["value"] != mine["value"]:
            note(mine["key"], mine, winner["value"], winner)
    lists = {setting["key"].lower(): setting["key"] for setting in own if setting["op"] != "set"}
    last = max(number for number, setting in enumerate(settings) if setting["file"] == own_file)
    for key in lists.values():
        for setting in settings[last + 1 :]:
            if setting["op"] == "append" and setting["key"].lower() == key.lower():
                result.append(
                    {"option": key, "wanted": "", "at": own_file, "effective": setting["value"], "by": place(setting)}
                )
        for lost in lost_elements(settings, key):
            if lost["file"] == own_file and lost["by"]["file"] != own_file:
                note(key, lost, "", lost["by"])
    return result


# --- the verdict ---


def last_run(log: str) -> dict | None:
    """The last run that unattended-upgrades' log knows of, or None.

    :param log: text of unattended-upgrades.log.
    :returns: ``began``, ``ended`` (its last line), ``result`` (``ok``, ``conffile``: all but packages at which dpkg
        would ask, ``interrupted`` or ``failed``), ``said`` (the cause that it gave).
    """
    runs: list = []
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
            run.update(result="interrupted", said=text)
        elif "has conffile prompt" in text:
            run.update(result="conffile", said=text)
        elif match["level"] in ("ERROR", "CRITICAL"):
            run.update(result="failed", said=text)
    return next((run for run in reversed(runs) if run["result"] != "dry run"), None)


def _problem(cause: str, message: str, remedy: str) -> dict:
    return {"cause": cause, "message": message, "remedy": remedy}


def disabled(options: Mapping, settings: Sequence[Mapping], own_file: str = OWN_FILE) -> list:
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
        problems.append(_problem("disabled", message, remedy))
    return problems


def unit_problems(units: Mapping) -> list:
    """Timers and services that will not start by themselves.

    :param units: name -> ``load``, ``active``, ``enabled`` as systemctl shows them.
    """
    problems = []
    for name, unit in sorted(units.items()):
        if unit["load"] == "masked":
            problems.append(_problem("masked", f"{name} is masked", f"on the host: systemctl unmask {name}"))
        elif unit["load"] == "not-found":
            problems.append(_problem("missing", f"there is no {name}", "on the host: apt-get install --reinstall apt"))
        elif name.endswith(".timer") and unit["active"] not in ("active", "activating"):
            problems.append(
                _problem(
                    "timer", f"{name} does not run ({unit['active']})", f"on the host: systemctl enable --now {name}"
                )
            )
        elif name.endswith(".timer") and unit["enabled"] not in ("enabled", "static", "generated"):
            problems.append(
                _problem(
                    "timer",
                    f"{name} is {unit['enabled']}: it ends with the next boot",
                    f"on the host: systemctl enable {name}",
                )
            )
    return problems


def uncovered(archives: Sequence[Mapping], settings: Sequence[Mapping], origins: Sequence[str], distro: str) -> list:
    """Why the host would not take its own security updates; empty where it would.

    :param archives: the host's own security archives, each with ``name`` and ``allowed``.
    :param origins: the origins in force.
    :param distro: for the message.
    """
    if not archives:
        return [
            _problem(
                "no security archive",
                f"none of the package sources is {distro}'s security archive",
                "add it below /etc/apt/sources.list.d, then: apt-get update",
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
        _problem(
            "origins",
            message,
            f"set it right there, or in a later file, and look: apt-config dump {ORIGIN_LISTS[0].partition('::')[0]}",
        )
    ]


def stale(age: float | None, since: float, powered: float, limit: float, run: Mapping | None) -> list:
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
    return [_problem("stale", message, "on the host: unattended-upgrade -v, and journalctl -u apt-daily-upgrade")]


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
