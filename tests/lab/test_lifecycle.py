"""The lab leaves nothing behind, however it ends, copes with what an earlier one left, and leaves other labs alone."""

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from lab.config import CLIENT, NUMBER
from tests.support import CHECKOUT, ask, lab

STATE = Path("/var/lib") / ("homelab-patching-lab" + (f"-{NUMBER}" if NUMBER else ""))
# Another lab of this machine, which no worker of the tests has as its own.
OTHER = (NUMBER + 5) % 10


def left_behind() -> list[str]:
    """Whatever on this box tells that this lab is or was there; other labs and the cache are meant to stay."""
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    found = [line for line in mounts if f" {STATE}/" in line or f" {STATE} " in line]
    cable = f"vb-lab{NUMBER}-"
    found += [name for name in os.listdir("/sys/class/net") if name == f"hplab{NUMBER}" or name.startswith(cable)]
    scope = f"machine-lab{NUMBER}\\x2d"
    for folder, names, _files in os.walk("/sys/fs/cgroup"):
        found += [f"{folder}/{name}" for name in names if name == STATE.name or name.startswith(scope)]
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if f"{STATE}/" in command:
                found.append(f"{entry.name}: {command}")
    found += [str(path) for path in Path("/run/systemd/nspawn/propagate").glob(f"lab{NUMBER}-*")]
    found += [str(path) for path in (STATE, CLIENT) if path.exists()]
    return found


def running() -> dict:
    return json.loads(lab("status", "--json"))


@pytest.fixture
def up():
    lab("up", "--hosts", "web1,db1", timeout=1800)
    return running()["supervisor"]


@pytest.fixture
def another_checkout(tmp_path):
    """The lab's code at another place; what it has brought up there goes with it."""
    for name in ("lab", "tools"):
        shutil.copytree(CHECKOUT / name, tmp_path / name)
    (tmp_path / ".venv").symlink_to(CHECKOUT / ".venv")
    return tmp_path


@pytest.fixture
def owner():
    """A process for which a lab may be started."""
    process = subprocess.Popen(["sleep", "3600"])
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def other(monkeypatch):
    """A second lab, up with one host; run its commands."""

    def command(*words: str, check: bool = True) -> str:
        with monkeypatch.context() as its:
            its.setenv("LAB_NUMBER", str(OTHER))
            return lab(*words, timeout=1800, check=check)

    command("up", "--hosts", "web1")
    yield command
    command("down")


def kill_everything() -> None:
    """End all processes of the lab as a crash would: the supervisor and everything below it, at once."""
    pids = [running()["supervisor"]]
    for pid in pids:
        children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
        pids += [int(word) for word in children.stdout.split()]
    for pid in pids:
        subprocess.run(sudo("kill", "-9", str(pid)), check=False, capture_output=True)


def sudo(*words: str) -> list[str]:
    return [*([] if os.geteuid() == 0 else ["sudo"]), *words]


@pytest.mark.usefixtures("up")
def test_down_leaves_nothing():
    assert left_behind()
    lab("down")
    assert left_behind() == []


def test_down_leaves_nothing_after_the_supervisor_was_killed(up):
    subprocess.run(sudo("kill", f"-{signal.SIGKILL.value}", str(up)), check=True)
    lab("down")
    assert left_behind() == []


@pytest.mark.usefixtures("up")
def test_down_leaves_nothing_after_all_processes_were_killed():
    kill_everything()
    lab("down")
    assert left_behind() == []


@pytest.mark.usefixtures("up")
def test_up_copes_with_what_a_killed_lab_left():
    kill_everything()
    lab("up", "--hosts", "web1", timeout=600)
    assert ask("web1", "systemctl is-system-running") == "running"


def test_a_second_up_of_the_same_checkout_changes_nothing(up):
    boot = ask("web1", "cat /proc/sys/kernel/random/boot_id")
    lab("up", "--hosts", "web1")
    assert running()["supervisor"] == up
    assert ask("web1", "cat /proc/sys/kernel/random/boot_id") == boot


