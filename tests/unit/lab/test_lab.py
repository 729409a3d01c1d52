# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of the lab that need no machine: table, keys, recognition of leftovers, what it reads from others."""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import os
import re
import sys
from datetime import datetime, timezone
from pathlib import Path

import pytest

pytest.importorskip("tomllib", reason="the lab needs Python 3.11")
sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from lab import api, archive, cacher, checks, leftovers, machine, repo, roots, system, table
from lab.config import BRIDGE, GATEWAY, MACHINE_PREFIX, NAME, NETWORK, STATE, LabError

DISTRO = '[[distro]]\nname="debian-13"\ntitle="Debian 13"\nsuite="trixie"\nseconds=1\n'
HOST = (
    '[[host]]\nname="{name}"\ndistro="debian-13"\nvmid={vmid}\nnode="pve1"\naddress="{address}"\nmac="{mac}"\n'
    'ipconfig="static"\nagent=false\ntags=[]\n'
)


def same_everywhere(value: object) -> str | None:
    """The name of a case on every worker, whatever the number of its lab."""
    return re.sub(r"\d", "", value) if isinstance(value, str) else None


def host(**change: object) -> str:
    return HOST.format(**{"name": "a1", "vmid": 101, "address": "198.18.0.11", "mac": "bc:24:11:00:00:01"} | change)


# --- the table ---


def test_the_table_of_this_checkout_is_sound() -> None:
    found = table.load()
    assert [each.name for each in found.pick(None)] == [each.name for each in found.hosts.values() if each.start]
    offered = {(package.name, package.version) for package in found.packages}
    for each in found.hosts.values():
        assert {tuple(wanted.split("=")) for wanted in each.packages} <= offered
    assert {package.suite for package in found.packages} <= {suite.name for suite in found.suites}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a = ", "not TOML"),
        (DISTRO + host(name="Web1"), "up to 7 lower case"),
        (DISTRO + host(name="averylongname"), "up to 7 lower case"),
        (DISTRO + host(address="10.0.0.1"), "not in 198.18.0.0/24"),
        (DISTRO + host() + 'colour="red"\n', "unknown colour"),
        (host(), "no [[distro]] debian-13"),
        (DISTRO + host() + host(name="b1", vmid=102, mac="bc:24:11:00:00:02"), "address 198.18.0.11 is there twice"),
        (DISTRO + host() + host(name="b1", address="198.18.0.12", mac="x"), "vmid 101 is there twice"),
        ('[[distro]]\nname="x"\n', "missing 3 required"),
        (DISTRO + 'family="suse"\n', "family is debian or ubuntu, not suse"),
    ],
)
def test_a_mistake_in_the_table_is_one_line(text: str, said: str) -> None:
    with pytest.raises(LabError) as caught:
        table.parse(text)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_host_is_told_with_those_there_are() -> None:
    found = table.parse(DISTRO + host())
    with pytest.raises(LabError, match="no host zz in the lab; there are: a1"):
        found.pick(["a1", "zz"])
    assert [each.name for each in found.pick(["a1", "a1"])] == ["a1"]


# --- another distribution for all hosts ---

UBUNTU = '[[distro]]\nname="ubuntu-24.04"\ntitle="Ubuntu 24.04"\nfamily="ubuntu"\nsuite="noble"\nseconds=1\n'


def test_only_distributions_that_hosts_run_are_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    found = table.parse(DISTRO + UBUNTU + host())
    assert [each.name for each in found.used] == ["debian-13"]
    assert found.families == ["debian"]
    moved = found.everywhere("ubuntu-24.04")
    assert [each.name for each in moved.used] == ["ubuntu-24.04"]
    assert moved.families == ["ubuntu"]
    with pytest.raises(LabError, match=r"^LAB_DISTRO=zz: there are debian-13, ubuntu-24\.04$"):
        found.everywhere("zz")
    monkeypatch.setenv("LAB_DISTRO", "ubuntu-24.04")
    assert {each.distro for each in table.load().hosts.values()} == {"ubuntu-24.04"}
    monkeypatch.setenv("LAB_DISTRO", "")
    assert "ubuntu" not in table.load().families


def test_what_hosts_of_a_distribution_have_among_their_sources() -> None:
    source = archive.Archive("http://m/x", "http://s/x")
    assert source.sources("debian", "trixie") == (
        "deb http://m/x trixie main\ndeb http://m/x trixie-updates main\ndeb http://s/x trixie-security main\n"
    )
    # Nothing but what the release was made of and its security updates.
    assert source.sources("ubuntu", "noble") == "deb http://m/x noble main\ndeb http://s/x noble-security main\n"


