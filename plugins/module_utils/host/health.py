# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host's health is made of: what listens, what is mounted, what runs in containers."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from . import system


def listeners(proc_net_tcp: str, ephemeral: tuple[int, int]) -> set[int]:
    """TCP ports that something listens on, outside the ephemeral range.

    :param proc_net_tcp: text of ``/proc/net/tcp`` or ``/proc/net/tcp6``.
    :param ephemeral: first and last port of ``ip_local_port_range``: listeners there come and go with what uses them.
    """
    ports = set()
    for line in proc_net_tcp.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 3 and fields[3] == "0A":  # TCP_LISTEN
            port = int(fields[1].rpartition(":")[2], 16)
            if not ephemeral[0] <= port <= ephemeral[1]:
                ports.add(port)
    return ports


def ephemeral_ports() -> tuple[int, int]:
    """First and last port of ``net.ipv4.ip_local_port_range``."""
    first, last = (system.read("/proc/sys/net/ipv4/ip_local_port_range") or "32768 60999").split()
    return int(first), int(last)


def listening() -> list:
    """The TCP ports of this host that something listens on, sorted; see `listeners`."""
    texts = [system.read("/proc/net/tcp"), system.read("/proc/net/tcp6")]
    return sorted(set().union(*(listeners(text, ephemeral_ports()) for text in texts)))


# Where programs mount and unmount as they like.
_PASSING = re.compile(
    r"^/(proc|sys|dev|run|tmp|snap|media|var/(tmp|snap|lib/(docker|containers|containerd|kubelet|rancher)))(/|$)"
)
_VIRTUAL = {"autofs", "tmpfs", "devtmpfs", "proc", "sysfs", "cgroup", "cgroup2", "squashfs", "overlay", "nsfs", "ramfs"}


def mounts() -> list:
    """Mount points of file systems that hold data and stay, sorted."""
    found = set()
    for line in system.read("/proc/self/mountinfo").splitlines():
        # 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue; blanks are \040.
        own, _separator, source = line.partition(" - ")
        point = own.split()[4].replace("\\040", " ")
        if source.split()[0] not in _VIRTUAL and not _PASSING.match(point):
            found.add(point)
    return sorted(found)


def containers() -> int:
    """How many containers Docker and Podman run for root."""
    count = 0
    # Docker's socket alone would start the daemon.
    for engine, sign in (("docker", "/run/docker.pid"), ("podman", "/var/lib/containers")):
        if shutil.which(engine) and Path(sign).exists():
            count += len(system.run([engine, "ps", "--quiet"], timeout=20).stdout.split())
    return count
