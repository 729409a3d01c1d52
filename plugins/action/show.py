# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action show: print lines, whatever callback is in use; control characters in them are spelled out."""

from __future__ import annotations

from ansible.plugins.action import ActionBase

from ..plugin_utils.terminal import show


class ActionModule(ActionBase):
    """Prints its lines on the control node; the host is not asked."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _VALID_ARGS = frozenset(("lines",))

    def run(self, tmp: str | None = None, task_vars: dict | None = None) -> dict:
        """Print and return."""
        super().run(tmp, task_vars)
        _validation, args = self.validate_argument_spec(
            {"lines": {"type": "list", "elements": "str", "required": True}}
        )
        show(args["lines"])
        return {"changed": False}
