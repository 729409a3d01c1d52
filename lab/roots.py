# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The root file systems of the hosts: built once with mmdebstrap, kept in the cache, never written to afterwards."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import subprocess
from collections.abc import Collection
from pathlib import Path

from lab import cacher, containers
from lab.archive import FAMILIES, Archive
from lab.config import CACHE, RUNTIME, USER, LabError
from lab.files import write
from lab.system import die_with_parent, remove_tree, run
from lab.table import Distro

PACKAGES = (
    "systemd,systemd-sysv,dbus,libpam-systemd,openssh-server,python3,python3-apt,sudo,iproute2,procps,"
    "unattended-upgrades,needrestart,ca-certificates,apt-utils,gpgv,{keyring},openssl,libc-bin"
)


def finish(root: Path) -> None:
    """What every host of the lab has, whatever its name."""
    # mmdebstrap leaves the options of its own apt behind, its proxy among them.
    for left in (root / "etc/apt/apt.conf.d").glob("99mmdebstrap"):
        left.unlink()
    write(root, "/etc/apt/sources.list", "")
    write(
        root,
        "/etc/dpkg/dpkg.cfg.d/lab",
        "# Thrown away with the lab: speed, not durability.\nforce-unsafe-io\n",
    )
    write(
        root,
        "/etc/apt/apt.conf.d/00lab",
        "// A cache that is gone is noticed soon.\n"
        'Acquire::http::Timeout "20";\nAcquire::Retries "1";\nAcquire::Languages "none";\n',
    )
    # A user as cloud-init makes it.
    run("chroot", root, "useradd", "--create-home", "--shell", "/bin/bash", USER)
    write(root, f"/etc/sudoers.d/{USER}", f"{USER} ALL=(ALL) NOPASSWD:ALL\n", 0o440)
    for key in (root / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    write(
        root,
        "/etc/ssh/sshd_config.d/lab.conf",
        "HostKey /etc/ssh/ssh_host_ed25519_key\nPasswordAuthentication no\nUseDNS no\n",
    )
    # Hosts look up no names outside.
    resolv = root / "etc/resolv.conf"
    resolv.unlink(missing_ok=True)
    resolv.write_text("")
    # A daily run in the middle would make tests depend on the hour. Disabled, not masked: a policy may enable it.
    run("systemctl", "--root", root, "disable", "--quiet", "apt-daily.timer", "apt-daily-upgrade.timer")
    # Where the kernel still counts processes in cgroup v1, systemd never hears that a user's group is empty.
    write(root, "/etc/systemd/system/user@.service.d/lab.conf", "[Service]\nTimeoutStopSec=1s\n")
    write(
        root,
        "/etc/systemd/system/lab-network.service",
        "[Unit]\nDescription=Address of this host in the lab\nDefaultDependencies=no\n"
        "After=local-fs.target\nBefore=network.target network-online.target ssh.service\nWants=network.target\n"
        "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/etc/lab/network\n"
        "[Install]\nWantedBy=multi-user.target\n",
    )
    run("systemctl", "--root", root, "enable", "--quiet", "lab-network.service")
    # There is no kernel of its own and no console to log in at.
    run("systemctl", "--root", root, "mask", "--quiet", "console-getty.service", "systemd-timesyncd.service")
    write(root, "/etc/default/locale", "LANG=C.UTF-8\n")
    write(root, "/etc/machine-id", "")
    (root / "etc/hostname").unlink(missing_ok=True)


def packages(distro: Distro) -> str:
    """What is installed in a root of this distribution."""
    more = f",{containers.PACKAGES}" if RUNTIME else ""
    return PACKAGES.format(keyring=FAMILIES[distro.family].keyring_package) + more


def key(distro: Distro, architecture: str) -> str:
    """Names what went into a root; another one means that it is built anew."""
    parts = [distro.name, distro.suite, architecture, packages(distro), inspect.getsource(finish), USER]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]


def path(distro: Distro) -> Path:
    """Where the root of this distribution lies once it is built."""
    return CACHE / "roots" / f"{_name(distro)}-{key(distro, run('dpkg', '--print-architecture').strip())}"


def _name(distro: Distro) -> str:
    return f"{RUNTIME}-{distro.name}" if RUNTIME else distro.name


def build(distro: Distro, archive: Archive, in_use: Collection[str] = ()) -> Path:
    """Build a root aside and rename it when it is whole; from the main suite alone, so that updates are pending.

    :param in_use: roots of labs that are up; other ones of this distribution are removed.
    """
    target, family = path(distro), FAMILIES[distro.family]
    aside = target.with_name(f"{_name(distro)}.building")
    log = aside.with_name(f"{_name(distro)}.log")
    aside.parent.mkdir(parents=True, exist_ok=True)
    # What a killed mmdebstrap leaves in its temporary folder goes with the next build or with the cache.
    temporary = aside.with_name("tmp")
    remove_tree(aside)
    remove_tree(temporary)
    temporary.mkdir(mode=0o700)
    words = [
        # In namespaces of its own: a build that is killed leaves neither a process nor a mount, and what it mounts
        # (the machine's own /sys and /dev/shm among it) never shows in the machine's tree.
        "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
        "mmdebstrap", "--mode=root", "--format=directory", "--variant=minbase",
        f"--include={packages(distro)}", f"--keyring={family.keyring}",
        f'--aptopt=Acquire::http::Proxy "{cacher.PROXY}"', "--aptopt=Acquire::Languages \"none\"",
        "--dpkgopt=force-unsafe-io",
        distro.suite, str(aside), f"deb [signed-by={family.keyring}] {archive.main} {distro.suite} main",
    ]  # fmt: skip
    env = {**os.environ, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive", "TMPDIR": str(temporary)}
    with log.open("wb") as out:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env=env,
            preexec_fn=die_with_parent,  # noqa: PLW1509
        )
        if process.wait():
            said = [line for line in log.read_text(errors="replace").splitlines() if line.startswith("E:")]
            cause = said[0] if said else "(no error line)"
            raise LabError(f"building the root of {distro.title} failed; {log} says: {cause}")
    remove_tree(temporary)
    finish(aside)
    # Access by root alone: the root holds set-uid programs that get no updates.
    aside.parent.chmod(0o700)
    for old in aside.parent.glob(f"{_name(distro)}-*"):
        if str(old) not in in_use:
            remove_tree(old)
    aside.rename(target)
    return target
