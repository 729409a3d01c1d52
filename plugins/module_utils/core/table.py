# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A table for a terminal, as lines of text. Pure."""

from __future__ import annotations

import textwrap


def table(header: list[str], rows: list[list[str]], width: int = 100) -> list[str]:
    """Align `rows` under `header`; the last column takes the room that is left and wraps.

    :param header: titles of the columns.
    :param rows: lists of strings, as long as `header`.
    :param width: columns of the terminal.
    :returns: lines without trailing white space.
    """
    cells = [header, *rows]
    widths = [max(len(str(row[column])) for row in cells) for column in range(len(header) - 1)]
    indent = sum(widths) + 2 * len(widths)
    lines = []
    for row in cells:
        start = "".join(f"{row[column]!s:<{size}}  " for column, size in enumerate(widths))
        wrapped = textwrap.wrap(str(row[-1]), max(20, width - indent)) or [""]
        lines.append((start + wrapped[0]).rstrip())
        lines += [" " * indent + line for line in wrapped[1:]]
    return lines
