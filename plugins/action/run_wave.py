# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action run_wave: close a wave of a run, and say whether the next one may open. Runs on the control node."""

from __future__ import annotations

import time

from ansible.plugins.action import ActionBase

from ..module_utils.run.waves import next_go
from ..plugin_utils.hostvars import collect


class ActionModule(ActionBase):
    """Looks at the record of every host of the plan, also of those that are lost; no host is asked."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _VALID_ARGS = frozenset(("plan", "wave"))

    def run(self, tmp: str | None = None, task_vars: dict | None = None) -> dict:
        """Which wave may open next, and if none may, why."""
        super().run(tmp, task_vars)
        _validation, args = self.validate_argument_spec(
            {"plan": {"type": "dict", "required": True}, "wave": {"type": "int", "required": True}}
        )
        records = collect(task_vars or {}, args["plan"]["hosts"], "patch_host_result")
        return {**next_go(args["plan"], args["wave"], records, time.time()), "changed": False}
