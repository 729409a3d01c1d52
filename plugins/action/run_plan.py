# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action run_plan: from assessments to the plan of a run. Runs on the control node."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from http.client import HTTPException
from pathlib import Path

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.module_utils.urls import open_url
from ansible.parsing.dataloader import DataLoader
from ansible.playbook.task import Task
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ..module_utils.core.problem import PatchingError
from ..module_utils.report.text import plan_lines
from ..module_utils.run import advice, identity, plan
from ..module_utils.run.shapes import Plan
from ..plugin_utils.hostvars import collect, listed, plain
from ..plugin_utils.terminal import show


class ActionModule(ActionBase):
    """Reads what the hosts have said, the user's task files and the catalogue of images; the hosts are not asked."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _VALID_ARGS = frozenset(("hosts", "pattern", "peers", "mode", "takeover", "accept", "image_catalogue", "plan"))

    def run(self, tmp: str | None = None, task_vars: dict | None = None) -> dict:
        """Make a plan and show it; or take hosts out of one."""
        super().run(tmp, task_vars)
        names = {"type": "list", "elements": "str"}
        _validation, args = self.validate_argument_spec(
            {
                "hosts": names,
                "pattern": {"type": "str", "default": "all"},
                "peers": {**names, "default": []},
                "mode": {"type": "str", "choices": ["patch", "reboot", "recover"], "default": "patch"},
                "takeover": {"type": "raw"},
                "accept": {"type": "raw"},
                "image_catalogue": {"type": "str"},
                "plan": {"type": "dict"},
            },
            mutually_exclusive=[("hosts", "plan")],
            required_one_of=[("hosts", "plan")],
        )
        known = task_vars or {}
        if args["plan"] is not None:
            refusals = collect(known, args["plan"]["hosts"], "patch_host_refusal")
            smaller = plan.refuse(args["plan"], {host: why for host, why in refusals.items() if why})
            return plain({**smaller, "lines": plan_lines(smaller), "changed": False})
        try:
            made = self._plan(args, known)
        except PatchingError as exc:
            raise AnsibleActionFail(str(exc)) from None
        lines = plan_lines(made)
        show(lines)
        return plain({**made, "lines": lines, "changed": False})

    def _plan(self, args: Mapping, known: Mapping) -> Plan:
        """A new run's plan."""
        if not args["hosts"]:
            raise PatchingError(
                f"No host matches {args['pattern']}. See what there is: ansible-inventory --graph;",
                "then name hosts or groups: -e 'patching_hosts=...'",
            )
        if not known.get("__patching_guarded"):
            raise PatchingError(
                "The first play of this run was left out, and with it its safety checks.",
                "Run it without --start-at-task.",
            )
        assessments = collect(known, args["hosts"], "patch_assess_result")
        peers = collect(known, args["peers"], "patch_assess_result")
        _check_hooks(assessments)
        everybody = [*assessments.values(), *peers.values()]
        claims = [((told or {}).get("host") or {}).get("claim") for told in everybody]
        return plan.make_plan(
            identity.new_id(),
            identity.identity(),
            assessments,
            identity.dead_runs(claims) | {args["takeover"]},
            datetime.now().astimezone(),
            args["mode"],
            listed(args["accept"]),
            peers,
            _published(args["image_catalogue"]),
        )


def _check_hooks(assessments: Mapping) -> None:
    """Refuse a task file of the user that cannot be read: in the middle of a roll it would be too late.

    :raises PatchingError: says which, and on which host.
    """
    checked = set()
    for host, known in sorted(assessments.items()):
        for name in ("before", "after"):
            path = ((known or {}).get("policy") or {}).get(name)
            if not path or path in checked:
                continue
            checked.add(path)
            try:
                tasks = DataLoader().load_from_file(path)
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
