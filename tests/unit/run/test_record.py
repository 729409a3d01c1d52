"""The record of one host's transaction."""

import pytest
from ansible_collections.homelab.patching.plugins.module_utils.run import record as recording

from .assessments import record


def after(result, failure="", **fields):
    begun = recording.step(record(result, **fields), "patching_after", 20.0)
    return recording.finish_after(begun, 23.0, failure)


def test_a_record_adds_its_seconds_up():
    assert record("patched")["seconds"] == {"claim": 2.0, "upgrade": 8.0}


def test_a_host_that_goes_silent_in_the_users_tasks_is_lost_and_what_it_came_to_is_known():
    begun = recording.step(record("patched"), "patching_after", 20.0)
    assert (begun["result"], begun["step"]) == ("lost", "patching_after")
    assert recording.steps(begun)[1:] == [
        {"name": "upgrade", "seconds": 8.0},
        {"name": "patching_after", "seconds": None},
    ]


@pytest.mark.parametrize(
    ("result", "fields"), [("patched", {}), ("reboot pending", {"reason": "old kernel"}), ("failed", {"reason": "x"})]
)
def test_the_users_tasks_after_it_change_nothing_of_what_it_came_to(result, fields):
    ended = record(result, **fields)
    made = after(result, **fields)
    assert {**made, "marks": 0, "seconds": 0} == {**ended, "marks": 0, "seconds": 0, "ended": made["ended"]}
    assert made["seconds"] == {"claim": 2.0, "upgrade": 8.0, "patching_after": 3.0}
    assert [step["name"] for step in recording.steps(made)] == ["claim", "upgrade", "patching_after"]


@pytest.mark.parametrize(
    ("result", "reason", "failed"),
    [
        ("patched", "patching_after: no such file", ["patching_after"]),
        ("failed", "upgrade: x; patching_after: no such file", ["upgrade", "patching_after"]),
    ],
)
def test_their_failure_is_one_of_its_own(result, reason, failed):
    made = after(result, "no such\nfile", **({"reason": "upgrade: x"} if result == "failed" else {}))
    assert (made["result"], made["reason"]) == ("failed", reason)
    assert [each["step"] for each in made["failures"]] == failed
    assert "; ".join(each["cause"] for each in made["failures"]) == reason
