"""Callback: adds up what each task of a playbook took, and writes it to SECONDS_FILE: task -> seconds."""

from __future__ import annotations

import json
import os
import resource
import time
from pathlib import Path

from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):
    """Measures tasks from the start of each to the start of the next."""

    CALLBACK_VERSION = 2.0
    CALLBACK_NAME = "seconds"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._seconds: dict[str, float] = {}
        self._current, self._since = "", time.monotonic()

    def _begin(self, name: str) -> None:
        now = time.monotonic()
        self._seconds[self._current] = self._seconds.get(self._current, 0.0) + now - self._since
        self._current, self._since = name, now

    def v2_playbook_on_task_start(self, task, is_conditional):
        """A task begins."""
        self._begin(task.get_name().rpartition(" : ")[2])

    def v2_playbook_on_stats(self, stats):
        """All is done."""
        self._begin("")
        told = {"seconds": self._seconds, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}
        Path(os.environ["SECONDS_FILE"]).write_text(json.dumps(told))
