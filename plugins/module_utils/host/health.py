# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is a host as healthy as before? Health is the difference from a baseline. Pure."""

from __future__ import annotations


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


def regressions(before: dict, after: dict) -> list:
    """What was well in the baseline and is not any more, one sentence each; empty when all is as before.

    :param before: baseline: ``failed_units`` (names), ``listeners`` (ports), ``mounts`` (paths) and ``containers`` (how
        many run); an older one has not all of them.
    :param after: the same, now. A unit that was failed before is nobody's business; one that failed since is.
    """
    problems = [
        f"{unit} has failed since the baseline"
        for unit in sorted(set(after["failed_units"]).difference(before["failed_units"]))
    ]
    problems += [
        f"nothing listens on TCP port {port} any more"
        for port in sorted(set(before["listeners"]) - set(after["listeners"]))
    ]
    problems += [
        f"nothing is mounted on {path} any more"
        for path in sorted(set(before.get("mounts", [])).difference(after.get("mounts", [])))
    ]
    if after.get("containers", 0) < before.get("containers", 0):
        problems.append(f"{after.get('containers', 0)} containers run, before it were {before['containers']}")
    return problems
