"""One host's transaction: whose turn a step is, what the outcome is, and whether the host is proved."""

import pytest
from ansible_collections.homelab.patching.plugins.module_utils.core.change import change
from ansible_collections.homelab.patching.plugins.module_utils.run import transaction
from ansible_collections.homelab.patching.plugins.module_utils.run.steps import STEPS

from .assessments import UPDATE, WANTS_REBOOT, host, known, plan

HELD = change("vim", "1", "2", held_by="held")
KEYS = [row.key for row in STEPS]
CALM = {"required": False, "reasons": [], "expected": []}
NODE = [{"step": key, "why": ""} for key in ("claim", "gate", "upgrade", "assess", "settle", "prove")]
SILENT = {"result": {"msg": "Timed out", "timedout": {"period": 300}}, "task": "Upgrade", "again": {"failed": True}}


def entry(policy=None, **changes):
    """A plain host in a plan."""
    return plan({"a": known(policy, **{"pending": [UPDATE], **changes})})["hosts"]["a"]


def answers(**changes):
    """What the steps have registered."""
    empty: dict = {key: {} for key in ("recover", "upgrade", "assess", "drain", "restart services", "prove")}
    return {**empty, "assess": {"host": host()}, "prove": {"host": host()}, **changes}


def taken(planned, **changes):
    """The steps of a host that goes through all, and its record."""
    record, keys = {}, []
    for at, key in enumerate([*KEYS, ""]):
        record = transaction.advance(key, planned, record, answers(**changes), float(at))
        keys += [key] if record["begun"] else []
    return keys, record


@pytest.mark.parametrize(
    ("wanted", "reboot", "upgrades", "why"),
    [
        ("if_required", CALM, True, ""),
        ("if_required", WANTS_REBOOT, False, "asked for by dbus"),
        ("if_required", {**CALM, "expected": ["libc6"]}, True, "expected: libc6"),
        ("if_required", {**CALM, "expected": ["libc6"]}, False, ""),
        ("always", CALM, True, "patching_reboot is always"),
        ("always", CALM, False, ""),
        ("always", WANTS_REBOOT, True, "asked for by dbus"),
        ("never", WANTS_REBOOT, True, ""),
    ],
)
def test_one_rule_says_why_a_host_is_rebooted(wanted, reboot, upgrades, why):
    assert transaction.reboot_why(wanted, reboot, upgrades) == why


@pytest.mark.parametrize(
    ("policy", "asked", "steps"),
    [
        ({}, CALM, ["claim", "upgrade", "assess", "restart services", "prove"]),
        # Nobody expected it.
        ({}, WANTS_REBOOT, ["claim", "upgrade", "assess", "lock", "reboot", "prove"]),
        ({"reboot": "never"}, WANTS_REBOOT, ["claim", "upgrade", "assess", "restart services", "prove"]),
        ({"reboot": "always"}, CALM, ["claim", "upgrade", "assess", "lock", "reboot", "prove"]),
        (
            {"before": "/b.yml", "after": "/a.yml"},
            CALM,
            ["claim", "patching_before", "upgrade", "assess", "restart services", "prove", "patching_after"],
        ),
    ],
)
def test_what_the_host_says_after_the_upgrade_decides(policy, asked, steps):
    keys, record = taken(entry(policy), assess={"host": host(reboot=asked)})
    assert keys == steps
    assert record["result"] == "patched" and list(record["seconds"]) == steps


@pytest.mark.parametrize(
    ("drained", "steps"),
    [
        ({"ready": True}, [*("lock", "drain", "reboot", "restore")]),
        ({"ready": False, "skipped": "a budget"}, ["lock", "drain", "restart services"]),
    ],
)
def test_a_node_is_rebooted_only_if_its_cluster_lets_it_go(drained, steps):
    planned = {**entry(), "steps": NODE}
    keys, record = taken(planned, assess={"host": host(reboot=WANTS_REBOOT)}, drain=drained)
    assert keys == ["claim", "gate", "upgrade", "assess", *steps, "settle", "prove"]
    assert record["reason"] == drained.get("skipped", "")


def test_a_wave_takes_all_steps_that_any_of_its_hosts_may_need():
    hosts = {
        "plain": entry(),
        "hook": entry({"before": "/b.yml"}),
        "node": {**entry(), "steps": NODE},
        "off": {"steps": []},
    }
    plain = ["claim", "upgrade", "assess", "lock", "reboot", "restart services", "prove"]
    assert transaction.walk(hosts, ["plain", "off", "__patching_wave_1"]) == plain
    assert transaction.walk(hosts, ["plain", "hook"]) == ["claim", "patching_before", *plain[1:]]
    node = ["claim", "gate", "upgrade", "assess", "lock", "drain", "reboot", "restart services", "restore", "settle"]
    assert transaction.walk(hosts, ["node"]) == [*node, "prove"]
    assert transaction.walk(hosts, ["off"]) == []


def test_every_step_is_taken_by_some_host():
    walked = transaction.walk({"a": {"steps": [{"step": key} for key in KEYS]}}, ["a"])
    assert walked == KEYS


