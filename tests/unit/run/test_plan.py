"""Who is patched, in which wave, by which steps; and what a run came to: tables of cases."""

import re
from datetime import datetime, timezone
from pathlib import Path

import pytest
from ansible_collections.homelab.patching.plugins.module_utils.core.problem import PatchingError
from ansible_collections.homelab.patching.plugins.module_utils.report import summary
from ansible_collections.homelab.patching.plugins.module_utils.run import plan as planning
from ansible_collections.homelab.patching.plugins.module_utils.run import record as recording
from ansible_collections.homelab.patching.plugins.module_utils.run.policy import NAMES, check_names, deadline

from tests.support import check_report

OWNER = {"who": "me@control", "pid": 1, "started": "1", "boot_id": "boot-control", "machine_id": "machine-control"}
POLICY = {
    **{"upgrade": "full", "reboot": "if_required", "ring": 50, "apart": [], "exclude_packages": []},
    **{"before": "", "after": "", "wave_size": 1, "max_failures": 0, "per_node": 0, "until": None},
    **{"rebuild_image_days": 365, "rebuild_support_days": 90},
}
NOW = datetime(2026, 11, 23, 3, 0, tzinfo=timezone.utc)
UPDATE = {"name": "curl", "old": "1", "new": "2", "origins": [], "security": "2"}
CLAIM = {"run": "other", "owner": OWNER, "expires": 1000}


MACHINES = iter(range(10_000))


def host(**changes):
    base = {
        "os": {"pretty": "Debian"},
        "boot_id": "boot-1",
        "machine_id": f"machine-{next(MACHINES)}",
        "kernel": {"running": {"release": "6.1", "version": "1"}, "newest": None},
        "upgrades": [],
        "kept_back": [],
        "warnings": [],
        "starting": [],
        "reboot": {"required": False, "reasons": [], "expected": []},
        "unfit": [],
        "baseline": {"failed_units": [], "listeners": [22]},
        "claim": None,
        "kept_baseline": None,
        "clock": 500,
    }
    return {**base, **changes}


def known(policy=None, **changes):
    return planning.assessment({**POLICY, **(policy or {})}, {}, {}, {"host": host(**changes)})


def plan(assessments, dead=(), mode="patch", accepted=()):
    return planning.make_plan("run-1", OWNER, assessments, set(dead), NOW, mode, accepted)


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
        (planning.assessment(POLICY, {"status": "stopped"}, {}, {}), "powered off", "Proxmox VE says stopped"),
        (planning.assessment(POLICY, {"lock": "backup"}, {}, {}), "refused", "locked by Proxmox VE (backup)"),
        (planning.assessment(POLICY, {"address_reason": "no agent"}, {}, {}), "refused", "no address: no agent"),
        (
            planning.assessment(POLICY, {}, {"unreachable": True, "msg": "timed\nout"}, {"skipped": True}),
            "refused",
            "unreachable: timed out",
        ),
        (planning.assessment(POLICY, {}, {}, {"failed": True, "msg": "no apt"}), "refused", "no apt"),
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
    made = planning.refuse(made, {"b": {"reason": "no packages", "remedy": ""}})
    assert made["waves"] == [["a"], ["c"]]
    assert made["hosts"]["b"]["result"] == "refused"
    assert [item["name"] for item in planning.roll(made)] == ["a", "__patching_wave_1", "c", "__patching_wave_2"]


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
    assert planning.may_open(PLANNED, wave, batch, go) is opens


@pytest.mark.parametrize(
    ("records", "max_failures", "go", "stopped"),
    [
        ({"a": PATCHED}, 0, 2, ""),
        ({"a": FAILED}, 0, 0, "the roll stopped after a"),
        ({"a": LOST}, 0, 0, "the roll stopped after a"),
        # No record at all: the host never came to begin. That is a lost one too.
        ({}, 0, 0, "the roll stopped after a"),
        ({"a": FAILED}, 1, 2, ""),
    ],
)
def test_the_next_wave_opens_only_if_all_is_accounted_for(records, max_failures, go, stopped):
    made = {**PLANNED, "policy": {**PLANNED["policy"], "max_failures": max_failures}}
    assert planning.next_go(made, 1, records, 0.0) == {"go": go, "stopped": stopped}


