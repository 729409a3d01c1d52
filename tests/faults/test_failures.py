"""Hosts that go wrong in the middle of a roll: it stops or goes on, and what is red stays red until it is mended.

Most faults share one roll that tolerates them, each on a host of its own, and the runs after it: `tolerated` is that
roll, `stopped` one that does not tolerate, `again` goes over what is still broken, `mended` over what is not any more.
"""

import json

import pytest

from lab.config import GATEWAY
from tests.faults.conftest import at, results, told, version
from tests.support import ask, everywhere, lab, pending, state

DONE, BROKEN, LATER = "app1", "db1", "web1"  # of the roll that stops
STOPPED = ":".join((DONE, BROKEN, LATER))
# Of the roll that goes on; GOOD and WORSE are in a wave of their own after the others.
POSTINST, UNIT, BEFORE, HANGS, CLAIMED, LOCKED, NEVER = "app2", "app3", "app4", "app5", "app6", "app7", "app8"
AFTER, GOOD = "web2", "db2"
LATE = "/run/systemd/system/homelab-patching-upgrade.service.d"
TOLERATED = (POSTINST, UNIT, BEFORE, AFTER, HANGS, CLAIMED, LOCKED, NEVER, GOOD)
ONE_FAILS = ("--postinst", "test ! -e /etc/lab-broken")


@pytest.fixture(scope="module")
def stopped(small, package, run):
    """A roll of three waves whose second host fails."""
    small(DONE, BROKEN, LATER)
    package("lab-stop", DONE, BROKEN, LATER, new=ONE_FAILS)
    ask(BROKEN, "touch /etc/lab-broken")
    return run("patch", policy={"patching_hosts": STOPPED})


@pytest.fixture(scope="module")
def boots():
    """Host -> its boot before the roll that goes on."""
    return {}


@pytest.fixture(scope="module")
def tolerated(small, package, run, boots, tmp_path_factory):
    """A roll over hosts that fail, each in its own way, with a healthy one in the wave after them."""
    small(*TOLERATED)
    package("lab-roll", POSTINST, BEFORE, AFTER, GOOD, new=ONE_FAILS)
    unit = "/etc/systemd/system/lab-unit.service=[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/"
    script = "systemctl daemon-reload; systemctl restart lab-unit.service || true"
    package(
        "lab-unit",
        UNIT,
        old=("--file", unit + "true\n", "--postinst", script),
        new=("--file", unit + "false\n", "--postinst", script),
    )
    ask(POSTINST, "touch /etc/lab-broken")
    # A unit that was failed before the run is nobody's business.
    ask(UNIT, "systemd-run --unit=lab-old --service-type=oneshot /bin/false || true", check=False)
    assert "lab-old" in ask(UNIT, "systemctl --failed --plain --no-legend")
    ask(BEFORE, "touch /etc/lab-refuse")
    everywhere((HANGS, CLAIMED, LOCKED, NEVER), "touch /run/reboot-required")
    boots.update({host: state(host).boot_id for host in TOLERATED})
    # systemd has the upgrade's unit wait for another one, which takes a while longer.
    ask(GOOD, f"mkdir -p {LATE}; printf '[Unit]\nAfter=lab-late.service\n' > {LATE}/late.conf; systemctl daemon-reload")
    waits = "until systemctl show -p Job homelab-patching-upgrade | grep -q Job=[1-9]; do sleep 0.2; done; sleep 4"
    ask(GOOD, f"systemd-run -q --no-block --service-type=oneshot --unit=lab-late timeout 600 sh -c '{waits}'")

    folder = tmp_path_factory.mktemp("tasks")
    before, after, hangs = folder / "before.yml", folder / "after.yml", folder / "hangs.yml"
    before.write_text("- ansible.builtin.command: test ! -e /etc/lab-refuse\n")
    after.write_text("- ansible.builtin.command: touch /root/after\n")
    hangs.write_text("- ansible.builtin.command: sleep 600\n  timeout: 3\n")
    fails = folder / "fails.yml"
    fails.write_text("- ansible.builtin.command: test -e /etc/lab-after\n")
    tasks = {"patching_before": str(before), "patching_after": str(after)}
    spoil = ("shell", CLAIMED, "sh", "-c", "echo x > /var/lib/homelab-patching/claim.json")
    try:
        return run(
            "patch",
            policy={"patching_hosts": ":".join(TOLERATED), "patching_wave_size": 20, "patching_max_failures": 20},
            host_policy={
                UNIT: {"patching_health_timeout": 5},
                BEFORE: tasks,
                AFTER: {"patching_before": str(before), "patching_after": str(fails)},
                HANGS: {"patching_before": str(hangs)},
                LOCKED: {"patching_lock_timeout": 1},
                NEVER: {"patching_reboot": "never"},
                GOOD: {**tasks, "patching_ring": 90},
            },
            moments=[
                at(CLAIMED, "Give the host back", *spoil),
                at(LOCKED, "Assess | What the host needs now", "guest", LOCKED, "lock=backup"),
            ],
        )
    finally:
        lab("guest", LOCKED, "lock=")


