# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Proxmox VE API (fakepve) whose guests are the lab's hosts: its power calls and agent answers act on them."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fakepve import FakePve
from fakepve.certs import make_cert
from fakepve.model import FakeVm, PveError, TaskError

from lab.config import GATEWAY, NETWORK, PVE_PORT, PVE_TOKEN, PVE_USER, LabError
from lab.machine import Machine
from lab.table import Guest, Host

PRIVILEGES = (
    "Datastore.Audit", "Pool.Audit", "Sys.Audit", "VM.Audit", "VM.Config.Options", "VM.GuestAgent.Audit",
    "VM.PowerMgmt", "VM.Snapshot", "VM.Snapshot.Rollback",
)  # fmt: skip


def guest_config(host: Host) -> dict[str, Any]:
    """The configuration of a host's VM, as Terraform and cloud-init leave it."""
    prefix = NETWORK.partition("/")[2]
    address = f"gw={GATEWAY},ip={host.address}/{prefix}" if host.ipconfig == "static" else "ip=dhcp"
    config = {
        "name": host.name,
        "tags": ";".join(sorted(host.tags)),
        "description": "Managed by Terraform.",
        "ostype": "l26",
        "cores": 2,
        "memory": 2048,
        "scsihw": "virtio-scsi-single",
        "boot": "order=scsi0",
        "scsi0": f"local-lvm:vm-{host.vmid}-disk-0,size=10G",
        "ide2": f"local-lvm:vm-{host.vmid}-cloudinit,media=cdrom",
        "net0": f"virtio={host.mac.upper()},bridge=vmbr0,firewall=1",
        "ipconfig0": address,
        "ciuser": "ops",
    }
    if host.agent:
        config["agent"] = "enabled=1"
    return config


