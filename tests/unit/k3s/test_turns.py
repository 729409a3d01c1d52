"""What calls on the servers of a cluster come to, and whose turn is next."""

import pytest
from ansible_collections.homelab.patching.plugins.module_utils.core.problem import problem
from ansible_collections.homelab.patching.plugins.module_utils.k3s import turns

BEGUN = {"began": 1000.0, "timeout": 600, "servers": ["one", "two"], "asks": False}
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
    first = turns.turn(BEGUN, SLICE, 1031.0)
    assert (first["again"], first["pause"], first["ready"]) == (True, 0, False)
    second = turns.turn(first, {**SLICE, "evicted": ["default/web-b"], "drained": True}, 1040.0)
    assert (second["again"], second["ready"], second["evicted"]) == (False, True, ["default/web-a", "default/web-b"])


def test_a_slice_that_ends_at_once_is_not_repeated_at_once():
    assert turns.turn(BEGUN, {**SLICE, "seconds": 0.7}, 1031.0)["pause"] == 3


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
    found = turns.turn(BEGUN, {**SLICE, "blocked": [BLOCKED], **more}, now)
    assert (not found["again"], bool(found["blocked"])) == (ends, ends)
    assert not ends or "PodDisruptionBudget default/web does not let default/web-a go" in found["blocked"]


def test_an_earlier_long_grace_counts():
    first = turns.turn(BEGUN, {**SLICE, "grace": 1200}, 1031.0)
    assert turns.turn(first, {**SLICE, "grace": 0}, 2000.0)["again"]


@pytest.mark.parametrize(
    "answer",
    [
        {"unreachable": True, "msg": "no route"},
        {"msg": "Timed out", "timedout": {}},
        {"kind": "unknown", "msg": "`kubectl`: refused"},
        # The module's own failure, of a server that `failed_when` makes no failure.
        {"kind": "unknown", "failed": False, "msg": "refused"},
    ],
)
@pytest.mark.parametrize("asks", [True, False])
def test_a_server_that_does_not_answer_is_followed_by_the_next(answer, asks):
    first = turns.turn({**BEGUN, "asks": asks}, answer, 1010.0)
    assert (first["again"], first["servers"], first["pause"]) == (True, ["two", "one"], 0)
    # Nobody is left to be asked: a moment later it may be another story.
    second = turns.turn(first, answer, 1011.0)
    assert (second["again"], second["servers"], second["pause"]) == (True, ["one", "two"], 3)
    third = turns.turn(second, answer, 1700.0)
    assert not third["again"]
    assert third["stop"] == f"the API of the cluster does not answer, so nothing is known; one: {answer['msg']}"


def test_each_server_has_its_turn_before_nothing_is_known():
    first = turns.turn({**BEGUN, "timeout": 0}, {"unreachable": True}, 1090.0)
    assert (first["again"], first["servers"]) == (True, ["two", "one"])
    assert turns.turn(first, {"unreachable": True}, 1180.0)["stop"].endswith("; two: it does not answer")
    assert turns.turn({**BEGUN, "servers": ["one"]}, {"unreachable": True}, 1601.0)["stop"]


def test_a_server_that_answered_in_between_is_silent_anew():
    first = turns.turn(BEGUN, {"unreachable": True}, 1010.0)
    second = turns.turn(first, SLICE, 1040.0)
    late = turns.turn(second, {"unreachable": True}, 1700.0)
    assert (late["again"], late["servers"]) == (True, ["one", "two"])


def test_a_node_that_changed_in_this_moment_is_tried_again_at_the_same_server():
    change = {"kind": "changed", "msg": "modified"}
    end = turns.turn(BEGUN, change, 1010.0)
    assert (end["again"], end["servers"], end["pause"]) == (True, ["one", "two"], 3)
    assert turns.turn(BEGUN, change, 1700.0)["stop"] == "one: modified"


