# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One host of the lab: its overlay, what is written into it, and the systemd-nspawn that runs it."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lab import cacher, containers, network, repo
from lab.archive import Archive
from lab.config import GATEWAY, HOSTS, KEYS, MACHINE_PREFIX, NAME, NETWORK, RUNTIME, USER, LabError
from lab.files import write
from lab.system import below, die_with_parent, kill, mounts, remove_tree, run, unmount
from lab.table import Distro, Host, Suite

REBOOT = 133  # what systemd-nspawn exits with when its guest reboots
BOOT_SECONDS = 60
STOP_SECONDS = 20
SHELL_ENV = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8"}


def machine_id(name: str) -> str:
    """A host's machine-id: its own, and the same after a reset."""
    return uuid.uuid5(uuid.NAMESPACE_DNS, f"{name}.{NAME}").hex


def parse_agent_interfaces(text: str) -> list[dict[str, Any]]:
    """`ip -json address` of a host as the guest agent's network-get-interfaces."""
    out = []
    for link in json.loads(text):
        addresses = [
            {
                "ip-address": entry["local"],
                "ip-address-type": "ipv6" if entry["family"] == "inet6" else "ipv4",
                "prefix": entry["prefixlen"],
            }
            for entry in link.get("addr_info", [])
        ]
        row = {"name": link["ifname"], "hardware-address": link.get("address", "00:00:00:00:00:00")}
        out.append({**row, "ip-addresses": addresses} if addresses else row)
    return out


def parse_os_release(text: str) -> dict[str, str]:
    """/etc/os-release as the guest agent's get-osinfo."""
    values = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    names = {"NAME": "name", "ID": "id", "VERSION": "version", "VERSION_ID": "version-id", "PRETTY_NAME": "pretty-name"}
    uname = os.uname()
    kernel = {"kernel-release": uname.release, "kernel-version": uname.version, "machine": uname.machine}
    return {new: values[old].strip('"') for old, new in names.items() if old in values} | kernel


def systemd_runs_this_machine() -> bool:
    """Is systemd pid 1 here? Then nspawn asks it for a scope; otherwise the lab makes the cgroup itself."""
    return Path("/run/systemd/system").is_dir()


def own_cgroups(name: str) -> list[Path]:
    """The cgroups a host gets where no systemd hands out scopes: in the v2 tree, and in systemd's own v1 tree.

    For containers it is all v1 trees.
    """
    root = Path("/sys/fs/cgroup")
    if containers.unified():
        trees = [root]
    elif RUNTIME:
        trees = [path for path in sorted(root.iterdir()) if not path.is_symlink()]
    else:
        trees = [root / "unified", root / "systemd"]
    return [tree / NAME / name for tree in trees if tree.is_dir()]


def namespaces(leader: int, command: list[str]) -> list[str]:
    """The command line that runs a command inside a host, without its network or its ssh.

    nsenter's own fork would stop itself when the command is stopped, as a host that shuts down does with all it has,
    and would so keep the host from ending; a shell only waits.
    """
    inside = [f"{key}={value}" for key, value in {**SHELL_ENV, "TERM": os.environ.get("TERM", "dumb")}.items()]
    return [
        "nsenter", f"--target={leader}", "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd",
        "--no-fork", "--", "env", "--ignore-environment", *inside, "sh", "-c", '"$@"; exit $?', "sh", *command,
    ]  # fmt: skip