@pytest.fixture(scope="module")
def again(stopped, tolerated, run):
    """The next run, with nothing repaired; it tolerates no failure."""
    return run("patch", policy={"patching_hosts": f"{STOPPED}:{UNIT}"})


@pytest.fixture(scope="module")
def mended(again, run):
    """The run after the repair of one host; the other one is accepted as it is."""
    ask(BROKEN, "rm /etc/lab-broken && dpkg --configure -a")
    return run("patch", policy={"patching_hosts": f"{STOPPED}:{UNIT}", "patching_accept": UNIT})


def test_a_failing_postinst_stops_the_roll(stopped):
    assert stopped.status != 0
    assert results(stopped) == {DONE: "patched", BROKEN: "failed", LATER: "not attempted"}
    assert any("lab-stop" in line for line in told(stopped, BROKEN)["log"])
    assert version(LATER, "lab-stop") == "1.0"
    assert state(LATER).leftovers == [] and state(BROKEN).leftovers == []
    assert json.loads(ask(BROKEN, "cat /etc/ansible/facts.d/patching.fact"))["result"] == "failed"
    assert json.loads(ask(DONE, "cat /etc/ansible/facts.d/patching.fact"))["result"] == "patched"


@pytest.mark.parametrize("host", [DONE, LATER])
def test_what_is_pending_after_a_stopped_roll_is_what_the_machine_says(stopped, host):
    assert sorted(item["name"] for item in told(stopped, host)["pending"]) == sorted(pending(host))


def test_a_tolerated_failure_lets_the_roll_go_on_and_is_no_success(tolerated):
    assert tolerated.status != 0
    assert told(tolerated, POSTINST)["result"] == "failed"
    assert told(tolerated, GOOD)["result"] == "patched"
    assert version(GOOD, "lab-roll") == "2.0"
    assert tolerated.report["wrong"] == sorted((POSTINST, UNIT, BEFORE, AFTER, HANGS, CLAIMED, LOCKED))


def test_an_upgrade_that_systemd_starts_late_is_waited_for(tolerated):
    assert told(tolerated, GOOD)["result"] == "patched"
    assert "Finished homelab-patching-upgrade" in ask(GOOD, "journalctl --no-pager -u homelab-patching-upgrade")


def test_a_unit_that_the_upgrade_breaks_is_a_failure_and_one_that_was_broken_is_not(tolerated):
    entry = told(tolerated, UNIT)
    assert entry["result"] == "failed"
    assert entry["reason"] == "prove: lab-unit.service has failed since the baseline"


def test_a_failing_task_of_the_user_before_the_upgrade_is_told_and_nothing_is_upgraded(tolerated):
    entry = told(tolerated, BEFORE)
    assert entry["result"] == "failed"
    assert entry["reason"].startswith("patching_before: ")
    assert version(BEFORE, "lab-roll") == "1.0"


@pytest.mark.parametrize("host", [BEFORE, GOOD])
def test_tasks_of_the_user_after_it_run_in_every_outcome(tolerated, host):
    told(tolerated, host)
    assert ask(host, "ls /root/after")