@pytest.mark.usefixtures("up")
def test_the_lab_of_another_checkout_is_refused(another_checkout):
    done = subprocess.run([another_checkout / "tools" / "lab", "up"], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert str(CHECKOUT) in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert ask("web1", "systemctl is-system-running") == "running"


def test_a_lab_goes_with_the_process_that_it_was_started_for(owner, monkeypatch):
    lab("down")
    monkeypatch.setenv("LAB_OWNER", str(owner.pid))
    lab("up", "--hosts", "web1", timeout=1800)
    owner.kill()
    owner.wait()
    deadline = time.monotonic() + 120
    while left_behind():
        assert time.monotonic() < deadline, left_behind()
        time.sleep(0.5)


def test_up_takes_over_a_lab_whose_owner_is_dead(owner, monkeypatch):
    lab("down")
    with monkeypatch.context() as its:
        its.setenv("LAB_OWNER", str(owner.pid))
        lab("up", "--hosts", "web1", timeout=1800)
    before = running()["supervisor"]
    # Otherwise it would go by itself.
    subprocess.run(sudo("kill", f"-{signal.SIGSTOP.value}", str(before)), check=True)
    owner.kill()
    owner.wait()
    said = lab("up", "--hosts", "web1", timeout=1800)
    assert f"pid {owner.pid}, for which it was started, has ended" in said
    assert running()["supervisor"] != before
    assert ask("web1", "systemctl is-system-running") == "running"


def test_up_takes_over_a_lab_whose_checkout_is_gone(another_checkout):
    lab("down")
    subprocess.run([another_checkout / "tools" / "lab", "up", "--hosts", "web1"], check=True, capture_output=True)
    assert running()["checkout"] == str(another_checkout)
    shutil.rmtree(another_checkout)
    said = lab("up", "--hosts", "web1", timeout=1800)
    assert f"its checkout {another_checkout} is gone" in said
    assert running()["checkout"] == str(CHECKOUT)
    assert ask("web1", "systemctl is-system-running") == "running"


def test_two_labs_live_side_by_side(up, other, monkeypatch, tmp_path):
    reaches = "bash -c 'exec 3<>/dev/tcp/{}/22' 2>&1 && echo reached"
    neighbour, stranger = f"198.18.{NUMBER}.12", f"198.18.{OTHER}.11"
    assert ask("web1", reaches.format(neighbour)).endswith("reached")
    assert "unreachable" in ask("web1", reaches.format(stranger), check=False)
    assert "unreachable" in other("shell", "web1", "sh", "-c", reaches.format(neighbour), check=False)

    # The cache is both labs'. (A folder of this test's stands in for it: what is not refused would be gone.)
    (tmp_path / "roots").mkdir()
    with monkeypatch.context() as its:
        its.setenv("LAB_CACHE", str(tmp_path))
        done = subprocess.run(
            [CHECKOUT / "tools" / "lab", "down", "--purge"], capture_output=True, text=True, check=False
        )
    assert done.returncode != 0
    assert "needs the cache, too" in done.stderr
    assert (tmp_path / "roots").is_dir()
    assert running()["supervisor"] == up

    boot = other("shell", "web1", "cat", "/proc/sys/kernel/random/boot_id")
    lab("down")
    assert left_behind() == []
    assert other("shell", "web1", "cat", "/proc/sys/kernel/random/boot_id") == boot
    assert "reached" in other("shell", "web1", "sh", "-c", reaches.format(f"198.18.{OTHER}.1").replace("/22", "/3143"))


@pytest.mark.usefixtures("up")
def test_a_machine_reaches_the_archive_and_nothing_else():
    assert "200" in ask("web1", "apt-get update --error-on=any && echo 200")
    assert ask("web1", "ip route show default") == ""
    assert ask("web1", "grep -c nameserver /etc/resolv.conf || true") in ("0", "")
