# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""K3s on the lab's hosts, as an admin would install it; and where its binary comes from."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lab import api, containers
from lab.config import CACHE, CHECKOUT, HOSTS, RUNTIME, LabError
from lab.files import write
from lab.system import step

VERSION = "v1.34.3+k3s1"
RELEASES = "https://github.com/k3s-io/k3s/releases/download"
READY_SECONDS = 180

UNIT = """[Unit]
After=network-online.target containerd.service

[Service]
Type=notify
KillMode=process
Delegate=yes
Restart=always
RestartSec=2
TimeoutStartSec=0
ExecStart=/usr/local/bin/k3s {role}

[Install]
WantedBy=multi-user.target
"""


# --- the binary ---


def found() -> Path | None:
    """The binary that is at hand, without building or downloading one; None where there is none.

    :raises LabError: K3S_BINARY names no file.
    """
    if named := os.environ.get("K3S_BINARY"):
        if not Path(named).is_file():
            raise LabError(f"K3S_BINARY={named}: there is no such file")
        return Path(named)
    if RUNTIME:
        kept = CACHE / f"k3s-{VERSION}" / "k3s"
        return kept if kept.is_file() else None
    built = sorted(CACHE.glob("k3s-*/k3s"), key=lambda path: path.stat().st_mtime)
    built = [path for path in built if path.parent.name != f"k3s-{VERSION}"]
    return built[-1] if built else None


def binary() -> Path:
    """K3S_BINARY; else, for hosts that run containers, the official release; else the stand-in, which needs none.

    :raises LabError: it can neither be downloaded nor built.
    """
    if at_hand := found():
        return at_hand
    if RUNTIME:
        return release()
    if subprocess.run([CHECKOUT / "tools" / "standin"], stdout=subprocess.DEVNULL, check=False).returncode:
        raise LabError("there is no K3s: name a binary, K3S_BINARY=/path/k3s, or install Go for the stand-in")
    return binary()


def release() -> Path:
    """The official release, downloaded once; its checksum is that of the release's own list.

    :raises LabError: it cannot be had, or is not what the list says.
    """
    arm = os.uname().machine == "aarch64"
    base = f"{os.environ.get('LAB_K3S_RELEASES', RELEASES)}/{urllib.parse.quote(VERSION)}"
    name, sums = ("k3s-arm64", "sha256sum-arm64.txt") if arm else ("k3s", "sha256sum-amd64.txt")
    kept = CACHE / f"k3s-{VERSION}" / "k3s"
    aside = kept.with_name("k3s.new")
    kept.parent.mkdir(parents=True, exist_ok=True)
    try:
        with step(f"Downloading K3s {VERSION}, once", 20):
            with urllib.request.urlopen(f"{base}/{sums}", timeout=30) as answer:
                rows = [line.split() for line in answer.read().decode().splitlines()]
            with urllib.request.urlopen(f"{base}/{name}", timeout=30) as answer, aside.open("wb") as out:
                shutil.copyfileobj(answer, out)
    except (OSError, urllib.error.URLError) as error:
        raise LabError(f"{base} cannot be had ({error}); name a binary that you have: K3S_BINARY=/path/k3s") from error
    expected = {row[1]: row[0] for row in rows if len(row) == 2}.get(name)
    with aside.open("rb") as stream:
        actual = hashlib.file_digest(stream, "sha256").hexdigest()
    if actual != expected:
        aside.unlink()
        raise LabError(f"{base}/{name} is not what {sums} says ({actual}, not {expected}); nothing was kept")
    aside.chmod(0o755)
    aside.rename(kept)
    return kept


# --- a cluster ---


def node(host: str) -> str:
    """The name of a host's node. It is not the host's name, on purpose: nothing may take one for the other."""
    return f"node-{host}.lab.example"


def config(host: str, address: str, servers: Sequence[str], first: str, etcd: bool) -> dict[str, Any]:
    """config.yaml of a host.

    :param address: of the host; `first` is that of the first server.
    :param etcd: embedded etcd; otherwise sqlite, with one server.
    """
    out: dict[str, Any] = {"node-ip": address, "token": "secret", "node-name": node(host)}
    if host != servers[0]:
        out["server"] = f"https://{first}:6443"
    elif etcd:
        out["cluster-init"] = True
    if not RUNTIME:
        return out
    out["container-runtime-endpoint"] = containers.SOCKET
    if host in servers:
        # One image is all there is, and pods need no more than their own bridge.
        out |= {
            "flannel-backend": "none",
            "disable-network-policy": True,
            "disable-kube-proxy": True,
            "disable-helm-controller": True,
            "disable-cloud-controller": True,
            "disable": ["traefik", "servicelb", "metrics-server", "local-storage", "coredns"],
            "cluster-cidr": str(containers.PODS),
            "service-cidr": containers.SERVICES,
        }
    return out


def cluster(servers: Sequence[str], agents: Sequence[str] = (), *, etcd: bool) -> None:
    """Make a cluster of hosts that run, and wait until its nodes are Ready.

    :param etcd: embedded etcd; otherwise sqlite, with one server.
    :raises LabError: it cannot be made.
    """
    hosts = [*servers, *agents]
    if len(servers) > 1 and not etcd:
        raise LabError("several servers want --datastore etcd; sqlite is for one")
    if twice := sorted({host for host in hosts if hosts.count(host) > 1}):
        raise LabError(f"{', '.join(twice)}: named twice")
    program = binary()
    api.start(*hosts)
    addresses = {host["name"]: host["address"] for host in api.hosts()}
    for host in hosts:
        role = "server" if host in servers else "agent"
        _install(host, role, config(host, addresses[host], servers, addresses[servers[0]], etcd), program)
        if role == "server":
            _until_ready(servers[0], hosts[: hosts.index(host) + 1])
    _until_ready(servers[0], hosts)


def _install(host: str, role: str, given: dict[str, Any], program: Path) -> None:
    root = HOSTS / host / "root"
    unit = "k3s" if role == "server" else "k3s-agent"
    shutil.copyfile(program, root / "usr/local/bin/k3s.new")
    (root / "usr/local/bin/k3s.new").chmod(0o755)
    (root / "usr/local/bin/k3s.new").rename(root / "usr/local/bin/k3s")
    write(root, "/etc/rancher/k3s/config.yaml", json.dumps(given) + "\n")
    write(root, f"/etc/systemd/system/{unit}.service", UNIT.format(role=role))
    script = f"systemctl daemon-reload && systemctl enable --quiet --now --no-block {unit}"
    if (said := api.run(host, ["sh", "-c", script])).returncode:
        raise LabError(f"{host}: {unit} cannot be started: {said.stderr.strip()}")


def _until_ready(server: str, hosts: Sequence[str]) -> None:
    columns = "custom-columns=:metadata.name,:status.conditions[?(@.type=='Ready')].status"
    command = ["/usr/local/bin/k3s", "kubectl", "get", "nodes", "--no-headers", "-o", columns]
    wanted = {node(host) for host in hosts}
    deadline = time.monotonic() + READY_SECONDS
    while True:
        rows = [line.split() for line in api.run(server, command).stdout.splitlines()]
        ready = {row[0] for row in rows if row[1:] == ["True"]}
        if wanted <= ready:
            return
        if time.monotonic() > deadline:
            missing = ", ".join(sorted(wanted - ready))
            raise LabError(f"{missing} not Ready after {READY_SECONDS} s; on the host: journalctl -u k3s -u k3s-agent")
        time.sleep(1)
