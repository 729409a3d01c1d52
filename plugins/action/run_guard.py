# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action run_guard: refuse a run that must not begin. Runs on the control node."""

from __future__ import annotations

from ansible.errors import AnsibleActionFail
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.action import ActionBase
from ansible.utils.vars import load_extra_vars

from ..module_utils.run.guard import refusal


class ActionModule(ActionBase):
    """Looks at the command line and at the names of the hosts' variables; no host is asked."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _VALID_ARGS = frozenset(("hosts",))

    def run(self, tmp: str | None = None, task_vars: dict | None = None) -> dict:
        """Fail, or let the run pass."""
        super().run(tmp, task_vars)
        _validation, args = self.validate_argument_spec(
            {"hosts": {"type": "list", "elements": "str", "required": True}}
        )
        known = task_vars or {}
        hostvars = known["hostvars"]
        refused = refusal(
            known.get("ansible_limit") or "",
            known["ansible_run_tags"],
            known["ansible_skip_tags"],
            known.get("__patching_inventory_error") or "",
            {host: list(hostvars.raw_get(host)) for host in args["hosts"]},
            load_extra_vars(DataLoader()),
            # What playbook roll.yml leaves on its way, and at its end.
            "__patching_planned" in known["groups"] or "patch_report_result" in hostvars.raw_get("localhost"),
        )
        if refused:
            raise AnsibleActionFail(refused)
        return {"changed": False}
