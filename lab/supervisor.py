# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's one long-running process: it owns the hosts, apt-cacher-ng, the repository's server and the Proxmox API.

Commands reach it over a unix socket, a line of JSON each way: {"do": NAME, ...}, {"result": ...} or {"error": TEXT}.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

from aiohttp import web

from lab import cacher, table
from lab.archive import Archive
from lab.config import CHECKOUT, GATEWAY, INFO, KEYS, NAME, REPO, REPO_PORT, SOCKET, LabError
from lab.hypervisor import LabPve
from lab.machine import Machine
from lab.system import alive, die_with_parent, kill, process, say


class Supervisor:
    """The state of a running lab and the commands on it."""

    def __init__(self, info: dict[str, Any]) -> None:
        self.info = info
        self.table = table.load()
        nodes = sorted({host.node for host in self.table.hosts.values()} | {guest.node for guest in self.table.guests})
        self.pve = LabPve(info["env"]["PROXMOX_TOKEN_SECRET"], nodes)
        for guest in self.table.guests:
            self.pve.add_guest(guest)
        archives = {family: Archive(**found) for family, found in info["archives"].items()}
        self.machines = {
            host.name: Machine(
                host,
                self.table.distros[host.distro],
                Path(info["roots"][host.distro]),
                archives[self.table.distros[host.distro].family],
                self.table.suites,
                self.pve.follow,
            )
            for host in self.table.hosts.values()
        }
        self.present: dict[str, Machine] = {}  # those that are guests
        self.stopping = asyncio.Event()

    # --- the parts ---

    async def serve_repository(self) -> None:
        """The lab's apt repository over http."""
        app = web.Application()
        app.router.add_static("/", REPO)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, GATEWAY, REPO_PORT).start()

    async def run_cacher(self) -> None:
        """apt-cacher-ng, started again if it dies."""
        while True:
            with cacher.LOG.open("ab") as log:
                process = await asyncio.create_subprocess_exec(
                    *cacher.command(), stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
                    preexec_fn=die_with_parent,
                )  # fmt: skip
            try:
                status = await process.wait()
            finally:
                if process.returncode is None:
                    kill(process.pid)
            print(f"apt-cacher-ng ended with status {status}; starting it again", flush=True)
            await asyncio.sleep(1)

    async def follow_owner(self) -> None:
        """A lab that was started for somebody goes when he does, also when he was killed."""
        while alive(self.info["owner"]):
            await asyncio.sleep(1)
        say(f"pid {self.info['owner']['pid']}, for which this lab was started, has ended")
        try:
            subprocess.Popen(
                [sys.executable, "-B", "-m", "lab", "down"], cwd=CHECKOUT, stdin=subprocess.DEVNULL,
                start_new_session=True,
            )  # fmt: skip
        except OSError:  # the checkout is gone; the next `up` cleans
            self.stopping.set()

    async def serve_commands(self) -> None:
        """The socket, for root alone. It gets its name when it takes connections: `up` waits for that name."""
        aside = SOCKET.with_suffix(".new")
        old = os.umask(0o177)
        try:
            await asyncio.start_unix_server(self.client, aside, limit=1 << 20)
        finally:
            os.umask(old)
        aside.rename(SOCKET)

    async def client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One command of one client."""
        try:
            answer = await self.answer(json.loads(await reader.readline()))
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        except (ConnectionError, ValueError) as error:
            print(f"a client went away or spoke no JSON: {error}", flush=True)
        finally:
            writer.close()

    async def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do what is asked."""
        what = request.pop("do", "")
        commands: dict[str, Callable[..., Awaitable[Any]]] = {
            "status": self.status, "start": self.start, "stop": self.stop, "restart": self.restart,
            "reset": self.reset, "cut": self.cut, "heal": self.heal, "remove": self.remove, "guest": self.guest,
            "node": self.node, "requests": self.requests, "reload": self.reload,
        }  # fmt: skip
        if what not in commands:
            return {"error": f"the lab knows no command {what}"}
        print(f"{what} {json.dumps(request)}", flush=True)
        try:
            return {"result": await commands[what](**request)}
        except (LabError, OSError) as error:
            return {"error": str(error)}

    def pick(self, hosts: list[str]) -> list[Machine]:
        return [self.machines[host.name] for host in self.table.pick(hosts)]

    async def each(self, machines: Iterable[Machine], action: Callable[[Machine], Awaitable[Any]]) -> None:
        """Do the same to several hosts at once; the first error is told after all are done."""
        results = await asyncio.gather(*(action(machine) for machine in machines), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    # --- the commands ---

    async def start(self, hosts: list[str]) -> Any:
        """Switch on, and wait for ssh."""
        machines = self.pick(hosts)

        async def one(machine: Machine) -> None:
            await machine.start()
            self.present[machine.host.name] = machine
            self.pve.add_machine(machine)
            await machine.wait()

        await self.each(machines, one)
        return await self.status()

    async def stop(self, hosts: list[str]) -> Any:
        """Clean shutdown with a deadline."""
        await self.each(self.pick(hosts), Machine.stop)

    async def restart(self, hosts: list[str], wait: bool = True) -> Any:
        """A hard power cycle."""

        async def one(machine: Machine) -> None:
            await machine.power_cycle()
            if wait:
                await machine.wait()

        await self.each(self.pick(hosts), one)

    async def reset(self, hosts: list[str], plain: bool = False) -> Any:
        """Throw away what happened on the disk, and what was said about the guest; wait for ssh."""

        async def one(machine: Machine) -> None:
            await machine.reset(plain)
            self.present[machine.host.name] = machine
            self.pve.add_machine(machine)
            self.pve.default(machine)
            self.pve.follow(machine)
            await machine.wait()

        await self.each(self.pick(hosts), one)

    async def remove(self, hosts: list[str]) -> Any:
        """Destroy: off, disk gone, no guest any more."""

        async def one(machine: Machine) -> None:
            await machine.pull_the_plug()
            await asyncio.to_thread(machine.discard)
            machine.cut = False
            self.present.pop(machine.host.name, None)
            self.pve.remove_machine(machine)

        await self.each(self.pick(hosts), one)

    async def cut(self, hosts: list[str]) -> Any:
        """Unplug the network."""
        for machine in self.pick(hosts):
            machine.set_cut(True)

    async def heal(self, hosts: list[str]) -> Any:
        """Plug the network in again."""
        for machine in self.pick(hosts):
            machine.set_cut(False)

    async def guest(self, host: str, facts: dict[str, Any] | None = None, default: bool = False) -> Any:
        """Change what Proxmox says of a guest; what it then says."""
        (machine,) = self.pick([host])
        if default and self.pve.vm(machine.host.vmid):
            self.pve.default(machine)
        return self.pve.change(machine, facts or {})

    async def node(self, name: str, online: bool) -> Any:
        """Take a node of the hypervisor offline, or bring it back."""
        if name not in self.pve.nodes:
            raise LabError(f"no node {name} in the lab; there are: {', '.join(self.pve.nodes)}")
        self.pve.set_node_offline(name, not online)

    async def requests(self, clear: bool = False) -> Any:
        """The requests the Proxmox API has seen."""
        seen = [[method, path] for method, path, _ in self.pve.requests]
        if clear:
            self.pve.requests.clear()
        return seen

    async def reload(self) -> Any:
        """Put the API's view of all guests and nodes back to the table."""
        for machine in self.present.values():
            self.pve.default(machine)
            self.pve.follow(machine)
        for node in self.pve.nodes:
            self.pve.set_node_offline(node, False)

    async def status(self) -> Any:
        """All that runs."""
        hosts = []
        for machine in self.machines.values():
            host = machine.host
            if host.name not in self.present:
                continue
            hosts.append({
                "name": host.name, "address": host.address, "state": "cut" if machine.cut else machine.state,
                "distro": self.table.distros[host.distro].title, "node": host.node, "vmid": host.vmid,
                "tags": host.tags, "leader": machine.leader, "boots": machine.boots,
            })  # fmt: skip
        return {"checkout": self.info["checkout"], "supervisor": self.info["supervisor"]["pid"], "hosts": hosts}

    async def run(self) -> None:
        """Serve until told to stop."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stopping.set)
        tasks = [asyncio.create_task(self.run_cacher())]
        if self.info["owner"]:
            tasks.append(asyncio.create_task(self.follow_owner()))
        await self.serve_repository()
        await self.pve.start(str(KEYS / "pve.crt"), str(KEYS / "pve.key"))
        await self.serve_commands()
        print(f"{NAME}: supervisor ready, pid {os.getpid()}", flush=True)
        await self.stopping.wait()
        # Children are killed with this process; `down` removes what they leave.
        del tasks


def main() -> None:
    """Take over the lab that `up` wrote down."""
    info = json.loads(INFO.read_text())
    info["supervisor"] = process(os.getpid())
    aside = INFO.with_suffix(".new")
    aside.write_text(json.dumps(info, indent=1))
    aside.rename(INFO)
    supervisor = Supervisor(info)
    asyncio.run(supervisor.run())


if __name__ == "__main__":
    main()
