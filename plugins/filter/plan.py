# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of the roll: the assessment of a host, and its way through its steps; see module_utils/run."""

from __future__ import annotations

from collections.abc import Callable

from ..module_utils.run import transaction
from ..module_utils.run.assessment import assessment


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable]:
        """Names under homelab.patching."""
        return {
            "assessment": assessment,
            "walk": transaction.walk,
            "unproved": transaction.unproved,
        }
