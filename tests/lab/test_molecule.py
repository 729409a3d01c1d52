"""Roles and playbooks that have to succeed: each Molecule scenario, on this worker's lab."""

import json
import os
import subprocess

import pytest

from lab.system import die_with_parent
from tests.support import BIN, CHECKOUT, lab

SCENARIOS = sorted(path.parent.name for path in CHECKOUT.glob("molecule/*/molecule.yml"))
UBUNTU = {"LAB_DISTRO": "ubuntu-24.04", "LAB_NUMBER": "9"}


def molecule(scenario: str, **env: str) -> None:
    """Run all steps of a scenario."""
    done = subprocess.run(
        [CHECKOUT / "tools" / "molecule", "test", "--scenario-name", scenario],
        cwd=CHECKOUT,
        env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", **env},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        preexec_fn=die_with_parent,
    )
    print(done.stdout, done.stderr)
    assert done.returncode == 0


@pytest.fixture
def only_its_machines():
    """Machines that other tests have asked for are no part of a scenario."""
    lab("up", timeout=1800)
    started = ("web1", "db1", "app1")
    others = [host["name"] for host in json.loads(lab("status", "--json"))["hosts"] if host["name"] not in started]
    if others:
        lab("remove", *others)


@pytest.mark.usefixtures("only_its_machines")
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_scenario(scenario):
    molecule(scenario)


def test_the_daily_policy_on_real_ubuntu_hosts():
    check = [CHECKOUT / "tools" / "lab", "check"]
    done = subprocess.run(check, env={**os.environ, **UBUNTU}, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(done.stderr.strip())
    try:
        molecule("unattended_upgrades", **UBUNTU)
    finally:
        subprocess.run([CHECKOUT / "tools" / "lab", "down"], env={**os.environ, **UBUNTU}, check=True)
