"""Answers as no module gives them: one place of an answer is changed, by a seed that a failing test prints."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from typing import Any

DEEP: list = []
for _depth in range(200):
    DEEP = [DEEP]
ODD: list[Callable[[], Any]] = [
    lambda: None,
    lambda: True,
    lambda: 0,
    lambda: -1,
    lambda: 2**80,
    lambda: 1e308,
    lambda: float("nan"),
    lambda: "",
    lambda: "soon",
    lambda: "x" * 100_000,
    lambda: "\x1b[2J\u202e\x00\udc9b",
    lambda: "{{ lookup('pipe', 'id') }}",
    lambda: "../../etc/passwd",
    lambda: [],
    lambda: {},
    lambda: {"": None},
    lambda: [None] * 1000,
    lambda: DEEP,
]


def places(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """The path of each part of an answer, of the whole first."""
    yield path
    for key, part in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(part, (*path, key))


def mutated(answer: Any, seed: int) -> Any:
    """The answer with one part of it replaced, taken away or doubled."""
    chance = random.Random(seed)
    changed = copy.deepcopy(answer)
    path = chance.choice([*places(changed)][1:] or [()])
    if not path:
        return chance.choice(ODD)()
    holder = changed
    for key in path[:-1]:
        holder = holder[key]
    how = chance.randrange(4)
    if how == 0:
        del holder[path[-1]]
    elif how == 1 and isinstance(holder, list):
        holder.append(copy.deepcopy(holder[path[-1]]))
    else:
        holder[path[-1]] = chance.choice(ODD)()
    return changed
