"""The unit of the upgrade: never stopped before its end, whenever it is looked at."""

import contextlib
import json
import subprocess

import pytest
from ansible_collections.homelab.patching.plugins.module_utils.host import dpkg, system, upgrade

QUEUED = {"ActiveState": "inactive", "SubState": "dead", "Job": "71", "Result": "success", "ExecMainStatus": "0"}
WORKING = {"ActiveState": "activating", "SubState": "start", "Result": "success", "ExecMainStatus": "0"}
DONE = {"ActiveState": "active", "SubState": "exited", "Result": "success", "ExecMainStatus": "0"}
FAILED = {"ActiveState": "failed", "SubState": "failed", "Result": "exit-code", "ExecMainStatus": "100"}
GONE = {"ActiveState": "inactive", "SubState": "dead", "Result": "success", "ExecMainStatus": "0"}


@pytest.fixture
def unit(monkeypatch, tmp_path):
    """The unit is in these states, one after the other; what was done to it."""
    done = []

    def run(argv, **_more):
        done.append(argv[1])
        return subprocess.CompletedProcess(argv, 0, "", "")

    def unit(*states):
        waiting = list(states)
        monkeypatch.setattr(system, "unit", lambda _name: waiting.pop(0) if len(waiting) > 1 else waiting[0])
        return done

    outcome = tmp_path / "upgrade.json"
    outcome.write_text(json.dumps({"run": "run-1", "upgrade": True, "before": {"curl": "1"}}))
    monkeypatch.setattr(system, "OUTCOME", outcome)
    monkeypatch.setattr(system, "locked", contextlib.nullcontext)
    monkeypatch.setattr(system, "run", run)
    monkeypatch.setattr(system, "journal", lambda *_unit: [])
    monkeypatch.setattr(dpkg, "installed_packages", lambda: {"curl": "2"})
    monkeypatch.setattr(upgrade.time, "sleep", lambda _seconds: None)
    return unit


@pytest.mark.parametrize("state", [QUEUED, WORKING])
def test_an_upgrade_at_work_is_not_stopped(unit, state):
    done = unit(state)
    assert upgrade.collect() is None
    assert done == []


def test_one_that_systemd_has_yet_to_start_is_waited_for(unit):
    unit(QUEUED, WORKING, DONE)
    assert upgrade.wait(60) == DONE


@pytest.mark.parametrize(("state", "ok"), [(DONE, True), (FAILED, False), (GONE, False)])
def test_the_outcome_of_one_that_has_ended_is_kept_and_its_name_is_free(unit, state, ok):
    done = unit(state)
    outcome = upgrade.collect()
    assert (outcome["ok"], [each["new"] for each in outcome["installed"]]) == (ok, ["2"])
    assert done == ([] if state is GONE else ["stop", "reset-failed"])
    # A call that was cut off asks again.
    unit(GONE)
    assert upgrade.collect() == outcome
