"""Whose is a host?"""

import pytest
from ansible_collections.homelab.patching.plugins.module_utils.core.problem import PatchingError
from ansible_collections.homelab.patching.plugins.module_utils.host.claim import taken_over

CLAIM = {"run": "other", "owner": {"who": "me@control", "pid": 7}, "expires": 1000}


@pytest.mark.parametrize(
    ("current", "takeover", "now", "taken"),
    [
        (None, [], 0, None),
        ({**CLAIM, "run": "mine"}, [], 0, None),
        (CLAIM, [], 1000, CLAIM),
        (CLAIM, ["other"], 0, CLAIM),
    ],
)
def test_a_free_expired_or_dead_claim_is_taken(current, takeover, now, taken):
    assert taken_over(current, "mine", takeover, now) == taken


def test_a_live_claim_is_refused_by_name():
    with pytest.raises(
        PatchingError, match=r"run other of me@control \(pid 7\) for another 15 min.*patching_takeover=other"
    ):
        taken_over(CLAIM, "mine", ["third"], 100)
