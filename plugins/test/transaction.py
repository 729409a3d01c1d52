# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests for what Ansible asks again and again during a host's transaction; see module_utils/run/transaction.py."""

from __future__ import annotations

from collections.abc import Callable

from ..module_utils.run.transaction import proved


class TestModule:
    """What Ansible looks for."""

    def tests(self) -> dict[str, Callable]:
        """Names under homelab.patching."""
        return {"proved": proved}
