"""Hosts that stop answering, come back late or never, in the second of three waves of a roll; and the roll after it.

Nobody may be there any more, and still nothing is done twice.
"""

import pytest

from tests.faults.conftest import WAITS, at, await_boot, await_on, told
from tests.support import CHECKOUT, ask, lab, pending, state

FIRST, LATER = "app1", "web1"
# Cut off before the upgrade; in the middle of it; for a while; never back from its reboot; late to go down for it.
SILENT, CUT, BACK, GONE, SLOW = "db1", "app2", "app3", "app4", "app5"
HOSTS = (FIRST, SILENT, CUT, BACK, GONE, SLOW, LATER)
POLICY = {"patching_hosts": ":".join(HOSTS), "patching_wave_size": 5}
LAB = CHECKOUT / "tools" / "lab"


def meanwhile(script):
    """A command for a moment that goes on while the task is at work."""
    return ["sh", "-c", f"({script}) > /dev/null 2>&1 &"]


def cut_at_work(host):
    """The moment that cuts a host off as soon as dpkg is at work there."""
    began = f"timeout 240 {LAB} shell {host} sh -c 'until test -e /run/lab-began; do sleep 0.2; done'"
    return {"host": host, "task": "Upgrade", "run": meanwhile(f"{began}; {LAB} cut {host}")}


@pytest.fixture(scope="module")
def before(small, package):
    """The states of the hosts before the roll, with updates pending."""
    small(*HOSTS)
    package("lab-slow", CUT, BACK, new=("--postinst", f"echo $2 >> /root/configured\n{WAITS}"))
    package("lab-roll", FIRST, SILENT, GONE, SLOW, LATER, new=("--postinst", "touch /run/reboot-required"))
    ask(SLOW, "echo 'until test -e /run/lab-go-on; do sleep 0.5; done' > /root/slow.sh")
    stop = "--property='ExecStop=/bin/sh /root/slow.sh' --property=TimeoutStopSec=900"
    ask(SLOW, f"systemd-run -q --unit=lab-slow {stop} sleep infinity")
    return {host: state(host) for host in HOSTS}


@pytest.fixture(scope="module")
def lost(before, run):
    """The roll in which they get lost."""
    healed = f"sleep 3; {LAB} heal {BACK}; {LAB} shell {BACK} touch /run/lab-go-on"
    return run(
        "patch",
        policy={**POLICY, "patch_packages_poll": 5},
        host_policy={
            FIRST: {"patching_ring": 10},
            **{host: {"patching_reconnect_timeout": 5} for host in (SILENT, CUT)},
            **{host: {"patching_reboot_timeout": 15} for host in (GONE, SLOW)},
            LATER: {"patching_ring": 90},
        },
        moments=[
            at(SILENT, "Upgrade", "cut", SILENT),
            cut_at_work(CUT),
            cut_at_work(BACK),
            {"host": BACK, "task": "Wait until the host answers again", "run": meanwhile(healed)},
            at(GONE, "Reboot", "shell", GONE, "systemctl", "disable", "-q", "ssh"),
        ],
    )


@pytest.fixture(scope="module")
def after(lost):
    """The states of the hosts after it."""
    return {host: state(host) for host in HOSTS}


@pytest.fixture(scope="module")
def once(after, before):
    """The boots of the hosts, which all answer again."""
    # Nobody was there, and dpkg went on to its end.
    ask(CUT, "touch /run/lab-go-on")
    await_on(CUT, 'dpkg-query -W -f "\\${Version} \\${db:Status-Status}" lab-slow | grep -qx "2.0 installed"')
    lab("heal", CUT, SILENT)
    ask(GONE, "systemctl enable -q --now ssh")
    ask(SLOW, "touch /run/lab-go-on")
    await_boot(SLOW, before[SLOW].boot_id)
    return {host: state(host).boot_id for host in HOSTS}


@pytest.fixture(scope="module")
def healed(once, run):
    """The next roll, over the same hosts."""
    return run("patch", policy=POLICY)


def test_the_wave_before_them_was_patched_and_rebooted(lost, before, after):
    assert told(lost, FIRST)["result"] == "patched"
    assert after[FIRST].boot_id != before[FIRST].boot_id


def test_the_wave_after_them_is_not_touched_and_the_roll_is_red(lost, before, after):
    assert lost.status != 0
    assert "Report of run" in lost.output
    assert told(lost, LATER)["result"] == "not attempted"
    assert after[LATER] == before[LATER]


def test_cut_off_before_the_upgrade(lost, before, after):
    assert told(lost, SILENT)["result"] == "lost"
    assert after[SILENT].boot_id == before[SILENT].boot_id


def test_cut_off_while_dpkg_works(lost):
    entry = told(lost, CUT)
    assert entry["result"] == "lost"
    assert "upgrade" in entry["reason"]


def test_a_connection_that_is_lost_for_a_while_costs_nothing(lost):
    assert told(lost, BACK)["result"] == "patched"
    assert ask(BACK, "cat /root/configured") == "1.0"


def test_a_host_that_never_comes_back(lost):
    entry = told(lost, GONE)
    assert entry["result"] == "failed"
    assert entry["reason"].startswith("reboot: ")


def test_a_host_that_takes_its_time_to_go_down(lost):
    assert told(lost, SLOW)["result"] == "failed"


def test_the_next_run_finishes_the_roll(healed):
    assert healed.status == 0
    assert told(healed, FIRST)["result"] == "nothing to do"
    assert told(healed, LATER)["result"] == "patched"
    assert {told(healed, host)["result"] for host in (SILENT, CUT, GONE, SLOW)} == {"patched"}


@pytest.mark.parametrize("host", HOSTS)
def test_nothing_is_left_on_a_host_after_the_next_run(healed, host):
    told(healed, host)
    assert pending(host) == []
    assert state(host).leftovers == []


def test_what_dpkg_did_while_nobody_was_there_is_not_done_again_and_is_told(healed):
    assert [item["name"] for item in told(healed, CUT)["installed"]] == ["lab-slow"]
    assert ask(CUT, "cat /root/configured") == "1.0"


@pytest.mark.parametrize("host", [GONE, SLOW])
def test_a_host_that_rebooted_late_is_not_rebooted_again(healed, before, once, host):
    told(healed, host)
    assert once[host] != before[host].boot_id
    assert state(host).boot_id == once[host]
