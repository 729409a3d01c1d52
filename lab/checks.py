# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Can this machine boot test machines? Each question has one line as its answer; nothing is changed."""

from __future__ import annotations

import ipaddress
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from lab import archive, containers
from lab.config import (
    BRIDGE,
    CACHE,
    CACHER_PORT,
    GATEWAY,
    NAME,
    NETWORK,
    OWNER,
    PVE_PORT,
    REPO_PORT,
    RUNTIME,
    STATE,
    LabError,
)
from lab.machine import own_cgroups, systemd_runs_this_machine
from lab.system import attempt, filesystem, mounts, run, start_time
from lab.table import Distro, Table

# command: the Debian package that brings it
COMMANDS = {
    "systemd-nspawn": "systemd-container",
    "mmdebstrap": "mmdebstrap",
    "apt-cacher-ng": "apt-cacher-ng",
    "dpkg-deb": "dpkg",
    "gpg": "gnupg",
    "gpgconf": "gnupg",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
}
HINT = "`make test LAB=off` runs what needs none"


def missing_packages(families: Iterable[str]) -> list[str]:
    """The Debian packages to install; a keyring only where a distribution of its family is in use."""
    wanted = [package for command, package in COMMANDS.items() if not shutil.which(command)]
    keyrings = [archive.FAMILIES[family] for family in families]
    wanted += [each.keyring_package for each in keyrings if not each.keyring.exists()]
    return list(dict.fromkeys(wanted))


def root() -> None:
    """Is this root?"""
    if os.geteuid() != 0:
        raise LabError("test machines need root; run it with sudo")


def owner() -> None:
    """Does the process run that the lab is to be started for?"""
    if OWNER and (not OWNER.isdecimal() or start_time(int(OWNER)) is None):
        raise LabError(f"LAB_OWNER={OWNER}: the id of a process that runs is wanted")


def parse_listeners(text: str, ports: set[int]) -> set[tuple[str, int]]:
    """(address in hex, port) of the listening sockets on these ports in a /proc/net/tcp text."""
    out = set()
    for line in text.splitlines()[1:]:
        fields = line.split()
        address, _, port = fields[1].partition(":")
        if fields[3] == "0A" and int(port, 16) in ports:
            out.add((address, int(port, 16)))
    return out


def taken_ports(tcp: str, tcp6: str) -> list[int]:
    """The lab's ports that somebody listens on, on all addresses or on the lab's."""
    ports = {CACHER_PORT, REPO_PORT, PVE_PORT}
    own = bytes(reversed(ipaddress.ip_address(GATEWAY).packed)).hex().upper()
    return sorted(
        {port for address, port in parse_listeners(tcp, ports) if address in ("00000000", own)}
        | {port for address, port in parse_listeners(tcp6, ports) if not address.strip("0")}
    )


def free_ports() -> None:
    """Are the lab's ports free?"""
    texts = [Path("/proc/net", name) for name in ("tcp", "tcp6")]
    taken = taken_ports(*(path.read_text() if path.exists() else "" for path in texts))
    if taken:
        raise LabError(
            f"port {' and '.join(map(str, taken))} is in use on this machine (`ss -tlnp` says by whom), "
            f"and the lab needs it on {GATEWAY}; stop that service"
        )


def network_users(routes: str) -> list[str]:
    """The interfaces, but for the lab's own, that have a route into the lab's network (`ip -json route` text)."""
    lab = ipaddress.ip_network(NETWORK)
    out = set()
    for route in json.loads(routes or "[]"):
        if route.get("dst", "default") == "default" or route.get("dev") in (None, BRIDGE):
            continue
        if ipaddress.ip_network(route["dst"], strict=False).overlaps(lab):
            out.add(route["dev"])
    return sorted(out)


def free_network() -> None:
    """Is the lab's network nobody else's?"""
    users = network_users(run("ip", "-json", "-4", "route"))
    if users:
        raise LabError(f"{NETWORK} is already a network of {', '.join(users)}; the lab needs it, free it first")


def state_needs_tmpfs() -> bool:
    """An overlay cannot be written on top of another one: then the hosts' disks go into memory."""
    return filesystem(mounts(), STATE) in ("overlay", "aufs")