def find_leader(nspawn: int) -> int | None:
    """The host's pid 1, as this machine numbers it."""
    try:
        children = Path(f"/proc/{nspawn}/task/{nspawn}/children").read_text().split()
    except OSError:
        return None
    for child in children:
        try:
            status = Path(f"/proc/{child}/status").read_text()
        except OSError:
            continue
        numbers = next((line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:")), [])
        if len(numbers) > 1 and numbers[-1] == "1":
            return int(child)
    return None


class Machine:
    """A host, driven from the supervisor's event loop."""

    def __init__(
        self,
        host: Host,
        distro: Distro,
        root: Path,
        archive: Archive,
        suites: list[Suite],
        changed: Callable[[Machine], None],
    ) -> None:
        self.host = host
        self.distro = distro
        self.base = root
        self.archive = archive
        self.suites = suites
        self.changed = changed
        self.folder = HOSTS / host.name
        self.root = self.folder / "root"
        self.lock = asyncio.Lock()
        self.process: asyncio.subprocess.Process | None = None
        self.task: asyncio.Task[None] | None = None
        self.power = False  # switched on; the loop starts nspawn again after a reboot
        self.cut = False
        self.boots = 0
        self.started_at = 0.0
        self.trouble = ""

    # --- the disk ---

    def prepare(self, plain: bool = False) -> None:
        """Mount the overlay; write into a new one what makes it this host."""
        for name in ("upper", "work", "root", *containers.BESIDE):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        if not below(mounts(), self.root):
            options = f"lowerdir={self.base},upperdir={self.folder}/upper,workdir={self.folder}/work"
            run("mount", "-t", "overlay", NAME, "-o", options, self.root)
        stamp = self.folder / "seeded"
        if not stamp.exists():
            self.seed(plain)
            stamp.touch()

    def discard(self) -> None:
        """Throw away all that happened on the disk."""
        for point in below(mounts(), self.root):
            unmount(point)
        (self.folder / "seeded").unlink(missing_ok=True)
        for name in ("upper", "work", *containers.BESIDE):
            remove_tree(self.folder / name)

    def seed(self, plain: bool) -> None:
        """Name, address, keys and sources of this host, and the packages it starts with (plain: nothing pending)."""
        host, root = self.host, self.root
        write(root, "/etc/hostname", f"{host.name}\n")
        write(root, "/etc/hosts", f"127.0.0.1 localhost\n127.0.1.1 {host.name}\n::1 localhost ip6-localhost\n")
        write(root, "/etc/machine-id", machine_id(host.name) + "\n", 0o444)
        prefix = NETWORK.partition("/")[2]
        write(
            root,
            "/etc/lab/network",
            "#!/bin/sh\n# The network card that Proxmox knows, and its address.\nset -e\n"
            f"ip link set host0 address {host.mac}\nip address replace {host.address}/{prefix} dev host0\n"
            "ip link set host0 up\n",
            0o755,
        )
        for name in ("ssh_host_ed25519_key", "ssh_host_ed25519_key.pub"):
            write(root, f"/etc/ssh/{name}", (self.folder / name).read_text(), 0o600 if name.endswith("key") else 0o644)
        home = root / "home" / USER
        owner = home.stat()
        ssh = home / ".ssh"
        ssh.mkdir(mode=0o700, exist_ok=True)
        write(ssh, "authorized_keys", (KEYS / "id_ed25519.pub").read_text(), 0o600)
        for path in (ssh, ssh / "authorized_keys"):
            os.chown(path, owner.st_uid, owner.st_gid)
        played = [repo.source(suite.name) for suite in self.suites if suite.distro == self.distro.name]
        sources = self.archive.sources(self.distro.family, self.distro.suite) + "".join(f"{line}\n" for line in played)
        write(root, "/etc/apt/sources.list", "" if plain else sources)
        own = [repo.source(suite.name) for suite in self.suites if not suite.distro]
        write(root, "/etc/apt/sources.list.d/lab.list", "".join(f"{line}\n" for line in own))
        proxies = f'Acquire::http::Proxy "{cacher.PROXY}";\nAcquire::http::Proxy::{GATEWAY} "DIRECT";\n'
        write(root, "/etc/apt/apt.conf.d/01lab-proxy", f"// Everything through the lab's cache.\n{proxies}")
        keyring = root / "etc/apt/keyrings/lab.gpg"
        keyring.parent.mkdir(exist_ok=True)
        shutil.copyfile(repo.GNUPG / "lab.gpg", keyring)
        if host.packages and not plain:
            debs = [repo.deb(*wanted.split("=")) for wanted in host.packages]
            for deb in debs:
                shutil.copyfile(deb, root / deb.name)
            env = {**SHELL_ENV, "DEBIAN_FRONTEND": "noninteractive"}
            run("chroot", root, "dpkg", "--install", *(f"/{deb.name}" for deb in debs), env=env)
            for deb in debs:
                (root / deb.name).unlink()
        if RUNTIME:
            containers.seed(root, int(host.address.rpartition(".")[2]))

    # --- the power ---

    def command(self) -> list[str]:
        """The nspawn command line."""
        words = [
            "systemd-nspawn", "--quiet", f"--directory={self.root}", f"--machine={MACHINE_PREFIX}{self.host.name}",
            f"--hostname={self.host.name}", "--boot", "--register=no", f"--network-bridge={network.BRIDGE}",
            "--resolv-conf=off", "--timezone=off", "--link-journal=no", "--settings=no", "--console=pipe",
        ]  # fmt: skip
        if RUNTIME:
            words += containers.WORDS
            words += [f"--bind={self.folder}/{name}:{path}" for name, path in containers.BESIDE.items()]
        return words if systemd_runs_this_machine() else [*words, "--keep-unit"]

    def environment(self) -> dict[str, str]:
        """What nspawn reads from its environment."""
        unified = not RUNTIME or containers.unified()
        out = {**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1" if unified else "0"}
        if RUNTIME:
            out |= {"SYSTEMD_NSPAWN_USE_CGNS": "1", "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "1"}
        return out

    def enter(self) -> None:
        """In the child, before exec: die with the supervisor; a cgroup of its own, by which the host is found."""
        die_with_parent()
        if not systemd_runs_this_machine():
            for group in own_cgroups(self.host.name):
                (group / "cgroup.procs").write_text(str(os.getpid()))

    @property
    def leader(self) -> int | None:
        """The pid of the host's pid 1, while it runs."""
        return find_leader(self.process.pid) if self.process and self.process.returncode is None else None

    @property
    def state(self) -> str:
        """running, rebooting (between two nspawns) or stopped."""
        if self.process and self.process.returncode is None:
            return "running"
        return "rebooting" if self.power else "stopped"

    async def loop(self) -> None:
        """Run the host until it powers off; what keeps it from running is told to whoever waits for it."""
        try:
            await self.boot_and_reboot()
        except OSError as error:
            self.trouble = str(error)
        self.power = False
        self.changed(self)

    async def boot_and_reboot(self) -> None:
        """Run nspawn, again after every reboot."""
        while True:
            await asyncio.to_thread(network.forget_cable, self.host.name)
            if not systemd_runs_this_machine():
                groups = own_cgroups(self.host.name)
                for group in groups:
                    group.mkdir(parents=True, exist_ok=True)
                if RUNTIME and not containers.unified():
                    containers.enter(groups)
            with (self.folder / "console.log").open("ab") as console:
                self.process = await asyncio.create_subprocess_exec(
                    *self.command(), stdin=asyncio.subprocess.DEVNULL, stdout=console, stderr=console,
                    env=self.environment(), preexec_fn=self.enter,
                )  # fmt: skip
            self.boots += 1
            self.started_at = time.time()
            self.changed(self)
            keeper = asyncio.create_task(self.keep_cut())
            status = await self.process.wait()
            keeper.cancel()
            if not (status == REBOOT and self.power):
                break
        if status not in (0, REBOOT) and self.power:
            self.trouble = f"systemd-nspawn ended with status {status}"

    async def keep_cut(self) -> None:
        """A reboot plugs in a new cable; one that was cut stays cut. nspawn switches it on itself, at its start."""
        for _ in range(100):
            if self.cut:
                network.set_cable(self.host.name, up=False)
            await asyncio.sleep(0.05)

    async def _start(self, plain: bool = False) -> None:
        if self.power:
            return
        await asyncio.to_thread(self.prepare, plain)
        self.power, self.trouble = True, ""
        self.task = asyncio.create_task(self.loop())

    async def _kill(self) -> None:
        self.power = False
        if self.process and self.process.returncode is None:
            leader = self.leader
            if leader:
                kill(leader)  # nspawn then ends by itself and tidies up
            else:
                kill(self.process.pid)
        if self.task:
            _, pending = await asyncio.wait([self.task], timeout=5)
            if pending and self.process:
                kill(self.process.pid)
                await self.task

    async def start(self) -> None:
        """Switch on."""
        async with self.lock:
            await self._start()

    async def shut_down(self, patience: float = STOP_SECONDS) -> bool:
        """Ask for a clean shutdown; False when the host has not stopped in time."""
        async with self.lock:
            return await self._shut_down(patience)

    async def _shut_down(self, patience: float) -> bool:
        if not (self.task and self.process):
            return True
        self.power = False
        if self.process.returncode is None:
            kill(self.process.pid, signal.SIGTERM)  # nspawn passes it on as "power off"
        _, pending = await asyncio.wait([self.task], timeout=patience)
        if pending:
            self.power = True
        return not pending

    async def stop(self) -> None:
        """Clean shutdown with a deadline, then the plug."""
        async with self.lock:
            if not await self._shut_down(STOP_SECONDS):
                await self._kill()

    async def pull_the_plug(self) -> None:
        """Off, at once."""
        async with self.lock:
            await self._kill()

    async def power_cycle(self) -> None:
        """Off and on, at once."""
        async with self.lock:
            await self._kill()
            await self._start()

    async def reset(self, plain: bool = False) -> None:
        """As after the first start: updates pending again; plain: nothing pending, and only the lab's repository."""
        async with self.lock:
            await self._kill()
            await asyncio.to_thread(self.discard)
            self.cut = False
            await self._start(plain)

    def set_cut(self, cut: bool) -> None:
        """Unplug the network, or plug it in again."""
        self.cut = cut
        network.set_cable(self.host.name, up=not cut)

    # --- asking the host ---

    async def wait(self, seconds: float = BOOT_SECONDS) -> None:
        """Until the host lets its user in over ssh (at once if its network is cut)."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.cut:
                return
            if self.trouble or (self.task and self.task.done()):
                why = self.trouble or "it powered off"
                raise LabError(f"{self.host.name} is not running ({why}); see {self.folder}/console.log")
            if await self.answers():
                return
            await asyncio.sleep(0.1)
        raise LabError(f"{self.host.name} does not answer ssh after {seconds:.0f} s; see {self.folder}/console.log")

    async def answers(self) -> bool:
        """Does sshd greet, and is the host done with booting (before that it lets root in only)?"""
        leader = self.leader
        if not leader:
            return False
        try:
            reader, writer = await asyncio.wait_for(asyncio.open_connection(self.host.address, 22), 1)
        except (OSError, TimeoutError):
            return False
        try:
            greeting = await asyncio.wait_for(reader.readline(), 2)
        except (OSError, TimeoutError):
            return False
        finally:
            writer.close()
        return greeting.startswith(b"SSH-") and not Path(f"/proc/{leader}/root/run/nologin").exists()

    async def ask(self, *command: str) -> str:
        """The output of a command inside the host; empty if it fails."""
        leader = self.leader
        if not leader:
            return ""
        process = await asyncio.create_subprocess_exec(
            *namespaces(leader, list(command)), stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL, preexec_fn=die_with_parent,
        )  # fmt: skip
        out, _ = await process.communicate()
        return out.decode(errors="replace") if process.returncode == 0 else ""

    async def agent(self, command: str) -> Any:
        """What this host's guest agent answers; None: it does not run."""
        if command == "get-osinfo":
            text = await self.ask("cat", "/etc/os-release")
            return parse_os_release(text) if text else None
        if command == "network-get-interfaces":
            text = await self.ask("ip", "-json", "address")
            return parse_agent_interfaces(text) if text else None
        return {"host-name": self.host.name}
