"""The monthly run through ansible-runner, as AWX does it: events, artifacts and the summary."""

import json
import os

import ansible_runner
import pytest

from tests.reports import check_report
from tests.support import BIN, CHECKOUT, ask, lab, lab_env, pending

HOST = "app1"


@pytest.fixture
def wants_an_update():
    """A machine on which nothing but a package of the lab's is pending."""
    lab("up", "--hosts", HOST, timeout=1800)
    lab("reset", "--plain", HOST)
    lab("publish", "lab-runner", "1.0")
    ask(HOST, "apt-get update -qq && apt-get install -yqq lab-runner")
    lab("publish", "lab-runner", "2.0")
    yield
    lab("unpublish", "lab-runner")
    lab("reset", HOST)


@pytest.mark.usefixtures("wants_an_update")
def test_the_month_as_awx_runs_it(tmp_path):
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
    assert ask(HOST, "dpkg-query -W -f '${Version}' lab-runner") == "2.0"
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
