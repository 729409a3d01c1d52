# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What went wrong, and what to do about it: raised, or as data in a verdict. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypedDict


class Problem(TypedDict):
    """As data."""

    message: str
    remedy: str


class PatchingError(Exception):
    """The one exception of this collection: a failure that is told to a person.

    :param message: what went wrong and where, one sentence.
    :param remedy: what to type or to change; empty where nothing can be said.
    """

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".strip()


def problem(message: str, remedy: str) -> Problem:
    """A problem, as every verdict here lists them."""
    return {"message": message, "remedy": remedy}


def told(problems: Iterable[Problem]) -> str:
    """Problems as one text for a person."""
    return " ".join(f"{each['message']}. {each['remedy']}.".replace("..", ".") for each in problems)
