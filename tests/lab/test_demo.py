"""What the README's first command does to the machines, asked from outside."""

import json
import subprocess

import pytest

from tests.support import CHECKOUT, lab, pending, state

HOSTS = ("web1", "db1", "app1")


def demo(*words: str) -> str:
    done = subprocess.run(
        ["make", "demo", *words], cwd=CHECKOUT, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    print(done.stdout, done.stderr)
    assert done.returncode == 0
    return done.stdout


@pytest.fixture(scope="module", autouse=True)
def only_these():
    """Machines that other tests have asked for are no part of the demo."""
    lab("up", timeout=1800)
    others = [host["name"] for host in json.loads(lab("status", "--json"))["hosts"] if host["name"] not in HOSTS]
    if others:
        lab("remove", *others)


@pytest.fixture(scope="module")
def first():
    """The machines after `make demo FRESH=1`."""
    return demo("FRESH=1")


def test_the_plan_is_shown_before_anything_is_touched(first):
    assert first.index("Plan of run") < first.index("Claim the host") < first.index("Report of run")


@pytest.mark.usefixtures("first")
@pytest.mark.parametrize("host", HOSTS)
def test_every_machine_is_patched(host):
    assert pending(host) == []
    assert not state(host).wants_reboot
    assert state(host).leftovers == []


@pytest.mark.usefixtures("first")
def test_again_it_changes_nothing_and_reboots_nothing():
    before = {host: state(host) for host in HOSTS}
    again = demo()
    assert "3 nothing to do; all is well" in again
    assert {host: state(host) for host in HOSTS} == before
