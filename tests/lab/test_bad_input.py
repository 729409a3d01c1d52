"""What stands in the lab's way is said in one line, before anything is started, and whether or not a lab is up."""

import os
import re
import socket
import subprocess

import pytest

from lab.config import GATEWAY, NUMBER
from tests.support import CHECKOUT, lab

IP_FREEBIND = 15  # of <linux/in.h>: an address that this machine has not got yet
NOWHERE = "http://127.0.0.1:9"
UBUNTU = {"LAB_DISTRO": "ubuntu-24.04", "LAB_UBUNTU_ARCHIVE": f"{NOWHERE}/ubuntu"}


@pytest.fixture
def down():
    """No lab, so that what is asked for would have to be started."""
    lab("down")


@pytest.fixture
def up():
    """A lab of the usual kind."""
    lab("up", "--hosts", "web1", timeout=1800)


def refused(*words: str, **env: str) -> str:
    """The one line with which a command of the lab is refused."""
    done = subprocess.run(
        [CHECKOUT / "tools" / "lab", *words],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode != 0, done.stdout
    (line,) = [line for line in done.stderr.splitlines() if line.strip()]
    return line


def refused_before_anything_is_made(**env: str) -> str:
    line = refused("up", **env)
    assert not os.path.exists(f"/sys/class/net/hplab{NUMBER}")
    return line


@pytest.mark.usefixtures("down")
def test_the_archive_cannot_be_reached(tmp_path):
    """With the roots in the cache it need not be."""
    archive = f"{NOWHERE}/debian"
    line = refused_before_anything_is_made(
        LAB_ARCHIVE=archive, LAB_SECURITY_ARCHIVE=f"{archive}-security", LAB_CACHE=str(tmp_path)
    )
    assert "127.0.0.1:9" in line
    assert "LAB_ARCHIVE" in line


@pytest.mark.usefixtures("down")
def test_a_port_is_in_use():
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_IP, IP_FREEBIND, 1)
        taken.bind((GATEWAY, 8006))
        taken.listen()
        assert "8006" in refused_before_anything_is_made()


@pytest.mark.parametrize("number", ["x", "10", "-1", "01"])
def test_a_number_that_no_lab_has(number):
    assert refused("check", LAB_NUMBER=number) == f"lab: LAB_NUMBER={number}: a number from 0 to 9 is wanted"


@pytest.mark.usefixtures("down")
@pytest.mark.parametrize("owner", ["x", "0", "99999999"])
def test_an_owner_that_is_no_process(owner):
    assert f"LAB_OWNER={owner}" in refused_before_anything_is_made(LAB_OWNER=owner)


@pytest.mark.usefixtures("down")
def test_check_says_what_this_machine_lacks_for_what_is_asked():
    lab("check")
    assert "ubuntu" in refused("check", **UBUNTU).lower()
    assert "only containerd" in refused("check", LAB_RUNTIME="podman")
    assert refused("check", LAB_PENDING="x") == "lab: LAB_PENDING=x: there are nothing, point-release"


@pytest.mark.usefixtures("up")
@pytest.mark.parametrize("words", [["check"], ["up"]])
def test_a_lab_that_is_up_is_no_answer_to_another_question(words):
    assert "up" in lab("check")
    assert "the lab is up with no LAB_DISTRO" in refused(*words, **UBUNTU)
    assert "the lab is up with no LAB_RUNTIME" in refused(*words, LAB_RUNTIME="containerd")
    other = {"": "nothing", "nothing": "point-release", "point-release": "nothing"}[os.environ.get("LAB_PENDING", "")]
    assert re.match("lab: the lab is up with (no )?LAB_PENDING", refused(*words, LAB_PENDING=other))
