"""The address of a guest: a table of cases."""

from __future__ import annotations

import pytest
from ansible_collections.homelab.patching.plugins.module_utils.pve.addresses import (
    Known,
    agent_enabled,
    choose,
    needs_agent,
    needs_interfaces,
    nics,
    parse_policy,
)

NET = {"net0": "virtio=BC:24:11:00:00:01,bridge=vmbr0"}
TWO = {**NET, "net1": "e1000=BC:24:11:00:00:02,bridge=vmbr1"}
MAC0, MAC1, OTHER = "bc:24:11:00:00:01", "bc:24:11:00:00:02", "02:42:00:00:00:01"


def nic(name: str, mac: str, *addresses: str) -> dict:
    """A NIC as the agent lists it."""
    parts = (text.partition("/") for text in addresses)
    return {
        "name": name,
        "hardware-address": mac,
        "ip-addresses": [{"ip-address": address, "prefix": int(prefix or 24)} for address, _slash, prefix in parts],
    }


STATIC = {**NET, "ipconfig0": "ip=192.0.2.5/24,gw=192.0.2.1"}
DHCP = {**NET, "ipconfig0": "ip=dhcp,ip6=auto"}

VMS = {
    "static": (STATIC, [], {}, "192.0.2.5", "ipconfig:net0"),
    "static before the agent": (STATIC, [nic("eth0", MAC0, "192.0.2.9")], {}, "192.0.2.5", "ipconfig:net0"),
    "the agent first": (
        STATIC,
        [nic("eth0", MAC0, "192.0.2.9")],
        {"order": ["agent", "ipconfig"]},
        "192.0.2.9",
        "agent:net0/eth0",
    ),
    "static IPv6": ({**NET, "ipconfig0": "ip6=2001:db8::5/64,gw6=fe80::1"}, [], {}, "2001:db8::5", "ipconfig:net0"),
    "both families": ({**NET, "ipconfig0": "ip6=2001:db8::5/64,ip=192.0.2.5/24"}, [], {}, "192.0.2.5", "ipconfig:net0"),
    "IPv6 first": (
        {**NET, "ipconfig0": "ip=192.0.2.5/24,ip6=2001:db8::5/64"},
        [],
        {"family": "ipv6_first"},
        "2001:db8::5",
        "ipconfig:net0",
    ),
    "only IPv6 allowed": (STATIC, [], {"family": "ipv6"}, "", ""),
    "only IPv4 allowed": ({**NET, "ipconfig0": "ip6=2001:db8::5/64"}, [], {"family": "ipv4"}, "", ""),
    "dhcp and auto": (DHCP, [nic("eth0", MAC0, "192.0.2.9")], {}, "192.0.2.9", "agent:net0/eth0"),
    "the second of two NICs": (
        {**TWO, "ipconfig0": "ip=dhcp", "ipconfig1": "ip=198.51.100.5/24"},
        [],
        {},
        "198.51.100.5",
        "ipconfig:net1",
    ),
    "net0 before net1, whatever the agent's order": (
        TWO,
        [nic("b", MAC1, "198.51.100.9"), nic("a", MAC0, "192.0.2.9")],
        {},
        "192.0.2.9",
        "agent:net0/a",
    ),
    "net2 before net10": (
        {"net10": f"virtio={MAC0}", "net2": f"virtio={MAC1}"},
        [nic("a", MAC0, "192.0.2.9"), nic("b", MAC1, "192.0.2.8")],
        {},
        "192.0.2.8",
        "agent:net2/b",
    ),
    "an unplugged NIC": (
        {"net0": f"virtio={MAC0},link_down=1", "ipconfig0": "ip=192.0.2.5/24", "net1": f"virtio={MAC1}"},
        [nic("b", MAC1, "198.51.100.9")],
        {},
        "198.51.100.9",
        "agent:net1/b",
    ),
    "what a removed NIC left": ({**DHCP, "ipconfig1": "ip=192.0.2.66/24"}, [], {}, "", ""),
    "a network file of one's own": ({**STATIC, "cicustom": "network=local:snippets/net.yml"}, [], {}, "", ""),
    "a user file of one's own": (
        {**STATIC, "cicustom": "user=local:snippets/u.yml"},
        [],
        {},
        "192.0.2.5",
        "ipconfig:net0",
    ),
    "no NIC in the configuration": ({"ipconfig0": "ip=192.0.2.5/24"}, [], {}, "192.0.2.5", "ipconfig:net0"),
    "addresses that lead nowhere": (
        NET,
        [nic("eth0", MAC0, "127.0.0.1", "169.254.1.1", "fe80::1", "::1", "224.0.0.1", "0.0.0.0", "ff02::1")],
        {},
        "",
        "",
    ),
    "a NIC of another MAC": (NET, [nic("docker0", OTHER, "172.17.0.1"), nic("wg0", "", "10.9.0.1")], {}, "", ""),
    "one of another MAC in a preferred network": (
        NET,
        [nic("eth0", MAC0, "192.0.2.9"), nic("wg0", "", "10.9.0.1")],
        {"cidrs": ["10.9.0.0/16"]},
        "10.9.0.1",
        "cidr:wg0",
    ),
    "a container bridge in a preferred network": (
        NET,
        [nic("br-1a2b", OTHER, "10.9.0.1"), nic("eth0", MAC0, "192.0.2.9")],
        {"cidrs": ["10.0.0.0/8"]},
        "192.0.2.9",
        "agent:net0/eth0",
    ),
    "a preferred network beats the order": (
        {**TWO, "ipconfig0": "ip=192.0.2.5/24"},
        [nic("b", MAC1, "10.0.0.9")],
        {"cidrs": ["10.0.0.0/8"]},
        "10.0.0.9",
        "agent:net1/b",
    ),
    "the first preferred network": (
        TWO,
        [nic("a", MAC0, "10.1.0.9"), nic("b", MAC1, "10.2.0.9")],
        {"cidrs": ["10.2.0.0/16", "10.1.0.0/16"]},
        "10.2.0.9",
        "agent:net1/b",
    ),
    "a preferred network that has nobody": (STATIC, [], {"cidrs": ["10.0.0.0/8"]}, "192.0.2.5", "ipconfig:net0"),
    "an excluded NIC by its name in the guest": (
        TWO,
        [nic("a", MAC0, "192.0.2.9"), nic("b", MAC1, "198.51.100.9")],
        {"exclude_interfaces": ["a"]},
        "198.51.100.9",
        "agent:net1/b",
    ),
    "an excluded NIC by its name in Proxmox VE": (
        {**TWO, "ipconfig0": "ip=192.0.2.5/24", "ipconfig1": "ip=198.51.100.5/24"},
        [],
        {"exclude_interfaces": ["net0"]},
        "198.51.100.5",
        "ipconfig:net1",
    ),
    "a bridge in the guest that has the NIC's MAC": (
        NET,
        [nic("eth0", MAC0), nic("br-lan", MAC0, "192.0.2.9")],
        {},
        "192.0.2.9",
        "agent:net0/br-lan",
    ),
    "a virtual address is the last choice": (
        NET,
        [nic("eth0", MAC0, "192.0.2.200/32", "192.0.2.9/24")],
        {},
        "192.0.2.9",
        "agent:net0/eth0",
    ),
    "a privacy address is the last choice": (
        NET,
        [nic("eth0", MAC0, "2001:db8::1234:5678/64", "2001:db8::be24:11ff:fe00:1/64")],
        {},
        "2001:db8::be24:11ff:fe00:1",
        "agent:net0/eth0",
    ),
    "the agent's nonsense": (NET, ["?", None, {}, {"ip-addresses": [None, {}]}], {}, "", ""),
}


