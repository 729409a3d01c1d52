"""The machines after a run with most knobs turned: each knob has done what it is for, and nothing else."""

import json
import os
from pathlib import Path

import pytest

from tests.support import ask, check_report, state

FOLDER = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])
BEFORE = json.loads((FOLDER / "before.json").read_text())
HOSTS = sorted(BEFORE)
# The lab's own, pending everywhere: see prepare.yml. The last one is no security update.
EXCLUDED, WANTED, PLAIN = "lab-knobs-excluded", "lab-knobs-wanted", "lab-knobs-plain"


def span(name):
    """When the user's tasks ran on a machine, before and after: once each."""
    (began,), (ended,) = (ask(name, f"cat /root/knobs-{moment}").split() for moment in ("before", "after"))
    return float(began), float(ended)


def left(name):
    """What apt would still upgrade."""
    simulated = ask(name, "apt-get update -qq; apt-get -s dist-upgrade | grep '^Inst' || true")
    return {line.split()[1] for line in simulated.splitlines()}


def test_updates_were_pending_before():
    """Otherwise this scenario proves nothing."""
    for name in HOSTS:
        assert set(BEFORE[name]["pending"]) == {EXCLUDED, WANTED, PLAIN}


def test_rings_and_labels_keep_their_order():
    assert span("web1")[1] < min(span("app1")[0], span("db1")[0])
    first, second = sorted([span("app1"), span("db1")])
    assert first[1] < second[0]


def test_only_security_updates_where_the_policy_says_so():
    assert left("web1") == {EXCLUDED, PLAIN}


@pytest.mark.parametrize("name", ["app1", "db1"])
def test_everything_else_is_upgraded_but_the_excluded_package(name):
    assert left(name) == {EXCLUDED}


@pytest.mark.parametrize(("name", "rebooted"), [("web1", True), ("app1", True), ("db1", False)])
def test_reboots_as_the_policy_says(name, rebooted):
    assert (state(name).boot_id != BEFORE[name]["boot_id"]) is rebooted


def test_the_reports_are_where_the_user_wants_them():
    reports = [json.loads(path.read_text()) for path in sorted((FOLDER / "reports").glob("*.json"))]
    for report in reports:
        check_report(report)
    results = {name: entry["result"] for name, entry in reports[0]["hosts"].items()}
    assert results == {"app1": "patched", "web1": "patched", "db1": "reboot pending"}
    held = {each["name"]: each["held_by"] for each in reports[0]["hosts"]["app1"]["pending"]}
    assert held[EXCLUDED] == "excluded by patching_exclude_packages"


@pytest.mark.parametrize("name", HOSTS)
def test_nothing_of_the_run_is_left(name):
    assert state(name).leftovers == []
