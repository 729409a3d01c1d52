# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The addresses behind names, asked for all of them at the same time."""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Iterable


def resolve(names: Iterable[str], deadline: float) -> dict[str, tuple[str, ...]]:
    """The addresses behind DNS names, sorted; empty where there is none, or no answer in time.

    :param deadline: for all of them together, s.
    """
    wanted = list(names)
    answers: queue.SimpleQueue[tuple[str, tuple[str, ...]]] = queue.SimpleQueue()
    todo: queue.SimpleQueue[str] = queue.SimpleQueue()
    for name in wanted:
        todo.put(name)

    def work() -> None:
        while True:
            try:
                name = todo.get_nowait()
            except queue.Empty:
                return
            try:
                found = {entry[4][0] for entry in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)}
            except (OSError, UnicodeError):
                found = set()
            answers.put((name, tuple(sorted(map(str, found)))))

    for _call in range(min(16, len(wanted))):
        threading.Thread(target=work, daemon=True).start()
    resolved: dict[str, tuple[str, ...]] = dict.fromkeys(wanted, ())
    end = time.monotonic() + deadline
    for _name in wanted:
        try:
            name, found = answers.get(timeout=max(0.0, end - time.monotonic()))
        except queue.Empty:
            break
        resolved[name] = found
    return resolved
