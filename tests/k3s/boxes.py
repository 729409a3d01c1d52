"""Nodes of a cluster as namespaces of this machine: a real API server and kubelet, in seconds and without the lab.

A box has a network, processes, /etc, /var/lib and /run of its own, and a boot_id that is new at each start. What it
lacks of a machine is systemd: a small systemctl says what the modules ask of it. Needs root.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
BRIDGE = "k3sbox"
GATEWAY = "198.18.250.1"

# A unit is active as long as the box runs. The upgrade and the daily services are idle.
SYSTEMCTL = """#!/bin/sh
case "$1" in
list-unit-files) echo "{unit} enabled enabled" ;;
is-system-running) echo running ;;
show) case "$*" in
  *"{unit}"*ExecStart*) echo "{{ path={binary} ; argv[]={binary} {role} ; ignore_errors=no ; pid=1 }}" ;;
  *ExecStart*) echo ;;
  *"{unit}"*) echo ActiveState=active ;;
  *) echo ActiveState=inactive ;;
  esac ;;
esac
"""

START = """
set -e
mount --make-rprivate /
for d in etc var/lib; do
  mkdir -p {folder}/upper/$d {folder}/scratch/$d
  mount -t overlay overlay -o lowerdir=/$d,upperdir={folder}/upper/$d,workdir={folder}/scratch/$d /$d
