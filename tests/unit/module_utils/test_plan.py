"""Who is patched, in which wave, by which steps; and what a run came to: tables of cases."""

import pytest
from ansible_collections.homelab.patching.plugins.module_utils import _plan, _record, _report
from ansible_collections.homelab.patching.plugins.module_utils._errors import PatchingError

OWNER = {"who": "me@control", "pid": 1, "started": "1", "boot_id": "boot-control", "machine_id": "machine-control"}
POLICY = {"upgrade": "full", "reboot": "if_required", "ring": 50, "apart": [], "wave_size": 1, "max_failures": 0}
UPDATE = {"name": "curl", "old": "1", "new": "2", "origins": [], "security": "2"}
CLAIM = {"run": "other", "owner": OWNER, "expires": 1000}


def host(**changes):
    base = {
        "os": {"pretty": "Debian"},
        "boot_id": "boot-1",
        "machine_id": "machine-1",
        "kernel": {"running": {"release": "6.1", "version": "1"}, "newest": None},
        "upgrades": [],
        "kept_back": [],
        "reboot": {"required": False, "reasons": [], "expected": []},
        "unfit": [],
        "baseline": {"failed_units": [], "listeners": [22]},
        "claim": None,
        "clock": 500,
    }
    return {**base, **changes}


def known(policy=None, **changes):
    return _plan.assessment({**POLICY, **(policy or {})}, {}, {}, {"host": host(**changes)})


def plan(assessments, dead=(), mode="patch"):
    return _plan.make_plan("run-1", OWNER, assessments, set(dead), mode)


WANTS_REBOOT = {"required": True, "reasons": ["asked for by dbus"], "expected": []}
MAY_REBOOT = {"required": False, "reasons": [], "expected": ["libc6 will be upgraded"]}


@pytest.mark.parametrize(
    ("assessment", "mode", "steps"),
    [
        (known(), "patch", []),
        (known(upgrades=[UPDATE]), "patch", ["upgrade"]),
        (known(upgrades=[UPDATE], reboot=MAY_REBOOT), "patch", ["upgrade", "reboot"]),
        (known(upgrades=[UPDATE], reboot=WANTS_REBOOT), "patch", ["upgrade", "reboot"]),
        (known(reboot=WANTS_REBOOT), "patch", ["reboot"]),
        (known({"reboot": "never"}, reboot=WANTS_REBOOT), "patch", []),
        (known({"reboot": "never"}, upgrades=[UPDATE], reboot=MAY_REBOOT), "patch", ["upgrade"]),
        (known({"reboot": "always"}, upgrades=[UPDATE]), "patch", ["upgrade", "reboot"]),
        # "always" means with every upgrade: a second run must not reboot again.
        (known({"reboot": "always"}), "patch", []),
        (known(upgrades=[UPDATE]), "reboot", []),
        (known({"reboot": "never"}, reboot=WANTS_REBOOT), "reboot", ["reboot"]),
        (known(claim=CLAIM, clock=2000), "patch", ["recover"]),
        (known(claim=CLAIM, clock=2000, upgrades=[UPDATE]), "patch", ["recover", "upgrade"]),
        (known(claim={**CLAIM, "run": "dead"}), "patch", ["recover"]),
        (known(claim={**CLAIM, "run": "dead"}, upgrades=[UPDATE]), "recover", ["recover"]),
        (known(claim={**CLAIM, "run": "dead"}, reboot=WANTS_REBOOT), "recover", ["recover", "reboot"]),
        (known(upgrades=[UPDATE], reboot=WANTS_REBOOT), "recover", []),
    ],
)
def test_steps(assessment, mode, steps):
    entry = plan({"web1": assessment}, dead=["dead"], mode=mode)["hosts"]["web1"]
    assert [step["step"] for step in entry["steps"]] == steps