def test_a_record_says_lost_until_the_transaction_is_over():
    record = {}
    for key in KEYS:
        record = transaction.advance(key, entry(), record, answers(), 1.0)
        assert record["result"] == "lost" or key == "patching_after"
    assert record["result"] == "patched"


def failed(planned, at_step, failure, **changes):
    """The record of a host on which a step has failed, and the steps that it took all the same."""
    record, later = {}, []
    for at, key in enumerate([*KEYS, ""]):
        record = transaction.advance(key, planned, record, answers(**changes), float(at))
        if record["begun"] and record.get("over"):
            later.append(key)
        if record["begun"] and key == at_step:
            record = transaction.fail(record, answers(**changes), failure, at + 0.5)
    return record, later


def failure(msg="broken pipe", **fields):
    return {"result": {"msg": msg, **fields}, "task": "Upgrade", "again": {"skipped": True}}


def test_after_a_failure_only_the_tasks_of_the_user_after_it_run():
    record, later = failed(entry({"after": "/a.yml"}), "upgrade", failure(log=["dpkg: error"]))
    assert (record["result"], record["step"], record["reason"]) == ("failed", "upgrade", "upgrade: broken pipe")
    assert record["log"] == ["dpkg: error"] and [each["step"] for each in record["failures"]] == ["upgrade"]
    assert later == ["patching_after"]


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        ({"reason": "no such file"}, "upgrade: no such file"),
        ({"msg": ""}, "upgrade: Upgrade"),
    ],
)
def test_a_failure_has_words(result, reason):
    record, _later = failed(entry(), "upgrade", {**failure(), "result": result})
    assert record["reason"] == reason


@pytest.mark.parametrize("again", [{"skipped": True}, {"failed": True}, {"unreachable": True}])
def test_a_host_that_did_not_answer_in_time_and_does_not_now_is_lost_and_left_alone(again):
    record, later = failed(entry({"after": "/a.yml"}), "upgrade", {**SILENT, "again": again})
    assert record["result"] == "lost" and later == []


def test_one_that_does_answer_has_failed():
    record, later = failed(entry(), "upgrade", {**SILENT, "again": {"changed": False, "elapsed": 0}})
    assert (record["result"], later) == ("failed", [])


@pytest.mark.parametrize(("at_step", "result"), [("", "patched"), ("prove", "failed")])
def test_a_failure_of_the_tasks_after_it_is_one_and_hides_no_earlier_one(at_step, result):
    planned = entry({"after": "/a.yml"})
    record = {}
    for at, key in enumerate(KEYS):
        record = transaction.advance(key, planned, record, answers(), float(at))
        if record["begun"] and key == at_step:
            record = transaction.fail(record, answers(), failure("x"), at + 0.5)
    assert record["ended"]["result"] == result
    record = transaction.fail(record, answers(), failure("y"), 99.0)
    record = transaction.advance("", planned, record, answers(), 100.0)
    assert record["result"] == "failed"
    assert record["reason"] == ("prove: x; patching_after: y" if at_step else "patching_after: y")


def test_what_was_upgraded_and_what_a_person_should_know_is_in_the_record():
    done = change("curl", "1", "2")
    late = host(reboot=WANTS_REBOOT, starting=["backup.service"])
    _keys, record = taken(
        entry({"reboot": "never"}),
        recover={"installed": [change("dash", "1", "2")], "earlier": "left by run x"},
        upgrade={"installed": [done]},
        prove={"host": late},
        **{"restart services": {"skipped": True}},
    )
    assert [each["name"] for each in record["installed"]] == ["dash", "curl"]
    assert record["result"] == "reboot pending"
    assert record["reason"] == (
        "asked for by dbus; left by run x; needrestart is not installed, so services that run replaced files were not "
        "restarted; still starting: backup.service"
    )
    assert record["kept"]["packages"] == 2


def test_no_host_ends_well_that_is_not_proved_whatever_became_of_its_tasks():
    worse = host(baseline={"failed_units": ["nginx.service"], "listeners": [22]})
    for answer in ({"host": worse}, {"msg": "no python3-apt"}, {}):
        _keys, record = taken(entry(), prove=answer)
        assert (record["result"], record["step"]) == ("failed", "prove")
        assert record["reason"].startswith("prove: ") and [each["step"] for each in record["failures"]] == ["prove"]


@pytest.mark.parametrize(
    ("answer", "is_proved", "sentences"),
    [
        ({"host": host()}, True, []),
        ({"msg": "no python3-apt"}, False, ["it cannot be assessed: no python3-apt"]),
        ({"host": host(starting=["slow.service"])}, False, []),
        (
            {"host": host(baseline={"failed_units": ["nginx.service"], "listeners": [22]})},
            False,
            ["nginx.service has failed since the baseline"],
        ),
        # Waiting for it would not help.
        ({"host": host(pending=[UPDATE, HELD])}, True, ["curl should have been upgraded and is still pending"]),
    ],
)
def test_a_host_is_proved_when_it_is_as_healthy_as_before_and_nothing_is_left(answer, is_proved, sentences):
    before = entry()["before"]
    assert transaction.proved(answer, before) is is_proved
    assert transaction.unproved(answer, before) == sentences
