# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab: test machines that boot, are patched and reboot, behind a Proxmox VE API. See README.md."""

from lab.api import (
    cut,
    down,
    env,
    guest,
    heal,
    hosts,
    node,
    publish,
    remove,
    requests,
    reset,
    reset_guests,
    reset_repo,
    restart,
    run,
    shell,
    start,
    status,
    stop,
    suite,
    unpublish,
    up,
)  # fmt: skip
from lab.config import LabError

__all__ = [
    "LabError", "cut", "down", "env", "guest", "heal", "hosts", "node", "publish", "remove", "requests", "reset",
    "reset_guests", "reset_repo", "restart", "run", "shell", "start", "status", "stop", "suite", "unpublish", "up",
]  # fmt: skip
