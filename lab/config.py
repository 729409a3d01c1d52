# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the lab lies on this machine, what it is called there, and its one exception."""

from __future__ import annotations

import os
from pathlib import Path

# One lab per machine, so all of this is fixed; only the cache may be moved.
NAME = "homelab-patching-lab"
CHECKOUT = Path(__file__).resolve().parent.parent
STATE = Path("/var/lib") / NAME
LOCK = Path("/run") / f"{NAME}.lock"
CACHE = Path(os.environ.get("LAB_CACHE") or Path("/var/cache") / NAME)

# 198.18.0.0/15 is set aside for tests (RFC 2544): nobody's real network is shadowed.
BRIDGE = "hplab0"
NETWORK = "198.18.0.0/24"
GATEWAY = "198.18.0.1"
CACHER_PORT = 3142
REPO_PORT = 3143
PVE_PORT = 8006

USER = "ops"
RUNTIME = os.environ.get("LAB_RUNTIME", "")  # containerd: the hosts run containers
MACHINE_PREFIX = "lab-"  # of the machine names that nspawn is given

INFO = STATE / "lab.json"
SOCKET = STATE / "socket"
SUPERVISOR_LOG = STATE / "supervisor.log"
HOSTS = STATE / "hosts"
REPO = STATE / "repo"
KEYS = STATE / "keys"
CACHER_CONFIG = STATE / "apt-cacher-ng"
CLIENT = CHECKOUT / ".build" / "lab"  # what a controller needs: key, known_hosts, certificate, env

PVE_USER = "ansible@pve"
PVE_TOKEN = "lab"


class LabError(Exception):
    """A failure that is told to a person, in one line that also says what to type."""
