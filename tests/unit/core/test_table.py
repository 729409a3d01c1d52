"""A table for a terminal."""

from ansible_collections.homelab.patching.plugins.module_utils.core.table import table


def test_the_last_column_wraps():
    assert table(["A", "B"], [["x", "one two three four five six"]], width=24) == [
        "A  B",
        "x  one two three four",
        "   five six",
    ]
