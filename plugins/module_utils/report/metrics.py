# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a run as a textfile for Prometheus' node_exporter. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping

from ..core.change import due
from ..core.visible import visible
from .shapes import Exposure, Report

_DAY = 86400
_SUCCESS = "patching_last_success_timestamp_seconds"


def metrics(report: Report, ended: float, last_success: float) -> str:
    """The text of the file. What the report does not know of a host has no sample; it is never told as zero.

    :param report: as docs/report.schema.json has it, of this schema or an earlier one.
    :param ended: when the run ended, in seconds since the epoch.
    :param last_success: when the last run ended that went well, before this one; 0: never. A run that went well is it
        itself.
    """
    hosts = sorted(report["hosts"].items())
    # A report of the first schema has neither.
    pending = [(host, due(listed)) for host, entry in hosts if (listed := entry.get("pending")) is not None]
    known = [(host, updates) for host, entry in hosts if (updates := entry.get("security")) is not None]
    families = [
        _family("patching_last_run_timestamp_seconds", "When the last run ended.", [({}, ended)]),
        _family(
            _SUCCESS,
            "When the last run ended that went well; 0: none ever did.",
            [({}, ended if report["ok"] else last_success)],
        ),
        _family(
            "patching_pending_packages",
            "Packages that could be upgraded after the run.",
            [({"host": host}, len(changes)) for host, changes in pending],
        ),
        _family(
            "patching_pending_security_packages",
            "Packages of which a security update was left after the run.",
            [({"host": host}, sum(bool(each["security"]) for each in changes)) for host, changes in pending],
        ),
        _family(
            "patching_reboot_pending",
            "Whether the host was left with a reboot to be made; no sample where that is not known.",
            [
                ({"host": host}, int(entry["result"] == "reboot pending"))
                for host, entry in hosts
                if entry["result"] in ("patched", "nothing to do", "reboot pending")
            ],
        ),
        _family(
            "patching_exposed_seconds",
            "How long the oldest security update that is open has been there, in whole days; 0: none is open.",
            [({"host": host}, days * _DAY) for host, days in map(_exposed, known) if days is not None],
        ),
        _family(
            "patching_host_result",
            "What the run came to on the host: always 1, the word is the label.",
            [({"host": host, "result": entry["result"]}, 1) for host, entry in hosts],
        ),
    ]
    return "".join(families)


def last_success(text: str) -> float:
    """When the last run ended that went well, as an earlier file tells it; 0 where it does not."""
    found = re.search(rf"^{_SUCCESS} (\S+)$", text, re.MULTILINE)
    try:
        value = float(found[1]) if found else 0.0
    except ValueError:
        return 0.0
    return value if math.isfinite(value) else 0.0


def _exposed(known: tuple[str, list[Exposure]]) -> tuple[str, int | None]:
    host, security = known
    left = [item for item in security if not item["closed"]]
    days = [item["days"] for item in left if item.get("days") is not None]
    return host, max(days) if days else (None if left else 0)


def _family(name: str, about: str, samples: Iterable[tuple[Mapping[str, str], float]]) -> str:
    """A metric with its samples: pairs of labels and value; nothing where there is no sample."""
    lines = [f"{name}{_labels(labels)} {value!r}\n" for labels, value in samples]
    return "".join([f"# HELP {name} {about}\n# TYPE {name} gauge\n", *lines]) if lines else ""


def _labels(labels: Mapping[str, str]) -> str:
    told = ",".join(f'{name}="{_escaped(str(value))}"' for name, value in labels.items())
    return f"{{{told}}}" if told else ""


def _escaped(value: str) -> str:
    return visible(value, keep="\n").replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
