"""What a scheduled run says at its end, and that the schedule installs what the collection is tested with."""

import importlib.util
import json
import os
import re
from pathlib import Path

import pytest
import yaml
from ansible_collections.homelab.patching.plugins.plugin_utils import pages

from tests import reports

CHECKOUT = Path(__file__).parents[3]
ROLE = CHECKOUT / "roles" / "patch_schedule"
RUNS = [f"20260{month}01T030000Z-abcd.json" for month in range(1, 6)]


@pytest.fixture
def finish():
    spec = importlib.util.spec_from_file_location("finish", ROLE / "files" / "finish.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def job(finish, tmp_path, monkeypatch):
    """Let a job end; what the command was called with, or None."""
    runtime, folder, told = tmp_path / "runtime", tmp_path / "reports", tmp_path / "told"
    command = tmp_path / "command"
    command.write_text(f'#!/bin/sh\ncat > {told}; echo "$PATCHING_RESULT" >> {told}; exit 3\n')
    command.chmod(0o755)
    for each in (runtime, folder):
        each.mkdir()
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(runtime))

    def end(result, output=None, report=None, notify="failure"):
        monkeypatch.setenv("SERVICE_RESULT", result)
        for name in RUNS[:4]:
            (folder / name).write_text("old")
            os.utime(folder / name, (0, 0))
        if output is not None:
            (runtime / "output").write_text(output)
        if report is not None:
            (folder / RUNS[4]).write_text(json.dumps(report))
        status = finish.main(
            ["job", "--reports", str(folder), "--keep", "2", "--notify", notify, "--command", str(command)]
        )
        assert sorted(path.name for path in folder.iterdir()) == (RUNS[3:] if report else RUNS[2:4])
        assert status == (3 if told.exists() else 0)
        return told.read_text().splitlines() if told.exists() else None

    return end


def test_a_run_with_a_report_is_told_by_it(job):
    host = {"result": "failed", "reason": "no room", "remedy": "make some"}
    lines = job(
        "exit-code", "", {"run": "R", "counts": {"failed": 1, "patched": 2}, "wrong": ["db1"], "hosts": {"db1": host}}
    )
    assert lines[0].startswith("job on ") and lines[0].endswith(": failure")
    assert lines[1:3] == ["Run R: 1 failed, 2 patched", "db1: failed: no room -> make some"]
    assert lines[-1] == "failure"


def test_a_run_without_one_is_told_by_its_errors_or_its_last_lines(job, finish):
    lines = job("exit-code", "TASK [x]\n[ERROR]: no inventory\nother\n")
    assert lines[1] == "[ERROR]: no inventory" and "other" not in lines
    assert finish.of_output("\n".join(str(number) for number in range(100))) == [str(n) for n in range(60, 100)]
    assert finish.of_output("") == []


def test_what_hosts_say_cannot_change_what_a_terminal_shows(job):
    host = {"result": "failed", "reason": "\x1b[2J\nall is well \u202e\x9b", "remedy": ""}
    lines = job("exit-code", "", {"run": "R", "counts": {"failed": 1}, "wrong": ["db1"], "hosts": {"db1": host}})
    assert lines[2] == r"db1: failed: \x1b[2J\nall is well \u202e\x9b"


def test_nor_can_what_a_run_printed(job):
    assert job("exit-code", "[ERROR]: \x1b]0;owned\x07\n")[1] == r"[ERROR]: \x1b]0;owned\x07"


def test_one_that_never_began_is_told(job):
    assert job("exit-code")[1].startswith("All of it: journalctl")


def test_a_good_run_is_told_only_where_that_is_wanted(job):
    assert job("success", "") is None
    assert job("success", "", notify="always")[-1] == "success"


def test_with_an_old_report_goes_its_page_and_its_line_in_the_index(finish, tmp_path):
    for name in RUNS:
        (tmp_path / name).write_text("{}")
        (tmp_path / name).with_suffix(".html").write_text("")
    entries = [pages.entry(name.removesuffix(".json"), reports.good(), True) for name in RUNS[:0:-1]]
    unreadable = pages.unreadable(RUNS[0].removesuffix(".json"), "it ends in the middle")
    (tmp_path / "index.html").write_text(pages.index([*entries, unreadable]))
    finish.thin_out(tmp_path, 2)
    kept = [name.replace("json", ending) for name in RUNS[3:] for ending in ("html", "json")]
    assert sorted(path.name for path in tmp_path.iterdir()) == [*kept, "index.html"]
    index = (tmp_path / "index.html").read_text()
    assert re.findall(r'<a href="([^"]+)"', index) == [name.replace("json", "html") for name in RUNS[:2:-1]]
    assert index == pages.index(entries[:2])
    finish.thin_out(tmp_path, 2)
    assert (tmp_path / "index.html").read_text() == index


def test_the_versions_are_those_that_the_tests_run_with():
    defaults = yaml.safe_load((ROLE / "defaults" / "main.yml").read_text())
    control = (CHECKOUT / "requirements" / "control.txt").read_text().splitlines()
    assert defaults["patch_schedule_python_packages"] == [line for line in control if not line.startswith("#")]
    version = yaml.safe_load((CHECKOUT / "galaxy.yml").read_text())["version"]
    assert defaults["patch_schedule_collection"] == f"homelab.patching:=={version}"
