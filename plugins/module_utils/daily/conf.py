# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""apt's configuration files line by line: what is set, where, and what overrides it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypedDict

# The file that the role writes; it sorts behind the package's own 50unattended-upgrades.
OWN_FILE = "/etc/apt/apt.conf.d/52unattended-upgrades-homelab"
ORIGIN_LISTS = ("Unattended-Upgrade::Allowed-Origins", "Unattended-Upgrade::Origins-Pattern")
_DIRECTIVES = ("#clear", "#include", "#x-apt-configure-index")
_DUMPED = re.compile(r'^(?P<key>\S.*?) "(?P<value>.*)";$')


class Setting(TypedDict):
    """What one line says."""

    op: str
    """``set``, ``append`` or ``clear``."""
    key: str
    value: str
    file: str
    line: int


class Lost(Setting):
    """An element that somebody gave a list and that is not in it in the end."""

    why: str
    by: Setting


class Overridden(TypedDict):
    """What a file says and a later one changes, with the places of both."""

    option: str
    wanted: str
    at: str
    effective: str
    by: str


def conf_files(names: Iterable[str]) -> list[str]:
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


def _statements(text: str) -> Iterator[tuple[int, list[str], str]]:
    """Line, words and terminator (``{``, ``}`` or ``;``) of each statement; no words where a block just ends."""
    words: list[str] = []
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


def parse_conf(text: str, file: str) -> list[Setting]:
    """Read one file as apt does.

    :param text: its content.
    :param file: its path.
    :returns: the settings in order. A list's element that lacks its `;` becomes a ``set`` of an option that is called
        like it, as for apt.
    """
    settings: list[Setting] = []
    parents: list[str] = []

    for line, words, end in _statements(text):

        def note(op: str, key: str, value: str, line: int = line) -> None:
            settings.append({"op": op, "key": key, "value": value, "file": file, "line": line})

        key = "::".join([*parents, *words[:1]])
        if end == "{":
            parents += words[:1]
        elif words and words[0].startswith("#"):
            if words[0].lower() == "#clear" and len(words) > 1:
                note("clear", words[1], "")
        elif len(words) == 1 and parents:
            note("append", "::".join(parents), words[0])
        elif len(words) > 1 and key.endswith("::"):
            note("append", key[:-2], words[1])
        elif len(words) > 1:
            note("set", key, words[1])
        if end == "}" and parents:
            parents.pop()
    return settings


def _below(key: str, root: str) -> bool:
    key, root = key.lower(), root.lower()
    return key == root or key.startswith(f"{root}::")


def setting_of(settings: Iterable[Setting], key: str) -> Setting | None:
    """The setting of an option that won, or None where no file sets it."""
    found = None
    for setting in settings:
        if setting["op"] == "clear" and _below(key, setting["key"]):
            found = None
        elif setting["op"] == "set" and setting["key"].lower() == key.lower():
            found = setting
    return found


def elements_of(settings: Iterable[Setting], key: str) -> list[Setting]:
    """The settings that are the elements of a list in the end, in order."""
    alive: list[Setting] = []
    for setting in settings:
        if setting["op"] == "clear" and _below(key, setting["key"]):
            alive = []
        elif setting["op"] == "append" and setting["key"].lower() == key.lower():
            alive.append(setting)
    return alive


def parse_dump(text: str) -> dict[str, str | list[str]]:
    """Read `apt-config dump`.

    :returns: option -> its value, or its elements if it has any, in the spelling of the dump.
    """
    options: dict[str, str | list[str]] = {}
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


def option(options: Mapping[str, str | list[str]], key: str, default: str = "") -> str:
    """The value of an option; apt's names have no case."""
    value = next((value for name, value in options.items() if name.lower() == key.lower()), "")
    return default if isinstance(value, list) or not value else value


def is_true(value: str, default: bool) -> bool:
    """A boolean option as apt reads it."""
    if value.lower() in ("1", "yes", "true", "with", "on", "enable"):
        return True
    return default if value.lower() not in ("0", "no", "false", "without", "off", "disable") else False


def place(setting: Setting) -> str:
    """``file:line``."""
    return f"{setting['file']}:{setting['line']}"


def lost_elements(settings: Sequence[Setting], key: str) -> list[Lost]:
    """Elements that somebody gave a list and that are not in it in the end.

    An element that has become an option of its own for want of a `;` is one of them.
    """
    lost: list[Lost] = []
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


def overridden(settings: Sequence[Setting], own_file: str = OWN_FILE) -> list[Overridden]:
    """What `own_file` says and a later file changes."""
    own = [setting for setting in settings if setting["file"] == own_file]
    if not own:
        return []
    result: list[Overridden] = []

    def note(name: str, wanted: Setting, effective: str, by: Setting) -> None:
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
