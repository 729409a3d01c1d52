"""Is a host as healthy as before?"""

from ansible_collections.homelab.patching.plugins.module_utils.run.health import regressions


def test_only_what_is_worse_than_before_is_a_problem():
    before = {"failed_units": ["old.service"], "listeners": [22, 80]}
    after = {"failed_units": ["new.service", "old.service"], "listeners": [22, 443]}
    assert regressions(before, after) == [
        "new.service has failed since the baseline",
        "nothing listens on TCP port 80 any more",
    ]
    assert regressions(before, before) == []


def test_mounts_and_containers_have_to_come_back_and_an_older_baseline_knows_none():
    old = {"failed_units": [], "listeners": []}
    before = {**old, "mounts": ["/", "/srv"], "containers": 3}
    assert regressions(before, {**before, "mounts": ["/"], "containers": 2}) == [
        "nothing is mounted on /srv any more",
        "2 containers run, before it were 3",
    ]
    assert regressions(before, {**before, "mounts": ["/", "/srv", "/more"], "containers": 4}) == []
    assert regressions(old, before) == []
