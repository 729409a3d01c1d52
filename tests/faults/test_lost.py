"""Hosts that stop answering, come back late or never, and runs that sleep: asked of the machines."""

import time

from tests.faults.conftest import at, awake, results, version
from tests.support import CHECKOUT, ask, lab, state

BOTH = {
    **{"patching_hosts": "app1:db1", "patching_reconnect_timeout": 5, "patching_reboot_timeout": 15},
    "patch_packages_poll": 5,
}
COUNTED = "echo $2 >> /root/configured"  # a postinst is called as: configure OLD-VERSION


def in_a_while(seconds, *words):
    """A moment that breaks something a little later, while the task is at work."""
    command = " ".join([str(CHECKOUT / "tools" / "lab"), *words])
    return ["sh", "-c", f"(sleep {seconds}; {command}) > /dev/null 2>&1 &"]


def test_cut_off_while_dpkg_works(small, package, run):
    small("app1", "db1")
    package("lab-roll", "app1", "db1", new=("--postinst", f"{COUNTED}; sleep 12"))
    moment = {"host": "app1", "task": "Upgrade", "run": in_a_while(5, "cut", "app1")}
    played = run("patch", policy=BOTH, moments=[moment])
    assert played.status != 0
    assert results(played) == {"app1": "lost", "db1": "not attempted"}
    assert "upgrade" in played.report["hosts"]["app1"]["reason"]
    # Nobody was there, and dpkg went on to its end.
    deadline = time.monotonic() + 30
    while ask("app1", "dpkg-query -W -f '${Version} ${db:Status-Status}' lab-roll") != "2.0 installed":
        assert time.monotonic() < deadline
        time.sleep(1)
    lab("heal", "app1")
    played = run("patch", policy=BOTH)
    assert played.status == 0
    assert results(played) == {"app1": "patched", "db1": "patched"}
    assert [item["name"] for item in played.report["hosts"]["app1"]["packages"]] == ["lab-roll"]
    assert ask("app1", "cat /root/configured") == "1.0"
    assert state("app1").leftovers == []


def test_a_connection_that_is_lost_for_a_while_costs_nothing(small, package, run):
    small("app1")
    package("lab-roll", "app1", new=("--postinst", f"{COUNTED}; sleep 12"))
    cut = {"host": "app1", "task": "Upgrade", "run": in_a_while(5, "cut", "app1")}
    heal = {"host": "app1", "task": "Wait until the host answers again", "run": in_a_while(3, "heal", "app1")}
    policy = {**BOTH, "patching_hosts": "app1", "patching_reconnect_timeout": 60}
    played = run("patch", policy=policy, moments=[cut, heal])
    assert played.status == 0
    assert results(played) == {"app1": "patched"}
    assert ask("app1", "cat /root/configured") == "1.0"


def test_a_host_that_never_comes_back(small, package, run):
    small("app1", "db1")
    package("lab-roll", "app1", "db1", new=("--postinst", "touch /run/reboot-required"))
    played = run(
        "patch", policy=BOTH, moments=[at("app1", "Reboot", "shell", "app1", "systemctl", "disable", "-q", "ssh")]
    )
    assert played.status != 0
    assert results(played) == {"app1": "failed", "db1": "not attempted"}
    assert played.report["hosts"]["app1"]["reason"].startswith("reboot: ")
    assert version("db1", "lab-roll") == "1.0"
    ask("app1", "systemctl enable -q --now ssh")
    once = state("app1").boot_id
    played = run("patch", policy=BOTH)
    assert played.status == 0
    assert results(played) == {"app1": "patched", "db1": "patched"}
    assert state("app1").boot_id == once
    assert state("app1").leftovers == []


def test_a_host_that_takes_its_time_to_go_down(small, package, run):
    small("app1", "db1")
    package("lab-roll", "app1", "db1", new=("--postinst", "touch /run/reboot-required"))
    ask("app1", "systemd-run -q --unit=lab-slow --property='ExecStop=/bin/sleep 40' sleep infinity")
    before = state("app1").boot_id
    played = run("patch", policy=BOTH)
    assert played.status != 0
    assert results(played) == {"app1": "failed", "db1": "not attempted"}
    deadline = time.monotonic() + 90
    while ask("app1", "cat /proc/sys/kernel/random/boot_id", check=False) in ("", before):
        assert time.monotonic() < deadline
        time.sleep(2)
    once = state("app1").boot_id
    played = run("patch", policy=BOTH)
    assert played.status == 0
    assert results(played) == {"app1": "patched", "db1": "patched"}
    assert state("app1").boot_id == once


def test_a_run_that_slept_past_its_claim_touches_nothing_more(small, package, run, asleep):
    small("app1")
    package("lab-roll", "app1", new=("--postinst", "touch /run/reboot-required"))
    first = asleep("app1", "patch_reboot : Reboot", {"patching_hosts": "app1", "patching_claim_seconds": 15})
    time.sleep(16)
    second = run("patch", policy={"patching_hosts": "app1"})
    assert second.status == 0
    once = state("app1").boot_id
    assert "Reboot command failed" in awake(first)
    assert first.returncode != 0
    time.sleep(5)
    assert state("app1").boot_id == once
    assert state("app1").leftovers == []
