"""The controller is killed with SIGKILL at a boundary of a run over one host; the next run puts the host right.

By default once at each kind of boundary: claimed, downloaded, upgrading, upgraded, going down, rebooted, given back,
each on a host of its own, and healed by the next run or by a recovery in turns (upgrading: by each of them). With
FULL=1 also before every task, healed both ways. All hosts of one healer are healed by one run.
"""

import json
import os
from dataclasses import dataclass

import pytest

from tests.faults.conftest import WAITS, at, await_boot, said, told
from tests.support import CHECKOUT, Played, State, ask, everywhere, state

FULL = bool(os.environ.get("PATCHING_FULL"))
WANTED = "lab-wanted"
HOSTS = ("app1", "app2", "app3", "app4", "app5", "app6", "app7", "app8")
# Boundary: the task after whose change it lies.
AFTER = {
    "claimed": "Claim the host",
    "downloaded": "Download the packages",
    "upgraded": "patch_packages : Upgrade",
    "rebooted": "patch_reboot : Reboot",
    "given back": "Give the host back",
}
# Boundary: the task that is at work there, and how the host tells.
WITHIN = {
    "upgrading": ("Upgrade", "test -e /run/lab-began"),
    "going down": ("patch_reboot : Reboot", "systemctl is-system-running | grep stopping || ! ls /run/lab-boot"),
}
# What a healer does while an upgrade that the dead run left is still at work.
WAITING = {
    "patch": "Download the packages",
    "recover": "Recover | Wait for its upgrade and finish what dpkg had begun",
}
CASES = {
    ("claimed", "recover"): "app1",
    ("downloaded", "patch"): "app2",
    ("upgrading", "patch"): "app3",
    ("upgrading", "recover"): "app4",
    ("upgraded", "recover"): "app5",
    ("going down", "patch"): "app6",
    ("rebooted", "recover"): "app7",
    ("given back", "patch"): "app8",
}


@dataclass
class Killed:
    """A host before the run that was killed, after it, and after the run that heals."""

    before: State
    left: State
    after: State
    healed: Played


def prepare(small, package, hosts):
    """Make hosts want one update that asks for a reboot; their states."""
    small(*hosts)
    script = f"echo $2 >> /root/configured; touch /run/reboot-required\ntest ! -e /etc/lab-waits || {{\n{WAITS}\n}}"
    package(WANTED, *hosts, new=("--postinst", script))
    return {host: state(host) for host in hosts}


def killed(run, tmp_path, at=-1, policy=None, after=""):
    """One run, killed before the start of a task by its number, or after the change of one by its name; its log."""
    log = tmp_path / f"killer-{at}{after}"
    env = {"ANSIBLE_CALLBACKS_ENABLED": "killer", "KILLER_LOG": str(log), "KILLER_AT": str(at), "KILLER_AFTER": after}
    played = run("patch", policy=policy, env=env)
    return played, [json.loads(line) for line in log.read_text().splitlines()]


def killed_within(run, host, task, condition):
    """One run, killed while a task is at work, as soon as a command succeeds on the host."""
    waits = f"until {CHECKOUT}/tools/lab shell {host} sh -c '{condition}'; do sleep 0.2; done"
    kill = {"host": host, "task": task, "run": ["sh", "-c", f"({waits}; kill -9 $PPID) > /dev/null 2>&1 &"]}
    return run("patch", policy={"patching_hosts": host}, moments=[kill])


def heal(run, healer, hosts, moments=()):
    """The run that heals several hosts at once."""
    policy = {"patching_hosts": ":".join(hosts), "patching_wave_size": len(hosts)}
    return run(healer, policy=policy, moments=moments)


