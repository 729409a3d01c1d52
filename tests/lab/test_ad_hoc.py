"""Every command of the page on one-off commands is run on the lab as it stands there."""

import os
import re
import shlex
import subprocess

import pytest
import yaml

from lab.config import NUMBER
from tests.support import BIN, CHECKOUT, ask, lab, lab_env

PAGE = (CHECKOUT / "docs" / "ad-hoc.md").read_text()
COMMANDS = re.findall(r"^ *\$ (.+)$", PAGE, re.MULTILINE)
BLOCKS = re.findall(r"^ *```yaml\n(.*?)^ *```", PAGE, re.MULTILINE | re.DOTALL)
# What stands in the text and not in a block.
PATTERNS = re.findall(r"`'(proxmox_[^']+)'`", PAGE)


@pytest.fixture(scope="module", autouse=True)
def machines():
    """Guests as the page has them: one is tagged as a K3s agent and runs a unit of that name."""
    lab("up", timeout=1800)
    lab("guest", "app1", "tags=terraform;app;k3s-agent")
    ask("app1", "systemctl is-active -q k3s-agent || systemd-run --unit=k3s-agent sleep 600")
    yield
    lab("reset", "app1", "--guests")


def run(command: str, **env: str) -> str:
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=CHECKOUT,
        env={**os.environ, **lab_env(), "PATH": f"{BIN}:{os.environ['PATH']}", "ANSIBLE_NOCOLOR": "1", **env},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Could not match" not in done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "command", [command for command in COMMANDS if not re.search("ssh-keygen|no_address", command)]
)
def test_command(command):
    assert run(command).strip()


def test_why_a_guest_has_no_address():
    command = next(command for command in COMMANDS if "no_address" in command)
    lab("guest", "db1", "agent=off")
    try:
        assert re.search(r"db1 \| SUCCESS.*?proxmox_address_reason: \S+", run(command), re.DOTALL)
    finally:
        lab("guest", "db1", "agent=on")


@pytest.mark.parametrize("pattern", PATTERNS)
def test_pattern(pattern):
    assert "web1" in run(f"ansible -i inventory/ {shlex.quote(pattern)} --list-hosts")


def test_a_reboot_that_is_wanted_shows():
    command = next(command for command in COMMANDS if "reboot-required" in command)
    ask("app1", "touch /run/reboot-required")
    found = run(command)
    assert re.search(r"app1 \| SUCCESS.*?matched: 1", found, re.DOTALL)
    assert re.search(r"web1 \| SUCCESS.*?matched: 0", found, re.DOTALL)


def test_a_lock_shows():
    command = next(command for command in COMMANDS if "proxmox_lock" in command)
    lab("guest", "web1", "lock=backup")
    try:
        assert re.search(r"web1 \| SUCCESS.*?msg: backup", run(command), re.DOTALL)
    finally:
        lab("guest", "web1", "lock=")


def test_ten_at_a_time():
    command = next(command for command in COMMANDS if "k3s_agent" in command)
    assert "active" in run(f"{command} -f 10")


def test_the_user_is_composed(tmp_path):
    block = next(block for block in BLOCKS if "ansible_user" in block)
    source = tmp_path / "homelab.proxmox.yml"
    source.write_text("plugin: homelab.patching.proxmox\n" + block)
    assert '"ansible_user": "debian"' in run(f"ansible-inventory -i {source} --host web1")
    lab("guest", "web1", "description=image: ubuntu-24.04-20260910")
    try:
        assert '"ansible_user": "ubuntu"' in run(f"ansible-inventory -i {source} --host web1")
    finally:
        lab("guest", "web1", "description=")


def test_an_unknown_host_key_is_accepted_once_and_a_change_is_refused(tmp_path):
    block = next(block for block in BLOCKS if "accept-new" in block)
    source, known = tmp_path / "homelab.proxmox.yml", tmp_path / "known_hosts"
    source.write_text("plugin: homelab.patching.proxmox\n" + yaml.safe_dump(yaml.safe_load(block)))
    env = {
        "ANSIBLE_SSH_COMMON_ARGS": "",
        "ANSIBLE_SSH_EXTRA_ARGS": f"-o UserKnownHostsFile={known} -o ControlPath=none",
    }
    ping = f"ansible -i {source} web1 -m ansible.builtin.ping"
    assert "pong" in run(ping, **env)
    _hashed, kind, key = known.read_text().splitlines()[0].split()
    address = f"198.18.{NUMBER}.11"
    other = lab("shell", "db1", "cat", "/etc/ssh/ssh_host_ed25519_key.pub").split()[1]
    assert other != key
    known.write_text(f"{address} {kind} {other}\n")
    with pytest.raises(AssertionError, match=r"REMOTE HOST IDENTIFICATION HAS CHANGED|Host key verification failed"):
        run(ping, **env)
    forget = next(command for command in COMMANDS if command.startswith("ssh-keygen -R"))
    run(re.sub(r"-R \S+", f"-R {address} -f {known}", forget))
    assert "pong" in run(ping, **env)
