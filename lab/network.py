# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's bridge, and each host's cable to it."""

from __future__ import annotations

import time
from pathlib import Path

from lab.config import BRIDGE, GATEWAY, MACHINE_PREFIX, NETWORK
from lab.system import attempt, run


def bridge_up() -> None:
    """Make the bridge, if it is not there."""
    if not Path("/sys/class/net", BRIDGE).exists():
        # Without spanning tree and its delay: a cable is usable at once.
        run("ip", "link", "add", BRIDGE, "type", "bridge", "forward_delay", "0", "stp_state", "0")
        # Its own address stays when the first cable with a lower one is plugged in.
        run("ip", "link", "set", BRIDGE, "address", "02:00:c6:12:00:01")
    attempt("ip", "address", "add", f"{GATEWAY}/{NETWORK.partition('/')[2]}", "brd", "+", "dev", BRIDGE)
    run("ip", "link", "set", BRIDGE, "up")


def bridge_down() -> None:
    """Remove the bridge."""
    if Path("/sys/class/net", BRIDGE).exists():
        run("ip", "link", "delete", BRIDGE)


def cable(host: str) -> str:
    """This machine's end of a host's cable, as nspawn calls it."""
    return f"vb-{MACHINE_PREFIX}{host}"


def plugged(host: str) -> bool:
    """Does the cable exist (that is, nspawn made it)?"""
    return Path("/sys/class/net", cable(host)).exists()


def set_cable(host: str, up: bool) -> bool:
    """Plug the cable in, or unplug it; False when there is none."""
    return attempt("ip", "link", "set", cable(host), "up" if up else "down")


def forget_cable(host: str) -> None:
    """The kernel removes a dead host's cable in its own time; nspawn cannot make a new one before."""
    deadline = time.monotonic() + 1
    while plugged(host) and time.monotonic() < deadline:
        time.sleep(0.02)
    if plugged(host):
        attempt("ip", "link", "delete", cable(host))
