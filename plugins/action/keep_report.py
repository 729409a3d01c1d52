# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action keep_report: write a report, its page, the index and the textfile into a folder, each in one step."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from jinja2 import TemplateError

from ..module_utils.report import exposure, metrics
from ..plugin_utils import pages
from ..plugin_utils.hostvars import unregistered

# What the index shows. A scheduled run keeps as many reports by default.
LAST = 24
_REPORT = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{4}\.json")
# What a report can raise that is none, or of a shape that nobody knows yet.
_NO_REPORT = (AttributeError, KeyError, OverflowError, TypeError, ValueError)


class ActionModule(ActionBase):
    """Writes files on the control node; the host is not asked."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _VALID_ARGS = frozenset(("report", "folder"))

    def run(self, tmp: str | None = None, task_vars: dict | None = None) -> dict:
        """The report first: it is the record, and what follows is made of it."""
        super().run(tmp, task_vars)
        _validation, args = self.validate_argument_spec(
            {"report": {"type": "dict", "required": True}, "folder": {"type": "path", "required": True}}
        )
        folder = Path(args["folder"])
        # What Ansible has put beside it is no part of the report.
        told = unregistered(args["report"])
        run = told["run"]
        path, page, index, textfile = (
            folder / name for name in (f"{run}.json", f"{run}.html", "index.html", "patching.prom")
        )
        # A report is the record of a run, not a change to what the run is about.
        result = {
            "changed": False,
            "path": str(path),
            "page": str(page),
            "index": str(index),
            "textfile": str(textfile),
        }
        if self._task.check_mode:
            return result
        text = json.dumps(told, indent=2, sort_keys=True) + "\n"
        report = json.loads(text)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _write(path, text)
            with (folder / exposure.HISTORY).open("a", encoding="utf-8") as history:
                history.write(exposure.line(report) + "\n")
        except OSError as exc:
            raise AnsibleActionFail(
                f"The report cannot be kept: {exc}. Name another folder: -e patching_report_dir=..."
            ) from exc
        _keep(page, lambda: pages.page(report))
        entries = _last(folder)
        _keep(index, lambda: pages.index(entries))
        _keep(
            textfile,
            lambda: metrics.metrics(report, pages.ended(report) or 0.0, _last_success(textfile, entries)),
        )
        return result


def _write(path: Path, text: str) -> None:
    """Write beside the place, then rename: nobody reads half a file."""
    beside = path.with_name(f".{path.name}.new")
    # JSON can hold what is no text.
    beside.write_text(text, encoding="utf-8", errors="replace")
    os.replace(beside, path)


def _keep(path: Path, make: Callable[[], str]) -> None:
    """Write what is made of the report; where that fails, the run and its report are none the worse."""
    try:
        _write(path, make())
    except (OSError, TemplateError, *_NO_REPORT) as exc:
        Display().warning(f"The report is kept, but {path.name} is not: {exc!r}")


def _last(folder: Path) -> list:
    """The last runs that left a report in a folder, as the index lists them, the newest first."""
    found = sorted((path for path in folder.glob("*.json") if _REPORT.fullmatch(path.name)), reverse=True)
    return [_entry(path) for path in found[:LAST]]


def _entry(path: Path) -> dict:
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        return pages.unreadable(path.stem, str(exc))
    try:
        return pages.entry(path.stem, report, path.with_suffix(".html").exists())
    except _NO_REPORT:
        return pages.unreadable(path.stem, "it is no report of a run")


def _last_success(textfile: Path, entries: list) -> float:
    """When a run ended well for the last time: as the earlier textfile says, or as the reports do; 0 for never."""
    try:
        told = metrics.last_success(textfile.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        told = 0.0
    return max([told, *(entry["ended"] or 0.0 for entry in entries if entry["ok"])])