def test_a_failing_task_of_the_user_after_it_is_a_failure_with_a_remedy_of_its_own(tolerated):
    entry = told(tolerated, AFTER)
    assert (entry["result"], version(AFTER, "lab-roll")) == ("failed", "2.0")
    assert entry["reason"].startswith("patching_after: ") and entry["remedy"] == "mend the task file, then run again"
    assert entry["steps"][1]["name"] == "patching_before" and entry["steps"][-1]["name"] == "patching_after"
    assert state(AFTER).leftovers == []


def test_a_task_that_hangs_is_a_failure_and_the_host_is_given_back(tolerated):
    # The host answers: it is not lost.
    entry = told(tolerated, HANGS)
    assert entry["result"] == "failed"
    assert entry["reason"].startswith("patching_before: ")
    assert state(HANGS).leftovers == []


def test_a_claim_that_cannot_be_given_back_is_told(tolerated):
    entry = told(tolerated, CLAIMED)
    assert entry["result"] == "patched"
    assert "still claimed" in entry["reason"] and "is not JSON" in entry["reason"]
    assert CLAIMED in tolerated.report["wrong"]


def test_nothing_is_rebooted_in_the_middle_of_a_backup(tolerated, boots):
    entry = told(tolerated, LOCKED)
    assert entry["result"] == "failed"
    assert "not rebooted: locked by Proxmox VE (backup)" in entry["reason"]
    # What it says to type next.
    assert entry["remedy"].endswith(f"ansible-playbook homelab.patching.reboot -e patching_hosts={LOCKED}")
    assert state(LOCKED).boot_id == boots[LOCKED]
    assert state(LOCKED).leftovers == []


def test_never_ends_amber_and_reboots_nothing(tolerated, boots):
    assert told(tolerated, NEVER)["result"] == "reboot pending"
    assert NEVER not in tolerated.report["wrong"]
    assert state(NEVER).boot_id == boots[NEVER]


def test_a_postinst_that_is_not_repaired_is_refused_with_the_remedy_and_the_roll_goes_on(again):
    assert again.status != 0
    assert "dpkg --configure -a" in told(again, BROKEN)["remedy"]
    assert results(again) == {DONE: "nothing to do", BROKEN: "refused", LATER: "patched", UNIT: "refused"}
    assert version(LATER, "lab-stop") == "2.0"


def test_a_unit_that_the_last_run_broke_is_refused(again):
    entry = told(again, UNIT)
    assert entry["result"] == "refused"
    assert "lab-unit.service has failed since the baseline" in entry["reason"]


def test_a_repaired_host_is_proved_by_the_next_run(mended):
    assert mended.status == 0
    # Nothing is left to be upgraded on it; that it is as healthy as before is still to be proved.
    assert told(mended, BROKEN)["result"] == "patched"
    assert results(mended) == {DONE: "nothing to do", BROKEN: "patched", LATER: "nothing to do", UNIT: "patched"}
    assert version(BROKEN, "lab-stop") == "2.0"


def test_what_was_accepted_once_stays_accepted(mended, run):
    assert run("patch", policy={"patching_hosts": UNIT}).status == 0


def test_reboot_yml_reboots_what_is_pending_once_and_without_a_mirror(tolerated, run, boots):
    broken = f"mv /etc/apt/sources.list.d /etc/apt/away; echo 'deb http://{GATEWAY}:9/ a b' > /etc/apt/sources.list"
    ask(LOCKED, broken)
    reboot = {
        "policy": {"patching_hosts": f"{LOCKED}:{NEVER}", "patching_wave_size": 2},
        "host_policy": {NEVER: {"patching_reboot": "never"}},
    }
    played = run("reboot", **reboot)
    assert played.status == 0
    assert results(played) == {LOCKED: "patched", NEVER: "patched"}
    after = {host: state(host).boot_id for host in (LOCKED, NEVER)}
    assert after[LOCKED] != boots[LOCKED] and after[NEVER] != boots[NEVER]
    assert results(run("reboot", **reboot)) == {LOCKED: "nothing to do", NEVER: "nothing to do"}
    assert {host: state(host).boot_id for host in (LOCKED, NEVER)} == after
