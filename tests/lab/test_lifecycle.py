"""The lab leaves nothing behind, however it ends, and copes with what an earlier one left."""

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support import CHECKOUT, ask, lab

STATE = Path("/var/lib/homelab-patching-lab")


def left_behind() -> list[str]:
    """Whatever on this box tells that a lab is or was there; the cache is meant to stay."""
    found = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(STATE) in line]
    found += [name for name in os.listdir("/sys/class/net") if name.startswith(("hplab", "vb-lab"))]
    for folder, names, _files in os.walk("/sys/fs/cgroup"):
        found += [f"{folder}/{name}" for name in names if "homelab-patching" in name or name.startswith("lab-")]
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if str(STATE) in command or "lab.supervisor" in command:
                found.append(f"{entry.name}: {command}")
    found += [str(path) for path in (STATE, CHECKOUT / ".build" / "lab") if path.exists()]
    return found


def supervisor() -> int:
    return json.loads(lab("status", "--json"))["supervisor"]


@pytest.fixture
def up():
    lab("up", timeout=1800)
    return supervisor()


def kill_everything() -> None:
    """End all processes of the lab as a crash would: the supervisor and everything below it, at once."""
    pids = [supervisor()]
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
    lab("up", timeout=600)
    assert ask("web1", "systemctl is-system-running") == "running"


def test_a_second_up_of_the_same_checkout_changes_nothing(up):
    boot = ask("web1", "cat /proc/sys/kernel/random/boot_id")
    lab("up")
    assert supervisor() == up
    assert ask("web1", "cat /proc/sys/kernel/random/boot_id") == boot


@pytest.mark.usefixtures("up")
def test_the_lab_of_another_checkout_is_refused(tmp_path):
    for name in ("lab", "tools"):
        shutil.copytree(CHECKOUT / name, tmp_path / name)
    (tmp_path / ".venv").symlink_to(CHECKOUT / ".venv")
    done = subprocess.run([str(tmp_path / "tools" / "lab"), "up"], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert str(CHECKOUT) in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert ask("web1", "systemctl is-system-running") == "running"


@pytest.mark.usefixtures("up")
def test_a_machine_reaches_the_archive_and_nothing_else():
    assert "200" in ask("web1", "apt-get update --error-on=any && echo 200")
    assert ask("web1", "ip route show default") == ""
    assert ask("web1", "grep -c nameserver /etc/resolv.conf || true") in ("0", "")
