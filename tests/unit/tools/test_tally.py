"""What the end of a test-suite says: the levels with their minutes, the slowest tests, and why it is red."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tools import tally

TESTS = """
import pytest

def test_good(): pass
def test_bad(): assert 1 + 1 == 3, "sums are wrong"
@pytest.mark.skip(reason="no moon tonight")
def test_moon(): pass
"""


@dataclass
class Level:
    name: str
    title: str
    log: Path
    status: int = 0
    begun: float = 0.0
    ended: float = 90.0


def pytest_writes(folder, tests):
    """Run a real pytest over these tests; its junit file."""
    (folder / "test_one.py").write_text(tests)
    words = ["-q", "-p", "no:cacheprovider", "--junitxml=some.xml", "test_one.py"]
    # Without plugins, whose imports would take longer than the tests.
    env = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    subprocess.run([sys.executable, "-m", "pytest", *words], cwd=folder, env=env, check=False, capture_output=True)
    return (folder / "some.xml").read_text()


@pytest.fixture(scope="module")
def some(tmp_path_factory):
    return pytest_writes(tmp_path_factory.mktemp("some"), TESTS)


@pytest.fixture
def results(some, tmp_path, monkeypatch):
    """The folder of a suite's results."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "some.xml").write_text(some)
    (tmp_path / "some.log").write_text("\n".join(f"line {number}" for number in range(40)))
    (tmp_path / "other.log").write_text("\n".join(f"word {number}" for number in range(40)))
    return tmp_path


def shown(capsys, results, *levels):
    tally.show(levels, results, 0.5)
    return capsys.readouterr().out


def test_a_red_suite_ends_with_the_test_the_assertion_and_the_logs(results, capsys):
    (results / "failures" / "test-bad").mkdir(parents=True)
    out = shown(capsys, results, Level("some", "Some tests", results / "some.log", status=1))
    end = out[out.index("Failed") :]
    assert "test_one.py::test_bad" in end
    assert "sums are wrong" in end
    assert "failures/test-bad/" in end
    assert "some.log" in end
    # The assertion has said it; the last lines of the log would only hide it.
    assert "line 39" not in end
    assert out.splitlines()[-1] == "1 passed, 1 failed, 1 skipped"


def test_a_level_without_tests_ends_with_the_last_lines_of_its_log(results, capsys):
    out = shown(capsys, results, Level("other", "Other", results / "other.log", status=2))
    assert "Failed: Other" in out
    assert "word 39" in out and "word 20" not in out


def test_a_file_that_cannot_be_collected_is_told_with_the_log(results, capsys):
    pytest_writes(results, "import nothing_of_this_name")
    out = shown(capsys, results, Level("some", "Some tests", results / "some.log", status=2))
    assert "line 39" in out
    assert out.splitlines()[-1] == "0 passed, 1 failed, 0 skipped"


def test_minutes_slowest_tests_and_what_was_left_out_are_shown(results, capsys):
    (results / "ubuntu.skipped").write_text("Ubuntu: no archive here\n")
    out = shown(capsys, results, Level("some", "Some tests", results / "some.log"))
    assert "1.5   0.0  Some tests" in out
    assert "busy for 50%" in out
    assert "test_one.py::test_good" in out[out.index("slowest") :]
    assert "no moon tonight" in out
    assert "Ubuntu: no archive here" in out


def test_a_green_suite_says_nothing_of_failures(results, capsys):
    (results / "some.xml").unlink()
    assert "Failed" not in shown(capsys, results, Level("other", "Other", results / "other.log"))
