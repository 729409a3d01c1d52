"""What a run leaves in the folder of the reports, and that nothing which lies there already spoils it."""

import json
import os
import re
import subprocess

import pytest

from tests import reports
from tests.support import BIN, CHECKOUT, Played

PLAYBOOK = """\
- hosts: localhost
  gather_facts: false
  tasks:
    - homelab.patching.keep_report:
        report: "{{ lookup('ansible.builtin.file', report) | from_json }}"
        folder: "{{ folder }}"
      register: kept
    - ansible.builtin.debug:
        msg: "{{ kept | to_json }}"
"""
FILES = [f"{reports.RUN}.html", f"{reports.RUN}.json", "history.jsonl", "index.html", "patching.prom"]
EARLIER = "20260701T030000Z-000a"


@pytest.fixture
def keep(tmp_path):
    """Keep a report in the folder `kept`."""
    (tmp_path / "play.yml").write_text(PLAYBOOK)

    def kept(report, *arguments):
        (tmp_path / "report").write_text(json.dumps(report))
        given = json.dumps({"report": str(tmp_path / "report"), "folder": str(tmp_path / "kept")})
        done = subprocess.run(
            [BIN / "ansible-playbook", tmp_path / "play.yml", "-e", given, *arguments],
            cwd=CHECKOUT,
            env={**os.environ, "ANSIBLE_NOCOLOR": "1"},
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        return Played(done.returncode, done.stdout + done.stderr, None)

    return kept


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def value(folder, metric):
    return float(re.search(rf"^{metric} (\S+)$", (folder / "patching.prom").read_text(), re.MULTILINE)[1])


def test_a_report_its_page_the_index_and_the_textfile(keep, tmp_path):
    # As a registered result has it: what Ansible puts beside it is no part of the report.
    played = keep({**reports.good(), "changed": False, "failed": False})
    assert played.status == 0 and "The report is kept, but" not in played.output
    reports.check_report(json.loads((tmp_path / "kept" / f"{reports.RUN}.json").read_text()))
    assert names(tmp_path / "kept") == FILES
    for name in set(FILES) - {"history.jsonl"}:
        assert str(tmp_path / "kept" / name) in played.output
    assert json.loads((tmp_path / "kept" / FILES[1]).read_text()) == reports.good()
    assert "All is well" in (tmp_path / "kept" / FILES[0]).read_text()
    assert f'href="{FILES[0]}"' in (tmp_path / "kept" / "index.html").read_text()
    assert value(tmp_path / "kept", "patching_last_success_timestamp_seconds") == reports.good()["ended"]


def test_what_lies_there_spoils_nothing(keep, tmp_path):
    folder = tmp_path / "kept"
    folder.mkdir()
    early = {**reports.early(reports.good()), "run": EARLIER}
    there = {
        EARLIER: json.dumps(early).encode(),
        **{"20260801T030000Z-0001": b'{"schema": 1, "run": ', "20260801T030000Z-0002": b"\xff\x00"},
        **{"20260801T030000Z-0003": b"[]", "20260801T030000Z-0004": b'{"hosts": {"a": 1}}'},
        "20260801T030000Z-0005": json.dumps({**reports.good(), "ended": 1e300}).encode(),
    }
    odd = {"run": "odd", "ok": False, "wrong": ["\udcff"], "counts": {}, "hosts": {"\udcff": {"result": "lost"}}}
    there["20260801T030000Z-0007"] = json.dumps(odd).encode()
    for name, content in there.items():
        (folder / f"{name}.json").write_bytes(content)
    (folder / "20260801T030000Z-0006.json").mkdir()
    (folder / "mine.json").write_text("{}")
    (folder / "patching.prom").write_bytes(b"\xff garbage")
    played = keep(reports.stopped())
    assert played.status == 0 and "The report is kept, but" not in played.output
    index = (folder / "index.html").read_text()
    listed = [reports.RUN, *(f"20260801T030000Z-{number:04}" for number in range(7, 0, -1)), EARLIER]
    assert re.findall(r'data-run="([^"]+)"', index) == listed
    assert index.count("This report cannot be read") == 6 and "All is well" in index and r"Not well: \udcff" in index
    # The last success is that of the early report, at the time that its name tells.
    assert value(folder, "patching_last_success_timestamp_seconds") == 1782874800


def test_the_last_success_outlives_its_report(keep, tmp_path):
    folder = tmp_path / "kept"
    folder.mkdir()
    (folder / "patching.prom").write_text("patching_last_success_timestamp_seconds 1.75e+09\n")
    assert keep(reports.stopped()).status == 0
    assert value(folder, "patching_last_success_timestamp_seconds") == 1.75e9
    assert value(folder, "patching_last_run_timestamp_seconds") == reports.stopped()["ended"]


def test_a_page_that_cannot_be_written_is_a_warning(keep, tmp_path):
    (tmp_path / "kept" / FILES[0]).mkdir(parents=True)
    played = keep(reports.good())
    assert played.status == 0
    assert f"The report is kept, but {FILES[0]} is not: " in " ".join(played.output.split())
    assert set(FILES) <= set(names(tmp_path / "kept"))


def test_check_mode_writes_nothing(keep, tmp_path):
    played = keep(reports.good(), "--check")
    assert played.status == 0 and str(tmp_path / "kept" / "index.html") in played.output
    assert not (tmp_path / "kept").exists()
