# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The `patching_*` policy of the hosts of a run: is it usable? Pure.

This module util is PRIVATE to the collection.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ._errors import PatchingError

# One value for the whole run: the policy's name, its default and the smallest number that makes sense.
_PER_RUN = {"wave_size": (1, 1), "max_failures": (0, 0)}
_CHOICES = {"upgrade": ("full", "security", "none"), "reboot": ("if_required", "never", "always")}


def _number(name: str, value: object, smallest: int, host: str) -> int:
    if isinstance(value, bool) or not str(value).isdigit() or int(str(value)) < smallest:
        raise PatchingError(f"patching_{name} is {value!r} on {host}.", f"Use a whole number of at least {smallest}.")
    return int(str(value))


def check(host: str, policy: Mapping) -> None:
    """Refuse a host's policy where a value is wrong.

    :raises PatchingError: says which variable, on which host, and what to use.
    """
    for name, choices in _CHOICES.items():
        if policy[name] not in choices:
            raise PatchingError(f"patching_{name} is {policy[name]!r} on {host}.", f"Use one of: {', '.join(choices)}.")
    _number("ring", policy["ring"], 0, host)
    labels = policy["apart"]
    if (
        not isinstance(labels, Sequence)
        or isinstance(labels, str)
        or not all(isinstance(label, str) for label in labels)
    ):
        raise PatchingError(f"patching_apart is {labels!r} on {host}.", "Use a list of labels, such as [dns].")


def per_run(policies: Mapping) -> dict:
    """The policy that holds for the whole run: ``wave_size`` and ``max_failures``.

    :param policies: host -> its policy.
    :raises PatchingError: a value is wrong, or two hosts have different ones.
    """
    chosen = {}
    for name, (default, smallest) in _PER_RUN.items():
        hosts = {_number(name, policy[name], smallest, host): host for host, policy in sorted(policies.items())}
        if len(hosts) > 1:
            values = ", ".join(f"{value} on {host}" for value, host in sorted(hosts.items()))
            raise PatchingError(
                f"patching_{name} has two values in one run: {values}.", "Set it once, in group_vars/all."
            )
        chosen[name] = next(iter(hosts), default)
    return chosen
