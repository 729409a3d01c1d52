# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action k3s_gone: make sure that nodes are gone, and say who forgets them under which claim. On the control node."""

from __future__ import annotations

from ansible.plugins.action import ActionBase

from ..module_utils.core import problem
from ..module_utils.k3s.recovery import Answer, forgettable
from ..module_utils.run import identity
from ..plugin_utils.hostvars import listed


class ActionModule(ActionBase):
    """Judges what hosts have answered already; the hosts themselves are not asked."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _VALID_ARGS = frozenset(("nodes", "hosts", "clusters"))

    def run(self, tmp: str | None = None, task_vars: dict | None = None) -> dict:
        """The servers, and a claim on them that is this process's."""
        super().run(tmp, task_vars)
        _validation, args = self.validate_argument_spec(
            {
                "nodes": {"type": "raw", "required": True},
                "hosts": {"type": "dict", "required": True},
                "clusters": {"type": "dict", "required": True},
            }
        )
        facts = {host: (answer or {}).get("host") or {} for host, answer in args["hosts"].items()}
        clusters = {host: (answer or {}).get("cluster") for host, answer in args["clusters"].items()}
        answers: dict[str, Answer] = {
            host: {"k3s": facts[host].get("k3s"), "cluster": clusters.get(host)} for host in facts
        }
        judgement = forgettable(listed(args["nodes"]), answers)
        if judgement["problems"]:
            return {"failed": True, "msg": problem.told(judgement["problems"])}
        servers = judgement["servers"]
        return {
            "changed": False,
            "servers": servers,
            "run": identity.new_id(),
            "owner": identity.identity(),
            "dead": sorted(identity.dead_runs(fact.get("claim") for fact in facts.values())),
        }
