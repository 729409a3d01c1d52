"""What stands in the lab's way is said in one line, before anything is started."""

import os
import socket
import subprocess

import pytest

from tests.support import CHECKOUT, lab


@pytest.fixture
def down():
    """No lab, so that what is asked for would have to be started."""
    lab("down")


def refused(**env):
    done = subprocess.run(
        [CHECKOUT / "tools" / "lab", "up"],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode != 0
    assert not os.path.exists("/sys/class/net/hplab0")
    (line,) = [line for line in done.stderr.splitlines() if line.strip()]
    return line


@pytest.mark.usefixtures("down")
def test_the_archive_cannot_be_reached(tmp_path):
    """With the roots in the cache it need not be."""
    archive = "http://127.0.0.1:9/debian"
    line = refused(LAB_ARCHIVE=archive, LAB_SECURITY_ARCHIVE=f"{archive}-security", LAB_CACHE=str(tmp_path))
    assert "127.0.0.1:9" in line
    assert "LAB_ARCHIVE" in line


@pytest.mark.usefixtures("down")
def test_a_port_is_in_use():
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("0.0.0.0", 8006))
        taken.listen()
        assert "8006" in refused()
