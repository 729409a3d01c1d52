# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The daily policy on the control node: apt's options as text, and a host's answer as sentences. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..core.problem import PatchingError, Problem, in_words, of_host

_HEADER = """\
// Written by homelab.patching.unattended_upgrades; changes made here are lost. A file that sorts behind it may differ,
// and the policy's proof then says which one. A list begins with #clear, because apt would add to those of other files.
"""
_TREE = "Unattended-Upgrade::"
_NAME = re.compile(r"[A-Za-z0-9-]+(::[A-Za-z0-9./_+-]+)*")
# Of these apt.conf takes a text as well, and nothing reads it.
_LISTS = ("Package-Blacklist", "Package-Whitelist", "Allowed-Origins", "Origins-Pattern", "Update-Days")
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+")


def package_problems(names: Sequence[object]) -> list[str]:
    """What of these is no name of a package, in sentences."""
    then = "Name packages, such as docker-ce; expressions belong in unattended_upgrades_package_blacklist."
    return [f"{name!r} is no name of a package. {then}" for name in names if not _PACKAGE.fullmatch(str(name))]


def package_patterns(names: Sequence[str]) -> list[str]:
    """The expressions of unattended-upgrades that match these packages, of any architecture, and no others.

    :param names: of packages; see `package_problems`.
    """
    return [re.sub(r"[+.]", r"\\\g<0>", name) + "(:|$)" for name in names]


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _full(name: str) -> str:
    """The whole name of an option; a bare one is one of unattended-upgrades'."""
    return name if "::" in name else f"{_TREE}{name}"


def problems(options: Mapping[str, Any]) -> list[str]:
    """What of these options apt could not read, in sentences.

    :param options: see `render`.
    """
    found = []
    for name, value in options.items():
        if not _NAME.fullmatch(str(name)):
            found.append(f"{name!r} is no name of an option. Use one such as MinimalSteps, or Acquire::http::Dl-Limit.")
        if isinstance(value, Mapping):
            found.append(
                f"{name} is a mapping. Give each option of it by its whole name, such as {_full(str(name))}::Name."
            )
            continue
        if _full(str(name)).removeprefix(_TREE) in _LISTS and not _is_list(value):
            found.append(f"{name} is {value!r}. Use a list, such as [{value!r}].")
        for each in value if _is_list(value) else [value]:
            if isinstance(each, Mapping) or _is_list(each) or re.search(r'["\x00-\x1f]', _text(each)):
                found.append(f"{name} has {each!r}. apt.conf has no way to write that: use plain text without quotes.")
            elif _is_list(value) and not _text(each).strip():
                found.append(f"{name} has an empty element. Leave it away.")
    return found


def render(options: Mapping[str, Any]) -> str:
    """A file of apt's that says these options.

    :param options: name -> text, number, truth value or list. A name without ``::`` is one of Unattended-Upgrade's; an
        empty text or None leaves the option to other files; a list replaces theirs, also when it is empty.
    :raises PatchingError: apt could not read it.
    """
    wrong = problems(options)
    if wrong:
        raise PatchingError(" ".join(wrong))
    lines = [_HEADER.rstrip()]
    for name, value in options.items():
        if _is_list(value):
            # One element a line with a name of its own: no block whose `;` could be missing.
            lines.append(f"#clear {_full(name)};")
            lines += [f'{_full(name)}:: "{_text(each)}";' for each in value]
        elif value is not None and value != "":
            lines.append(f'{_full(name)} "{_text(value)}";')
    return "\n".join(lines) + "\n"


def _sentence(problem: Problem, host: str = "") -> str:
    problem = of_host(problem, host)
    return f"{problem['cause']} ({in_words(problem['remedy'], problem['commands'])})"


def failure(policy: Mapping[str, Any]) -> str:
    """Why a host's security updates do not come, in one line."""
    return "Security updates do not come by themselves: " + "; ".join(
        _sentence(each) for each in [*policy["uncovered"], *policy["stalled"]]
    )


def lines(policy: Mapping[str, Any], host: str, before: bool = False) -> list[str]:
    """What a host's daily updates come to, a few lines.

    :param policy: from unattended_upgrades_info.
    :param before: check mode, in which the role has changed nothing yet.
    """
    bad = [*policy["uncovered"], *policy["stalled"]]
    verdict = "takes its security updates by itself" if not bad else "DOES NOT take its security updates by itself"
    told = [f"{host}: {verdict}" + (", as long as the changes above are not made" if before else "")]
    told += [f"  stops them: {_sentence(each, host)}" for each in bad]
    told += [f"  warning: {_sentence(each, host)}" for each in policy["warnings"]]
    for each in policy["overridden"]:
        said = f'"{each["wanted"]}" by {each["at"]}' if each["wanted"] else f"as {each['at']} has it"
        now = f'"{each["effective"]}"' if each["effective"] else "gone"
        told.append(f"  overridden: {each['option']} should be {said}, and is {now} by {each['by']}")
    timers = policy["timers"]
    if timers.get("held"):
        told.append(f"  held off until {timers['held']['until']} by run {timers['held']['run']}")
    if timers:
        following = timers["apt-daily-upgrade"]["next"] or "none"
        told.append(f"  last run that ended well: {policy['last_success'] or 'none'}; next: {following}")
    names = [each["name"] for each in policy["would_install"]]
    told.append(f"  the next run would install {len(names)}" + (f": {', '.join(names)}" if names else ""))
    return told + _left_alone(policy["would_hold"])


def _left_alone(held: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for each package that stays, security first; those of one archive that is not allowed in one line."""
    told: list[str] = []
    origins: dict[str, list[str]] = {}
    for each in sorted(held, key=lambda package: not package["security"]):
        if each["reason"] == "origin" and not each["security"]:
            origins.setdefault(each["why"], []).append(each["name"])
        else:
            mark = "SECURITY, " if each["security"] else ""
            told.append(f"  and leave {each['name']} at {each['old']} ({mark}{each['new']}): {each['why']}")
    return told + [f"  and leave {len(names)}, {why}: {', '.join(names)}" for why, names in origins.items()]
