"""Callback: runs a command at a named moment of a playbook, while Ansible waits for it.

MOMENTS holds a JSON list of {"host": ..., "task": ..., "run": [...]}: before the task (its name's end) starts on the
host the command is run, once; with "past": 1 not before its first start, but before its second. What it prints goes to
the run's output; a command that fails ends the run.
"""

from __future__ import annotations

import json
import os
import subprocess

from ansible.errors import AnsibleError
from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):
    """Breaks things for tests."""

    CALLBACK_VERSION = 2.0
    CALLBACK_NAME = "moment"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.moments = json.loads(os.environ.get("MOMENTS", "[]"))

    def v2_runner_on_start(self, host, task):
        """Ansible is about to hand the task to a worker."""
        for moment in list(self.moments):
            if moment["host"] == host.get_name() and task.get_name().endswith(moment["task"]):
                if moment.get("past"):
                    moment["past"] -= 1
                    continue
                self.moments.remove(moment)
                done = subprocess.run(moment["run"], capture_output=True, text=True, check=False)
                self._display.display(f"MOMENT {moment} -> {done.returncode} {done.stdout}{done.stderr}")
                if done.returncode != 0:
                    raise AnsibleError(f"the moment {moment} failed: {done.stderr}")

    def v2_playbook_on_stats(self, stats):
        """A moment that never came is a test that proves nothing."""
        if self.moments:
            self._display.display(f"MOMENTS NEVER CAME: {self.moments}")
