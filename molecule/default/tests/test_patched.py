"""The machines after the monthly run, asked as an administrator asks: patched, rebooted, nothing of the run left."""

import json
import os
from pathlib import Path

import pytest

from tests.support import administrator, state

BEFORE = json.loads((Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "before.json").read_text())


@pytest.fixture(scope="module", params=sorted(BEFORE))
def name(request):
    """The name of a machine."""
    return request.param


@pytest.fixture(scope="module")
def host(name):
    """The machine, as testinfra sees it over ssh."""
    return administrator(name)


def test_updates_were_pending_before(name):
    """Otherwise this scenario proves nothing."""
    assert "lab-fix" in BEFORE[name]["pending"]


def test_every_pending_package_was_upgraded(name, host):
    listed = host.check_output("dpkg-query -W -f '${binary:Package} ${Version} ${db:Status-Status}\n'")
    after = {line.split()[0].partition(":")[0]: line.split()[1:] for line in listed.splitlines()}
    before = {package.partition(":")[0]: version for package, version in BEFORE[name]["packages"].items()}
    for package in BEFORE[name]["pending"]:
        version, status = after[package]
        assert status == "installed"
        assert version != before.get(package)


def test_apt_has_nothing_left_to_upgrade(host):
    assert "\nInst " not in host.check_output("apt-get -s dist-upgrade")


def test_the_machine_wants_no_reboot_any_more_and_was_rebooted_for_it(name, host):
    # Whether an update of Debian wants one is Debian's business; lab-reboot does.
    if "lab-reboot" in BEFORE[name]["pending"]:
        assert host.file("/proc/sys/kernel/random/boot_id").content_string.strip() != BEFORE[name]["boot_id"]
    assert not host.file("/run/reboot-required").exists


def test_everything_runs(host):
    assert host.check_output("systemctl is-system-running") == "running"


def test_automatic_marks_are_as_before(name, host):
    assert host.check_output("apt-mark showmanual").splitlines() == BEFORE[name]["manual"]


def test_nothing_of_the_run_is_left(name):
    assert state(name).leftovers == []