@pytest.mark.parametrize(("config", "agent", "policy", "address", "source"), VMS.values(), ids=VMS)
def test_a_vm(config, agent, policy, address, source):
    choice = choose(Known("qemu", config, agent=agent), parse_policy(policy))
    assert (choice.address, choice.source) == (address, source)
    assert bool(choice.reason) != bool(address)


LXC = "name=eth0,bridge=vmbr0,hwaddr=BC:24:11:00:00:01,ip="
CONTAINERS = {
    "static": ({"net0": LXC + "192.0.2.5/24"}, None, {}, "192.0.2.5"),
    "dhcp": ({"net0": LXC + "dhcp"}, [{"name": "eth0", "hwaddr": MAC0, "inet": "192.0.2.9/24"}], {}, "192.0.2.9"),
    "only IPv6": (
        {"net0": LXC + "manual,ip6=auto"},
        [{"name": "eth0", "hwaddr": MAC0, "inet6": "2001:db8::9/64"}],
        {},
        "2001:db8::9",
    ),
    "the newer form": (
        {"net0": LXC + "dhcp"},
        [{"name": "eth0", "hardware-address": MAC0, "ip-addresses": [{"ip-address": "192.0.2.9", "prefix": "24"}]}],
        {},
        "192.0.2.9",
    ),
    "a Docker inside": (
        {"net0": LXC + "dhcp"},
        [{"name": "docker0", "hwaddr": OTHER, "inet": "172.17.0.1/16"}],
        {},
        "",
    ),
    "a preferred network": (
        {"net0": LXC + "192.0.2.5/24", "net1": "name=eth1,hwaddr=BC:24:11:00:00:02,ip=dhcp"},
        [{"name": "eth1", "hwaddr": MAC1, "inet": "10.0.0.9/8"}],
        {"cidrs": ["10.0.0.0/8"]},
        "10.0.0.9",
    ),
    "nothing": ({"net0": LXC + "dhcp"}, None, {}, ""),
}