class LabPve(FakePve):  # type: ignore[misc]
    """fakepve over machines that exist."""

    def __init__(self, secret: str, nodes: list[str]) -> None:
        super().__init__(host=GATEWAY, port=PVE_PORT)
        self.machines: dict[int, Machine] = {}
        self.time_scale = 1.0  # tasks run beside the requests, as on a real one
        self.nodes: dict[str, dict[str, bool]] = {}
        for node in nodes:
            self.add_node(node)
        self.cluster_name = "lab"
        self.apitokens[f"{PVE_USER}!{PVE_TOKEN}"] = secret
        self.grant(PVE_USER, "/", *PRIVILEGES)

    # --- guests ---

    def add_machine(self, machine: Machine) -> None:
        """A host becomes a guest; one that already is keeps its configuration."""
        if machine.host.vmid not in self.machines:
            self.machines[machine.host.vmid] = machine
            host = machine.host
            self.add_vm(host.vmid, host.name, node=host.node, config=guest_config(host))
            self.default(machine)
        self.follow(machine)

    def remove_machine(self, machine: Machine) -> None:
        """The guest is destroyed."""
        self.machines.pop(machine.host.vmid, None)
        self.vms: list[FakeVm] = [vm for vm in self.vms if vm.vmid != machine.host.vmid]

    def add_guest(self, guest: Guest) -> None:
        """A guest without a machine, switched off."""
        config = {"name": guest.name, "ostype": "l26", "scsi0": f"local-lvm:base-{guest.vmid}-disk-0,size=3G"}
        if guest.tags:
            config["tags"] = ";".join(sorted(guest.tags))
        if guest.template:
            config["template"] = "1"
        self.add_vm(guest.vmid, guest.name, node=guest.node, template=guest.template, config=config)

    def default(self, machine: Machine) -> None:
        """Put a guest back to what the table says."""
        vm = self.vm(machine.host.vmid)
        vm.config, vm.pending, vm.lock = guest_config(machine.host), {}, None
        vm.name, vm.node = machine.host.name, machine.host.node
        vm.snapshots, vm.agent_hangs = {}, False
        vm.agent = {} if machine.host.agent else None

    def follow(self, machine: Machine) -> None:
        """The guest's status is the host's."""
        vm = self.vm(machine.host.vmid)
        if vm is None:
            return
        # A reboot from inside is no change of power.
        on = machine.state != "stopped"
        if on != (vm.status == "running"):
            vm.status = vm.qmpstatus = "running" if on else "stopped"
            vm.started_at = time.time() if on else None

    def change(self, machine: Machine, facts: Mapping[str, Any]) -> dict[str, Any]:
        """Change what the API says of a guest: lock, tags, agent (on, off, hang), node, config {key: value or None}."""
        vm = self.vm(machine.host.vmid)
        if vm is None:
            raise LabError(
                f"{machine.host.name} is no guest at the moment; start it: tools/lab start {machine.host.name}"
            )
        for key, value in facts.items():
            if key == "lock":
                self._qm_lock(vm, value or None)
            elif key == "tags":
                vm.config["tags"] = value if isinstance(value, str) else ";".join(value)
                if not vm.config["tags"]:
                    del vm.config["tags"]
            elif key == "agent" and value in ("on", "off", "hang"):
                vm.agent, vm.agent_hangs = (None if value == "off" else {}), value == "hang"
            elif key == "node" and value in self.nodes:
                vm.node = value
            elif key == "config":
                for name, text in value.items():
                    if text is None:
                        vm.config.pop(name, None)
                    else:
                        vm.config[name] = text
            else:
                raise LabError(
                    f"{key}={value} is no fact of a guest; there are lock=WORD, tags=a;b, agent=on|off|hang, "
                    f"node={'|'.join(self.nodes)}, config"
                )
        return self.facts(machine)

    def facts(self, machine: Machine) -> dict[str, Any]:
        """What the API says of a guest."""
        vm = self.vm(machine.host.vmid)
        agent = "off" if vm.agent is None else "hang" if vm.agent_hangs else "on"
        return {"status": vm.status, "node": vm.node, "lock": vm.lock, "agent": agent, "config": dict(vm.config)}

    # --- power ---

    async def _do_start(self, vm: FakeVm, user: str, p: Mapping[str, Any]) -> str:
        machine = self.machines.get(vm.vmid)
        if machine is None:
            return await super()._do_start(vm, user, p)

        async def body() -> None:
            if vm.lock:
                raise TaskError(f"VM is locked ({vm.lock})")
            if vm.status == "running":
                raise TaskError(f"VM {vm.vmid} already running")
            vm.apply_pending()
            await machine.start()

        return await self.task(vm.node, "qmstart", vm.vmid, user, body, vm=vm)

    async def _do_stop(self, vm: FakeVm, user: str, p: Mapping[str, Any]) -> str:
        machine = self.machines.get(vm.vmid)
        if machine is None:
            return await super()._do_stop(vm, user, p)
        if not p.get("skiplock"):
            self._check_lock(vm)
        return await self.task(vm.node, "qmstop", vm.vmid, user, machine.pull_the_plug, vm=vm)

    async def _powerdown(self, vm: FakeVm, p: Mapping[str, Any]) -> str | None:
        machine = self.machines.get(vm.vmid)
        if machine is None:
            return await super()._powerdown(vm, p)
        if await machine.shut_down(int(p.get("timeout") or self.shutdown_default_timeout)):
            return None
        if str(p.get("forceStop", "0")) in ("1", "true"):
            await machine.pull_the_plug()
            return "VM still running - terminating now with SIGTERM"
        raise TaskError("VM quit/powerdown failed - got timeout")

    async def _do_reboot(self, vm: FakeVm, user: str, p: Mapping[str, Any]) -> str:
        machine = self.machines.get(vm.vmid)
        if machine is None:
            return await super()._do_reboot(vm, user, p)
        self._need_running(vm)
        self._check_lock(vm)

        async def body() -> None:
            await self._powerdown(vm, p)
            vm.apply_pending()
            await machine.start()

        return await self.task(vm.node, "qmreboot", vm.vmid, user, body, vm=vm)

    async def _do_reset(self, vm: FakeVm, user: str, p: Mapping[str, Any]) -> str:
        machine = self.machines.get(vm.vmid)
        if machine is None:
            return await super()._do_reset(vm, user, p)
        self._need_running(vm)
        self._check_lock(vm)
        return await self.task(vm.node, "qmreset", vm.vmid, user, machine.power_cycle, vm=vm)

    # --- the guest agent ---

    async def _agent_call(self, match: Any, values: Mapping[str, Any]) -> Any:
        answer = await super()._agent_call(match, values)
        machine = self.machines.get(int(values["vmid"]))
        command = match.template.rsplit("/", 1)[1]
        if machine is not None and command in ("network-get-interfaces", "get-osinfo", "get-host-name"):
            result = await machine.agent(command)
            if result is None:
                raise PveError(500, "QEMU guest agent is not running")
            return {"result": result}
        return answer


def certificate(folder: Path) -> tuple[str, str, str]:
    """A certificate for the API's address: (its file, its key's file, its fingerprint as Proxmox writes it)."""
    folder.mkdir(parents=True, exist_ok=True)
    certfile, keyfile, der = make_cert(str(folder), name="pve", hosts=(GATEWAY,))
    return certfile, keyfile, fingerprint(der)


def fingerprint(der: bytes) -> str:
    """SHA-256, in pairs with colons."""
    return hashlib.sha256(der).digest().hex(":").upper()
