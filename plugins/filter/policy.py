# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of the daily policy: from options to a file of apt's, from a host's answer to sentences.

What they do is in module_utils/daily/render.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ansible.errors import AnsibleFilterError

from ..module_utils.core.problem import PatchingError
from ..module_utils.daily import render


def apt_conf(options: Mapping) -> str:
    """The options as a file of apt's; see apt_conf.yml."""
    try:
        return render.render(options)
    except PatchingError as exc:
        raise AnsibleFilterError(str(exc)) from exc


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable]:
        """Names under homelab.patching."""
        return {
            "apt_conf": apt_conf,
            "apt_conf_problems": render.problems,
            "package_patterns": render.package_patterns,
            "package_problems": render.package_problems,
            "policy_failure": render.failure,
            "policy_lines": render.lines,
        }