def test_the_moods_of_the_archives(monkeypatch: pytest.MonkeyPatch) -> None:
    found = table.parse(DISTRO + UBUNTU + host())
    nothing = found.played("nothing")
    security = table.Suite("trixie-security", "Debian", "Debian-Security", "trixie-security", "debian-13")
    assert (nothing.suites, nothing.packages, nothing.hosts) == ([security], [], found.hosts)
    released = found.played("point-release")
    point = table.Suite("trixie-point", "Debian", "Debian", "trixie", "debian-13")
    assert released.suites == [security, point]
    offered = [package for package in released.packages if package.offered]
    assert sorted(package.suite for package in offered) == ["trixie-point"] * 3 + ["trixie-security"]
    # Each host begins with an older version of each of them.
    assert released.hosts["a1"].packages == [f"{package.name}=1.0" for package in offered]
    assert found.everywhere("ubuntu-24.04").played("nothing").suites == [
        table.Suite("noble-security", "Ubuntu", "Ubuntu", "noble", "ubuntu-24.04")
    ]
    with pytest.raises(LabError, match=r"^LAB_PENDING=x: there are nothing, point-release$"):
        found.played("x")
    monkeypatch.setattr(archive, "PENDING", "nothing")
    assert archive.Archive("http://m/x", "http://s/x").sources("debian", "trixie") == "deb http://m/x trixie main\n"


@pytest.mark.parametrize(("up", "asked"), [("", "nothing"), ("nothing", ""), ("nothing", "point-release")])
def test_the_repository_of_a_lab_in_another_mood_is_not_reset(
    monkeypatch: pytest.MonkeyPatch, up: str, asked: str
) -> None:
    done: list = []
    lab = {"distro": os.environ.get("LAB_DISTRO", ""), "runtime": api.RUNTIME}
    monkeypatch.setattr(repo, "defaults", done.append)
    monkeypatch.setattr(leftovers, "running", lambda: {**lab, "pending": asked})
    monkeypatch.setattr(api, "PENDING", asked)
    api.reset_repo()
    assert len(done) == 1
    monkeypatch.setattr(leftovers, "running", lambda: {**lab, "pending": up})
    with pytest.raises(LabError, match=f"the lab is up with {f'LAB_PENDING={up}' if up else 'no LAB_PENDING'}"):
        api.reset_repo()
    assert len(done) == 1


@pytest.mark.parametrize(("family", "other"), [("debian", "ubuntu"), ("ubuntu", "debian")])
def test_a_root_is_made_with_the_keyring_of_its_own_archive(family: str, other: str) -> None:
    wanted = roots.packages(table.Distro("x", "X", "x", 1, family)).split(",")
    assert archive.FAMILIES[family].keyring_package in wanted
    assert archive.FAMILIES[other].keyring_package not in wanted


def test_a_keyring_is_installed_only_where_it_is_needed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(checks, "COMMANDS", {})
    monkeypatch.setitem(
        archive.FAMILIES, "ubuntu", dataclasses.replace(archive.FAMILIES["ubuntu"], keyring=tmp_path / "ring.gpg")
    )
    assert "ubuntu-keyring" not in checks.missing_packages(["debian"])
    assert checks.missing_packages(["ubuntu"]) == ["ubuntu-keyring"]
    monkeypatch.setattr(checks, "attempt", lambda *_: True)
    checks.keyrings(["ubuntu"])
    monkeypatch.setattr(checks, "attempt", lambda *_: False)
    with pytest.raises(LabError, match=r"^[^\n]*ring.gpg is missing[^\n]*no ubuntu-keyring; copy[^\n]*Ubuntu$"):
        checks.keyrings(["debian", "ubuntu"])
    (tmp_path / "ring.gpg").touch()
    checks.keyrings(["ubuntu"])
    assert checks.missing_packages(["ubuntu"]) == []


# --- roots ---


