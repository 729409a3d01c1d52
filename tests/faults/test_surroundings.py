"""A user's own surroundings: his ansible.cfg and variables, a collection nobody can write to, no PWD."""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from lab.config import NUMBER
from tests.faults.conftest import version
from tests.support import BIN, CHECKOUT, ask, lab_env, state

AS_ROOT = [] if os.geteuid() == 0 else ["sudo", "-n", "--preserve-env"]
# What a user's configuration may say: each of it would take the waves apart, if the plays did not say otherwise.
CONFIGURATION = """\
[defaults]
strategy = free
any_errors_fatal = true
forks = 2
gathering = implicit
hash_behaviour = replace
"""
HOSTS = "app1:db1:web1:app2"


@pytest.fixture
def installed(tmp_path):
    """The collection as Galaxy installs it, in a folder that nobody can write to; the folder above it."""
    artifact = tmp_path / "artifact"
    source = tmp_path / "source"
    shutil.copytree(
        CHECKOUT, source, ignore=shutil.ignore_patterns(".git", ".venv", ".build", ".cache", "reports"), symlinks=True
    )
    galaxy = [str(BIN / "ansible-galaxy"), "collection"]
    subprocess.run([*galaxy, "build", "--output-path", str(artifact), str(source)], check=True, capture_output=True)
    (archive,) = artifact.iterdir()
    folder = tmp_path / "collections"
    env = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(folder)}
    install = [*galaxy, "install", "--offline", "--no-deps", "-p", str(folder), str(archive)]
    subprocess.run(install, check=True, capture_output=True, env=env)
    return folder


@pytest.fixture
def inventory(tmp_path):
    """The lab's guests, by a user with habits: become for all, a label, an address composed by himself."""
    folder = tmp_path / "inventory"
    (folder / "group_vars" / "all").mkdir(parents=True)
    source = (CHECKOUT / "inventory" / "homelab.proxmox.yml").read_text()
    db1 = f"198.18.{NUMBER}.12"
    (folder / "homelab.proxmox.yml").write_text(
        f"{source}\ncompose:\n  ansible_host: \"(proxmox_name == 'db1') | ternary('{db1}', ansible_host)\"\n"
    )
    (folder / "group_vars" / "all" / "all.yml").write_text("ansible_become: true\npatching_wave_size: 2\n")
    for name, labels in (("app1", ["app"]), ("app2", ["app"]), ("db1", ["db"]), ("web1", ["db"])):
        (folder / "host_vars").mkdir(exist_ok=True)
        ring = 90 if name == "web1" else 10
        (folder / "host_vars" / f"{name}.yml").write_text(json.dumps({"patching_apart": labels, "patching_ring": ring}))
    return folder


@pytest.fixture
def home():
    """A user's home; its path is short, because sockets of ssh lie in it."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def test_a_roll_in_the_surroundings_of_a_user(small, package, installed, inventory, home, tmp_path):
    """Four hosts in three waves: app1 and db1, app2, web1. app2 fails: web1 is not attempted."""
    small("app1", "db1", "web1", "app2")
    package("lab-roll", "app1", "db1", "web1", "app2", new=("--postinst", "test ! -e /etc/lab-broken"))
    ask("app2", "touch /etc/lab-broken")
    configuration = tmp_path / "ansible.cfg"
    configuration.write_text(CONFIGURATION)
    env = {
        **{name: value for name, value in os.environ.items() if name not in ("PWD", "OLDPWD", "XDG_STATE_HOME")},
        **lab_env(),
        "ANSIBLE_CONFIG": str(configuration),
        "ANSIBLE_COLLECTIONS_PATH": str(installed),
        "ANSIBLE_NOCOLOR": "1",
        "HOME": str(home),
    }
    # A folder of its own namespace, so that root, too, can write nothing there; bash would set PWD, exec does not.
    script = (
        'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && cd / && shift && exec env -u PWD -u OLDPWD "$@"'
    )
    command = [
        *AS_ROOT, "unshare", "--mount", "sh", "-c", script, "sh", str(installed),
        str(BIN / "ansible-playbook"), "-i", str(inventory), "homelab.patching.patch", "-e", f"patching_hosts={HOSTS}",
    ]  # fmt: skip
    done = subprocess.run(
        command, env=env, capture_output=True, text=True, timeout=900, check=False, stdin=subprocess.DEVNULL
    )
    print(done.stdout + done.stderr)
    assert done.returncode != 0
    (path,) = (home / ".local" / "state" / "homelab-patching").glob("*.json")
    report = json.loads(path.read_text())
    assert {host: entry["result"] for host, entry in report["hosts"].items()} == {
        **{"app1": "patched", "db1": "patched"},
        **{"app2": "failed", "web1": "not attempted"},
    }
    assert version("web1", "lab-roll") == "1.0"
    assert version("db1", "lab-roll") == "2.0"
    for host in ("app1", "db1", "web1", "app2"):
        assert state(host).leftovers == []
