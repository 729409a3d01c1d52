"""Hosts with something wrong or odd about them are refused or survived, with cause and remedy; the peer is patched."""

import pytest

from tests.faults.conftest import results, version
from tests.support import GATEWAY, ask

HOST, PEER = "app1", "db1"
BOTH = {"patching_hosts": f"{HOST}:{PEER}"}

REFUSED = {
    "the mirror is unreachable": (
        f"echo 'Acquire::http::Proxy::{GATEWAY} \"http://{GATEWAY}:9\";' > /etc/apt/apt.conf.d/zz-test",
        "the package lists cannot be refreshed",
        "apt-get update",
    ),
    "the cache is full": ("mount -t tmpfs -o size=10m tmpfs /var/cache/apt", "MB free in /var/cache/apt", "make room"),
    "/boot is full": (
        "mkdir -p /boot && mount -t tmpfs -o size=10m tmpfs /boot && head -c 8000000 /dev/zero > /boot/initrd.img-1",
        "MB free in /boot",
        "make room",
    ),
    "the boot loader's disk is gone": (
        "touch /var/lib/dpkg/info/grub-pc.list;"
        " echo grub-pc grub-pc/install_devices multiselect /dev/disk/by-id/gone | debconf-set-selections",
        "grub-pc would be installed on /dev/disk/by-id/gone",
        "dpkg-reconfigure grub-pc",
    ),
    "python3-apt is missing": (
        "apt-get remove -yqq python3-apt",
        "python3-apt is missing",
        "apt-get install python3-apt",
    ),
    "a shutdown is scheduled": ("shutdown -r +60", "a reboot is scheduled", "shutdown -c"),
    "it is a hypervisor": ("ln -s /bin/true /usr/bin/pveversion", "this is a Proxmox VE host", "nopatch"),
    "its K3s is installed in another way": (
        "mkdir -p /var/lib/rancher/k3s/agent",
        "and no k3s.service or k3s-agent.service",
        "nopatch",
    ),
    "dependencies are broken": (
        "dpkg --force-depends --remove libmodule-find-perl",
        "apt-get cannot work out an upgrade",
        "apt-get --fix-broken install",
    ),
    "its clock is wrong": (
        "mkdir /root/wrong && echo 'import time; now = time.time; time.time = lambda: now() + 3600'"
        " > /root/wrong/sitecustomize.py && mv /usr/bin/python3 /usr/bin/python3.right &&"
        " printf '#!/bin/sh\\nPYTHONPATH=/root/wrong exec /usr/bin/python3.right \"$@\"\\n' > /usr/bin/python3 &&"
        " chmod 755 /usr/bin/python3",
        "its clock is 36",
        "timedatectl set-ntp true",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(small, package, run, case):
    sabotage, reason, remedy = REFUSED[case]
    small(HOST, PEER)
    package("lab-roll", HOST, PEER)
    ask(HOST, sabotage)
    played = run("patch", policy=BOTH)
    assert played.status != 0
    assert results(played) == {HOST: "refused", PEER: "patched"}
    told = played.report["hosts"][HOST]
    assert reason in told["reason"]
    assert remedy in told["remedy"] or remedy in told["reason"]
    assert version(HOST, "lab-roll") == "1.0"


def test_an_upgrade_that_would_remove_something_is_refused(small, package, run):
    small(HOST, PEER)
    package("lab-other", HOST)
    package("lab-roll", HOST, PEER, new=("--field", "Conflicts=lab-other"))
    played = run("patch", policy=BOTH)
    assert played.status != 0
    assert results(played) == {HOST: "refused", PEER: "patched"}
    assert "would remove lab-other" in played.report["hosts"][HOST]["reason"]
    assert version(HOST, "lab-other") == "1.0"


SURVIVED = {
    "needrestart is missing": (
        "apt-get remove -yqq needrestart",
        "services that run replaced files were not restarted",
    ),
    "another apt holds the lock for a while": (
        'systemd-run -q python3 -c \'import fcntl, time; f = open("/var/lib/dpkg/lock-frontend", "w");'
        " fcntl.lockf(f, fcntl.LOCK_EX); time.sleep(25)'",
        "dpkg is locked by python3",
    ),
    "aptitude is installed": ("ln -s /bin/false /usr/bin/aptitude", ""),
    "the daily updates may reboot it": (
        "echo 'Unattended-Upgrade::Automatic-Reboot \"true\";' > /etc/apt/apt.conf.d/zz-test",
        "Automatic-Reboot is on",
    ),
}


@pytest.mark.parametrize("case", SURVIVED)
def test_survived(small, package, run, case):
    small(HOST)
    package("lab-roll", HOST)
    sabotage, note = SURVIVED[case]
    ask(HOST, sabotage)
    played = run("patch", policy={"patching_hosts": HOST})
    assert played.status == 0
    assert results(played) == {HOST: "patched"}
    assert note in " ".join(played.output.split())
    assert version(HOST, "lab-roll") == "2.0"


def test_a_held_package_is_left_alone_and_said(small, package, run):
    small(HOST)
    package("lab-roll", HOST)
    ask(HOST, "apt-mark hold lab-roll")
    played = run("patch", policy={"patching_hosts": HOST})
    assert played.status == 0
    assert played.report["hosts"][HOST]["kept_back"] == [{"name": "lab-roll", "why": "held"}]
    assert "lab-roll (held)" in played.output
    assert version(HOST, "lab-roll") == "1.0"
    assert ask(HOST, "apt-mark showhold") == "lab-roll"


def test_a_configuration_file_of_the_admin_is_kept(small, package, run):
    small(HOST)
    package("lab-roll", HOST, old=("--conffile", "/etc/lab-roll=old\n"), new=("--conffile", "/etc/lab-roll=new\n"))
    ask(HOST, "echo mine > /etc/lab-roll")
    played = run("patch", policy={"patching_hosts": HOST})
    assert played.status == 0
    assert version(HOST, "lab-roll") == "2.0"
    assert "/etc/lab-roll of lab-roll was changed here and stays as it is" in played.output
    assert ask(HOST, "cat /etc/lab-roll") == "mine"


def test_only_security_updates_where_the_policy_says_so(small, package, run):
    small(HOST)
    package("lab-roll", HOST)
    package("lab-secure", HOST, old=("--suite", "lab-security"), new=("--suite", "lab-security"))
    before = ask(HOST, "apt-mark showmanual")
    played = run("patch", policy={"patching_hosts": HOST, "patching_upgrade": "security"})
    assert played.status == 0
    assert version(HOST, "lab-secure") == "2.0"
    assert version(HOST, "lab-roll") == "1.0"
    assert ask(HOST, "apt-mark showmanual") == before
