# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action keep_report: write the report of a run into a folder of the control node, in one step."""

from __future__ import annotations

import json
import os
from pathlib import Path

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ..module_utils import _exposure


class ActionModule(ActionBase):
    """Writes a file on the control node; the host is not asked."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _VALID_ARGS = frozenset(("report", "folder"))

    def run(self, tmp: str | None = None, task_vars: dict | None = None) -> dict:
        """Write beside the place, then rename: nobody reads half a report."""
        super().run(tmp, task_vars)
        _validation, args = self.validate_argument_spec(
            {"report": {"type": "dict", "required": True}, "folder": {"type": "path", "required": True}}
        )
        path = Path(args["folder"]) / f"{args['report']['run']}.json"
        # A report is the record of a run, not a change to what the run is about.
        result = {"changed": False, "path": str(path)}
        if self._task.check_mode:
            return result
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            beside = path.with_suffix(".new")
            beside.write_text(json.dumps(args["report"], indent=2, sort_keys=True) + "\n", encoding="utf-8")
            os.replace(beside, path)
            with (path.parent / _exposure.HISTORY).open("a", encoding="utf-8") as history:
                history.write(_exposure.line(args["report"]) + "\n")
        except OSError as exc:
            raise AnsibleActionFail(
                f"The report cannot be kept: {exc}. Name another folder: -e patching_report_dir=..."
            ) from exc
        return result