def check(host, healer, seen):
    """Make sure that a host is right again."""
    assert seen.after.leftovers == []
    upgraded = seen.left.packages[WANTED] == "2.0"
    # A recovery finishes what had begun and begins nothing; a run patches as well.
    wanted = "2.0" if healer == "patch" or upgraded else "1.0"
    assert seen.after.packages == {**seen.before.packages, WANTED: wanted}
    assert not seen.after.wants_reboot
    if seen.before.leftovers != seen.left.leftovers:
        assert "left by run" in " ".join(said(seen.healed, host).split())
    # Never rebooted twice: a boot that the killed run had brought about is still the one that runs.
    if seen.left.boot_id != seen.before.boot_id:
        assert seen.after.boot_id == seen.left.boot_id
    # Never installed twice: a postinst is called as: configure OLD-VERSION.
    assert ask(host, "cat /root/configured || true") == ("1.0" if wanted == "2.0" else "")


@pytest.fixture(scope="module")
def cases(small, package, run, tmp_path_factory):
    """Case -> the host that was killed and healed there."""
    before = prepare(small, package, HOSTS)
    everywhere([host for (boundary, _healer), host in CASES.items() if boundary == "upgrading"], "touch /etc/lab-waits")
    everywhere(HOSTS, "touch /run/lab-boot")  # gone in the next boot
    left, after, healed = {}, {}, {}
    for (boundary, _healer), host in CASES.items():
        if boundary in WITHIN:
            played = killed_within(run, host, *WITHIN[boundary])
        else:
            policy = {"patching_hosts": host}
            played, _lines = killed(run, tmp_path_factory.mktemp("killed"), policy=policy, after=AFTER[boundary])
        assert played.status == -9, boundary
        if boundary == "going down":
            await_boot(host, before[host].boot_id)
        left[host] = state(host)
    for healer in ("patch", "recover"):
        hosts = [host for (_boundary, by), host in CASES.items() if by == healer]
        at_work = CASES["upgrading", healer]
        assert ask(at_work, "systemctl is-active homelab-patching-upgrade", check=False) == "activating"
        goes_on = at(at_work, WAITING[healer], "shell", at_work)
        goes_on["run"] += ["sh", "-c", "(sleep 2; touch /run/lab-go-on) > /dev/null 2>&1 &"]
        healed[healer] = heal(run, healer, hosts, moments=(goes_on,))
        after.update({host: state(host) for host in hosts})
    return {
        (boundary, healer): Killed(before[host], left[host], after[host], healed[healer])
        for (boundary, healer), host in CASES.items()
    }


@pytest.mark.parametrize(("boundary", "healer"), CASES)
def test_killed_at_a_boundary_and_healed(cases, boundary, healer):
    host, seen = CASES[boundary, healer], cases[boundary, healer]
    told(seen.healed, host)
    assert seen.healed.status == 0
    check(host, healer, seen)


@pytest.mark.parametrize("healer", ["patch", "recover"])
def test_an_upgrade_that_goes_on_alone_is_waited_for_and_told(cases, healer):
    host, seen = CASES["upgrading", healer], cases["upgrading", healer]
    assert [item["name"] for item in told(seen.healed, host)["installed"]] == [WANTED]


@pytest.mark.skipif(not FULL, reason="takes an hour: make test FULL=1")
@pytest.mark.parametrize("healer", ["patch", "recover"])
def test_killed_before_every_task(small, package, run, tmp_path, healer):
    prepare(small, package, HOSTS[:1])
    played, lines = killed(run, tmp_path, policy={"patching_hosts": HOSTS[0]})
    assert played.status == 0
    starts = [line for line in lines if "start" in line]
    first = next(line["start"] for line in starts if line["task"].endswith("Claim the host"))
    last = max(line["changed"] for line in lines if "changed" in line) + 1
    for begin in range(first, last + 1, len(HOSTS)):
        there = dict(zip(HOSTS, range(begin, last + 1), strict=False))
        before = prepare(small, package, list(there))
        for host, number in there.items():
            played, _lines = killed(run, tmp_path, number, policy={"patching_hosts": host})
            assert played.status == -9
        left = {host: state(host) for host in there}
        healed = heal(run, healer, list(there))
        assert healed.status == 0
        for host, number in there.items():
            print(f"{host} was killed before task {number}, {starts[number]['task']}; then {healer}")
            check(host, healer, Killed(before[host], left[host], state(host), healed))
