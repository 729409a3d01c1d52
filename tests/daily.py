"""Prepares machines for the proof of the daily policy: python -m tests.daily prepare FILE | forget

On each host an update is pending from its distribution's security archive as the lab's repository plays it, and what
the real one has today. There are also a package from an archive that is not allowed, and two from one that is, one of
which is blacklisted; on one host there are kernels that nothing needs. One host is given the shape of Ubuntu: its
os-release, and archives that call themselves Ubuntu's; where the lab runs real Ubuntu hosts (LAB_DISTRO), these
archives stand beside the real ones. All are configured by hand in such a way that without the role all of this would go
wrong.
"""

import json
import os
import sys
from pathlib import Path

from tests.support import SECURITY_SUITES, ask, lab, pending, play_security_archive, state

HOSTS = ("app3", "db2", "app2")
GENUINE = os.environ.get("LAB_DISTRO", "").startswith("ubuntu")
UBUNTU = HOSTS if GENUINE else ("app2",)
# Those with the security archive of the distribution that they really run.
REAL = HOSTS if GENUINE else ("app3", "db2")
SECURITY_ORIGIN = "noble-security" if GENUINE else "Debian-Security"
# The package in Debian's played security archives.
DEBIAN_PACKAGE = "lab-daily-debian"
# Archive -> Origin of its Release file, and the package in it.
ARCHIVES = {
    "noble": ("Ubuntu", "lab-daily-release"),
    "noble-security": ("Ubuntu", "lab-daily-security"),
    "noble-infra-security": ("UbuntuESM", "lab-daily-infra"),
    "noble-apps-security": ("UbuntuESMApps", "lab-daily-apps"),
    "noble-updates": ("Ubuntu", "lab-daily-updates"),
}
# Package -> the lab's own archive that it is in.
OTHERS = {"lab-daily-foreign": "lab", "lab-daily-extra": "lab-security", "lab-daily-black": "lab-security"}
# What somebody has tried by hand; it sorts before the role's file.
BY_HAND = {
    "/etc/apt/apt.conf.d/51-local": """\
#clear Unattended-Upgrade::Origins-Pattern;
Unattended-Upgrade::Origins-Pattern { "origin=Lab,label=Lab"; };
Unattended-Upgrade::Remove-Unused-Kernel-Packages "false";
APT::Periodic::Unattended-Upgrade "0";
""",
    # As Ubuntu's needrestart does by itself.
    "/etc/needrestart/conf.d/10-local.conf": "$nrconf{restart} = 'a';\n1;",
}
OS_RELEASE = """\
PRETTY_NAME="Ubuntu 24.04.3 LTS"
NAME="Ubuntu"
VERSION_ID="24.04"
VERSION="24.04.3 LTS (Noble Numbat)"
VERSION_CODENAME=noble
ID=ubuntu
ID_LIKE=debian
"""
LSB_RELEASE = (
    'DISTRIB_ID=Ubuntu\nDISTRIB_RELEASE=24.04\nDISTRIB_CODENAME=noble\nDISTRIB_DESCRIPTION="Ubuntu 24.04.3 LTS"\n'
)
OLD_KERNELS = tuple(f"linux-image-5.0.0-{number}-lab" for number in (1, 2, 3, 4))


def publish(version: str) -> None:
    """Offer all packages of this scenario in one version."""
    for archive, (_origin, package) in ARCHIVES.items():
        lab("publish", package, version, "--suite", archive)
    for package, archive in OTHERS.items():
        lab("publish", package, version, "--suite", archive)
    for suite in () if GENUINE else SECURITY_SUITES.values():
        lab("publish", DEBIAN_PACKAGE, version, "--suite", suite)


def own_security_package(host: str) -> str:
    """The package that the played security archive of a host's own distribution has."""
    return ARCHIVES["noble-security"][1] if host in UBUNTU else DEBIAN_PACKAGE


def write(host: str, files: dict) -> None:
    """Put files onto a host."""
    for path, text in files.items():
        ask(host, f"rm -f {path}; cat > {path} <<'END'\n{text}\nEND")


def shape(host: str, sources: list) -> None:
    """Give a host all of Ubuntu's archives, and make it look like Ubuntu 24.04 to whoever asks if it is not."""
    files = {
        "/etc/apt/sources.list.d/daily.list": "\n".join(sources),
        # The package's file as an administrator has left it.
        "/etc/apt/apt.conf.d/50unattended-upgrades": (
            'Unattended-Upgrade::Allowed-Origins { "${distro_id}:${distro_codename}-proposed"; };\n'
            'Unattended-Upgrade::DevRelease "auto";'
        ),
    }
    if not GENUINE:
        files |= {"/etc/os-release": OS_RELEASE, "/etc/lsb-release": LSB_RELEASE, "/etc/apt/sources.list": ""}
    write(host, files)


def kernels(host: str) -> None:
    """Old kernels, and one that is called like the running one; nothing needs any of them."""
    ask(
        host,
        f"version=0; for name in {' '.join(OLD_KERNELS)} linux-image-$(uname -r); do mkdir -p /tmp/$name/DEBIAN;"
        " version=$((version + 1)); printf 'Package: %s\\nVersion: 5.%s\\nArchitecture: %s\\nMaintainer: lab\\n"
        "Description: lab\\n' $name $version $(dpkg --print-architecture) > /tmp/$name/DEBIAN/control;"
        " dpkg-deb --build /tmp/$name /tmp/$name.deb; dpkg -i /tmp/$name.deb; apt-mark auto $name; done",
    )


def from_security(host: str) -> list:
    """What the security archives of the distribution, the played and the real one, have for a host."""
    simulated = ask(host, "apt-get -s dist-upgrade | grep '^Inst' || true")
    return [line.split()[1] for line in simulated.splitlines() if SECURITY_ORIGIN in line]


def prepare(file: Path) -> None:
    """Make updates pending, and write down how the machines are."""
    sources = [
        lab("suite", archive, "--origin", origin, "--label", origin, "--codename", "noble").strip()
        for archive, (origin, _package) in ARCHIVES.items()
    ]
    if not GENUINE:
        play_security_archive(*REAL)
    publish("1.0")
    for host in UBUNTU:
        shape(host, sources)
    for host in HOSTS:
        write(host, BY_HAND)
        # The security archive alone: sixty thousand packages that nobody upgrades would make all of it slow.
        ask(host, "sed -Ei '/ (bookworm|trixie|noble)(-updates)? main$/d' /etc/apt/sources.list")
        own = [package for _origin, package in ARCHIVES.values()] if host in UBUNTU else [DEBIAN_PACKAGE]
        packages = [*OTHERS, *own]
        ask(host, f"apt-get update -qq; apt-get install -qq -y {' '.join(packages)} >/dev/null 2>&1")
    kernels("db2")
    publish("2.0")
    found = {
        host: {"pending": pending(host), "security": from_security(host), "packages": state(host).packages}
        for host in HOSTS
    }
    file.write_text(json.dumps(found, indent=2))


def forget() -> None:
    """Put the repository back, and throw away what the machines have become."""
    lab("reset", "--repo")
    there = {host["name"] for host in json.loads(lab("status", "--json"))["hosts"]}
    mine = sorted(there.intersection(HOSTS))
    if mine:
        lab("reset", *mine)


if __name__ == "__main__":
    if sys.argv[1] == "prepare":
        prepare(Path(sys.argv[2]))
    else:
        forget()
