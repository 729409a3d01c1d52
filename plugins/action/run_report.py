# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action run_report: what a run came to, from its plan and from what it left on its hosts. Runs on the control node."""

from __future__ import annotations

import time
from pathlib import Path

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ..module_utils.report import exposure
from ..module_utils.report.summary import summarize
from ..module_utils.report.text import report_lines
from ..plugin_utils.hostvars import collect, plain
from ..plugin_utils.terminal import show


class ActionModule(ActionBase):
    """Reads the records of the hosts, and what earlier runs saw; the hosts are not asked."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _VALID_ARGS = frozenset(("plan", "stopped", "folder"))

    def run(self, tmp: str | None = None, task_vars: dict | None = None) -> dict:
        """Add everything up and show it."""
        super().run(tmp, task_vars)
        _validation, args = self.validate_argument_spec(
            {
                "plan": {"type": "dict", "required": True},
                "stopped": {"type": "str", "default": ""},
                "folder": {"type": "path", "required": True},
            }
        )
        if not args["plan"]:
            raise AnsibleActionFail("The run made no plan, so nothing was patched. Run it from its beginning.")
        told = {
            name: collect(task_vars or {}, args["plan"]["hosts"], f"patch_host_{name}")
            for name in ("result", "unreleased", "downloaded")
        }
        end = summarize(
            args["plan"],
            told["result"],
            args["stopped"],
            told["unreleased"],
            ended=time.time(),
            fixes={host: (downloaded or {}).get("fixes") for host, downloaded in told["downloaded"].items()},
            seen=exposure.sightings(_history(Path(args["folder"]) / exposure.HISTORY)),
        )
        lines = report_lines(end)
        show(lines)
        return plain({**end, "lines": lines, "changed": False})


def _history(path: Path) -> list:
    """The lines that earlier runs left; none where they cannot be read, which is no reason not to report."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    except OSError as exc:
        Display().warning(f"What earlier runs saw cannot be read: {exc}")
        return []
