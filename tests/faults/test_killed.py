"""The controller is killed with SIGKILL at every boundary of a run over one host; the next run puts the host right.

By default after every task that changed something, by the next run and by a recovery in turns; with FULL=1 before every
task, by each of them.
"""

import json
import os
from itertools import cycle

import pytest

from tests.support import ask, pending, state

FULL = bool(os.environ.get("PATCHING_FULL"))
HOST, WANTED = "app1", "lab-wanted"
ONLY = {"patching_hosts": HOST}


@pytest.fixture
def prepare(small, package):
    """Makes the host want one update that asks for a reboot."""

    def prepare():
        small(HOST)
        package(WANTED, HOST, new=("--postinst", "touch /run/reboot-required"))
        assert pending(HOST) == [WANTED]
        return state(HOST)

    return prepare


def killed(run, tmp_path, at=-1, policy=None):
    """One run; the lines that the callback wrote."""
    log = tmp_path / f"killer-{at}"
    env = {"ANSIBLE_CALLBACKS_ENABLED": "killer", "KILLER_LOG": str(log), "KILLER_AT": str(at)}
    played = run("patch", policy=policy or ONLY, env=env)
    return played, [json.loads(line) for line in log.read_text().splitlines()]


@pytest.mark.parametrize("healers", [["patch"], ["recover"]] if FULL else [["patch", "recover"]], ids="-".join)
def test_killed_at_every_boundary(prepare, run, tmp_path, healers):
    before = prepare()
    played, lines = killed(run, tmp_path)
    assert played.status == 0
    clean = state(HOST)
    starts = [line for line in lines if "start" in line]
    first = next(line["start"] for line in starts if line["task"].endswith("Claim the host"))
    last = max(line["changed"] for line in lines if "changed" in line) + 1
    boundaries = sorted(
        range(first, last + 1) if FULL else {line["changed"] + 1 for line in lines if "changed" in line}
    )
    print(f"{len(starts)} tasks start; killed before {len(boundaries)} of them: {boundaries}")

    for at, healer in zip(boundaries, cycle(healers), strict=False):
        what = f"killed before task {at}, {starts[at]['task']}; then {healer}"
        print(what)
        before = prepare()
        played, _lines = killed(run, tmp_path, at)
        assert played.status == -9, what
        left = state(HOST)
        healed = run(healer, policy=ONLY)
        assert healed.status == 0, what
        after = state(HOST)
        assert after.leftovers == [], what
        upgraded = left.packages[WANTED] == "2.0"
        # A recovery finishes what had begun and begins nothing; a run patches as well.
        assert after.packages[WANTED] == ("2.0" if healer == "patch" or upgraded else "1.0"), what
        assert not after.wants_reboot, what
        if before.leftovers != left.leftovers:
            assert "left by run" in healed.output, what
        # Never rebooted twice: a boot that the killed run had brought about is still the one that runs.
        if left.boot_id != before.boot_id:
            assert after.boot_id == left.boot_id, what
        if healer == "patch":
            assert after.packages == clean.packages, what


@pytest.mark.parametrize("healer", ["patch", "recover"])
def test_killed_while_dpkg_is_at_work(small, package, run, healer):
    """The unit goes on alone; the next run waits for it, and nothing is installed twice."""
    small(HOST)
    package("lab-roll", HOST, new=("--postinst", "echo $2 >> /root/configured; sleep 15"))
    # The callback runs in ansible-playbook itself; it dies a little later, when the unit has begun.
    kill = {"host": HOST, "task": "Upgrade", "run": ["sh", "-c", "(sleep 6; kill -9 $PPID) > /dev/null 2>&1 &"]}
    assert run("patch", policy=ONLY, moments=[kill]).status == -9
    assert ask(HOST, "systemctl is-active homelab-patching-upgrade", check=False) == "activating"
    healed = run(healer, policy=ONLY)
    assert healed.status == 0
    assert "left by run" in healed.output
    # A postinst is called as: configure OLD-VERSION.
    assert ask(HOST, "cat /root/configured") == "1.0"
    assert ask(HOST, "dpkg-query -W -f '${Version} ${db:Status-Status}' lab-roll") == "2.0 installed"
    assert [item["name"] for item in healed.report["hosts"][HOST]["packages"]] == ["lab-roll"]
    assert state(HOST).leftovers == []