done
mount -t tmpfs tmpfs /run
mount --bind {folder}/boot_id /proc/sys/kernel/random/boot_id
hostname {name}
exec {binary} {role}
"""


def sh(*words: str, check: bool = True) -> str:
    """Run a command of this machine and return what it prints."""
    done = subprocess.run(words, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(words)} ended with {done.returncode}: {done.stderr}")
    return done.stdout


class Box:
    """One node.

    :param role: ``server`` or ``agent``.
    :param number: the last byte of its address.
    :param config: what its config.yaml has, besides the address.
    """

    def __init__(self, root: Path, binary: str, name: str, role: str, number: int, config: dict) -> None:
        self.name, self.role, self.address = name, role, f"198.18.250.{number}"
        self.folder = root / name
        self.namespace, self.link = f"k3sbox-{number}", f"k3sb{number}"
        self.binary = binary
        self.process: subprocess.Popen | None = None
        etc = self.folder / "upper" / "etc"
        (etc / "rancher" / "k3s").mkdir(parents=True)
        config = {"node-ip": self.address, "token": "secret", "node-name": name, **config}
        (etc / "rancher" / "k3s" / "config.yaml").write_text(json.dumps(config))
        (etc / "machine-id").write_text(uuid.uuid4().hex + "\n")
        unit = "k3s.service" if role == "server" else "k3s-agent.service"
        (self.folder / "bin").mkdir()
        systemctl = self.folder / "bin" / "systemctl"
        systemctl.write_text(SYSTEMCTL.format(unit=unit, binary=binary, role=role))
        systemctl.chmod(0o755)
        sh("ip", "netns", "add", self.namespace)
        sh("ip", "link", "add", self.link, "type", "veth", "peer", "name", "eth0", "netns", self.namespace)
        sh("ip", "link", "set", self.link, "master", BRIDGE, "up")
        inside = ("ip", "-n", self.namespace)
        sh(*inside, "link", "set", "lo", "up")
        sh(*inside, "address", "add", f"{self.address}/24", "dev", "eth0")
        sh(*inside, "link", "set", "eth0", "up")
        sh(*inside, "route", "add", "default", "via", GATEWAY)

    def start(self) -> None:
        """Start it, in a new boot."""
        (self.folder / "boot_id").write_text(f"{uuid.uuid4()}\n")
        script = START.format(folder=self.folder, name=self.name, binary=self.binary, role=self.role)
        words = [
            "ip",
            "netns",
            "exec",
            self.namespace,
            "unshare",
            "--mount",
            "--uts",
            "--pid",
            "--fork",
            "--kill-child",
        ]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*words, "--mount-proc", "sh", "-c", script], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        (self.folder / "pid").write_text(str(until(f"{self.name} to be made", self._first)))

    def stop(self) -> None:
        """Switch it off, as a power cut does."""
        if self.process:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def boot_id(self) -> str:
        return (self.folder / "boot_id").read_text().strip()

    def _first(self) -> str:
        """The pid of its first process, empty until that is its K3s: before, its file systems are not in place."""
        if self.process.poll() is not None:
            raise AssertionError(f"{self.name} ended: {(self.folder / 'log').read_text()[-2000:]}")
        for pid in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split():
            if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(self.binary.encode()):
                return pid
        return ""

    def run(self, *words: str, stdin: str = "", timeout: float = 120) -> subprocess.CompletedProcess:
        """Run a command on it."""
        path = f"{self.folder}/bin:{Path(sys.executable).parent}:{os.environ['PATH']}"
        return subprocess.run(
            ["nsenter", "-t", self._first(), "-m", "-n", "-p", "-u", "--", *words],
            env={**os.environ, "PATH": path, "PYTHONPATH": str(CHECKOUT / ".build" / "collections"), "HOME": "/root"},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def interpreter(self, path: Path) -> None:
        """Make a Python that runs here, wherever it is started: what Ansible calls ansible_python_interpreter."""
        path.write_text(
            f"#!/bin/sh\nexport PATH={self.folder}/bin:$PATH\n"
            f'exec nsenter -t "$(cat {self.folder}/pid)" -m -n -p -u -- {sys.executable} "$@"\n'
        )
        path.chmod(0o755)

    def kubectl(self, *words: str, stdin: str = "", check: bool = True) -> str:
        """kubectl on it, as an admin would use it."""
        done = self.run(self.binary, "kubectl", *words, stdin=stdin)
        if check and done.returncode != 0:
            raise AssertionError(f"kubectl {' '.join(words)}: {done.stderr}")
        return done.stdout if check else done.stdout + done.stderr

    def get(self, *words: str) -> dict:
        return json.loads(self.kubectl("get", *words, "-o", "json"))

    def module(self, name: str, **arguments: object) -> dict:
        """Run a module of the collection on it."""
        given = json.dumps({"ANSIBLE_MODULE_ARGS": arguments})
        done = self.run(
            sys.executable, "-m", f"ansible_collections.homelab.patching.plugins.modules.{name}", stdin=given
        )
        try:
            return json.loads(done.stdout)
        except ValueError as exc:
            raise AssertionError(f"{name} ended with {done.returncode}: {done.stdout}{done.stderr}") from exc

    def remove(self) -> None:
        self.stop()
        # The link goes with its namespace, but not at once.
        sh("ip", "link", "delete", self.link, check=False)
        sh("ip", "netns", "delete", self.namespace, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)


def network() -> None:
    """The bridge that the boxes hang on. What killed tests left is removed."""
    for name in (line.split()[0] for line in sh("ip", "netns", "list").splitlines() if line.startswith("k3sbox-")):
        for pid in sh("ip", "netns", "pids", name).split():
            os.kill(int(pid), signal.SIGKILL)
        sh("ip", "link", "delete", name.replace("k3sbox-", "k3sb"), check=False)
        sh("ip", "netns", "delete", name)
    sh("ip", "link", "delete", BRIDGE, check=False)
    sh("ip", "link", "add", BRIDGE, "type", "bridge")
    sh("ip", "address", "add", f"{GATEWAY}/24", "dev", BRIDGE)
    sh("ip", "link", "set", BRIDGE, "up")


def until(what: str, ask, seconds: float = 90) -> object:
    """Ask until the answer is true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = ask()
        if answer:
            return answer
        time.sleep(0.3)
    raise AssertionError(f"{what} did not come within {seconds:.0f} s")
