"""What a run came to: a result for every host."""

import pytest
from ansible_collections.homelab.patching.plugins.module_utils.core.change import change
from ansible_collections.homelab.patching.plugins.module_utils.report import summary, text
from ansible_collections.homelab.patching.plugins.module_utils.run import record as recording

from tests.reports import check_report
from tests.unit.run.assessments import PLANNED, WANTS_REBOOT, known, plan, record


@pytest.mark.parametrize(
    ("records", "results", "ok"),
    [
        ({"a": record("patched"), "b": record("patched"), "c": record("patched")}, ["patched"] * 3, True),
        ({"a": record("failed", reason="x")}, ["failed", "not attempted", "not attempted"], False),
        ({"a": recording.step({}, "upgrade", 1.0)}, ["lost", "not attempted", "not attempted"], False),
        # A reboot is still pending though the policy did not say never.
        ({"a": record("reboot pending"), "b": record("patched"), "c": record("patched")}, None, False),
    ],
)
def test_summary(records, results, ok):
    end = summary.summarize(PLANNED, records)
    assert end["ok"] is ok
    check_report({**end, "run": "20261123T030000Z-1f2e", "lines": text.report_lines(end)})
    for entry in end["hosts"].values():
        assert bool(entry["remedy"]) is (entry["result"] in summary.RED)
    if results:
        assert [entry["result"] for entry in end["hosts"].values()] == results


def test_a_host_that_is_still_claimed_is_said_and_no_success():
    records = {host: record("patched") for host in ("a", "b", "c")}
    end = summary.summarize(PLANNED, records, "", {"a": None, "b": "systemd does not answer", "c": None})
    assert end["wrong"] == ["b"]
    told = end["hosts"]["b"]
    assert told["result"] == "patched"
    assert "still claimed" in told["reason"] and "systemd does not answer" in told["reason"]
    assert told["remedy"].endswith("ansible-playbook homelab.patching.recover -e patching_hosts=b")


def test_the_updates_of_a_run_are_told_with_what_is_security_in_them():
    held = change("vim", "1", "2", security="2", held_by="held")
    late = change("dash", "1", "2")
    made = plan({"a": known(pending=[change("curl", "1", "3", security="2"), late, held])})
    done = [change("curl", "1", "3"), change("libnew", None, "1"), change("old", "1", None)]
    told = summary.summarize(made, {"a": record("patched", installed=done)})["hosts"]["a"]
    assert told["installed"] == [change("curl", "1", "3", security="2"), *done[1:]]
    assert told["pending"] == [late, held]
    assert [(each["name"], each["closed"], each["new"]) for each in told["security"]] == [("curl", True, "3")]


def test_every_failure_has_its_problem_with_what_to_type():
    failed = record("failed", reason="upgrade: x")
    both = recording.finish_after(recording.step(failed, "patching_after", 20.0), 23.0, "y")
    told = summary.summarize(PLANNED, {"a": both})["hosts"]["a"]
    assert [each["cause"] for each in told["problems"]] == ["upgrade: x", "patching_after: y"]
    assert [each["argv"][0] for each in told["problems"][0]["commands"]] == ["dpkg", "apt-get"]
    assert {each["host"] for each in told["problems"][0]["commands"]} == {"a"}
    assert told["remedy"] == (
        "put the packages in order, then run again, which does the rest; on a: dpkg --audit; "
        "apt-get --fix-broken install; mend the task file, then run again"
    )
    # A host that goes silent afterwards keeps them.
    silent = recording.step(failed, "patching_after", 20.0)
    problems = summary.summarize(PLANNED, {"a": silent})["hosts"]["a"]["problems"]
    assert [each["cause"] for each in problems] == ["upgrade: x", "no answer any more during: patching_after"]


def test_a_pending_reboot_is_well_where_the_policy_says_never():
    made = plan({"a": known({"reboot": "never"}, reboot=WANTS_REBOOT)})
    assert summary.summarize(made, {})["ok"]
