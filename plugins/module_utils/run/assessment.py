# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known about one host, from what was asked of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core.problem import Problem, causes, problem
from ..core.shapes import Host
from .shapes import Assessment, Policy


def assessment(
    policy: Policy,
    proxmox: Mapping[str, Any],
    lists: Mapping[str, Any],
    info: Mapping[str, Any],
    cluster: Mapping[str, Any] | None = None,
) -> Assessment:
    """What is known about one host, from what was asked of it.

    :param policy: its ``patching_*`` values by their names without the prefix.
    :param proxmox: what Proxmox VE says now, else what the inventory knows: ``status``, ``lock``, ``address_reason``,
        ``node``, ``image``, ``image_date`` and ``smbios_uuid``; None where it knows nothing. ``error`` says why Proxmox
        VE could not be asked.
    :param lists: the registered result of refreshing the package lists; empty where that was not tried.
    :param info: the registered result of ``host_info``.
    :param cluster: the registered result of ``k3s_info`` on a K3s server.
    """
    host: Host = info.get("host") or Host()
    known: Assessment = {
        "state": "ok",
        "reason": "",
        "problems": [],
        "policy": policy,
        "host": host,
        "node": proxmox.get("node"),
        "image": {"name": proxmox.get("image") or "", "date": proxmox.get("image_date") or ""},
        "cluster": (cluster or {}).get("cluster"),
    }
    if proxmox.get("error"):
        why = f"it is not known whether it is off or locked: {proxmox['error']}"
        return refused(known, problem(why, "mend that, or read the inventory anew with --flush-cache; then run again"))
    if proxmox.get("status") not in (None, "running", "unknown"):
        return {**known, "state": "off", "reason": f"Proxmox VE says {proxmox['status']}"}
    if proxmox.get("lock"):
        why = f"locked by Proxmox VE ({proxmox['lock']})"
        return refused(known, problem(why, "wait until the task has ended, then run again"))
    if proxmox.get("address_reason"):
        why = f"no address: {proxmox['address_reason']}"
        return refused(known, problem(why, "give it one, or compose ansible_host"))
    if lists.get("unreachable") or info.get("unreachable"):
        message = str((lists if lists.get("unreachable") else info).get("msg", "")).strip()
        return refused(
            known, problem(f"unreachable: {message}", "check that ansible -m ping reaches it, then run again")
        )
    if info.get("failed") or not host:
        return refused(known, problem(str(info.get("msg") or "it was not assessed")))
    given, found = proxmox.get("smbios_uuid"), host.get("system_uuid")
    if given and found and not _same_uuid(given, found):
        why = f"another machine answers at its address: it has the UUID {found}, and Proxmox VE gave this guest {given}"
        look = "see which guest has the address; an inventory out of a cache: --flush-cache; then run again"
        return refused(known, problem(why, look))
    # What a run has left in the middle it may also mend: that is the step `recover`.
    unfit = [item for item in host["unfit"] if not (item.get("mendable") and host["claim"])]
    if unfit:
        return refused(known, *unfit)
    return known


def refused(known: Assessment, *problems: Problem) -> Assessment:
    """The assessment of a host that must not be patched."""
    told = [problem(" ".join(each["cause"].split()), each["remedy"], *each["commands"]) for each in problems]
    return {**known, "state": "refused", "reason": causes(told), "problems": told}


def _same_uuid(one: str, other: str) -> bool:
    """Are two UUIDs the same? Some firmware writes the first three fields in the other byte order."""
    first, second = (str(text).lower().replace("-", "") for text in (one, other))
    octets = [first[at : at + 2] for at in range(0, len(first), 2)]
    swapped = [*octets[3::-1], *octets[5:3:-1], *octets[7:5:-1], *octets[8:]]
    return second in (first, "".join(swapped))