def test_the_key_of_a_root_follows_what_goes_into_it(monkeypatch: pytest.MonkeyPatch) -> None:
    distro = table.Distro("debian-13", "Debian 13", "trixie", 1)
    before = roots.key(distro, "amd64")
    assert roots.key(distro, "amd64") == before
    assert roots.key(distro, "arm64") != before
    assert roots.key(table.Distro("debian-13", "Debian 13", "forky", 1), "amd64") != before
    monkeypatch.setattr(roots, "PACKAGES", roots.PACKAGES + ",vim")
    assert roots.key(distro, "amd64") != before


# --- the archive ---


@pytest.mark.parametrize(
    ("lines", "main", "security"),
    [
        (["http://m/debian/ trixie", "http://m/debian/ trixie-updates", "http://s/sec/ trixie-security"],
         "http://m/debian/", "http://s/sec/"),
        (["https://m/debian/ bookworm"], "https://m/debian/", None),
        (["http://u/ubuntu/ noble", "http://u/ubuntu/ noble-security"], None, None),
        (["mirror+file:/etc/apt/mirrors/debian.list trixie"], None, None),
        (["http://x/nodesource/ nodistro", "", "http://m/debian/ stable"], "http://m/debian/", None),
        ([], None, None),
    ],
)  # fmt: skip
def test_the_archive_of_the_box(lines: list[str], main: str | None, security: str | None) -> None:
    assert archive.parse_indextargets(lines) == (main, security)


@pytest.mark.parametrize(
    ("targets", "environment", "said"),
    [
        ("http://u/ubuntu/ noble", {}, "LAB_ARCHIVE=http://MIRROR/debian"),
        ("http://m/debian/ trixie", {}, "LAB_SECURITY_ARCHIVE=http://MIRROR/debian-security"),
        ("", {"LAB_ARCHIVE": "ftp://m/d", "LAB_SECURITY_ARCHIVE": "http://s/"}, "LAB_ARCHIVE=ftp://m/d"),
    ],
)
def test_no_archive_is_one_line(
    monkeypatch: pytest.MonkeyPatch, targets: str, environment: dict[str, str], said: str
) -> None:
    monkeypatch.setattr(archive, "run", lambda *_: targets)
    for name in ("LAB_ARCHIVE", "LAB_SECURITY_ARCHIVE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(LabError, match=r"^[^\n]*$") as caught:
        archive.find()
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("targets", "environment", "found"),
    [
        # The box's own, if that is Ubuntu.
        ("http://u/ubuntu/ noble\nhttp://s/ubuntu/ noble-security", {}, ("http://u/ubuntu", "http://s/ubuntu")),
        ("http://u/ubuntu/ jammy", {}, ("http://u/ubuntu", "http://u/ubuntu")),
        # A mirror holds the security updates too.
        ("http://m/debian/ trixie", {"LAB_UBUNTU_ARCHIVE": "http://u/ubuntu"}, ("http://u/ubuntu", "http://u/ubuntu")),
        ("", {"LAB_UBUNTU_ARCHIVE": "https://u/u", "LAB_UBUNTU_SECURITY_ARCHIVE": "http://s/u"},
         ("http://HTTPS///u/u", "http://s/u")),
        # Debian's is none.
        ("http://m/debian/ trixie\nhttp://s/sec/ trixie-security", {"LAB_ARCHIVE": "http://m/debian"},
         r"^the apt of this machine has no Ubuntu archive; name one: LAB_UBUNTU_ARCHIVE=http://MIRROR/ubuntu$"),
        ("", {"LAB_UBUNTU_ARCHIVE": "ftp://u/u"}, r"^LAB_UBUNTU_ARCHIVE=ftp://u/u: an address[^\n]*$"),
    ],
)  # fmt: skip
def test_the_archive_of_ubuntu(
    monkeypatch: pytest.MonkeyPatch, targets: str, environment: dict[str, str], found: tuple[str, str] | str
) -> None:
    monkeypatch.setattr(archive, "run", lambda *_: targets)
    for name in ("LAB_ARCHIVE", "LAB_SECURITY_ARCHIVE", "LAB_UBUNTU_ARCHIVE", "LAB_UBUNTU_SECURITY_ARCHIVE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    if isinstance(found, tuple):
        assert archive.find("ubuntu") == archive.Archive(*found)
    else:
        with pytest.raises(LabError, match=found):
            archive.find("ubuntu")


def test_environment_names_the_archive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "run", lambda *_: "http://m/debian/ trixie\nhttp://s/sec/ trixie-security\n")
    monkeypatch.setenv("LAB_ARCHIVE", "https://mine/debian/")
    monkeypatch.delenv("LAB_SECURITY_ARCHIVE", raising=False)
    assert archive.find() == archive.Archive("http://HTTPS///mine/debian", "http://s/sec")


