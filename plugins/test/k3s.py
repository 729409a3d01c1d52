# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the K3s roles, for `until` and `when`. The decisions are in module_utils/k3s."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..module_utils.k3s import turns


def k3s_end_of_turn(answer: Mapping, calls: Mapping, now: float) -> bool:
    """Is it not the same server's turn again? See k3s_end_of_turn.yml."""
    return turns.ends(calls, answer, now)


class TestModule:
    """What Ansible looks for."""

    def tests(self) -> dict[str, Callable]:
        """Names under homelab.patching."""
        return {"k3s_end_of_turn": k3s_end_of_turn}
