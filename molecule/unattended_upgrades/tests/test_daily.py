"""The machines under the daily policy, asked what they really do: unattended-upgrade is let run."""

import json
import os
from functools import cache
from pathlib import Path

import pytest

from tests.daily import ARCHIVES, HOSTS, OLD_KERNELS, REAL, SECURITY_ORIGIN, UBUNTU, own_security_package
from tests.support import administrator, ask

BEFORE = json.loads((Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "before.json").read_text())


every = pytest.mark.parametrize("name", HOSTS)
real = pytest.mark.parametrize("name", REAL)
ubuntu = pytest.mark.parametrize("name", UBUNTU)


def services(name):
    """Service -> main process."""
    shown = ask(name, "systemctl show -p Id,MainPID '*.service' --state=running | paste -sd' ' | sed 's/  */\\n/g'")
    pairs, last = {}, None
    for line in shown.splitlines():
        key, _equals, value = line.partition("=")
        if key == "MainPID":
            last = value
        elif key == "Id":
            pairs[value] = last
    # A login that ends takes its own along; libc6's own script re-executes systemd, which takes journald along.
    return {
        service: pid
        for service, pid in pairs.items()
        if not service.startswith("user@") and service != "systemd-journald.service"
    }


@cache
def ran(name):
    """What unattended-upgrade says when it is really run, once a machine; and the services before it and after it."""
    # As by the daily service: nobody at a terminal.
    before = services(name)
    said = ask(name, "unattended-upgrade -v </dev/null 2>&1; echo status $?")
    return said, before, services(name)


@pytest.fixture(scope="module", autouse=True)
def all_ran():
    """All tests look at machines on which it has run."""
    for name in HOSTS:
        ran(name)


def version(name, package):
    return ask(name, f"dpkg-query -W -f '${{Version}}' {package}")


@every
def test_updates_were_pending_before(name):
    """Otherwise this scenario proves nothing."""
    assert "lab-daily-foreign" in BEFORE[name]["pending"]
    if name in REAL:
        assert own_security_package(name) in BEFORE[name]["security"]


@every
def test_it_runs_well(name):
    assert ran(name)[0].endswith("status 0")


@real
def test_security_updates_of_the_distribution_are_installed(name):
    """Those of the played archive, and whatever the real one has today."""
    for package in BEFORE[name]["security"]:
        full = package if package in BEFORE[name]["packages"] else f"{package}:{ask(name, 'dpkg --print-architecture')}"
        assert version(name, package) != BEFORE[name]["packages"][full]
    assert SECURITY_ORIGIN not in ask(name, "apt-get -s dist-upgrade | grep '^Inst' || true")


@every
def test_an_origin_that_is_not_allowed_is_left_alone(name):
    assert version(name, "lab-daily-foreign") == "1.0"


@every
def test_an_extra_origin_is_taken(name):
    assert version(name, "lab-daily-extra") == "2.0"


@every
def test_a_blacklisted_package_is_left_alone(name):
    assert version(name, "lab-daily-black") == "1.0"


@ubuntu
def test_ubuntu_takes_release_security_and_esm_and_not_updates(name):
    wanted = {package: "1.0" if archive == "noble-updates" else "2.0" for archive, (_o, package) in ARCHIVES.items()}
    assert {package: version(name, package) for package in wanted} == wanted
    allowed = next(line for line in ran(name)[0].splitlines() if line.startswith("Allowed origins are:"))
    # The host's own file had allowed that one.
    assert "proposed" not in allowed


@every
def test_ubuntu_pro_finds_its_list(name):
    """It looks at Allowed-Origins alone; on Debian that list is empty."""
    dump = ask(name, "apt-config dump Unattended-Upgrade::Allowed-Origins")
    assert ("${distro_id}ESM:${distro_codename}-infra-security" in dump) == (name in UBUNTU)


@every
def test_options_are_in_force(name):
    dump = administrator(name).check_output("apt-config dump")
    for line in (
        'APT::Periodic::Enable "1";',
        'APT::Periodic::Unattended-Upgrade "1";',
        'DPkg::Lock::Timeout "600";',
        'Unattended-Upgrade::Automatic-Reboot "false";',
        'Unattended-Upgrade::OnlyOnACPower "false";',
        'Acquire::http::Dl-Limit "100000";',
    ):
        assert line in dump.splitlines()


@every
def test_apt_get_check_waits_for_the_lock(name):
    """The daily script begins with it; without waiting it would end there."""
    held = (
        "python3 -c 'import apt_pkg, time; apt_pkg.init(); apt_pkg.pkgsystem_lock(); time.sleep(4)' & sleep 1;"
        " begun=$(date +%s); apt-get check -qq; status=$?; echo $status $(($(date +%s) - begun)); wait"
    )
    status, seconds = ask(name, held).split()
    assert status == "0"
    assert int(seconds) >= 2


def following(name):
    """When the next daily run begins."""
    return ask(name, "TZ=UTC systemctl show -p NextElapseUSecRealtime apt-daily-upgrade.timer")


@every
def test_timers_run_at_their_times(name):
    host = administrator(name)
    for timer, hour in (("apt-daily.timer", 1), ("apt-daily-upgrade.timer", 2)):
        assert host.service(timer).is_enabled
        assert host.service(timer).is_running
        calendar = host.check_output(f"systemctl show -p TimersCalendar {timer}")
        assert f"*-01-01 0{hour}:00:00" in calendar
        assert "06:00" not in calendar and "18:00" not in calendar


def test_each_host_has_a_delay_of_its_own_that_stays():
    times = {name: following(name) for name in HOSTS}
    assert len(set(times.values())) == len(HOSTS)
    for name in HOSTS:
        ask(name, "systemctl restart apt-daily-upgrade.timer")
    assert {name: following(name) for name in HOSTS} == times


@every
def test_no_service_is_restarted_in_the_middle(name):
    before, after = ran(name)[1:]
    assert before["ssh.service"]
    restarted = [service for service, pid in before.items() if after.get(service) != pid]
    why = {service: ask(name, f"journalctl -b -o short-precise -n 15 -u {service}") for service in restarted}
    assert not restarted, why


@every
def test_sshd_is_never_restarted_by_needrestart(name):
    # It would have a reason: a library of sshd's is replaced by itself.
    replace = "set -- $(grep -o '/[^ ]*libcrypto[^ ]*' /proc/$(pgrep -o -x sshd)/maps); cp -p $1 $1.new; mv $1.new $1"
    ask(name, replace)
    assert "NEEDRESTART-SVC: ssh" in ask(name, "needrestart -b")
    before = services(name)["ssh.service"]
    ask(name, "needrestart -q -l -r a", check=False)
    assert services(name)["ssh.service"] == before


def test_old_kernels_go_and_the_running_one_stays():
    there = ask("db2", "dpkg-query -W -f '${Package} ${db:Status-Status}\\n' 'linux-image-*'").splitlines()
    assert f"linux-image-{ask('db2', 'uname -r')} installed" in there
    assert f"{OLD_KERNELS[0]} installed" not in there
    assert f"{OLD_KERNELS[-1]} installed" in there


@every
def test_the_daily_service_itself_comes_to_its_end(name):
    ask(name, "rm -f /var/lib/apt/periodic/upgrade-stamp; systemctl start apt-daily-upgrade.service")
    assert ask(name, "ls /var/lib/apt/periodic/upgrade-stamp")


@every
def test_the_files_of_the_package_are_as_they_were(name):
    sums = "grep apt.conf.d /var/lib/ucf/hashfile | grep auto-upgrades | md5sum -c --quiet && echo same"
    assert ask(name, sums) == "same"
