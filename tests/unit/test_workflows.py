"""What CI takes from others is what somebody has looked at: a tag may lead elsewhere tomorrow."""

import re
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]


def test_actions_are_named_by_their_commit():
    text = "".join(path.read_text() for path in CHECKOUT.glob(".github/workflows/*.yml"))
    used = re.findall(r"uses: (\S.*)", text)
    assert used
    assert [line for line in used if not re.fullmatch(r"\S+@[0-9a-f]{40}  # v\d+\.\d+\.\d+", line)] == []
