# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What must not get into a run: options that would cut safety steps out of it, and inventories with holes. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from ..core.problem import PatchingError
from .policy import check_names

# Molecule skips these in every call; no task here carries them.
_HARMLESS_TAGS = {"molecule-idempotence-notest", "molecule-notest", "notest"}


def refusal(
    limit: str,
    run_tags: Sequence[str],
    skip_tags: Sequence[str],
    inventory_error: str,
    names: Mapping[str, Iterable[str]],
    typed: Collection[str] = (),
    again: bool = False,
) -> str:
    """Why this run must not begin; empty where it may.

    :param limit: ``ansible_limit``, empty where there is none. It would drop the plays on localhost and every
        conductor without a word.
    :param run_tags: ``ansible_run_tags``.
    :param skip_tags: ``ansible_skip_tags``.
    :param inventory_error: what an inventory source could not be read for; Ansible goes on with the others.
    :param names: host -> the names of its variables.
    :param typed: names of the variables given on the command line.
    :param again: this process has had a run already.
    """
    if limit:
        return f"--limit would drop the safety steps of this run. Type instead: -e 'patching_hosts={limit}'"
    if list(run_tags) != ["all"] or set(skip_tags) - _HARMLESS_TAGS:
        return (
            "--tags and --skip-tags would cut safety steps out of this run. "
            "Leave them away; for a part of it there are playbooks: homelab.patching.assess, .reboot, .recover"
        )
    if inventory_error:
        return f"The inventory is not whole, so hosts would be missing from this run: {inventory_error}"
    stray = [host for host in sorted(names) if "patching_hosts" in names[host]]
    if stray and "patching_hosts" not in typed:
        return (
            f"patching_hosts is set in the variables of {stray[0]}, where the plays of this run cannot read it. "
            "Type it instead: -e 'patching_hosts=...'; to leave a host out for good, tag it nopatch"
        )
    try:
        for host in sorted(names):
            check_names(host, names[host])
    except PatchingError as exc:
        return str(exc)
    if again:
        return "Two runs in one playbook would take each other for one. Run them one after the other."
    return ""
