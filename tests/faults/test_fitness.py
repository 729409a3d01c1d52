"""Hosts with something wrong or odd about them: one roll refuses them, with cause and remedy, one survives them.

Each host of a roll has a case of its own; the test of the case asks that host.
"""

import pytest

from lab.config import GATEWAY
from tests.faults.conftest import at, said, told, version
from tests.support import ask, lab

# Case: (host, what breaks it, the reason, the remedy).
REFUSED = {
    "the mirror is unreachable": (
        "app1",
        f"echo 'Acquire::http::Proxy::{GATEWAY} \"http://{GATEWAY}:9\";' > /etc/apt/apt.conf.d/zz-test",
        "the package lists cannot be refreshed",
        "apt-get update",
    ),
    "the cache is full": (
        "app2",
        "mount -t tmpfs -o size=10m tmpfs /var/cache/apt",
        "MB free in /var/cache/apt",
        "make room",
    ),
    "/boot is full": (
        "app3",
        "mkdir -p /boot && mount -t tmpfs -o size=10m tmpfs /boot && head -c 8000000 /dev/zero > /boot/initrd.img-1",
        "MB free in /boot",
        "make room",
    ),
    "the boot loader's disk is gone": (
        "app4",
        "touch /var/lib/dpkg/info/grub-pc.list;"
        " echo grub-pc grub-pc/install_devices multiselect /dev/disk/by-id/gone | debconf-set-selections",
        "grub-pc would be installed on /dev/disk/by-id/gone",
        "dpkg-reconfigure grub-pc",
    ),
    "python3-apt is missing": (
        "app5",
        "apt-get remove -yqq python3-apt",
        "python3-apt is missing",
        "apt-get install python3-apt",
    ),
    "a shutdown is scheduled": ("app6", "shutdown -r +60", "a reboot is scheduled", "shutdown -c"),
    "it is a hypervisor": ("app7", "ln -s /bin/true /usr/bin/pveversion", "this is a Proxmox VE host", "nopatch"),
    "its K3s is installed in another way": (
        "app8",
        "mkdir -p /var/lib/rancher/k3s/agent",
        "and no k3s.service or k3s-agent.service",
        "nopatch",
    ),
    "dependencies are broken": (
        "db3",
        "dpkg --force-depends --remove libmodule-find-perl",
        "apt-get cannot work out an upgrade",
        "apt-get --fix-broken install",
    ),
    "its clock is wrong": (
        "db4",
        "mkdir /root/wrong && echo 'import time; now = time.time; time.time = lambda: now() + 3600'"
        " > /root/wrong/sitecustomize.py && mv /usr/bin/python3 /usr/bin/python3.right &&"
        " printf '#!/bin/sh\\nPYTHONPATH=/root/wrong exec /usr/bin/python3.right \"$@\"\\n' > /usr/bin/python3 &&"
        " chmod 755 /usr/bin/python3",
        "its clock is 36",
        "timedatectl set-ntp true",
    ),
    "the upgrade would remove something": ("web2", "true", "would remove lab-other", "apt-get --simulate dist-upgrade"),
    "apt-get is missing": ("web3", "mv /usr/bin/apt-get /usr/bin/apt-get.away", "apt-get is not on this host", ""),
    "a backup is at work": ("db2", "true", "locked by Proxmox VE (backup)", "wait until the task has ended"),
    "it does not answer": ("db1", "true", "unreachable", "ansible -m ping"),
}
HEALTHY = "web1"
ROLL = {"patching_wave_size": 20, "patching_max_failures": 20}


@pytest.fixture(scope="module")
def refused(small, package, run):
    """The roll over all hosts that have to be refused, and a healthy one."""
    hosts = [HEALTHY, *(host for host, *_rest in REFUSED.values())]
    small(*hosts)
    package("lab-other", "web2")
    package("lab-roll", *hosts, new=("--field", "Conflicts=lab-other"))
    for host, sabotage, _reason, _remedy in REFUSED.values():
        ask(host, sabotage)
    lab("guest", "db2", "lock=backup")
    lab("cut", "db1")
    return run("patch", policy={**ROLL, "patching_hosts": ":".join(hosts)})


@pytest.mark.parametrize("case", REFUSED)
def test_refused(refused, case):
    host, _sabotage, reason, remedy = REFUSED[case]
    entry = told(refused, host)
    assert entry["result"] == "refused"
    assert host in refused.report["wrong"]
    assert reason in entry["reason"]
    assert remedy in entry["remedy"] or remedy in entry["reason"]
    assert version(host, "lab-roll") == "1.0"


def test_what_would_be_removed_is_still_there(refused):
    assert version("web2", "lab-other") == "1.0"


def test_the_healthy_host_among_refused_ones_is_patched_and_the_run_is_red(refused):
    assert refused.status != 0
    assert told(refused, HEALTHY)["result"] == "patched"
    assert version(HEALTHY, "lab-roll") == "2.0"


