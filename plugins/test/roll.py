# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the roll, where Ansible wants an expression. The decisions are in module_utils/run."""

from __future__ import annotations

from collections.abc import Callable

from ..module_utils.run.transaction import proved
from ..module_utils.run.waves import may_open


class TestModule:
    """What Ansible looks for."""

    def tests(self) -> dict[str, Callable]:
        """Names under homelab.patching."""
        return {"may_open": may_open, "proved": proved}
