# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action run_step: the record of a host when its wave comes to a step, with the time of the control node."""

from __future__ import annotations

import time
from typing import cast

from ansible.plugins.action import ActionBase

from ..module_utils.run import transaction
from ..module_utils.run.shapes import Record
from ..plugin_utils.hostvars import unregistered


class ActionModule(ActionBase):
    """Decides on the control node; the host is not asked."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _VALID_ARGS = frozenset(("step", "entry", "record", "answers", "failure"))

    def run(self, tmp: str | None = None, task_vars: dict | None = None) -> dict:
        """The record, for `register`."""
        super().run(tmp, task_vars)
        _validation, args = self.validate_argument_spec(
            {
                "step": {"type": "str", "default": ""},
                "entry": {"type": "dict", "required": True},
                "record": {"type": "dict", "required": True},
                "answers": {"type": "dict", "required": True},
                "failure": {"type": "dict"},
            }
        )
        record = cast(Record, unregistered(args["record"]))
        if args["failure"]:
            return dict(transaction.fail(record, args["answers"], args["failure"], time.time()))
        return dict(transaction.advance(args["step"], args["entry"], record, args["answers"], time.time()))
