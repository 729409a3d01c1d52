# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of the roll: from assessments to a plan, from a plan to waves, from records to a report.

The decisions are in module_utils/run and module_utils/report; here they meet Ansible and the control node's clock.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from http.client import HTTPException
from pathlib import Path

from ansible.errors import AnsibleError, AnsibleFilterError
from ansible.module_utils.urls import open_url
from ansible.parsing.dataloader import DataLoader
from ansible.playbook.task import Task
from ansible.utils.display import Display
from ansible.utils.vars import load_extra_vars

from ..module_utils.core.problem import PatchingError
from ..module_utils.report import exposure
from ..module_utils.report.summary import summarize
from ..module_utils.report.text import plan_lines, report_lines
from ..module_utils.run import advice, identity, transaction, waves
from ..module_utils.run import plan as planning
from ..module_utils.run.assessment import assessment
from ..module_utils.run.guard import refusal


def collect(hosts: Iterable[str], hostvars: Mapping, name: str) -> dict:
    """The value of one variable on each host, None where it has none; see collect.yml."""
    return {host: hostvars[host].get(name) for host in hosts}


def guard(
    limit: str, run_tags: Sequence, skip_tags: Sequence, inventory_error: str, hosts: Iterable[str], hostvars: Mapping
) -> str:
    """Why a run must not begin; see guard.yml."""
    names = {host: list(hostvars[host]) for host in hosts}
    typed = load_extra_vars(DataLoader())
    return refusal(limit, run_tags, skip_tags, inventory_error, names, typed)


def _check_hooks(assessments: Mapping) -> None:
    """Refuse a task file of the user that cannot be read: in the middle of a roll it would be too late."""
    for host, known in sorted(assessments.items()):
        for name in ("before", "after"):
            path = ((known or {}).get("policy") or {}).get(name)
            try:
                tasks = DataLoader().load_from_file(path) if path else []
                if not isinstance(tasks, list):
                    raise PatchingError(f"patching_{name} of {host}: {path} is no list of tasks.", "Name one.")
                _check_tasks(tasks)
            except AnsibleError as exc:
                cause = " ".join(str(exc.message).split())
                raise PatchingError(f"patching_{name} of {host}, {path}: {cause}", "Name a file of tasks.") from exc


def _check_tasks(tasks: Iterable) -> None:
    """Refuse what Ansible would only find out, and end the whole run for, when the tasks are included.

    :raises AnsibleError: something is no task, or no module has its name.
    """
    for task in tasks:
        if not isinstance(task, dict):
            raise AnsibleError(f"{task!r} is no task.")
        if "block" in task:
            for part in ("block", "rescue", "always"):
                _check_tasks(task.get(part) or [])
        else:
            Task.load(task)


def _published(catalogue: str | None) -> list:
    """The images that a catalogue lists, a file or a URL.

    :raises PatchingError: there is no such file, or it is no catalogue.
    """
    if not catalogue:
        return []
    try:
        if not catalogue.startswith(("http://", "https://")):
            return advice.images(json.loads(Path(catalogue).expanduser().read_bytes()))
        try:
            text = open_url(catalogue, timeout=30).read()
        except (OSError, HTTPException) as exc:
            # An advice is no reason not to patch.
            Display().warning(f"patching_image_catalogue, {catalogue}, does not answer: {exc}")
            return []
        return advice.images(json.loads(text))
    except (OSError, ValueError) as exc:
        remedy = "Name a file or a URL, or leave it out; docs/decision.md says what is in it."
        raise PatchingError(f"patching_image_catalogue, {catalogue}: {exc}.", remedy) from exc


def plan(
    assessments: Mapping,
    mode: str = "patch",
    takeover: str | None = None,
    accept: str | Sequence | None = None,
    peers: Mapping | None = None,
    catalogue: str | None = None,
) -> dict:
    """A new run's plan; see plan.yml."""
    everybody = [*assessments.values(), *(peers or {}).values()]
    claims = [((known or {}).get("host") or {}).get("claim") for known in everybody]
    dead = identity.dead_runs(claims)
    try:
        _check_hooks(assessments)
        accepted = accept.replace(",", " ").split() if isinstance(accept, str) else list(accept or [])
        now = datetime.now().astimezone()
        made = planning.make_plan(
            identity.new_id(),
            identity.identity(),
            assessments,
            dead | {takeover},
            now,
            mode,
            accepted,
            peers,
            _published(catalogue),
        )
    except PatchingError as exc:
        raise AnsibleFilterError(str(exc)) from exc
    return {**made, "lines": plan_lines(made)}


def refuse(made: Mapping, refusals: Mapping) -> dict:
    """The plan without hosts that turned out not to be patchable; see refuse.yml."""
    changed = planning.refuse(made, refusals)
    return {**changed, "lines": plan_lines(changed)}


def summary(
    made: Mapping,
    records: Mapping,
    stopped: str = "",
    unreleased: Mapping | None = None,
    downloads: Mapping | None = None,
    folder: str | None = None,
) -> dict:
    """The end of a run; see summary.yml."""
    history = Path(os.path.expandvars(folder)).expanduser() / exposure.HISTORY if folder else None
    lines = history.read_text(encoding="utf-8", errors="replace").splitlines() if history and history.exists() else []
    end = summarize(
        made,
        records,
        stopped,
        unreleased,
        ended=datetime.now().timestamp(),
        fixes={host: (told or {}).get("fixes") for host, told in (downloads or {}).items()},
        seen=exposure.sightings(lines),
    )
    return {**end, "lines": report_lines(end)}


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable]:
        """Names under homelab.patching."""
        return {
            "collect": collect,
            "assessment": assessment,
            "plan": plan,
            "refuse": refuse,
            "held": waves.held,
            "roll": waves.roll,
            "may_open": waves.may_open,
            "next_go": waves.next_go,
            "summary": summary,
            "guard": guard,
            "walk": transaction.walk,
            "unproved": transaction.unproved,
        }
