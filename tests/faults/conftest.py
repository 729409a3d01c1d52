"""Machines to break: the lab is started once, and a test's hosts get their updates pending again.

Where many faults share one roll, a fixture of the module plays it once, and each fault has a test of its own.
"""

import json
import os
import re
import signal
import subprocess
import time
from itertools import count
from pathlib import Path

import pytest

from lab.system import die_with_parent
from tests.support import BIN, CHECKOUT, Played, ask, everywhere, lab, lab_env, play

NAMES = (f"lab-node-{number}" for number in count(1))
USUAL = {"web1", "db1", "app1"}  # what `lab up` starts


@pytest.fixture(scope="session")
def machines():
    """The lab, up."""
    lab("up", timeout=1800)


@pytest.fixture(scope="module")
def small(machines):
    """Makes hosts new, on which nothing can be pending but what the lab publishes: quick to patch.

    Any host of hosts.toml will do; at the end of the module the lab has its usual ones again, and they are new.
    """
    used = set()

    def small(*hosts: str) -> None:
        used.update(hosts)
        lab("reset", "--plain", *hosts)

    yield small
    if used - USUAL:
        lab("remove", *(used - USUAL))
    if used & USUAL:
        lab("reset", *(used & USUAL))


@pytest.fixture(scope="module")
def package():
    """Makes an update of a package pending on hosts: its old version is installed, and a new one published."""
    names = set()

    def publish(name: str, *hosts: str, old: tuple = (), new: tuple = ()) -> None:
        names.add(name)
        lab("unpublish", name, check=False)
        lab("publish", name, "1.0", *old)
        everywhere(hosts, f"apt-get update -qq && apt-get install -yqq {name}")
        lab("publish", name, "2.0", *new)

    yield publish
    for name in names:
        lab("unpublish", name)


@pytest.fixture
def pending(machines):
    """Makes an update of a new package pending on hosts; its name."""
    names = []

    def publish(*hosts: str, reboot: bool = True) -> str:
        name = next(NAMES)
        names.append(name)
        lab("publish", name, "1.0")
        everywhere(hosts, f"apt-get update -qq && apt-get install -yqq {name}")
        lab("publish", name, "2.0", *(("--postinst", "touch /run/reboot-required") if reboot else ()))
        return name

    yield publish
    for name in names:
        lab("unpublish", name)


def results(played: Played) -> dict[str, str]:
    """Host -> its result in the report."""
    return {host: entry["result"] for host, entry in played.report["hosts"].items()}


def said(played: Played, host: str) -> str:
    """What a run said of a host: each line that names it, with the indented ones below it."""
    return "\n".join(re.findall(rf"^.*\b{host}\b.*(?:\n[ \t]+.*)*", played.output, re.MULTILINE))


def told(played: Played, host: str) -> dict:
    """What the report says of a host; printed with what was said of it, for a test that fails to be read alone."""
    entry = played.report["hosts"][host]
    print(json.dumps(entry, indent=1), said(played, host), sep="\n")
    return entry


# A postinst that is at work until a test lets it go on.
WAITS = "touch /run/lab-began; n=0; until [ -e /run/lab-go-on ] || [ $n -ge 900 ]; do sleep 1; n=$((n + 1)); done"


def await_on(host: str, condition: str) -> None:
    """Wait until a shell command succeeds on a host."""
    ask(host, f"timeout 240 sh -c 'until {condition}; do sleep 0.5; done'")


def await_boot(host: str, old: str) -> None:
    """Wait until a host answers in another boot than the old one."""
    deadline = time.monotonic() + 240
    while ask(host, "cat /proc/sys/kernel/random/boot_id", check=False) in ("", old):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    lab("start", host)


def version(host: str, name: str) -> str:
    """The version of a package on a host."""
    return ask(host, f"dpkg-query -W -f '${{Version}}' {name}")


@pytest.fixture(scope="session")
def run(machines, tmp_path_factory):
    """Run a playbook against the lab.

    `moments` break something while it runs, `policy` is given as extra variables and `host_policy` as variables of
    hosts, `env` is added to the environment.
    """

    def run(
        playbook: str,
        *arguments: str,
        moments: tuple = (),
        policy: dict | None = None,
        host_policy: dict | None = None,
        env: dict | None = None,
    ) -> Played:
        folder = tmp_path_factory.mktemp(playbook)
        env = {
            **lab_env(),
            "ANSIBLE_CALLBACK_PLUGINS": str(CHECKOUT / "tests" / "faults" / "callback_plugins"),
            "ANSIBLE_CALLBACKS_ENABLED": "moment",
            "MOMENTS": json.dumps(list(moments)),
            # A host that keeps a worker waiting keeps no other host from going wrong in its own way.
            "ANSIBLE_FORKS": "20",
            **(env or {}),
        }
        hosts = folder / "hosts.yml"
        hosts.write_text(json.dumps({"all": {"hosts": host_policy or {}}}))
        more = ["-e", json.dumps(policy)] if policy else []
        sources = ("inventory/", hosts)
        played = play(playbook, *more, *arguments, inventory=sources, env=env, reports=folder / "reports")
        print(played.output)
        assert "MOMENTS NEVER CAME" not in played.output
        # The page, the index and the textfile are made of every report of this suite.
        assert "The report is kept, but" not in played.output
        return played

    return run


@pytest.fixture
def asleep(machines, tmp_path):
    """Begin a run that stops itself (SIGSTOP) before a task, as a laptop that is closed; its process."""
    begun = []

    def asleep(host: str, task: str, policy: dict, past: int = 0) -> subprocess.Popen:
        stop = {"host": host, "task": task, "past": past, "run": ["sh", "-c", "kill -STOP $PPID"]}
        env = {
            **os.environ,
            **lab_env(),
            "ANSIBLE_CALLBACK_PLUGINS": str(CHECKOUT / "tests" / "faults" / "callback_plugins"),
            "ANSIBLE_CALLBACKS_ENABLED": "moment",
            "MOMENTS": json.dumps([stop]),
        }
        given = json.dumps({**policy, "patching_report_dir": str(tmp_path / "asleep")})
        run = subprocess.Popen(
            [str(BIN / "ansible-playbook"), "-i", "inventory/", "homelab.patching.patch", "-e", given],
            cwd=CHECKOUT,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - Python's own state is not touched
        )
        begun.append(run)
        deadline = time.monotonic() + 120
        while Path(f"/proc/{run.pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
            assert time.monotonic() < deadline
            assert run.poll() is None, run.communicate()
            time.sleep(0.5)
        return run

    yield asleep
    for run in begun:
        if run.poll() is None:
            run.kill()
            run.wait()


def awake(run: subprocess.Popen) -> str:
    """Let it go on to its end; what it printed."""
    os.kill(run.pid, signal.SIGCONT)
    output, _nothing = run.communicate(timeout=300)
    print(output)
    return output


def at(host: str, task: str, *words: str) -> dict:
    """A moment: before `task` starts on `host`, run a command of the lab."""
    return {"host": host, "task": task, "run": [str(CHECKOUT / "tools" / "lab"), *words]}
