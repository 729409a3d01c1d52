# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of the K3s roles. The decisions are in module_utils/k3s; here they meet what Ansible registered."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..module_utils.core import problem
from ..module_utils.core.shapes import Cluster, Health
from ..module_utils.k3s import gate, recovery, turns


def k3s_gate(
    cluster: Cluster,
    node: str,
    health: Health | None,
    rests: Sequence,
    runs: Sequence = (),
    kured: str = "refuse",
    api_outage: str = "announce",
    foreign: str = "refuse",
    drained: bool = False,
) -> list:
    """Why a node must not go now; see k3s_gate.yml."""
    rest = dict(zip(cluster["order"], [answer.get("rest") for answer in rests], strict=True))
    return gate.gate(node, cluster, health, rest, runs, kured, api_outage, foreign, drained)


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable]:
        """Names under homelab.patching."""
        return {
            "k3s_gate": k3s_gate,
            "k3s_recover": recovery.recover,
            "k3s_told": problem.told,
            "k3s_turn": turns.turn,
        }
