"""The month goes round by itself: a lab host is the control host, and patches the other two by its own timers."""

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from tests.faults.conftest import version
from tests.support import (
    BIN,
    CHECKOUT,
    SECURITY_SUITES,
    ask,
    everywhere,
    lab,
    lab_env,
    play_security_archive,
    state,
)

CONTROL = "web1"
VMS = ("app1", "db1")
MONTH, DAY = "homelab-patching-month", "homelab-patching-day"
PROJECT = "/srv/home lab"
OPTIONS = {
    "patching_control_host": CONTROL,
    "patch_schedule_project_dir": PROJECT,
    "patch_schedule_environment_file": "secrets.env",
    "patch_schedule_inventory": ["inventory/"],
    "patch_schedule_keep_reports": 3,
    "patch_schedule_notify_command": (
        'echo "$PATCHING_JOB $PATCHING_RESULT $PATCHING_REPORT" >> ~/told; cat >> ~/summaries'
    ),
    "patch_schedule_collection": "/srv/wheels/collection.tar.gz",
    "patch_schedule_pip_arguments": "--no-index --find-links /srv/wheels",
    # Far from now: the tests start the services themselves.
    "patch_schedule_month": "*-01-01 00:00",
    "patch_schedule_day": "*-01-01 00:00",
    "patch_schedule_month_random_delay": "0",
}