@pytest.mark.parametrize(("config", "interfaces", "policy", "address"), CONTAINERS.values(), ids=CONTAINERS)
def test_a_container(config, interfaces, policy, address):
    assert choose(Known("lxc", config, interfaces=interfaces), parse_policy(policy)).address == address


@pytest.mark.parametrize(
    ("config", "policy", "needed"),
    [
        (STATIC, {}, False),
        (DHCP, {}, True),
        (NET, {}, True),
        (STATIC, {"order": ["agent", "ipconfig"]}, True),
        (STATIC, {"cidrs": ["192.0.2.0/24"]}, False),
        (STATIC, {"cidrs": ["10.0.0.0/8"]}, True),
        (STATIC, {"cidrs": ["10.0.0.0/8", "192.0.2.0/24"]}, True),
        (STATIC, {"family": "ipv6"}, True),
        (DHCP, {"order": ["ipconfig", "name"]}, False),
        (DHCP, {"order": ["cidr"]}, False),
        (DHCP, {"order": ["cidr"], "cidrs": ["10.0.0.0/8"]}, True),
    ],
)
def test_the_agent_is_asked_only_where_it_could_know_better(config, policy, needed):
    assert needs_agent(config, parse_policy(policy)) is needed


@pytest.mark.parametrize(
    ("net", "policy", "needed"),
    [
        ("192.0.2.5/24", {}, False),
        ("192.0.2.5/24,ip6=auto", {}, False),
        ("192.0.2.5/24,ip6=auto", {"family": "ipv6"}, True),
        ("dhcp", {}, True),
        ("dhcp", {"order": ["name"]}, False),
        ("192.0.2.5/24", {"cidrs": ["10.0.0.0/8"]}, False),
        ("192.0.2.5/24,ip6=dhcp", {"cidrs": ["2001:db8::/32"]}, True),
    ],
)
def test_a_container_is_asked_only_where_it_could_know_better(net, policy, needed):
    assert needs_interfaces({"net0": LXC + net}, parse_policy(policy)) is needed


@pytest.mark.parametrize(
    ("text", "enabled"),
    [
        ("1", True),
        (1, True),
        ("enabled=1", True),
        ("enabled=1,fstrim_cloned_disks=0,type=virtio", True),
        ("1,fstrim_cloned_disks=1", True),
        ("type=virtio,enabled=1", True),
        ("0", False),
        ("enabled=0,type=virtio", False),
        (None, False),
        ("", False),
    ],
)
def test_the_agents_switch(text, enabled):
    assert agent_enabled({} if text is None else {"agent": text}) is enabled


def test_the_mac_of_a_nic_may_stand_anywhere():
    assert nics({"net0": "bridge=vmbr0,virtio=BC:24:11:00:00:01"})["net0"]["mac"] == MAC0
    assert nics({"net0": "model=virtio,macaddr=BC:24:11:00:00:01"})["net0"]["mac"] == MAC0
