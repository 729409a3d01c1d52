"""In which waves hosts go, and whether the next one may open."""

import pytest
from ansible_collections.homelab.patching.plugins.module_utils.report import text
from ansible_collections.homelab.patching.plugins.module_utils.run import waves as rolling

from .assessments import MAY_REBOOT, NOW, PLANNED, UPDATE, WANTS_REBOOT, known, plan


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
    made = plan({name: known(policy, pending=[UPDATE]) for name, policy in policies.items()})
    assert made["waves"] == waves
    assert made["sizes"] == [len(wave) + 1 for wave in waves]


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
    assert rolling.may_open(PLANNED, wave, batch, go) is opens


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
    assert rolling.next_go(made, 1, records, 0.0) == {"go": go, "stopped": stopped}


def test_failures_of_earlier_waves_count():
    made = {**PLANNED, "policy": {**PLANNED["policy"], "max_failures": 1}}
    assert rolling.next_go(made, 2, {"a": FAILED, "b": PATCHED}, 0.0)["go"] == 3
    assert rolling.next_go(made, 2, {"a": FAILED, "b": LOST}, 0.0)["go"] == 0


def test_no_wave_opens_after_the_deadline():
    made = plan({"a": known({"until": "04:30"}, pending=[UPDATE])})
    assert made["deadline"] == NOW.timestamp() + 90 * 60
    assert rolling.next_go(made, 0, {}, made["deadline"] - 1)["go"] == 1
    late = rolling.next_go(made, 0, {}, made["deadline"])
    assert late == {"go": 0, "stopped": "no wave opens after 04:30 (patching_until)"}


def test_a_node_of_proxmox_misses_no_more_than_the_policy_allows():
    policy = {"wave_size": 3, "per_node": 1}
    hosts = {
        name: {**known(policy, pending=[UPDATE]), "node": node}
        for name, node in (("a", "pve1"), ("b", "pve1"), ("c", "pve2"), ("d", None), ("e", None))
    }
    assert plan(hosts)["waves"] == [["a", "c", "d"], ["b", "e"]]


def test_who_is_only_rebooted_installs_nothing():
    made = plan({"a": known(pending=[UPDATE], reboot=WANTS_REBOOT)}, mode="reboot")
    assert (made["totals"]["hosts"], made["totals"]["updates"], made["totals"]["security"]) == (1, 0, 0)


def test_totals_and_how_long_a_claim_lasts():
    made = plan({"a": known(pending=[UPDATE], reboot=MAY_REBOOT), "b": known(pending=[UPDATE]), "c": known()})
    assert made["totals"] == {
        **{"hosts": 2, "waves": 2, "updates": 2, "security": 2, "reboots": 1},
        "seconds": (2 + 30 + 3 + 2 + 90 + 15 + 2) + (2 + 30 + 3 + 15 + 15 + 2),
    }
    assert made["claim_seconds"] == 4 * 3600
    assert "2 updates (2 security), up to 1 reboots, in about 4 min at most" in text.plan_lines(made)
    many = plan({f"h{number}": known(pending=[UPDATE] * 50, reboot=MAY_REBOOT) for number in range(60)})
    assert many["claim_seconds"] == 2 * many["totals"]["seconds"] == 2 * 60 * (2 + 30 + 3 + 2 + 90 + 15 + 100)
