"""Health is the difference from a baseline."""

from ansible_collections.homelab.patching.plugins.module_utils.host.health import listeners, regressions

NET_TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue
   0: 00000000:0016 00000000:0000 0A 00000000:00000000
   1: 0100007F:9C40 00000000:0000 0A 00000000:00000000
   2: 0B0012C6:0016 010012C6:D431 01 00000000:00000000
"""


def test_listeners_outside_the_ephemeral_range():
    assert listeners(NET_TCP, (32768, 60999)) == {22}


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
