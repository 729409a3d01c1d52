# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What went wrong, and what to do about it: raised, or as data in a verdict; and in words. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from itertools import groupby
from typing import TypedDict


class Command(TypedDict):
    """What can be typed as it stands."""

    where: str
    """``control`` (the control node), ``host``, or ``server`` (any server of the K3s cluster)."""
    host: str
    """Which host, by its name in the inventory; empty where that is not known, or does not matter."""
    argv: list[str]


class Problem(TypedDict):
    """As data."""

    cause: str
    """What is wrong and where, a sentence without its full stop."""
    remedy: str
    """What to do, in words; empty where the commands say it all, or nothing can be said."""
    commands: list[Command]


class PatchingError(Exception):
    """The one exception of this collection: a failure that is told to a person.

    :param message: what went wrong and where, one sentence.
    :param remedy: what to do; empty where the commands say it all, or nothing can be said.
    :param commands: what to type.
    """

    def __init__(self, message: str, remedy: str = "", *commands: Command) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.commands = commands

    def __str__(self) -> str:
        return f"{self.message} {in_words(self.remedy, self.commands)}".strip()

    @property
    def problem(self) -> Problem:
        """The same as data."""
        return problem(self.message.rstrip(".:;"), self.remedy, *self.commands)


def problem(cause: str, remedy: str = "", *commands: Command) -> Problem:
    """A problem, as every verdict here lists them."""
    return {"cause": cause, "remedy": remedy, "commands": list(commands)}


def on_host(*argv: str, host: str = "") -> Command:
    """To be typed on a host."""
    return {"where": "host", "host": host, "argv": list(argv)}


def on_server(*argv: str) -> Command:
    """To be typed on a server of the K3s cluster."""
    return {"where": "server", "host": "", "argv": list(argv)}


def playbook(name: str, **variables: str) -> Command:
    """To be typed on the control node: a playbook of ours."""
    extra = [word for key, value in variables.items() for word in ("-e", f"{key}={value}")]
    return {"where": "control", "host": "", "argv": ["ansible-playbook", f"homelab.patching.{name}", *extra]}


def ping(host: str) -> Command:
    """To be typed on the control node: can Ansible reach the host?"""
    return {"where": "control", "host": host, "argv": ["ansible", "-m", "ping", host]}


def of_host(found: Problem, host: str) -> Problem:
    """The problem of this host: whoever found it there did not know its name."""
    commands: list[Command] = [
        {**each, "host": host} if each["where"] == "host" and not each["host"] else each for each in found["commands"]
    ]
    return {"cause": found["cause"], "remedy": found["remedy"], "commands": commands}


def place(command: Command) -> str:
    """Where a command is to be typed, in words."""
    if command["where"] == "host":
        return f"on {command['host'] or 'the host'}"
    return {"control": "on the control node", "server": "on a server"}[command["where"]]


def typed(command: Command) -> str:
    """A command as a shell takes it."""
    return shlex.join(command["argv"])


def in_words(remedy: str, commands: Iterable[Command]) -> str:
    """What to do and what to type, in one line."""
    groups = [f"{where}: {'; '.join(map(typed, some))}" for where, some in groupby(commands, place)]
    return "; ".join(filter(None, [remedy, *groups]))


def causes(problems: Iterable[Problem]) -> str:
    """What is wrong, in one line."""
    return "; ".join(each["cause"] for each in problems)


def remedies(problems: Iterable[Problem]) -> str:
    """What to do about all of it, in one line."""
    words = (in_words(each["remedy"], each["commands"]) for each in problems)
    return "; ".join(dict.fromkeys(filter(None, words)))


def told(problems: Iterable[Problem]) -> str:
    """Problems as one text for a person."""
    sentences = (f"{each['cause']}. {in_words(each['remedy'], each['commands'])}." for each in problems)
    return " ".join(sentences).replace("..", ".")