def test_the_cacher_has_no_remap_lines_and_listens_on_the_bridge_alone() -> None:
    text = cacher.settings(Path("/c"), Path("/l"), "http://proxy:3128")
    assert f"BindAddress: {GATEWAY}\n" in text and "Proxy: http://proxy:3128\n" in text
    assert "Remap" not in text
    assert "Proxy" not in cacher.settings(Path("/c"), Path("/l"), None)


# --- mounts and leftovers ---

MOUNTINFO = rf"""22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
23 22 0:21 / /proc rw - proc proc rw
40 22 0:50 / {STATE}/hosts/web1/root rw - overlay {NAME} rw,lowerdir=/x
41 40 0:51 / {STATE}/hosts/web1/root/inner rw - tmpfs tmpfs rw
42 22 0:52 / {STATE}-of-somebody-else rw - tmpfs tmpfs rw
43 22 0:53 / /srv/with\040space rw - overlay overlay rw
"""


def test_mounts_below_come_innermost_first_and_are_ours_alone() -> None:
    found = system.parse_mounts(MOUNTINFO)
    assert system.below(found, STATE) == [f"{STATE}/hosts/web1/root/inner", f"{STATE}/hosts/web1/root"]
    assert system.below(found, Path("/srv/with space")) == ["/srv/with space"]
    assert system.below(found, Path("/nowhere")) == []


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/var/lib/x", "ext4"), ("/srv/with space/deep/er", "overlay"), ("/srv/with", "ext4"), ("/proc/1", "proc")],
)
def test_the_file_system_of_a_path(path: str, kind: str) -> None:
    assert system.filesystem(system.parse_mounts(MOUNTINFO), Path(path)) == kind


# As systemd writes it in the name of a scope.
ESCAPED = MACHINE_PREFIX.replace("-", r"\x2d")


@pytest.mark.parametrize(
    ("argv", "cgroups", "ours"),
    [
        (["systemd-nspawn", "--quiet", f"--directory={STATE}/hosts/web1/root"], "0::/user.slice", True),
        (["/usr/sbin/apt-cacher-ng", "-c", f"{STATE}/apt-cacher-ng"], "0::/", True),
        (["python", "-B", "-m", "lab.supervisor", f"{STATE}/lab.json"], "0::/", True),
        (["/sbin/init"], f"1:name=systemd:/{NAME}/web1/payload\n0::/", True),
        (["/sbin/init"], rf"0::/machine.slice/machine-{ESCAPED}web1.scope/payload", True),
        # Not: other machines, somebody's pager on our log, another project's supervisor, a shell in our folder.
        (["systemd-nspawn", "--directory=/srv/other"], "0::/", False),
        (["/sbin/init"], rf"0::/machine.slice/machine-{ESCAPED}other.scope/payload", False),
        (["less", f"{STATE}/supervisor.log"], "0::/user.slice", False),
        (["apt-cacher-ng", "-c", "/etc/apt-cacher-ng"], "0::/system.slice/apt-cacher-ng.service", False),
        (["python", "-m", "lab.supervisor"], "0::/", False),
        (["bash"], f"0::/user.slice/{NAME}-notes", False),
        # Nor what is another lab's.
        (["systemd-nspawn", f"--directory={STATE}x/hosts/web1/root"], "0::/", False),
        (["/sbin/init"], rf"0::/{NAME}x/web1/payload", False),
        (["/sbin/init"], r"0::/machine.slice/machine-labx\x2dweb1.scope/payload", False),
        ([""], "", False),
    ],
    ids=same_everywhere,
)
def test_only_what_is_provably_ours_is_ended(argv: list[str], cgroups: str, ours: bool) -> None:
    assert leftovers.is_ours(argv, cgroups, ["web1", "db1"]) is ours


def test_a_process_is_its_pid_and_its_start() -> None:
    me = system.process(os.getpid())
    assert system.alive(me)
    assert not system.alive({"pid": os.getpid(), "start": me["start"] + 1})
    assert not system.alive(None)


def test_a_tree_with_a_mount_that_stays_is_not_removed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    held = system.Mount(str(tmp_path / "tree" / "dev"), "tmpfs")
    monkeypatch.setattr(system, "mounts", lambda: [held])
    monkeypatch.setattr(system, "unmount", lambda _: None)
    with pytest.raises(LabError, match="cannot be unmounted"):
        system.remove_tree(tmp_path / "tree")
    assert (tmp_path / "tree").is_dir()


