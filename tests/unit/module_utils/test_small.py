"""Claims, health, the guard and tables: the small pure parts."""

import pytest
from ansible_collections.homelab.patching.plugins.module_utils import _run
from ansible_collections.homelab.patching.plugins.module_utils._claim import taken_over
from ansible_collections.homelab.patching.plugins.module_utils._errors import PatchingError
from ansible_collections.homelab.patching.plugins.module_utils._guard import refusal
from ansible_collections.homelab.patching.plugins.module_utils._health import listeners, regressions
from ansible_collections.homelab.patching.plugins.module_utils._table import table

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


def test_this_process_is_alive_and_an_impossible_one_is_dead():
    mine = _run.identity()
    assert not _run.is_dead(mine)
    assert _run.is_dead({**mine, "started": "0"})
    assert not _run.is_dead({**mine, "started": "0", "boot_id": "of another machine"})
    assert not _run.is_dead({**mine, "started": "0", "pid_namespace": "of another container"})


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


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("", ["all"], [], ""), ""),
        (("web1", ["all"], [], ""), "-e 'patching_hosts=web1'"),
        (("", ["upgrade"], [], ""), "--tags"),
        (("", ["all"], ["reboot"], ""), "--skip-tags"),
        (("", ["all"], ["notest", "reboot"], ""), "--skip-tags"),
        (("", ["all"], ["molecule-notest", "notest"], ""), ""),
        (("", ("all",), (), "pve.yml: 401"), "pve.yml: 401"),
    ],
)
def test_guard(arguments, says):
    found = refusal(*arguments, {"web1": ["patching_upgrade"]})
    assert says in found if says else found == ""


def test_the_last_column_wraps():
    assert table(["A", "B"], [["x", "one two three four five six"]], width=24) == [
        "A  B",
        "x  one two three four",
        "   five six",
    ]
