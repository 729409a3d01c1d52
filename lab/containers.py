# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts that run containers (LAB_RUNTIME=containerd): Debian's containerd, and one image, for a genuine K3s.

K3s's own containerd cannot: it wants an overlay on the hosts' overlay, and kernel modules.
"""

from __future__ import annotations

import hashlib
import io
import ipaddress
import json
import tarfile
from pathlib import Path

from lab.files import write

PACKAGES = "containerd,runc,containernetworking-plugins,iptables,conntrack,busybox-static"
# What nspawn is told beside the usual: containers need what a machine of its own would let them do.
WORDS = ["--capability=all", "--system-call-filter=@known", "--bind=/dev/kmsg"]
# Folders of the host that lie beside its overlay: no overlay can be mounted on another.
BESIDE = {"containerd": "/var/lib/containerd", "kubelet": "/var/lib/kubelet"}
# What the kubelet sets in the kernel that all hosts and this machine share.
SYSCTLS = ("vm.overcommit_memory", "vm.panic_on_oom", "kernel.panic", "kernel.panic_on_oops",
           "kernel.keys.root_maxkeys", "kernel.keys.root_maxbytes")  # fmt: skip
SOCKET = "unix:///run/containerd/containerd.sock"
IMAGE = "docker.io/library/any:latest"
PODS = ipaddress.ip_network("198.19.0.0/17")  # a /24 of it a host
SERVICES = "198.19.128.0/17"
_TAR = "/usr/local/share/lab-image.tar"


def unified() -> bool:
    """Has this machine cgroup v2 alone?"""
    return Path("/sys/fs/cgroup/cgroup.controllers").exists()


def sysctls() -> dict[str, str]:
    """What the kubelet will change, as it is now."""
    return {name: path.read_text().strip() for name in SYSCTLS if (path := _sysctl(name)).exists()}


def restore(values: dict[str, str]) -> None:
    """Put the kernel back to what it was."""
    for name, value in values.items():
        _sysctl(name).write_text(value)


def _sysctl(name: str) -> Path:
    return Path("/proc/sys", *name.split("."))


def enter(groups: list[Path]) -> None:
    """A group of cpuset takes nobody in before it has processors and memory."""
    for group in groups:
        for folder in (group.parent, group):
            for name in ("cpuset.cpus", "cpuset.mems"):
                file = folder / name
                if file.exists() and not file.read_text().strip():
                    file.write_text((folder.parent / name).read_text())


def image(busybox: bytes) -> bytes:
    """A docker archive with this busybox alone, which sleeps until it is told to end."""
    layer = _tar({"bin/busybox": busybox})
    script = "trap 'exit 0' TERM INT; /bin/busybox sleep 2000000 & wait"
    config = json.dumps({
        "architecture": "amd64", "os": "linux", "config": {"Entrypoint": ["/bin/busybox", "sh", "-c", script]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }).encode()  # fmt: skip
    manifest = json.dumps([{"Config": "config.json", "RepoTags": [IMAGE], "Layers": ["layer.tar"]}]).encode()
    return _tar({"layer.tar": layer, "config.json": config, "manifest.json": manifest})


def _tar(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o755
            archive.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def seed(root: Path, number: int) -> None:
    """Write what containerd needs into the root of host `number` (the last byte of its address)."""
    write(root, "/etc/containerd/config.toml", _CONTAINERD)
    subnet = str(list(PODS.subnets(new_prefix=24))[number])
    bridge = {"type": "bridge", "bridge": "cni0", "isGateway": True, "ipam": {"type": "host-local", "subnet": subnet}}
    network = {"cniVersion": "0.4.0", "name": "lab", "plugins": [bridge]}
    write(root, "/etc/cni/net.d/10-lab.conflist", json.dumps(network))
    tar = root / _TAR.lstrip("/")
    tar.parent.mkdir(parents=True, exist_ok=True)
    tar.write_bytes(image((root / "bin" / "busybox").read_bytes()))
    # nspawn hands the groups of cgroup v1 over read-only.
    writable = "for each in /sys/fs/cgroup/*/; do mount -o remount,bind,rw $each; done"
    lines = [
        "[Service]",
        *([] if unified() else [f"ExecStartPre=/bin/sh -c '{writable}'"]),
        f"ExecStartPost=/usr/bin/ctr --namespace k8s.io images import {_TAR}",
    ]
    write(root, "/etc/systemd/system/containerd.service.d/lab.conf", "\n".join(lines) + "\n")


_CONTAINERD = f"""version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{IMAGE}"
  disable_apparmor = true
  # Without CAP_SYS_RESOURCE no score can be lowered.
  restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/usr/lib/cni"
"""
