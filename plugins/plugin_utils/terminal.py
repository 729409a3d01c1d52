# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one way of text to a person's terminal."""

from __future__ import annotations

from collections.abc import Iterable

from ansible.utils.display import Display

from ..module_utils.core.visible import visible


def show(lines: Iterable[str]) -> None:
    """Print lines, whatever callback is in use; control characters, which a host may have sent, are spelled out."""
    Display().display("\n" + "\n".join(map(visible, lines)) + "\n")