@pytest.mark.parametrize(
    ("kind", "undo"), [("claim", False), ("uncordoned", False), ("foreign", False), ("refused", True)]
)
def test_what_ends_a_drain_at_once_and_whether_it_is_undone(kind, undo):
    found = turns.turn(BEGUN, {"kind": kind, "msg": "no"}, 1001.0)
    assert (found["again"], found["ready"], found["stop"], found["undo"]) == (False, False, "no", undo)


def test_who_is_only_asked_and_refuses_is_no_end():
    """A server that is none any more, or one whose API has just begun and knows only half of its kinds."""
    end = turns.turn({**BEGUN, "asks": True}, {"kind": "refused", "msg": "no"}, 1001.0)
    assert (end["again"], end["servers"]) == (True, ["two", "one"])


def test_what_was_asked_once_is_ready_with_its_answer():
    calls = {**BEGUN, "asks": True, "timeout": 0}
    assert turns.turn(calls, {"cluster": {"nodes": {}}}, 1090.0)["ready"]


WELL = {"nodes": {}, "workloads": {"node a4": {"desired": 1, "ready": 1, "pinned": {}}}, "longhorn": {"v": "healthy"}}
SICK = {**WELL, "longhorn": {"v": "degraded"}}
WORSE = {**WELL, "workloads": {"node a4": {"desired": 1, "ready": 0, "pinned": {}}}}
COMPARED = {**BEGUN, "asks": True, "timeout": 300, "baseline": WELL, "volumes_timeout": 1800}


@pytest.mark.parametrize(
    ("cluster", "now", "end"),
    [
        (WELL, 1001.0, "ready"),
        (WELL, 9000.0, "ready"),
        (WORSE, 1300.0, "again"),
        (WORSE, 1300.1, "node a4 has 0 ready, and had 1"),
        (SICK, 1300.1, "again"),
        (SICK, 2800.1, "volume v is degraded"),
        ({**WORSE, **{"longhorn": SICK["longhorn"]}}, 1300.1, "volume v is degraded"),
    ],
)
def test_a_cluster_is_compared_until_it_is_as_before_or_its_time_is_over(cluster, now, end):
    found = turns.turn(COMPARED, {"cluster": cluster}, now)
    assert found[end] if end in found else end in found["blocked"]
    assert found["ready"] + found["again"] + bool(found["blocked"]) == 1


def test_when_a_servers_turn_ends():
    """In the middle of it, the module is called once more without the detour over another task."""
    assert not turns.ends(COMPARED, {"cluster": WORSE}, 1001.0)
    assert turns.ends(COMPARED, {"cluster": WELL}, 1001.0)
    assert turns.ends(COMPARED, {"cluster": WORSE}, 1301.0)
    assert turns.ends(COMPARED, {"unreachable": True}, 1001.0)
    # Nobody else can be asked.
    assert not turns.ends({**COMPARED, "servers": ["one"]}, {"msg": "refused"}, 1001.0)


def test_giving_back_waits_for_the_node():
    waiting = {"node": "a4", "problems": [problem("the node is not Ready", "look")], "seconds": 36.0}
    found = turns.turn({**BEGUN, "timeout": 60}, waiting, 1036.0)
    assert found["again"]
    assert turns.turn(found, waiting, 1080.0)["blocked"] == "the node is not Ready. look."
    assert turns.turn(found, {**waiting, "problems": []}, 1050.0)["ready"]


def test_marking_the_reboot_keeps_the_containers():
    found = turns.turn(BEGUN, {"node": "a4", "containers": {"default/lb": ["c"]}, "seconds": 1.0}, 1001.0)
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
    assert says in turns.turn(BEGUN, {**SLICE, "blocked": [each], "hopeless": True}, 1001.0)["blocked"]


def test_what_is_still_ending_is_said():
    late = {**SLICE, "terminating": ["default/slow"], "volumes": ["pv-1"]}
    assert "still ending: default/slow; still attached: pv-1" in turns.turn(BEGUN, late, 1700.0)["blocked"]
