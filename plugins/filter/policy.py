# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of the daily policy: from options to a file of apt's, from a host's answer to sentences.

What they do is in module_utils/_unattended_conf.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ansible.errors import AnsibleFilterError

from ..module_utils import _unattended_conf
from ..module_utils._errors import PatchingError


def apt_conf(options: Mapping) -> str:
    """The options as a file of apt's; see apt_conf.yml."""
    try:
        return _unattended_conf.render(options)
    except PatchingError as exc:
        raise AnsibleFilterError(str(exc)) from exc


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable]:
        """Names under homelab.patching."""
        return {
            "apt_conf": apt_conf,
            "apt_conf_problems": _unattended_conf.problems,
            "package_patterns": _unattended_conf.package_patterns,
            "package_problems": _unattended_conf.package_problems,
            "policy_failure": _unattended_conf.failure,
            "policy_lines": _unattended_conf.lines,
        }
