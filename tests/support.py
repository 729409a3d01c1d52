"""What tests need to run playbooks and to ask the lab's machines: nothing here looks into the code under test."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import testinfra
import testinfra.host

from lab.config import CLIENT
from lab.system import die_with_parent
from tests.reports import check_report
from tools.tally import slug

CHECKOUT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent


@dataclass
class Played:
    """One run of ansible-playbook."""

    status: int
    output: str
    report: dict | None


def ansible(
    *command: str | Path, env: Mapping[str, str] | None = None, timeout: float = 900
) -> subprocess.CompletedProcess[str]:
    """Run a command of Ansible from the checkout, as a user would: a CompletedProcess with text.

    :param command: the program's name and its arguments.
    :param env: variables to add.
    :param timeout: seconds.
    """
    return subprocess.run(
        [BIN / command[0], *command[1:]],
        cwd=CHECKOUT,
        env={**os.environ, "ANSIBLE_NOCOLOR": "1", "COLUMNS": "200", **(env or {})},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        stdin=subprocess.DEVNULL,
        preexec_fn=die_with_parent,
    )


def play(
    playbook: str,
    *arguments: str,
    inventory: Sequence[str | Path] = ("inventory/",),
    env: Mapping[str, str] | None = None,
    reports: Path | None = None,
    timeout: float = 900,
) -> Played:
    """Run a playbook of the collection as a user would, from the checkout.

    :param playbook: its name without the collection's.
    :param arguments: more of the command line.
    :param inventory: one or more sources.
    :param env: variables to add.
    :param reports: where the run leaves its report; read into `Played.report`.
    :param timeout: seconds.
    """
    command = ["ansible-playbook", f"homelab.patching.{playbook}"]
    for source in inventory:
        command += ["-i", str(source)]
    if reports:
        command += ["-e", json.dumps({"patching_report_dir": str(reports)})]
    done = ansible(*command, *arguments, env=env, timeout=timeout)
    found = sorted(reports.glob("*.json")) if reports and reports.is_dir() else []
    report = json.loads(found[-1].read_text()) if found else None
    if report is not None:
        check_report(report)
    return Played(done.returncode, done.stdout + done.stderr, report)


def lab(*words: str, timeout: float = 300, check: bool = True) -> str:
    """Run a command of the lab and return what it prints."""
    done = subprocess.run(
        [str(CHECKOUT / "tools" / "lab"), *words],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if check and done.returncode != 0:
        raise AssertionError(f"lab {shlex.join(words)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def ask(host: str, command: str, check: bool = True) -> str:
    """The output of a shell command on a host, asked from outside: no ssh, no Ansible."""
    return lab("shell", host, "sh", "-c", command, check=check).strip()


def everywhere(hosts: Sequence[str], command: str) -> None:
    """Run a shell command on several hosts at once."""
    with ThreadPoolExecutor(len(hosts) or 1) as pool:
        list(pool.map(lambda host: ask(host, command), hosts))


# Codename of a Debian -> suite of its security archive, as its Release file has it.
SECURITY_SUITES = {"bookworm": "oldstable-security", "trixie": "stable-security"}


def play_security_archive(*hosts: str) -> None:
    """Let hosts know the security archive of their Debian as the lab's repository plays it; nothing is fetched yet."""
    for host in hosts:
        codename = ask(host, ". /etc/os-release; echo $VERSION_CODENAME")
        fields = ("--origin", "Debian", "--label", "Debian-Security", "--codename", f"{codename}-security")
        line = lab("suite", SECURITY_SUITES[codename], *fields).strip()
        ask(host, f"echo '{line}' > /etc/apt/sources.list.d/security.list")


def lab_env() -> dict[str, str]:
    """What a controller exports to reach the lab's Proxmox VE and its guests."""
    lines = (CLIENT / "env").read_text().splitlines()
    return {name: shlex.split(value)[0] for name, _equals, value in (line.partition("=") for line in lines) if name}


def administrator(name: str) -> testinfra.host.Host:
    """A machine as its administrator reaches it: over ssh, with sudo."""
    address = next(host["address"] for host in json.loads(lab("status", "--json"))["hosts"] if host["name"] == name)
    env = lab_env()
    return testinfra.get_host(
        f"ssh://{env['ANSIBLE_REMOTE_USER']}@{address}",
        ssh_identity_file=env["ANSIBLE_PRIVATE_KEY_FILE"],
        ssh_extra_args=env["ANSIBLE_SSH_COMMON_ARGS"],
        sudo=True,
    )


def keep_logs(test: str, text: str) -> Path:
    """Keep what a failed test and its hosts said; the folder."""
    folder = CHECKOUT / ".build" / "results" / "failures" / slug(test)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.log").write_text(text)
    status = lab("status", "--json", check=False)
    for host in json.loads(status)["hosts"] if status else []:
        said = ask(host["name"], "journalctl -b --no-pager; tail -n 200 /var/log/dpkg.log /var/log/apt/term.log", False)
        (folder / f"{host['name']}.log").write_text(said)
    return folder


@dataclass
class State:
    """What a machine says of itself, asked from outside."""

    boot_id: str
    packages: dict[str, str]
    wants_reboot: bool
    manual: list[str]
    leftovers: list[str]


def state(host: str) -> State:
    """The state of a host: boot, packages, reboot flag, and whatever a run may have left."""
    separator = "----"
    text = ask(
        host,
        f"cat /proc/sys/kernel/random/boot_id; echo {separator};"
        f"dpkg-query -W -f '${{binary:Package}} ${{Version}}\\n'; echo {separator};"
        f"test -e /run/reboot-required && echo yes; echo {separator};"
        f"apt-mark showmanual; echo {separator};"
        "ls -d /var/lib/homelab-patching/claim.json /var/lib/homelab-patching/hold-until"
        " /var/lib/homelab-patching/upgrade.json /etc/systemd/system/apt-daily*.d/50-homelab-patching.conf 2>/dev/null;"
        "systemctl list-units --all --plain --no-legend 'homelab-patching*'",
        check=False,
    )
    boot_id, packages, flag, manual, leftovers = (part.strip() for part in text.split(separator))
    versions = dict(line.split(" ", 1) for line in packages.splitlines())
    return State(boot_id, versions, flag == "yes", manual.splitlines(), leftovers.splitlines())


def pending(host: str) -> list[str]:
    """Names of the packages that apt-get itself would upgrade on a host."""
    text = ask(host, "apt-get update -qq >/dev/null; apt-get -s dist-upgrade")
    return [line.split()[1] for line in text.splitlines() if line.startswith("Inst ")]
