"""What a job of the schedule runs: one at a time, and never behind one that hangs for ever."""

import fcntl
import json
import os
import shlex
import subprocess
from pathlib import Path

import jinja2
import pytest

TEMPLATE = Path(__file__).parents[3] / "roles" / "patch_schedule" / "templates" / "run.j2"


@pytest.fixture
def job(tmp_path):
    """The program in a folder with a lock, and an ansible-playbook that says what it was called with."""
    (tmp_path / "lock").touch(0o600)
    program = tmp_path / "venv" / "bin" / "ansible-playbook"
    program.parent.mkdir(parents=True)
    program.write_text('#!/bin/sh\necho "played $*"\necho aside >&2\nexit ${STATUS:-0}\n')
    program.chmod(0o755)
    environment = jinja2.Environment(trim_blocks=True, undefined=jinja2.StrictUndefined)
    environment.filters |= {"quote": shlex.quote, "to_json": json.dumps}
    given = {
        "ansible_managed": "made",
        "patch_schedule_project_dir": str(tmp_path),
        "patch_schedule_inventory": ["inventory/"],
        "patch_schedule_vault_password_file": "",
        "patch_schedule_arguments": ["-v"],
        "__patch_schedule_dir": str(tmp_path),
        "__patch_schedule_hosts": "all",
        "__patch_schedule_report_dir": "reports",
        "__patch_schedule_lock_seconds": 1,
    }
    path = tmp_path / "run"
    path.write_text(environment.from_string(TEMPLATE.read_text()).render(given))

    def run(**env):
        command = ["bash", str(path), "homelab.patching.patch", "--check"]
        env = {**os.environ, "RUNTIME_DIRECTORY": str(tmp_path), **env}
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)
        return done.returncode, (tmp_path / "output").read_text()

    return run


def test_it_plays_with_the_inventory_and_keeps_the_output(job):
    status, output = job()
    assert status == 0
    assert output.startswith("played --inventory inventory/ --extra-vars {")
    assert output.endswith(" -v homelab.patching.patch --check\naside\n")


def test_its_status_is_the_playbooks(job):
    assert job(STATUS="3")[0] == 3


def test_a_job_that_hangs_keeps_the_next_one_away_no_longer_than_its_deadline(job, tmp_path):
    with open(tmp_path / "lock", encoding="utf-8") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        status, output = job()
    assert status != 0
    assert output.startswith("ERROR: another job has not ended within 1 s")
    assert "played" not in output
    assert job()[0] == 0
