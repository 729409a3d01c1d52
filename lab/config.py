# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a lab lies on this machine, what it is called there, and its one exception."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def _number() -> int:
    """Which of the machine's labs this process means."""
    given = os.environ.get("LAB_NUMBER") or "0"
    if given not in map(str, NUMBERS):
        sys.exit(f"lab: LAB_NUMBER={given}: a number from 0 to {NUMBERS[-1]} is wanted")
    return int(given)


# A machine has room for ten labs, each with a network, folder, cgroup, hypervisor and repository of its own: number 0
# is the one that people use, the tests take others. They share the cache and nothing else.
NUMBERS = range(10)
NUMBER = _number()
BASE = "homelab-patching-lab"
NAME = f"{BASE}-{NUMBER}" if NUMBER else BASE
CHECKOUT = Path(__file__).resolve().parent.parent
STATE = Path("/var/lib") / NAME
LOCK = Path("/run") / f"{NAME}.lock"
CACHE = Path(os.environ.get("LAB_CACHE") or Path("/var/cache") / BASE)
CACHE_LOCK = Path("/run") / f"{BASE}.cache.lock"  # of what all labs share
OWNER = os.environ.get("LAB_OWNER", "")  # a pid; the lab goes when that process does

# 198.18.0.0/15 is set aside for tests (RFC 2544): nobody's real network is shadowed.
BRIDGE = f"hplab{NUMBER}"
NETWORK = f"198.18.{NUMBER}.0/24"
GATEWAY = f"198.18.{NUMBER}.1"
CACHER_PORT = 3142
REPO_PORT = 3143
PVE_PORT = 8006

USER = "ops"
RUNTIME = os.environ.get("LAB_RUNTIME", "")  # containerd: the hosts run containers
PENDING = os.environ.get("LAB_PENDING", "")  # what the archives have for the hosts; empty: what the real ones have
MACHINE_PREFIX = f"lab{NUMBER}-"  # of the machine names that nspawn is given

INFO = STATE / "lab.json"
SOCKET = STATE / "socket"
SUPERVISOR_LOG = STATE / "supervisor.log"
HOSTS = STATE / "hosts"
REPO = STATE / "repo"
KEYS = STATE / "keys"
CACHER_CONFIG = STATE / "apt-cacher-ng"
CLIENT = CHECKOUT / ".build" / NAME.replace(BASE, "lab")  # what a controller needs: key, known_hosts, certificate, env

PVE_USER = "ansible@pve"
PVE_TOKEN = "lab"


class LabError(Exception):
    """A failure that is told to a person, in one line that also says what to type."""