def test_a_link_in_place_of_a_tree_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "tree").symlink_to(tmp_path / "precious")
    with pytest.raises(LabError, match="symbolic link"):
        system.remove_tree(tmp_path / "tree")
    assert (tmp_path / "precious").is_dir()


# --- checks ---

# The address of the lab as the kernel lists it.
OWN = bytes(reversed(ipaddress.ip_address(GATEWAY).packed)).hex().upper()
TCP = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: {address}:{port} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000     0        0 1 1
"""


@pytest.mark.parametrize(
    ("address", "port", "state", "taken"),
    [
        ("00000000", "0C46", "0A", [3142]),  # every address
        (OWN, "1F46", "0A", [8006]),  # the lab's own
        ("0100007F", "1F46", "0A", []),  # loopback does not disturb
        ("00000000", "0016", "0A", []),
        ("00000000", "0C46", "01", []),  # a connection, no listener
    ],
    ids=same_everywhere,
)
def test_ports_in_use(address: str, port: str, state: str, taken: list[int]) -> None:
    assert checks.taken_ports(TCP.format(address=address, port=port, state=state), "") == taken


def test_a_listener_on_all_ipv6_addresses_has_the_port_too() -> None:
    assert checks.taken_ports("", TCP.format(address="0" * 32, port="0C46", state="0A")) == [3142]
    assert checks.taken_ports("", TCP.format(address="0" * 31 + "1", port="0C46", state="0A")) == []


ADDRESSES = [str(address) for address in ipaddress.ip_network(NETWORK)]


@pytest.mark.parametrize(
    ("routes", "users"),
    [
        ([{"dst": "default", "dev": "eth0"}, {"dst": NETWORK, "dev": BRIDGE}], []),
        ([{"dst": "198.18.0.0/15", "dev": "tun0"}], ["tun0"]),
        ([{"dst": ADDRESSES[7], "dev": "eth1"}, {"dst": "192.168.0.0/16", "dev": "eth0"}], ["eth1"]),
        ([], []),
    ],
)
def test_who_uses_the_network(routes: list[dict[str, str]], users: list[str]) -> None:
    assert checks.network_users(json.dumps(routes)) == users


# --- the repository ---


def test_a_release_file_says_who_it_is_and_what_it_lists() -> None:
    suite = table.Suite("noble-security", origin="Ubuntu", label="Ubuntu", codename="noble")
    text = repo.release(suite, "amd64", {"main/binary-amd64/Packages": b""}, datetime(2026, 1, 2, tzinfo=timezone.utc))
    assert text.startswith("Origin: Ubuntu\nLabel: Ubuntu\nSuite: noble-security\nCodename: noble\n")
    assert "Date: Fri, 02 Jan 2026 00:00:00 +0000\n" in text
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert text.endswith(f"SHA256:\n {empty} 0 main/binary-amd64/Packages\n")


# --- the guest agent ---


def test_interfaces_as_the_agent_tells_them() -> None:
    link = {"ifname": "host0", "address": "bc:24:11:1a:00:02", "addr_info": [
        {"family": "inet", "local": "198.18.0.12", "prefixlen": 24},
        {"family": "inet6", "local": "fe80::1", "prefixlen": 64}]}  # fmt: skip
    bare = {"ifname": "wg0", "addr_info": []}
    assert machine.parse_agent_interfaces(json.dumps([link, bare])) == [
        {"name": "host0", "hardware-address": "bc:24:11:1a:00:02", "ip-addresses": [
            {"ip-address": "198.18.0.12", "ip-address-type": "ipv4", "prefix": 24},
            {"ip-address": "fe80::1", "ip-address-type": "ipv6", "prefix": 64}]},
        {"name": "wg0", "hardware-address": "00:00:00:00:00:00"},
    ]  # fmt: skip


def test_os_release_as_the_agent_tells_it() -> None:
    found = machine.parse_os_release('ID=debian\nPRETTY_NAME="Debian GNU/Linux 13 (trixie)"\n# a comment\n')
    assert found["id"] == "debian"
    assert found["pretty-name"] == "Debian GNU/Linux 13 (trixie)"
    assert found["kernel-release"] == os.uname().release
