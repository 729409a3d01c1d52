"""What a fresh box may lack is said in one line, before anything is started."""

import fcntl
import os
import shutil
import subprocess
import sys

import pytest

from tests.support import CHECKOUT


@pytest.fixture
def checkout(tmp_path):
    """A checkout without a virtual environment."""
    for name in ("Makefile", "galaxy.yml"):
        shutil.copy(CHECKOUT / name, tmp_path)
    for name in ("tools", "lab", "requirements"):
        shutil.copytree(CHECKOUT / name, tmp_path / name)
    return tmp_path


def run(folder, *command, **env):
    # These tests may run below `make test` themselves.
    outside = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(
        command,
        cwd=folder,
        env={**outside, **env},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    return [line for line in done.stderr.splitlines() if "***" not in line]


@pytest.mark.parametrize("target", ["demo", "test"])
@pytest.mark.parametrize("python", ["/bin/false", "/nowhere/python3"])
def test_a_wrong_python(checkout, target, python):
    (line,) = run(checkout, "make", target, f"PYTHON={python}")
    assert "no Python 3.11 to 3.14" in line
    assert python in line
    assert not (checkout / ".venv").exists()


def test_neither_root_nor_sudo(checkout):
    (checkout / ".venv").symlink_to(CHECKOUT / ".venv")
    path = checkout / "path"
    path.mkdir()
    for name in ("bash", "dirname", "env"):
        (path / name).symlink_to(shutil.which(name))
    (path / "id").write_text("#!/bin/sh\necho 1000\n")
    (path / "id").chmod(0o755)
    (line,) = run(checkout, "tools/lab", "up", PATH=str(path))
    assert "run as root, or install sudo" in line


def test_an_unknown_option(checkout):
    *_usage, line = run(checkout, sys.executable, "tools/test.py", "--fast")
    assert "unrecognized arguments: --fast" in line


def test_a_second_suite_in_one_checkout(checkout):
    (checkout / ".build").mkdir()
    with (checkout / ".build" / "test.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write("4711")
        lock.flush()
        (line,) = run(checkout, sys.executable, "tools/test.py", "--check")
    assert line == "make test: pid 4711 is testing this checkout; wait for its end"
