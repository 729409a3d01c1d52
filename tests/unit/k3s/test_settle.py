"""Is all that was ready ready again?"""

import pytest
from ansible_collections.homelab.patching.plugins.module_utils.core.problem import remedies
from ansible_collections.homelab.patching.plugins.module_utils.k3s.settle import settled, volumes_settled


def work(ready, desired=3, **pinned):
    return {"desired": desired, "ready": ready, "pinned": pinned}


@pytest.mark.parametrize(
    ("before", "now", "well"),
    [
        (work(3), work(3), True),
        (work(3), work(2), False),
        (work(2), work(2), True),  # It was so before.
        (work(3), None, True),  # Somebody deleted it.
        (work(3), work(1, desired=1), True),  # Somebody wants fewer.
        (work(3), work(2, a5=1), True),  # It waits for a node that an admin has cordoned.
        (work(3), work(2, a4=1), False),
        (work(3), work(1, a5=1), False),
    ],
)
def test_what_was_ready_has_to_be_ready_again(before, now, well):
    found = settled({"deployment default/web": before}, {"deployment default/web": now} if now else {}, ["a5"])
    assert (not found) is well


def test_the_remedy_can_be_typed():
    (found,) = settled({"deployment default/web": work(3)}, {"deployment default/web": work(2)}, [])
    assert found["cause"] == "deployment default/web has 2 ready, and had 3"
    assert remedies([found]) == "on a server: k3s kubectl -n default describe deployment web"
    (found,) = settled({"node a4": work(1, 1)}, {"node a4": work(0, 1)}, [])
    assert remedies([found]) == "on a server: k3s kubectl describe node a4"


@pytest.mark.parametrize(
    ("before", "now", "well"),
    [
        (None, None, True),
        ({"v": "healthy"}, {"v": "healthy"}, True),
        ({"v": "healthy"}, {"v": "degraded"}, False),
        ({"v": "healthy"}, {}, True),
        ({"v": "degraded"}, {"v": "degraded"}, True),
        ({"v": "healthy"}, None, True),
    ],
)
def test_volumes_have_to_be_as_healthy_as_before(before, now, well):
    assert (not volumes_settled(before, now)) is well