def test_failures_of_earlier_waves_count():
    made = {**PLANNED, "policy": {**PLANNED["policy"], "max_failures": 1}}
    assert planning.next_go(made, 2, {"a": FAILED, "b": PATCHED}, 0.0)["go"] == 3
    assert planning.next_go(made, 2, {"a": FAILED, "b": LOST}, 0.0)["go"] == 0


def test_no_wave_opens_after_the_deadline():
    made = plan({"a": known({"until": "04:30"}, upgrades=[UPDATE])})
    assert made["deadline"] == NOW.timestamp() + 90 * 60
    assert planning.next_go(made, 0, {}, made["deadline"] - 1)["go"] == 1
    late = planning.next_go(made, 0, {}, made["deadline"])
    assert late == {"go": 0, "stopped": "no wave opens after 04:30 (patching_until)"}


@pytest.mark.parametrize(
    ("until", "hours"),
    [("04:30", 1.5), ("02:30", -0.5), ("23:00", -4), ("14:59", 11 + 59 / 60), ("15:01", -11 - 59 / 60), (None, None)],
)
def test_the_deadline_is_the_nearest(until, hours):
    found = deadline(until, NOW)
    assert found is None if hours is None else found == pytest.approx(NOW.timestamp() + hours * 3600)


@pytest.mark.parametrize("until", ["24:00", "4.30", 270, "soon"])
def test_a_wrong_deadline_is_refused(until):
    with pytest.raises(PatchingError, match="Use a time of day in quotes"):
        deadline(until, NOW)


BROKEN = {"kept_baseline": {"run": "old", "baseline": {"failed_units": [], "listeners": [22, 80]}}}


def test_what_an_earlier_run_broke_stays_red():
    entry = plan({"a": known(upgrades=[UPDATE], **BROKEN)})["hosts"]["a"]
    assert entry["result"] == "refused"
    assert entry["reason"] == "nothing listens on TCP port 80 any more (run old left it so)"


def test_until_it_is_accepted():
    entry = plan({"a": known(**BROKEN)}, accepted=["a"])["hosts"]["a"]
    assert [step["step"] for step in entry["steps"]] == ["accept"]
    assert entry["before"]["baseline"]["listeners"] == [22]


def test_or_healthy_again():
    healthy = {"failed_units": [], "listeners": [22, 80, 443]}
    entry = plan({"a": known(upgrades=[UPDATE], baseline=healthy, **BROKEN)})["hosts"]["a"]
    assert entry["result"] is None
    assert entry["before"]["baseline"]["listeners"] == [22, 80]


def test_two_hosts_with_one_machine_id_are_refused():
    twin = {"machine_id": "same", "upgrades": [UPDATE]}
    made = plan({"a": known(**twin), "b": known(**twin), "c": known(upgrades=[UPDATE])})
    assert made["waves"] == [["c"]]
    assert made["hosts"]["a"]["reason"] == "it has the machine-id of b"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("patching_wavesize", "Did you mean patching_wave_size?"),
        ("patching_xyzzy", "There are: patching_accept"),
    ],
)
def test_a_variable_that_nothing_reads_is_refused(name, says):
    with pytest.raises(PatchingError, match=f"{name} is set on a, and nothing reads it.*{re.escape(says[:-1])}"):
        check_names("a", [name, "patching_wave_size", "other"])


