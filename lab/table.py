# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of hosts.toml as typed records, checked when it is read."""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import tomllib

from lab.archive import FAMILIES
from lab.config import NETWORK, PENDING, LabError

TABLE = Path(__file__).with_name("hosts.toml")
FIRST = "198.18.0.0/24"  # the network of lab 0
# nspawn calls a host's end of the cable vb-lab0-NAME, and Linux allows 15 characters.
HOST_NAME = re.compile(r"[a-z][a-z0-9]{0,6}")
MOODS = ("nothing", "point-release")  # of the archives: see LAB_PENDING in README.md
POINT, FIX = ("lab-point-one", "lab-point-two", "lab-point-three"), "lab-point-fix"


@dataclass(frozen=True)
class Distro:
    """A distribution that hosts run."""

    name: str
    title: str
    suite: str
    seconds: int
    family: str = "debian"


@dataclass(frozen=True)
class Host:
    """A machine of the lab, and what Proxmox knows of it."""

    name: str
    distro: str
    vmid: int
    node: str
    address: str
    mac: str
    ipconfig: str
    agent: bool
    tags: list[str]
    packages: list[str] = field(default_factory=list)
    start: bool = False


@dataclass(frozen=True)
class Guest:
    """A guest of the hypervisor without a machine behind it."""

    name: str
    vmid: int
    node: str
    template: bool = False
    tags: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Suite:
    """A suite of the lab's repository, with the fields of its Release file."""

    name: str
    origin: str = "Lab"
    label: str = "Lab"
    codename: str = ""
    distro: str = ""  # whose archive it plays: only hosts of this distribution know it


@dataclass(frozen=True)
class Package:
    """A package of the lab's own that is there from the start."""

    name: str
    version: str
    suite: str
    postinst: str = ""
    changelog: str = ""
    offered: bool = True


@dataclass(frozen=True)
class Table:
    """All of hosts.toml."""

    distros: dict[str, Distro]
    hosts: dict[str, Host]
    guests: list[Guest]
    suites: list[Suite]
    packages: list[Package]

    def pick(self, names: list[str] | None) -> list[Host]:
        """The hosts of these names; without names those that start with the lab."""
        if not names:
            return [host for host in self.hosts.values() if host.start]
        unknown = [name for name in names if name not in self.hosts]
        if unknown:
            raise LabError(f"no host {', '.join(unknown)} in the lab; there are: {', '.join(self.hosts)}")
        return [self.hosts[name] for name in dict.fromkeys(names)]

    @property
    def used(self) -> list[Distro]:
        """The distributions that hosts run."""
        return [each for each in self.distros.values() if any(host.distro == each.name for host in self.hosts.values())]

    @property
    def families(self) -> list[str]:
        """The families of these."""
        return list(dict.fromkeys(distro.family for distro in self.used))

    def at(self, network: str) -> Table:
        """The same table in another network: hosts.toml has the addresses of lab 0."""
        start = ipaddress.ip_network(network).network_address
        offset = int(start) - int(ipaddress.ip_network(FIRST).network_address)
        moved = {
            name: replace(host, address=str(ipaddress.ip_address(host.address) + offset))
            for name, host in self.hosts.items()
        }
        return replace(self, hosts=moved)

    def everywhere(self, distro: str) -> Table:
        """The same table, but all hosts run this distribution."""
        if distro not in self.distros:
            raise LabError(f"LAB_DISTRO={distro}: there are {', '.join(self.distros)}")
        return replace(self, hosts={name: replace(host, distro=distro) for name, host in self.hosts.items()})

    def played(self, mood: str) -> Table:
        """The same table, but the lab's repository plays the archives of updates: an empty one, or a point release."""
        if mood not in MOODS:
            raise LabError(f"LAB_PENDING={mood}: there are {', '.join(MOODS)}")
        released = mood == "point-release"
        suites, packages = list(self.suites), list(self.packages)
        for distro in self.used:
            family = FAMILIES[distro.family]
            security, point = f"{distro.suite}-security", f"{distro.suite}-point"
            codename = security if family.title == "Debian" else distro.suite
            suites.append(Suite(security, family.title, family.security_label, codename, distro.name))
            if released:
                suites.append(Suite(point, family.title, family.title, distro.suite, distro.name))
                packages += [Package(name, "2.0", point) for name in POINT]
                packages.append(Package(FIX, "2.0", security))
        if not released:
            return replace(self, suites=suites)
        packages += [Package(name, "1.0", "lab", offered=False) for name in (*POINT, FIX)]
        first = [f"{name}=1.0" for name in (*POINT, FIX)]
        hosts = {name: replace(host, packages=[*host.packages, *first]) for name, host in self.hosts.items()}
        return replace(self, hosts=hosts, suites=suites, packages=packages)


T = TypeVar("T")


def _records(data: dict[str, Any], kind: str, cls: type[T]) -> list[T]:
    known = {item.name for item in fields(cls)}  # type: ignore[arg-type]
    out = []
    for row in data.get(kind, []):
        where = f"hosts.toml, [[{kind}]] {row.get('name', '?')}"
        if wrong := sorted(set(row) - known):
            raise LabError(f"{where}: unknown {', '.join(wrong)}; known are {', '.join(sorted(known))}")
        try:
            out.append(cls(**row))
        except TypeError as error:
            raise LabError(f"{where}: {str(error).partition('() ')[2]}") from error
    return out


def parse(text: str) -> Table:
    """Read the table; a mistake in it is one LabError that names the place."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise LabError(f"hosts.toml is not TOML: {error}") from error
    distros = {distro.name: distro for distro in _records(data, "distro", Distro)}
    for distro in distros.values():
        if distro.family not in FAMILIES:
            families = " or ".join(FAMILIES)
            raise LabError(f"hosts.toml, [[distro]] {distro.name}: family is {families}, not {distro.family}")
    hosts = _records(data, "host", Host)
    guests = _records(data, "guest", Guest)
    network = ipaddress.ip_network(FIRST)
    for host in hosts:
        where = f"hosts.toml, [[host]] {host.name}"
        if not HOST_NAME.fullmatch(host.name):
            raise LabError(f"{where}: a name has up to 7 lower case letters and digits")
        if host.distro not in distros:
            raise LabError(f"{where}: no [[distro]] {host.distro}")
        if ipaddress.ip_address(host.address) not in network:
            raise LabError(f"{where}: {host.address} is not in {network}")
        if host.ipconfig not in ("static", "dhcp"):
            raise LabError(f"{where}: ipconfig is static or dhcp, not {host.ipconfig}")
    for what in ("name", "vmid"):
        values = [getattr(record, what) for record in [*hosts, *guests]]
        if twice := sorted({str(value) for value in values if values.count(value) > 1}):
            raise LabError(f"hosts.toml: {what} {', '.join(twice)} is there twice")
    for what in ("address", "mac"):
        values = [getattr(host, what) for host in hosts]
        if twice := sorted({value for value in values if values.count(value) > 1}):
            raise LabError(f"hosts.toml: {what} {', '.join(twice)} is there twice")
    return Table(
        distros=distros,
        hosts={host.name: host for host in hosts},
        guests=guests,
        suites=_records(data, "suite", Suite),
        packages=_records(data, "package", Package),
    )


def load() -> Table:
    """The table of this checkout in this lab's network, changed as LAB_DISTRO and LAB_PENDING want it."""
    found, distro = parse(TABLE.read_text()).at(NETWORK), os.environ.get("LAB_DISTRO")
    found = found.everywhere(distro) if distro else found
    return found.played(PENDING) if PENDING else found
