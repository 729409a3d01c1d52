# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known about one host, from what was asked of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping


def assessment(
    policy: Mapping, proxmox: Mapping, lists: Mapping, info: Mapping, cluster: Mapping | None = None
) -> dict:
    """What is known about one host, from what was asked of it.

    :param policy: its ``patching_*`` values by their names without the prefix.
    :param proxmox: what Proxmox VE says now, else what the inventory knows: ``status``, ``lock``, ``address_reason``,
        ``node``, ``image``, ``image_date`` and ``smbios_uuid``; None where it knows nothing. ``error`` says why Proxmox
        VE could not be asked.
    :param lists: the registered result of refreshing the package lists; empty where that was not tried.
    :param info: the registered result of ``host_info``.
    :param cluster: the registered result of ``k3s_info`` on a K3s server.
    :returns: ``state`` (``ok``, ``off`` or ``refused``), ``reason`` and ``remedy`` of a refusal, ``policy``, ``host``,
        ``node`` (of Proxmox VE), ``image`` (``name`` and ``date``), ``cluster`` (of K3s, None where no API answered on
        it).
    """
    known: dict = {"policy": dict(policy), "host": dict(info.get("host") or {}), "reason": "", "remedy": ""}
    known |= {"node": proxmox.get("node"), "cluster": (cluster or {}).get("cluster")}
    known["image"] = {"name": proxmox.get("image") or "", "date": proxmox.get("image_date") or ""}
    if proxmox.get("error"):
        return _refused(
            known,
            f"it is not known whether it is off or locked: {proxmox['error']}",
            "mend that, or read the inventory anew with --flush-cache; then run again",
        )
    if proxmox.get("status") not in (None, "running", "unknown"):
        return {**known, "state": "off", "reason": f"Proxmox VE says {proxmox['status']}"}
    if proxmox.get("lock"):
        return _refused(
            known, f"locked by Proxmox VE ({proxmox['lock']})", "wait until the task has ended, then run again"
        )
    if proxmox.get("address_reason"):
        return _refused(known, f"no address: {proxmox['address_reason']}", "give it one, or compose ansible_host")
    if lists.get("unreachable") or info.get("unreachable"):
        message = str((lists if lists.get("unreachable") else info).get("msg", "")).strip()
        return _refused(known, f"unreachable: {message}", "check that ansible -m ping reaches it, then run again")
    if info.get("failed") or not known["host"]:
        return _refused(known, str(info.get("msg") or "it was not assessed"), "")
    given, found = proxmox.get("smbios_uuid"), known["host"].get("system_uuid")
    if given and found and not _same_uuid(given, found):
        return _refused(
            known,
            f"another machine answers at its address: it has the UUID {found}, and Proxmox VE gave this guest {given}",
            "see which guest has the address; an inventory out of a cache: --flush-cache; then run again",
        )
    # What a run has left in the middle it may also mend: that is the step `recover`.
    unfit = [item for item in known["host"]["unfit"] if not (item.get("mendable") and known["host"]["claim"])]
    if unfit:
        return _refused(
            known, "; ".join(item["message"] for item in unfit), "; ".join(item["remedy"] for item in unfit)
        )
    return {**known, "state": "ok"}


def _same_uuid(one: str, other: str) -> bool:
    """Are two UUIDs the same? Some firmware writes the first three fields in the other byte order."""
    first, second = (str(text).lower().replace("-", "") for text in (one, other))
    octets = [first[at : at + 2] for at in range(0, len(first), 2)]
    swapped = [*octets[3::-1], *octets[5:3:-1], *octets[7:5:-1], *octets[8:]]
    return second in (first, "".join(swapped))


def _refused(known: dict, reason: str, remedy: str) -> dict:
    return {**known, "state": "refused", "reason": " ".join(reason.split()), "remedy": remedy}