@pytest.mark.parametrize(
    ("assessment", "result", "reason"),
    [
        (known(), "nothing to do", ""),
        (known({"reboot": "never"}, reboot=WANTS_REBOOT), "reboot pending", "asked for by dbus"),
        (known(claim=CLAIM), "refused", "claimed by run other of me@control (pid 1)"),
        (known(boot_id="boot-control"), "refused", "this run works from this machine"),
        (known(unfit=[{"message": "/ is full", "remedy": "make room"}]), "refused", "/ is full"),
        (None, "refused", "it was not assessed"),
        (_plan.assessment(POLICY, {"status": "stopped"}, {}, {}), "powered off", "Proxmox VE says stopped"),
        (_plan.assessment(POLICY, {"lock": "backup"}, {}, {}), "refused", "locked by Proxmox VE (backup)"),
        (_plan.assessment(POLICY, {"address_reason": "no agent"}, {}, {}), "refused", "no address: no agent"),
        (
            _plan.assessment(POLICY, {}, {"unreachable": True, "msg": "timed\nout"}, {"skipped": True}),
            "refused",
            "unreachable: timed out",
        ),
        (_plan.assessment(POLICY, {}, {}, {"failed": True, "msg": "no apt"}), "refused", "no apt"),
    ],
)
def test_hosts_that_are_in_no_wave(assessment, result, reason):
    made = plan({"web1": assessment})
    assert made["waves"] == []
    assert made["hosts"]["web1"]["result"] == result
    assert made["hosts"]["web1"]["reason"] == reason


@pytest.mark.parametrize(
    ("policies", "waves"),
    [
        ({"a": {}, "b": {}, "c": {}}, [["a"], ["b"], ["c"]]),
        ({"a": {"ring": 60}, "b": {"ring": 10}, "c": {}}, [["b"], ["c"], ["a"]]),
        ({"a": {"wave_size": 2}, "b": {"wave_size": 2}, "c": {"wave_size": 2}}, [["a", "b"], ["c"]]),
        # A wave never mixes rings, also where there is room.
        ({"a": {"wave_size": 5, "ring": 10}, "b": {"wave_size": 5}, "c": {"wave_size": 5}}, [["a"], ["b", "c"]]),
        # Two that share a label never meet; the room is used by one that may.
        (
            {
                "dns1": {"wave_size": 2, "apart": ["dns"]},
                "dns2": {"wave_size": 2, "apart": ["dns"]},
                "web": {"wave_size": 2},
            },
            [["dns1", "web"], ["dns2"]],
        ),
    ],
)
def test_waves(policies, waves):
    made = plan({name: known(policy, upgrades=[UPDATE]) for name, policy in policies.items()})
    assert made["waves"] == waves
    assert made["sizes"] == [len(wave) + 1 for wave in waves]


def test_a_refusal_does_not_block_the_others():
    made = plan({"a": known(unfit=[{"message": "x", "remedy": "y"}]), "b": known(upgrades=[UPDATE])})
    assert made["waves"] == [["b"]]


def test_refusing_after_the_download_closes_the_gap():
    made = plan({name: known(upgrades=[UPDATE]) for name in "abc"})
    made = _plan.refuse(made, {"b": {"reason": "no packages", "remedy": ""}})
    assert made["waves"] == [["a"], ["c"]]
    assert made["hosts"]["b"]["result"] == "refused"
    assert [item["name"] for item in _plan.roll(made)] == ["a", "__patching_wave_1", "c", "__patching_wave_2"]


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ({"wave_size": 0}, "patching_wave_size is 0 on a. Use a whole number of at least 1."),
        ({"wave_size": "two"}, "patching_wave_size is 'two' on a. Use a whole number of at least 1."),
        ({"max_failures": -1}, "patching_max_failures is -1 on a. Use a whole number of at least 0."),
        ({"wave_size": True}, "patching_wave_size is True on a. Use a whole number of at least 1."),
        ({"upgrade": "dist"}, "patching_upgrade is 'dist' on a. Use one of: full, security, none."),
        ({"reboot": True}, "patching_reboot is True on a. Use one of: if_required, never, always."),
        ({"ring": "first"}, "patching_ring is 'first' on a. Use a whole number of at least 0."),
        ({"apart": "dns"}, "patching_apart is 'dns' on a. Use a list of labels, such as [dns]."),
    ],
)
def test_wrong_policies_are_refused(policy, message):
    with pytest.raises(PatchingError) as error:
        plan({"a": known(policy, upgrades=[UPDATE])})
    assert str(error.value) == message


