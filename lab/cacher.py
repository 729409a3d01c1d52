# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""apt-cacher-ng on the lab's bridge: hosts and root builds share it, and a second run downloads nothing."""

from __future__ import annotations

import socket
import time
from pathlib import Path

from lab import archive
from lab.config import CACHE, CACHER_CONFIG, CACHER_PORT, GATEWAY, NUMBER, STATE, LabError

PROXY = f"http://{GATEWAY}:{CACHER_PORT}"
LOG = STATE / "apt-cacher-ng.log"


def settings(cache: Path, log: Path, proxy: str | None) -> str:
    """The text of acng.conf. No Remap- line: the packaged ones send Debian to lists of mirrors that may be empty."""
    lines = {
        "CacheDir": cache,
        "LogDir": log,
        "BindAddress": GATEWAY,
        "Port": CACHER_PORT,
        "ForeGround": 1,
        "SocketPath": CACHER_CONFIG / "socket",
        "PassThroughPattern": ".*",
        "ExThreshold": 30,
        # A mirror may have a port of its own.
        "AllowUserPorts": 0,
        # Its web page is of no use here.
        "ReportPage": "",
    }
    if proxy:
        lines["Proxy"] = proxy
    return "".join(f"{key}: {value}\n" for key, value in lines.items() if value != "")


def command() -> list[str]:
    """Write the configuration; the command line that serves it."""
    # A folder for each lab: apt-cacher-ng shares its own with nobody.
    cache, log = CACHE / "debs" / str(NUMBER), STATE / "apt-cacher-ng-log"
    for folder in (cache, log, CACHER_CONFIG):
        folder.mkdir(parents=True, exist_ok=True)
    (CACHER_CONFIG / "acng.conf").write_text(settings(cache, log, archive.box_proxy()))
    return ["apt-cacher-ng", "-c", str(CACHER_CONFIG)]


def wait() -> None:
    """Until it accepts connections."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            socket.create_connection((GATEWAY, CACHER_PORT), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise LabError(f"apt-cacher-ng does not answer on {GATEWAY}:{CACHER_PORT} after 10 s; see {LOG}")
