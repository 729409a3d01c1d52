"""The monthly run through ansible-runner, as AWX does it: events, artifacts and the summary."""

import json
import os

import ansible_runner
import pytest

from tests.support import BIN, CHECKOUT, check_report, lab, lab_env, pending

HOST = "app1"


@pytest.fixture
def wants_an_update():
    lab("up", timeout=1800)
    lab("reset", HOST)


def test_the_month_as_awx_runs_it(wants_an_update, tmp_path):
    reports, job = tmp_path / "reports", tmp_path / "job"
    job.mkdir()
    runner = ansible_runner.run(
        private_data_dir=str(job),
        project_dir=str(CHECKOUT),
        inventory=str(CHECKOUT / "inventory"),
        playbook="homelab.patching.patch",
        extravars={"patching_hosts": HOST, "patching_report_dir": str(reports)},
        envvars={**lab_env(), "PATH": f"{BIN}:{os.environ['PATH']}"},
        quiet=True,
    )
    print(runner.stdout.read())
    assert (runner.status, runner.rc) == ("successful", 0)
    assert pending(HOST) == []
    events = list(runner.events)
    tasks = {event["event_data"]["task"] for event in events if event["event"] == "runner_on_ok"}
    assert "Claim the host" in tasks
    (stats,) = [event["event_data"] for event in events if event["event"] == "playbook_on_stats"]
    (path,) = reports.glob("*.json")
    report = json.loads(path.read_text())
    check_report(report)
    summary = {name: report[name] for name in ("run", "ok", "counts", "wrong")}
    assert stats["artifact_data"] == {"patching": summary}
    assert summary["counts"] == {"patched": 1}