def can_boot() -> None:
    """May this machine mount overlays and make bridges? Tried in namespaces of its own, which then vanish."""
    base = tempfile.mkdtemp(prefix=".homelab-patching-check-", dir=STATE.parent)
    try:
        for what, script in {
            "make a network bridge": "ip link add hplabx type bridge",
            "mount": "mount -t tmpfs tmpfs .",
            "mount overlays": (
                ("mount -t tmpfs tmpfs . && " if state_needs_tmpfs() else "")
                + "mkdir l u w m && mount -t overlay x -o lowerdir=$PWD/l,upperdir=$PWD/u,workdir=$PWD/w m"
            ),
        }.items():
            words = ["unshare", "--mount", "--net", "sh", "-ec", f"cd {base} && {script}"]
            if not attempt(*words):
                raise LabError(
                    f"this machine cannot boot test machines because it may not {what} "
                    f"(an unprivileged container?); {HINT}"
                )
    finally:
        shutil.rmtree(base, ignore_errors=True)
    if systemd_runs_this_machine():
        return  # it makes the cgroups
    for tree in [group.parent.parent for group in own_cgroups("check")]:
        probe = tree / f"{NAME}-check"
        try:
            probe.mkdir(exist_ok=True)
            probe.rmdir()
        except OSError as error:
            raise LabError(f"this machine cannot boot test machines because {tree} is not writable; {HINT}") from error


def packages(families: Iterable[str]) -> None:
    """Are the programs there, or can apt install them?"""
    missing = missing_packages(families)
    if not missing:
        return
    if not shutil.which("apt-get"):
        raise LabError(f"{', '.join(missing)} missing and there is no apt-get to install it; {HINT}")


def keyrings(families: Iterable[str]) -> None:
    """Is the keyring of each archive there, or can apt install it?"""
    for family in families:
        kind = archive.FAMILIES[family]
        if not kind.keyring.exists() and not attempt("apt-get", "install", "--simulate", kind.keyring_package):
            raise LabError(
                f"{kind.keyring} is missing, and the apt of this machine has no {kind.keyring_package}; "
                f"copy that file here from a machine that runs {kind.title}"
            )


def cache() -> None:
    """Is the cache at a place that can be a lower layer?"""
    if any(char in str(CACHE) for char in ":,\\\n") or not CACHE.is_absolute():
        raise LabError(f"LAB_CACHE={CACHE}: an absolute path without : and , is wanted")


def archive_answers(source: archive.Archive, distro: Distro) -> None:
    """Can a root be built? apt's own downloader is asked, because it knows this machine's proxy and certificates."""
    address = source.main.replace("http://HTTPS///", "https://")
    options = ["-o", "Acquire::Retries=0", "-o", "Acquire::http::Timeout=15", "-o", "Acquire::https::Timeout=15"]
    with tempfile.TemporaryDirectory() as folder:
        url, target = f"{address}/dists/{distro.suite}/InRelease", f"{folder}/InRelease"
        sandbox = ["-o", "APT::Sandbox::User=root"]
        if not attempt("/usr/lib/apt/apt-helper", *options, *sandbox, "download-file", url, target):
            family = archive.FAMILIES[distro.family]
            raise LabError(
                f"the {family.title} archive does not answer at {address}, and no root is in the cache yet; "
                f"mend the network, or name another: {family.variable}=http://MIRROR/{family.path}"
            )


def runtime(distros: Sequence[str]) -> None:
    """Can these distributions run containers here, if that is wanted?"""
    if RUNTIME not in ("", "containerd"):
        raise LabError(f"LAB_RUNTIME={RUNTIME}: only containerd is known")
    if RUNTIME and not containers.unified() and set(distros) != {"debian-12"}:
        # systemd gave cgroup v1 up after that, and containers need the controllers of the machine.
        raise LabError("this machine has cgroup v1, where only Debian 12 runs containers: LAB_DISTRO=debian-12")


def all_of_them(wanted: Table, *, free: bool = True) -> dict[str, archive.Archive]:
    """All checks, cheap ones first; the archive of each family of distributions that will be used.

    :param free: network and ports have to be free, too.
    """
    families = wanted.families
    root()
    owner()
    cache()
    runtime([distro.name for distro in wanted.used])
    packages(families)
    machine(free=free)
    found = {family: archive.find(family) for family in families}
    keyrings(families)
    return found


def machine(*, free: bool = True) -> None:
    """Can hosts boot here? Without `ip` nobody knows; it is installed with the rest, and then asked."""
    if not shutil.which("ip"):
        return
    if free:
        free_network()
        free_ports()
    can_boot()