def test_every_variable_that_a_user_may_set_is_read_somewhere_and_the_other_way_round():
    checkout = Path(__file__).parents[3]
    files = [*checkout.glob("roles/*/defaults/main.yml"), *checkout.glob("playbooks/*.yml")]
    read = {name for path in files for name in re.findall(r"(?<![\w.])patching_[a-z0-9_]+", path.read_text())}
    assert read == set(NAMES)


def record(result, **fields):
    begun = recording.step(recording.step({}, "claim", 10.0), "upgrade", 12.0)
    return recording.finish(begun, result, 20.0, **fields)


def test_a_record_adds_its_seconds_up():
    assert record("patched")["seconds"] == {"claim": 2.0, "upgrade": 8.0}


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
    check_report({**end, "run": "20261123T030000Z-1f2e", "lines": summary.lines(end)})
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


def test_a_pending_reboot_is_well_where_the_policy_says_never():
    made = plan({"a": known({"reboot": "never"}, reboot=WANTS_REBOOT)})
    assert summary.summarize(made, {})["ok"]


@pytest.mark.parametrize("width_of", [planning.lines(PLANNED), summary.lines(summary.summarize(PLANNED, {}))])
def test_tables_fit_100_columns(width_of):
    assert max(len(line) for line in width_of) <= 100


def test_a_node_of_proxmox_misses_no_more_than_the_policy_allows():
    policy = {"wave_size": 3, "per_node": 1}
    hosts = {
        name: {**known(policy, upgrades=[UPDATE]), "node": node}
        for name, node in (("a", "pve1"), ("b", "pve1"), ("c", "pve2"), ("d", None), ("e", None))
    }
    assert plan(hosts)["waves"] == [["a", "c", "d"], ["b", "e"]]


def test_totals_and_how_long_a_claim_lasts():
    made = plan({"a": known(upgrades=[UPDATE], reboot=MAY_REBOOT), "b": known(upgrades=[UPDATE]), "c": known()})
    assert made["totals"] == {
        **{"hosts": 2, "waves": 2, "updates": 2, "security": 2, "reboots": 1},
        "seconds": (30 + 90 + 15 + 2) + (30 + 15 + 2),
    }
    assert made["claim_seconds"] == 4 * 3600
    assert "2 updates (2 security), up to 1 reboots, in about 4 min at most" in planning.lines(made)
    many = plan({f"h{number}": known(upgrades=[UPDATE] * 50, reboot=MAY_REBOOT) for number in range(60)})
    assert many["claim_seconds"] == 2 * many["totals"]["seconds"] == 2 * 60 * (30 + 90 + 15 + 100)


def test_a_host_that_is_healthy_again_ends_the_memory_of_what_was_broken():
    entry = plan({"web1": known(kept_baseline={"run": "old", "baseline": {"failed_units": [], "listeners": [22]}})})[
        "hosts"
    ]["web1"]
    assert [step["step"] for step in entry["steps"]] == ["healthy again"]


def test_the_plan_says_what_is_left_as_it_is_and_what_to_know():
    kept = [{"name": "a", "why": "held"}, {"name": "b", "why": "phased, 10 %: not this host's turn yet"}]
    made = plan(
        {"web1": known(upgrades=[UPDATE], kept_back=[*kept, {"name": "c", "why": "held"}], warnings=["mind it"])}
    )
    notes = planning.lines(made)[-4:]
    assert [" ".join(line.split()) for line in notes] == [
        "Host Note",
        "web1 not upgraded: a, c (held)",
        "web1 not upgraded: b (phased, 10 %: not this host's turn yet)",
        "web1 mind it",
    ]
    # A host that is not in the roll has no note.
    assert planning.lines(plan({"web1": known(kept_back=kept, warnings=["mind it"])}))[-1].startswith("-")


def test_what_proxmox_did_not_tell_is_refused():
    made = planning.assessment(POLICY, {"status": "running", "error": "no answer"}, {}, {"host": host()})
    assert made["state"] == "refused"
    assert "no answer" in made["reason"]
    assert "--flush-cache" in made["remedy"]
