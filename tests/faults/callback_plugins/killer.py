"""Callback: writes down every task that starts, and ends ansible-playbook with SIGKILL before a chosen one.

KILLER_LOG is a file that gets one JSON line for each start of a task on a host, and one for each task that changed
something. KILLER_AT is the number of the start, counted from 0, that is not reached any more; KILLER_AFTER the end of
the name of a task, and what is not reached is the first start after it has changed something.
"""

from __future__ import annotations

import json
import os
import signal

from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):
    """Kills its own playbook."""

    CALLBACK_VERSION = 2.0
    CALLBACK_NAME = "killer"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.starts = 0
        self.at = int(os.environ.get("KILLER_AT", "-1"))
        self.after = os.environ.get("KILLER_AFTER", "")
        self.task = ""

    def _log(self, **line):
        with open(os.environ["KILLER_LOG"], "a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")

    def v2_runner_on_start(self, host, task):
        """Ansible is about to hand the task to a worker; nothing else is at work for a roll over one host."""
        if self.starts == self.at:
            os.kill(os.getpid(), signal.SIGKILL)
        self._log(start=self.starts, host=host.get_name(), task=task.get_name())
        self.starts += 1
        self.task = task.get_name()

    def v2_runner_on_ok(self, result):
        """The task has ended."""
        if result.is_changed():
            self._log(changed=self.starts - 1)
            if self.after and self.task.endswith(self.after):
                self.at = self.starts
