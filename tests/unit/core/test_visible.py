"""What hosts say is safe to look at."""

import pytest
from ansible_collections.homelab.patching.plugins.module_utils.core.visible import visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("as it is: größe 漢字 ✓", "as it is: größe 漢字 ✓"),
        ("\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07"),
        ("\x9b31m", r"\x9b31m"),
        ("a\r\nb\tc\x00\x7f", r"a\r\nb\tc\x00\x7f"),
        ("\u202egnp.exe\u2066\u200b\ufeff\u2028", r"\u202egnp.exe\u2066\u200b\ufeff\u2028"),
        ("\udc9b", r"\udc9b"),  # a byte that was no text
        ("\U000e0041", r"\U000e0041"),
    ],
)
def test_control_characters_are_spelled_out(text, shown):
    assert visible(text) == shown


def test_some_may_stay():
    assert visible("a\n\tb\x1b", keep="\n\t") == "a\n\tb\\x1b"