def test_two_values_of_a_per_run_policy_are_refused():
    with pytest.raises(PatchingError, match="patching_wave_size has two values in one run: 1 on a, 2 on b"):
        plan({"a": known(), "b": known({"wave_size": 2})})


PLANNED = plan({name: known(upgrades=[UPDATE]) for name in "abc"})
PATCHED, FAILED, LOST = ({"result": result, "step": "upgrade"} for result in ("patched", "failed", "lost"))


@pytest.mark.parametrize(
    ("wave", "batch", "go", "opens"),
    [
        (1, ["a", "__patching_wave_1"], 1, True),
        (2, ["b", "__patching_wave_2"], 2, True),
        (2, ["b", "__patching_wave_2"], 0, False),
        (2, ["b", "__patching_wave_2"], 1, False),
        # A host is missing from the batch, or one too many is in it.
        (2, ["__patching_wave_2"], 2, False),
        (2, ["b", "c", "__patching_wave_2"], 2, False),
        (2, ["b", "__patching_wave_3"], 2, False),
        (4, ["x"], 4, False),
    ],
)
def test_a_wave_opens_only_as_planned(wave, batch, go, opens):
    assert _plan.may_open(PLANNED, wave, batch, go) is opens


@pytest.mark.parametrize(
    ("records", "max_failures", "go"),
    [
        ({"a": PATCHED}, 0, 2),
        ({"a": FAILED}, 0, 0),
        ({"a": LOST}, 0, 0),
        # No record at all: the host never came to begin. That is a lost one too.
        ({}, 0, 0),
        ({"a": FAILED}, 1, 2),
    ],
)
def test_the_next_wave_opens_only_if_all_is_accounted_for(records, max_failures, go):
    made = {**PLANNED, "policy": {**PLANNED["policy"], "max_failures": max_failures}}
    assert _plan.next_go(made, 1, records) == go


def test_failures_of_earlier_waves_count():
    made = {**PLANNED, "policy": {**PLANNED["policy"], "max_failures": 1}}
    assert _plan.next_go(made, 2, {"a": FAILED, "b": PATCHED}) == 3
    assert _plan.next_go(made, 2, {"a": FAILED, "b": LOST}) == 0


def record(result, **fields):
    begun = _record.step(_record.step({}, "claim", 10.0), "upgrade", 12.0)
    return _record.finish(begun, result, 20.0, **fields)


def test_a_record_adds_its_seconds_up():
    assert record("patched")["seconds"] == {"claim": 2.0, "upgrade": 8.0}


@pytest.mark.parametrize(
    ("records", "results", "ok"),
    [
        ({"a": record("patched"), "b": record("patched"), "c": record("patched")}, ["patched"] * 3, True),
        ({"a": record("failed", reason="x")}, ["failed", "not attempted", "not attempted"], False),
        ({"a": _record.step({}, "upgrade", 1.0)}, ["lost", "not attempted", "not attempted"], False),
        # A reboot is still pending though the policy did not say never.
        ({"a": record("reboot pending"), "b": record("patched"), "c": record("patched")}, None, False),
    ],
)
def test_summary(records, results, ok):
    end = _report.summarize(PLANNED, records)
    assert end["ok"] is ok
    if results:
        assert [entry["result"] for entry in end["hosts"].values()] == results


def test_a_pending_reboot_is_well_where_the_policy_says_never():
    made = plan({"a": known({"reboot": "never"}, reboot=WANTS_REBOOT)})
    assert _report.summarize(made, {})["ok"]


@pytest.mark.parametrize("width_of", [_plan.lines(PLANNED), _report.lines(_report.summarize(PLANNED, {}))])
def test_tables_fit_100_columns(width_of):
    assert max(len(line) for line in width_of) <= 100
