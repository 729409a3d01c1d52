"""What repeated calls of k3s_node come to."""

import pytest
from ansible_collections.homelab.patching.plugins.module_utils.core.problem import problem
from ansible_collections.homelab.patching.plugins.module_utils.k3s import progress

BEGUN = {"began": 1000.0, "timeout": 600, "ask": ["one", "two"]}
SLICE = {
    "node": "a4",
    "drained": False,
    "evicted": ["default/web-a"],
    "blocked": [],
    "terminating": [],
    "hopeless": False,
    "volumes": [],
    "grace": 30,
    "seconds": 31.0,
}
BLOCKED = {"why": "budget", "name": "default/web", "pods": ["default/web-a"], "message": "m", "hopeless": False}


def test_a_drain_goes_on_until_it_is_done():
    first = progress.progress(BEGUN, SLICE, 1031.0)
    assert (first["again"], first["pause"], first["ready"]) == (True, 0, False)
    second = progress.progress(first, {**SLICE, "evicted": ["default/web-b"], "drained": True}, 1040.0)
    assert (second["again"], second["ready"], second["evicted"]) == (False, True, ["default/web-a", "default/web-b"])


def test_a_slice_that_ends_at_once_is_not_repeated_at_once():
    assert progress.progress(BEGUN, {**SLICE, "seconds": 0.7}, 1031.0)["pause"] == 3


@pytest.mark.parametrize(
    ("more", "now", "ends"),
    [
        ({}, 1600.0, False),
        ({}, 1600.1, True),
        ({"grace": 1200}, 2259.0, False),
        ({"grace": 1200}, 2261.0, True),
        ({"hopeless": True}, 1001.0, True),
    ],
)
def test_when_a_drain_is_blocked(more, now, ends):
    found = progress.progress(BEGUN, {**SLICE, "blocked": [BLOCKED], **more}, now)
    assert (not found["again"], bool(found["blocked"])) == (ends, ends)
    assert not ends or "PodDisruptionBudget default/web does not let default/web-a go" in found["blocked"]


def test_an_earlier_long_grace_counts():
    first = progress.progress(BEGUN, {**SLICE, "grace": 1200}, 1031.0)
    assert progress.progress(first, {**SLICE, "grace": 0}, 2000.0)["again"]


@pytest.mark.parametrize(
    "result",
    [
        {"unreachable": True, "msg": "no route"},
        {"msg": "Timed out", "timedout": {}},
        {"kind": "unknown", "msg": "`kubectl`: refused"},
    ],
)
def test_a_delegate_that_does_not_answer_is_changed(result):
    found = progress.progress(BEGUN, result, 1010.0)
    assert (found["again"], found["ask"], found["pause"]) == (True, ["two", "one"], 3)
    assert progress.progress(BEGUN, result, 1700.0)["stop"].startswith("one: ")


def test_a_node_that_changed_in_this_moment_is_tried_again_at_the_same_server():
    found = progress.progress(BEGUN, {"kind": "changed", "msg": "modified"}, 1010.0)
    assert (found["again"], found["ask"]) == (True, ["one", "two"])


@pytest.mark.parametrize(
    ("kind", "undo"), [("claim", False), ("uncordoned", False), ("foreign", False), ("refused", True)]
)
def test_what_ends_a_drain_at_once_and_whether_it_is_undone(kind, undo):
    found = progress.progress(BEGUN, {"kind": kind, "msg": "no"}, 1001.0)
    assert (found["again"], found["ready"], found["stop"], found["undo"]) == (False, False, "no", undo)


def test_giving_back_waits_for_the_node():
    waiting = {"node": "a4", "problems": [problem("the node is not Ready", "look")], "seconds": 36.0}
    found = progress.progress({**BEGUN, "timeout": 60}, waiting, 1036.0)
    assert found["again"]
    assert progress.progress(found, waiting, 1080.0)["blocked"] == "the node is not Ready. look."
    assert progress.progress(found, {**waiting, "problems": []}, 1050.0)["ready"]


def test_marking_the_reboot_keeps_the_containers():
    found = progress.progress(BEGUN, {"node": "a4", "containers": {"default/lb": ["c"]}, "seconds": 1.0}, 1001.0)
    assert (found["ready"], found["containers"]) == (True, {"default/lb": ["c"]})


@pytest.mark.parametrize(
    ("each", "says"),
    [
        ({**BLOCKED, "why": "two budgets", "name": "default/a, default/b"}, "under two PodDisruptionBudgets"),
        ({**BLOCKED, "why": "bare", "name": ""}, "no controller"),
        ({**BLOCKED, "why": "error", "name": "", "message": "strange"}, "strange"),
    ],
)
def test_a_blocked_drain_says_why(each, says):
    assert says in progress.progress(BEGUN, {**SLICE, "blocked": [each], "hopeless": True}, 1001.0)["blocked"]


def test_what_is_still_ending_is_said():
    late = {**SLICE, "terminating": ["default/slow"], "volumes": ["pv-1"]}
    assert "still ending: default/slow; still attached: pv-1" in progress.progress(BEGUN, late, 1700.0)["blocked"]
