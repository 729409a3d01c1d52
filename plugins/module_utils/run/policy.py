# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The `patching_*` policy of the hosts of a run: is it usable? Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from difflib import get_close_matches
from typing import TypeVar

from ..core.problem import PatchingError
from .shapes import Policy, RunPolicy

T = TypeVar("T")
# Every variable that a user may set. What else begins with patching_ is a mistake.
NAMES = frozenset(
    f"patching_{name}"
    for name in (
        *("hosts", "control_host", "upgrade", "reboot", "ring", "apart", "exclude_packages", "before", "after"),
        *("wave_size", "max_failures", "per_node", "until", "report_dir", "takeover", "accept", "forget"),
        *("claim_seconds", "download_timeout", "upgrade_timeout", "reboot_timeout", "lock_timeout", "health_timeout"),
        *("reconnect_timeout", "image_catalogue", "rebuild_image_days", "rebuild_support_days"),
        *("k3s_on_blocked", "k3s_kured", "k3s_api_outage", "k3s_foreign_nodes"),
        *("k3s_drain_timeout", "k3s_node_timeout", "k3s_settle_timeout", "k3s_longhorn_timeout"),
    )
)

_LISTS = {"apart": "a list of labels, such as [dns]", "exclude_packages": "a list of packages, such as [docker-ce]"}
_CHOICES = {
    "upgrade": ("full", "security", "none"),
    "reboot": ("if_required", "never", "always"),
    "k3s_kured": ("refuse", "ignore"),
    "k3s_api_outage": ("announce", "refuse"),
    "k3s_foreign_nodes": ("refuse", "announce"),
}


def _number(name: str, value: object, smallest: int, host: str) -> int:
    if isinstance(value, bool) or not str(value).isdigit() or int(str(value)) < smallest:
        raise PatchingError(f"patching_{name} is {value!r} on {host}.", f"Use a whole number of at least {smallest}.")
    return int(str(value))


def check_names(host: str, names: Iterable[str], known: Iterable[str] = NAMES) -> None:
    """Refuse a variable of ours that nothing reads.

    :param names: the names of all variables of the host.
    :raises PatchingError: says which, on which host, and which was probably meant.
    """
    for name in sorted(names):
        if name.startswith("patching_") and name not in known:
            # Without the prefix that they all share, everything would be near.
            own = {other.removeprefix("patching_"): other for other in sorted(known)}
            near = get_close_matches(name.removeprefix("patching_"), own, n=1)
            remedy = f"Did you mean {own[near[0]]}?" if near else f"There are: {', '.join(sorted(known))}."
            raise PatchingError(f"{name} is set on {host}, and nothing reads it.", remedy)


def deadline(until: str | None, now: datetime) -> float | None:
    """The moment after which no wave opens, in seconds since the epoch.

    :param until: a time of day such as ``04:30``, the one nearest to `now`: at 05:00 that is half an hour ago, at
        23:00 it is tomorrow. None for no limit.
    :param now: with a time zone; the time of day is meant in it.
    :raises PatchingError: not a time of day.
    """
    if not until:
        return None
    match = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)", str(until))
    if not match:
        raise PatchingError(f"patching_until is {until!r}.", 'Use a time of day in quotes, such as "04:30".')
    today = now.replace(hour=int(match[1]), minute=int(match[2]), second=0, microsecond=0)
    nearest = min((today + timedelta(days=days) for days in (-1, 0, 1)), key=lambda moment: abs(moment - now))
    return nearest.timestamp()


def check(host: str, policy: Mapping[str, object]) -> None:
    """Refuse a host's policy where a value is wrong.

    :raises PatchingError: says which variable, on which host, and what to use.
    """
    for name, choices in _CHOICES.items():
        if policy[name] not in choices:
            raise PatchingError(f"patching_{name} is {policy[name]!r} on {host}.", f"Use one of: {', '.join(choices)}.")
    for name in ("ring", "rebuild_image_days", "rebuild_support_days"):
        _number(name, policy[name], 0, host)
    for name, wanted in _LISTS.items():
        value = policy[name]
        items = value if isinstance(value, Sequence) and not isinstance(value, str) else [None]
        if not all(isinstance(item, str) for item in items):
            raise PatchingError(f"patching_{name} is {value!r} on {host}.", f"Use {wanted}.")


def per_run(policies: Mapping[str, Policy]) -> RunPolicy:
    """The policy that holds for the whole run.

    :param policies: host -> its policy.
    :raises PatchingError: a value is wrong, or two hosts have different ones.
    """
    own = sorted(policies.items())
    return {
        "wave_size": _same_number("wave_size", {host: policy["wave_size"] for host, policy in own}, 1, 1),
        "max_failures": _same_number("max_failures", {host: policy["max_failures"] for host, policy in own}, 0, 0),
        "per_node": _same_number("per_node", {host: policy["per_node"] for host, policy in own}, 0, 0),
        "until": _same("until", {host: policy["until"] for host, policy in own}, None),
    }


def _same_number(name: str, values: Mapping[str, object], default: int, smallest: int) -> int:
    return _same(name, {host: _number(name, value, smallest, host) for host, value in values.items()}, default)


def _same(name: str, values: Mapping[str, T], default: T) -> T:
    """The one value that all hosts have; the default where there is no host."""
    hosts = {value: host for host, value in values.items()}
    if len(hosts) > 1:
        told = ", ".join(f"{'none' if value in (None, '') else value} on {host}" for value, host in hosts.items())
        raise PatchingError(f"patching_{name} has two values in one run: {told}.", "Set it once, in group_vars/all.")
    return next(iter(hosts), default)
