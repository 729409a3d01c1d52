# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Text that hosts say, made safe to look at: used wherever it leaves the collection. Pure."""

from __future__ import annotations


def visible(text: str, keep: str = "") -> str:
    r"""The text with control characters spelled out, such as ``\x1b``.

    A host could clear the screen with them, fake a line of its own, or (with those that turn the direction of text
    around) make one name look like another.

    :param keep: control characters that stay as they are.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char in keep else char.encode("unicode_escape").decode("ascii") for char in text
    )
