# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action guest_state: ask Proxmox VE, and no cache, how guests are at this moment. Runs on the control node."""

from __future__ import annotations

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible.plugins.loader import inventory_loader

from ..module_utils.core.problem import PatchingError
from ..module_utils.pve.guests import state

PLUGIN = "homelab.patching.proxmox"


class ActionModule(ActionBase):
    """Asks the API of the inventory files that the hosts come from; the hosts themselves are not asked."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _VALID_ARGS = frozenset(("hosts",))

    def run(self, tmp: str | None = None, task_vars: dict | None = None) -> dict:
        """One call for each inventory file, however many hosts come from it."""
        super().run(tmp, task_vars)
        _validation, args = self.validate_argument_spec(
            {"hosts": {"type": "list", "elements": "str", "required": True}}
        )
        hostvars = (task_vars or {})["hostvars"]
        sources = {host: hostvars[host].get("__patching_source") for host in args["hosts"]}
        listings = {path: self._listing(path) for path in {source["path"] for source in sources.values() if source}}
        guests = {host: state(listings[source["path"]], source["vmid"]) for host, source in sources.items() if source}
        return {"changed": False, "guests": guests}

    def _listing(self, path: str) -> list | str:
        """The rows that the API lists, or why it does not."""
        try:
            return inventory_loader.get(PLUGIN).listing(self._loader, path)
        except (AnsibleError, PatchingError) as exc:
            return f"{path}: {exc}"
