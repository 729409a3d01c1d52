"""How fast the inventory is, beside community.proxmox on the same API: python -m tests.bench.inventory [--save]

Both plugins run in one Python environment, that of the `ansible` bundle in requirements/bench.txt, by the same command,
`ansible-inventory --list`, one after the other. The API is fakepve with a delay on each answer; it counts requests.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fakepve import FakePve
from fakepve.certs import make_cert
from fakepve.pytest_plugin import _Serving

CHECKOUT = Path(__file__).parents[2]
VENV = CHECKOUT / ".build" / "bench"
PAGE = CHECKOUT / "docs" / "inventory-speed.md"
MARKS = "<!-- table -->", "<!-- /table -->"
LATENCY = 0.020
NODES, POOLS = 3, 1
TOKEN = {"user": "bench@pve", "token_id": "bench", "token_secret": "bench"}


@dataclass
class Row:
    """One line of the table."""

    plugin: str
    guests: int
    requests: int
    seconds: float


def environment() -> Path:
    """Make the Python environment of the bundle, where it is missing; its directory of programs."""
    # The newest Python gets the newest bundle.
    names = [os.environ.get("PYTHON", ""), "python3.14", "python3.13", "python3.12", sys.executable]
    found = [path for path in map(shutil.which, filter(None, names)) if path]
    python = next(
        path for path in found if not subprocess.run([path, "-V"], capture_output=True, check=False).returncode
    )
    command = [CHECKOUT / "tools" / "venv", VENV, CHECKOUT / "requirements" / "bench.txt"]
    subprocess.run(command, check=True, env={**os.environ, "PYTHON": python})
    return VENV / "bin"


def fill(pve: Any, guests: int) -> None:
    """Running VMs on all nodes, each with a DHCP address that only its agent knows."""
    for number in range(guests):
        vmid = 1000 + number
        mac = f"BC:24:11:00:{number // 256:02X}:{number % 256:02X}"
        vm = pve.add_vm(
            vmid,
            f"vm{vmid}",
            node=f"pve{number % NODES + 1}",
            status="running",
            pool=f"pool{number % POOLS}",
            config={
                "agent": "1",
                "boot": "order=scsi0",
                "cores": 2,
                "description": "Managed by Terraform",
                "ipconfig0": "ip=dhcp",
                "memory": 2048,
                "net0": f"virtio={mac},bridge=vmbr0",
                "ostype": "l26",
                "scsi0": f"local-lvm:vm-{vmid}-disk-0,size=8G",
                "tags": "terraform;k3s" if number % 2 else "terraform",
            },
        )
        address = {"ip-address": f"10.1.{number // 256}.{number % 256}", "ip-address-type": "ipv4", "prefix": 16}
        bridge = {"ip-address": "172.17.0.1", "ip-address-type": "ipv4", "prefix": 16}
        vm.agent = {
            "interfaces": [
                {"name": "docker0", "hardware-address": "02:42:00:00:00:01", "ip-addresses": [bridge]},
                {"name": "eth0", "hardware-address": mac.lower(), "ip-addresses": [address]},
            ]
        }


def measure(folder: Path, programs: Path, plugin: str, guests: int, times: int = 1) -> Row:
    """Let a plugin read a cluster of that size; the median of several runs."""
    certificate, key, _authority = make_cert(str(folder))
    pve = FakePve(host="127.0.0.1", port=0)
    pve.time_scale = 1.0
    pve.network["latency"] = LATENCY
    pve.apitokens[f"{TOKEN['user']}!{TOKEN['token_id']}"] = TOKEN["token_secret"]
    fill(pve, guests)
    serving = _Serving(pve, certificate, key)
    source = folder / "bench.proxmox.yml"
    options = {"plugin": plugin, "url": pve.url, **TOKEN, "validate_certs": False, "want_facts": True}
    source.write_text(json.dumps(options))
    # Where one of these is set, community.proxmox checks certificates against it, whatever validate_certs says.
    left_out = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
    env = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", *left_out))}
    (folder / "ansible.cfg").touch()
    env["ANSIBLE_CONFIG"] = str(folder / "ansible.cfg")
    if plugin.startswith("homelab."):
        env["ANSIBLE_COLLECTIONS_PATH"] = str(CHECKOUT / ".build" / "collections")
    took = []
    try:
        for _time in range(times):
            pve.requests.clear()
            began = time.monotonic()
            command = [programs / "ansible-inventory", "-i", source, "--list"]
            done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
            took.append(time.monotonic() - began)
            asked = len(pve.requests)
            hosts = json.loads(done.stdout)["_meta"]["hostvars"] if done.returncode == 0 else {}
            found = [name for name, known in hosts.items() if known.get("proxmox_agent_interfaces")]
            if len(found) != guests:
                raise SystemExit(f"{plugin} found the NICs of {len(found)} of {guests}:\n{done.stderr[-2000:]}")
    finally:
        serving.stop()
    return Row(plugin, guests, asked, statistics.median(took))


def table(rows: list[Row]) -> str:
    """The lines as Markdown, each beside the first."""
    first = rows[0]
    lines = ["| plugin | guests | requests | seconds | requests, beside the first | speed, beside the first |"]
    lines += ["| --- | ---: | ---: | ---: | ---: | ---: |"]
    for row in rows:
        beside = f"{row.requests / first.requests:.2f} | {first.seconds / row.seconds:.1f} times"
        if row.guests != first.guests:
            beside = " | "
        lines.append(f"| {row.plugin} | {row.guests} | {row.requests} | {row.seconds:.2f} | {beside} |")
    return "\n".join(lines)


def versions(programs: Path) -> str:
    """What was compared."""
    core = subprocess.run([programs / "ansible", "--version"], capture_output=True, text=True, check=True)
    listed = subprocess.run(
        [programs / "ansible-galaxy", "collection", "list", "community.proxmox", "--format", "json"],
        capture_output=True,
        text=True,
        check=True,
    )
    theirs = next(iter(json.loads(listed.stdout).values()))["community.proxmox"]["version"]
    name = core.stdout.splitlines()[0].replace("[", "").replace("]", "")
    return f"community.proxmox {theirs}, {name}, Python {sys.version_info[0]}.{sys.version_info[1]} for the API"


def main() -> None:
    """Measure and print; with --save keep the table in docs."""
    programs = environment()
    with tempfile.TemporaryDirectory() as name:
        rows = [
            measure(Path(name), programs, "community.proxmox.proxmox", 200),
            measure(Path(name), programs, "homelab.patching.proxmox", 200, 3),
            measure(Path(name), programs, "homelab.patching.proxmox", 1000, 1),
        ]
    text = f"{table(rows)}\n\n{versions(programs)}; {LATENCY * 1000:.0f} ms on each answer, {NODES} nodes."
    print(text)
    if "--save" in sys.argv:
        page = PAGE.read_text()
        before, rest = page.split(MARKS[0])
        PAGE.write_text(f"{before}{MARKS[0]}\n{text}\n{MARKS[1]}{rest.split(MARKS[1])[1]}")


if __name__ == "__main__":
    main()