def put(host, folder, files):
    """Write files into a folder of a host, without ssh."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o600
            archive.addfile(entry, io.BytesIO(content))
    command = [
        str(CHECKOUT / "tools" / "lab"),
        "shell",
        host,
        "sh",
        "-c",
        f"mkdir -p '{folder}' && tar -x -C '{folder}'",
    ]
    subprocess.run(command, input=stream.getvalue(), check=True, timeout=120)


def schedule(*arguments, **options):
    """Run the playbook from this machine."""
    done = subprocess.run(
        [
            *(BIN / "ansible-playbook", "-i", "inventory/", "homelab.patching.schedule"),
            *("-e", json.dumps({**OPTIONS, **options}), *arguments),
        ],
        cwd=CHECKOUT,
        env={**os.environ, **lab_env(), "ANSIBLE_NOCOLOR": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    print(done.stdout, done.stderr)
    return done


def start(job):
    """Start a job as its timer does, and wait for its end; how it ended."""
    ask(CONTROL, f"systemctl start {job}.service", check=False)
    print(ask(CONTROL, f"journalctl -u {job} -o cat --no-pager | tail -60"))
    return ask(CONTROL, f"systemctl show {job} -P Result")


def at_work(command):
    """Start a run, and wait until a slow package of db1 is being installed."""
    ask("db1", "touch /etc/lab-slow")
    ask(CONTROL, command)
    deadline = time.monotonic() + 120
    while not ask("db1", "pgrep -f [l]ab-slow.*postinst", check=False):
        assert time.monotonic() < deadline
        time.sleep(0.5)


def over():
    """Wait for the end of a run."""
    deadline = time.monotonic() + 120
    while ask(CONTROL, f"systemctl show {MONTH} -P ActiveState") not in ("inactive", "failed"):
        assert time.monotonic() < deadline
        time.sleep(0.5)


def told():
    """What the command was called with so far; forgotten afterwards."""
    text = ask(CONTROL, "cat ~ops/told ~ops/summaries 2>/dev/null; rm -f ~ops/told ~ops/summaries", check=False)
    return text.splitlines()


@pytest.fixture(scope="module")
def control(machines, tmp_path_factory):
    """A control host with a project, on which the schedule is in force; nothing was started yet."""
    lab("reset", CONTROL)
    lab("reset", "--plain", *VMS)
    folder = tmp_path_factory.mktemp("wheels")
    source = tmp_path_factory.mktemp("source") / "collection"
    leave_out = shutil.ignore_patterns(".git", ".venv", ".build", ".cache", "reports")
    shutil.copytree(CHECKOUT, source, ignore=leave_out, symlinks=True)
    galaxy = [BIN / "ansible-galaxy", "collection", "build", "--output-path", folder, source]
    subprocess.run(galaxy, check=True, capture_output=True)
    (archive,) = folder.glob("*.tar.gz")
    archive.rename(folder / "collection.tar.gz")
    # For the Python of Debian 12, whatever runs these tests.
    wanted = [
        "--python-version=3.11",
        "--only-binary=:all:",
        "--platform=manylinux2014_x86_64",
        "--platform=manylinux_2_28_x86_64",
    ]
    packages = ["ansible-core==2.19.14", "proxmoxer==2.3.0", "requests==2.32.5", "urllib3==2.8.0"]
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--dest", folder, *wanted, *packages]
    subprocess.run(pip, check=True)
    put(CONTROL, "/srv/wheels", {path.name: path.read_bytes() for path in folder.iterdir()})
    env = lab_env()
    known = next(word.partition("=")[2] for word in env["ANSIBLE_SSH_COMMON_ARGS"].split() if "KnownHosts" in word)
    secrets = {name: env[name] for name in env if name.startswith("PROXMOX_") and name != "PROXMOX_CA_PATH"}
    secrets |= {"ANSIBLE_REMOTE_USER": env["ANSIBLE_REMOTE_USER"], "ANSIBLE_PRIVATE_KEY_FILE": f"{PROJECT}/key"}
    put(
        CONTROL,
        PROJECT,
        {
            "inventory/lab.proxmox.yml": (CHECKOUT / "inventory" / "homelab.proxmox.yml").read_bytes(),
            "ansible.cfg": b"[defaults]\ninterpreter_python = /usr/bin/python3\n",
            "key": Path(env["ANSIBLE_PRIVATE_KEY_FILE"]).read_bytes(),
            "known_hosts": Path(known).read_bytes(),
            "secrets.env": "".join(f'{name}="{value}"\n' for name, value in secrets.items()).encode(),
        },
    )
    ask(
        CONTROL,
        f"install -d -o ops ~ops/.ssh; cp '{PROJECT}/known_hosts' ~ops/.ssh/; chown -R ops: ~ops/.ssh '{PROJECT}'",
    )
    ask(CONTROL, f"chown root: '{PROJECT}/secrets.env'")
    done = schedule()
    assert done.returncode == 0
    yield CONTROL
    lab("reset", "--repo", CONTROL, *VMS)


def test_a_second_time_changes_nothing_and_systemd_likes_the_units(control):
    done = schedule()
    assert done.returncode == 0 and "changed=0" in done.stdout
    assert ask(control, f"systemd-analyze verify /etc/systemd/system/{MONTH}.* /etc/systemd/system/{DAY}.* 2>&1") == ""
    for job in (MONTH, DAY):
        assert ask(control, f"systemctl is-enabled {job}.timer; systemctl is-active {job}.timer") == "enabled\nactive"
    # Who could hold the lock of the jobs could keep them away.
    assert "Permission denied" in ask(
        control, "su nobody -s /bin/sh -c 'flock -n /opt/homelab-patching/lock true' 2>&1", False
    )
    # The token stands nowhere but in the user's file.
    secret = lab_env()["PROXMOX_TOKEN_SECRET"]
    assert ask(control, f"grep -rl {secret} /opt/homelab-patching /etc/systemd", check=False) == ""


def test_the_month(control, package):
    package("lab-roll", CONTROL, *VMS)
    old = [f"2026{month:02}01T030000Z-abcd.json" for month in (1, 2, 3)]
    put(control, f"{PROJECT}/reports", {name: b"{}" for name in (*old, "mine.json")})
    ask(control, f"cd '{PROJECT}/reports' && touch -d 2026-04-01 * && chown -R ops: .")
    assert start(MONTH) == "success"
    assert [version(host, "lab-roll") for host in (*VMS, CONTROL)] == ["2.0", "2.0", "1.0"]
    assert state("app1").leftovers == []
    kept = ask(control, f"cd '{PROJECT}/reports' && ls").splitlines()
    made = [name.removesuffix(".json") for name in kept if name.endswith(".json") and name not in (*old, "mine.json")]
    assert [name for name in kept if name in old] == old[1:] and "mine.json" in kept and len(made) == 1
    assert {*kept} - {*old, "mine.json", f"{made[0]}.json"} == {
        *(f"{made[0]}.html", "index.html", "patching.prom", "history.jsonl")
    }
    assert told() == []  # it went well


def test_a_failing_month_calls_the_command_once(control, package):
    package("lab-fails", *VMS, new=("--postinst", "test ! -e /etc/lab-broken"))
    ask("app1", "touch /etc/lab-broken")
    assert start(MONTH) == "exit-code"
    first, *summary = told()
    job, result, report = first.split(" ", 2)
    assert (job, result) == (MONTH, "failure")
    assert json.loads(ask(control, f"cat '{report}'"))["wrong"] == ["app1", "db1"]
    assert sum(line.startswith(MONTH) for line in summary) == 1
    assert any(line.startswith("app1: failed: ") and "dpkg --audit" in line for line in summary)
    assert any(line.startswith("db1: not attempted: ") for line in summary)
    ask("app1", "rm /etc/lab-broken && dpkg --configure -a")


def test_what_is_at_work_is_neither_doubled_nor_changed(control, package):
    package("lab-slow", "db1", new=("--postinst", "while test -e /etc/lab-slow; do sleep 0.2; done"))
    begun = ask(control, "date +%s")
    often = f"/run/systemd/system/{MONTH}.timer.d"
    again = f"systemctl daemon-reload && systemctl restart {MONTH}.timer"
    timer = "[Timer]\\nOnCalendar=*:*:*\\nAccuracySec=100ms\\n"
    at_work(f"mkdir -p {often} && printf '{timer}' > {often}/often.conf && {again}")
    invocation = ask(control, f"systemctl show {MONTH} -P InvocationID")
    # It fires every second, and all the while the same run is at work.
    time.sleep(5)
    assert ask(control, f"systemctl show {MONTH} -P InvocationID") == invocation
    assert ask(control, f"systemctl show {MONTH} -P ActiveState") == "activating"
    done = schedule()
    assert done.returncode != 0 and f"{MONTH} is at work on {control}" in done.stdout
    ask(control, f"rm -r {often} && {again}")
    ask("db1", "rm /etc/lab-slow")
    over()
    assert ask(control, f"systemctl show {MONTH} -P Result") == "success"
    started = ask(control, f"journalctl -u {MONTH} --since @{begun} -o cat | grep -c '^Starting '")
    assert started == "1"
    assert version("db1", "lab-slow") == "2.0"
    assert told() == []


def test_a_run_that_is_killed_is_told_too(control, package):
    package("lab-slower", "db1", new=("--postinst", "while test -e /etc/lab-slow; do sleep 0.2; done"))
    at_work(f"systemctl start --no-block {MONTH}")
    ask(control, f"systemctl kill --signal=KILL {MONTH}")
    over()
    ask("db1", "rm /etc/lab-slow")
    words = told()
    assert words[0].split() == [MONTH, "failure"] and sum(line.startswith(MONTH) for line in words[1:]) == 1
    # The next one finishes what it left.
    assert start(MONTH) == "success"
    assert state("db1").leftovers == [] and version("db1", "lab-slower") == "2.0"


def test_the_day_tells_which_vm_takes_no_updates_any_more(control):
    lab("reset", "--plain", *VMS)
    play_security_archive(*VMS)
    # apt knows no archive that has no package.
    lab("publish", "lab-day", "1.0", "--suite", SECURITY_SUITES["trixie"])
    everywhere(VMS, "apt-get update -qq")
    policy = subprocess.run(
        [BIN / "ansible-playbook", "-i", "inventory/", "homelab.patching.policy", "-e", "patching_hosts=app1:db1"],
        cwd=CHECKOUT,
        env={**os.environ, **lab_env()},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert policy.returncode == 0, policy.stdout
    ask("db1", "systemctl mask --now apt-daily-upgrade.timer")
    assert start(DAY) == "exit-code"
    words = told()
    assert words[0].split() == [DAY, "failure"]
    assert any("db1" in line for line in words) and any("apt-daily-upgrade.timer" in line for line in words)
    assert not any("app1" in line for line in words)


def test_absent_takes_everything_away_but_the_reports(control):
    assert schedule(patch_schedule_state="absent").returncode == 0
    left = ask(
        control, "find /opt /etc/systemd /var/lib/systemd /run/systemd/system -name '*homelab-patching*'", check=False
    )
    assert left == ""
    assert ask(control, f"ls '{PROJECT}/reports'/2026*") != ""
    done = schedule(patch_schedule_state="absent")
    assert done.returncode == 0 and "changed=0" in done.stdout