# Holds dpkg's lock until somebody has waited for it.
HOLDER = """
import fcntl, subprocess, time
f = open("/var/lib/dpkg/lock-frontend", "w")
fcntl.lockf(f, fcntl.LOCK_EX)
open("/run/lab-held", "w")
while subprocess.run(["pgrep", "-f", "^apt-get --yes"], stdout=subprocess.DEVNULL).returncode:
    time.sleep(0.5)
time.sleep(2)
"""
# Case: (host, what is odd about it, what is said of it).
SURVIVED = {
    "needrestart is missing": (
        "app2",
        "apt-get remove -yqq needrestart",
        "services that run replaced files were not restarted",
    ),
    "another apt holds the lock for a while": (
        "app3",
        f"cat > /root/holder.py <<'END'\n{HOLDER}\nEND\n"
        "systemd-run -q python3 /root/holder.py; until test -e /run/lab-held; do sleep 0.1; done",
        "dpkg is locked by python3",
    ),
    "aptitude is installed": ("app4", "ln -s /bin/false /usr/bin/aptitude", ""),
    "the daily updates may reboot it": (
        "app5",
        "echo 'Unattended-Upgrade::Automatic-Reboot \"true\";' > /etc/apt/apt.conf.d/zz-test",
        "Automatic-Reboot is on",
    ),
}
HELD, ADMINS, SECURE, EXCLUDED, OFF, REBOOTED = "app6", "app7", "app8", "db2", "db1", "app1"
SKIPPED = "journalctl --unit apt-daily.service --output cat | grep -c 'Skipped due to' || true"


@pytest.fixture(scope="module")
def survived(small, package, run):
    """The roll over all hosts with something odd about them that does not go wrong."""
    plain = [*(host for host, *_rest in SURVIVED.values()), HELD, SECURE, EXCLUDED]
    hosts = [*plain, ADMINS, OFF, REBOOTED]
    small(*hosts)
    package("lab-roll", *plain)
    package("lab-conf", ADMINS, old=("--conffile", "/etc/lab-conf=old\n"), new=("--conffile", "/etc/lab-conf=new\n"))
    package("lab-secure", SECURE, old=("--suite", "lab-security"), new=("--suite", "lab-security"))
    for host, sabotage, _note in SURVIVED.values():
        ask(host, sabotage)
    ask(HELD, "apt-mark hold lab-roll")
    ask(ADMINS, "echo mine > /etc/lab-conf")
    ask(SECURE, "apt-mark showmanual > /root/manual")
    ask(REBOOTED, "touch /run/reboot-required")
    lab("stop", OFF)
    return run(
        "patch",
        policy={**ROLL, "patching_hosts": ":".join(hosts)},
        host_policy={
            SECURE: {"patching_upgrade": "security"},
            EXCLUDED: {"patching_exclude_packages": ["lab-roll"]},
        },
        moments=[at(REBOOTED, "Reboot", "shell", REBOOTED, "systemctl", "start", "apt-daily.service")],
    )


def test_nothing_of_it_makes_the_run_red(survived):
    assert survived.status == 0
    assert survived.report["wrong"] == []


@pytest.mark.parametrize("case", SURVIVED)
def test_survived(survived, case):
    host, _sabotage, note = SURVIVED[case]
    entry = told(survived, host)
    assert entry["result"] == "patched"
    assert note in " ".join(said(survived, host).split())
    assert version(host, "lab-roll") == "2.0"


def held(entry):
    """What the upgrade of a host left as it was."""
    return {each["name"]: (each["old"], each["new"], each["held_by"]) for each in entry["pending"] if each["held_by"]}


def test_a_held_package_is_left_alone_and_said(survived):
    entry = told(survived, HELD)
    assert held(entry) == {"lab-roll": ("1.0", "2.0", "held")}
    assert "lab-roll (held)" in said(survived, HELD)
    assert version(HELD, "lab-roll") == "1.0"
    assert ask(HELD, "apt-mark showhold") == "lab-roll"


def test_a_configuration_file_of_the_admin_is_kept(survived):
    assert told(survived, ADMINS)["result"] == "patched"
    assert version(ADMINS, "lab-conf") == "2.0"
    assert "/etc/lab-conf of lab-conf was changed here and stays as it is" in said(survived, ADMINS)
    assert ask(ADMINS, "cat /etc/lab-conf") == "mine"


def test_only_security_updates_where_the_policy_says_so(survived):
    assert told(survived, SECURE)["result"] == "patched"
    assert version(SECURE, "lab-secure") == "2.0"
    assert version(SECURE, "lab-roll") == "1.0"
    assert ask(SECURE, "apt-mark showmanual") == ask(SECURE, "cat /root/manual")


def test_an_excluded_package_is_left_alone_and_said(survived):
    entry = told(survived, EXCLUDED)
    assert held(entry) == {"lab-roll": ("1.0", "2.0", "excluded by patching_exclude_packages")}
    assert version(EXCLUDED, "lab-roll") == "1.0"


def test_a_host_that_is_off_is_listed_and_not_red(survived):
    assert told(survived, OFF)["result"] == "powered off"


def test_the_daily_updates_are_off_while_a_host_is_claimed_and_on_again_after_it(survived):
    assert told(survived, REBOOTED)["result"] == "patched"
    # One was started before the reboot; its timer may have started others.
    skipped = int(ask(REBOOTED, SKIPPED))
    assert skipped >= 1
    ask(REBOOTED, "systemctl start apt-daily.service")
    assert int(ask(REBOOTED, SKIPPED)) == skipped
