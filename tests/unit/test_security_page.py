"""No promise without a test: the ones that SECURITY.md names are there."""

import re
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]


def test_the_tests_that_the_page_names_are_there():
    named = set(re.findall(r"`(tests/[\w/]+\.py)`", (CHECKOUT / "SECURITY.md").read_text()))
    assert named
    assert [name for name in sorted(named) if not (CHECKOUT / name).is_file()] == []
