"""What one guest answers, whatever it is, ends nobody else's inventory: 2,000 answers as no agent gives them."""

from datetime import date

import pytest
from ansible_collections.homelab.patching.plugins.module_utils.pve.addresses import Known, choose, parse_policy
from ansible_collections.homelab.patching.plugins.module_utils.pve.guests import Guest, tell, variables

from tests.lies.mutate import mutated

MAC = "BC:24:11:00:00:01"
POLICY = parse_policy({"cidrs": ["192.0.2.0/24"]})
ADDRESSES = [
    {"ip-address": "192.0.2.9", "ip-address-type": "ipv4", "prefix": 24},
    {"ip-address": "2001:db8::9", "ip-address-type": "ipv6", "prefix": 64},
]
AGENT = [
    {"name": "lo", "hardware-address": "00:00:00:00:00:00", "ip-addresses": [{"ip-address": "127.0.0.1", "prefix": 8}]},
    {"name": "eth0", "hardware-address": MAC.lower(), "ip-addresses": ADDRESSES},
    {"name": "wg0", "ip-addresses": [{"ip-address": "192.0.2.10", "prefix": 32}]},
]
CONTAINER = [{"name": "eth0", "hwaddr": MAC, "inet": "192.0.2.9/24", "inet6": "fe80::1/64", "ip-addresses": ADDRESSES}]
KINDS = {
    "qemu": ({"net0": f"virtio={MAC},bridge=vmbr0", "ipconfig0": "ip=dhcp", "agent": "1"}, AGENT),
    "lxc": ({"net0": f"name=eth0,hwaddr={MAC},ip=dhcp"}, CONTAINER),
}


def looked_at(vmtype, answer):
    """All that is made of what a guest says."""
    config = KINDS[vmtype][0]
    given = {"agent" if vmtype == "qemu" else "interfaces": answer}
    guest = Guest({"vmid": 101, "type": vmtype, "node": "pve1", "name": "evil"}, config, **given)
    guest.choice = choose(Known(vmtype, config, **given), POLICY)
    return variables(guest, "proxmox_", True, date(2026, 11, 23)), tell((guest, each) for each in guest.problems)


@pytest.mark.parametrize("vmtype", KINDS)
def test_as_it_should_be(vmtype):
    assert looked_at(vmtype, KINDS[vmtype][1])[0]["ansible_host"] == "192.0.2.9"


@pytest.mark.parametrize("vmtype", KINDS)
def test_any_answer_is_survived(vmtype):
    for seed in range(2000):
        answer = mutated(KINDS[vmtype][1], seed)
        if not isinstance(answer, list):
            continue  # Such a one is told before anybody looks into it.
        try:
            found, _lines = looked_at(vmtype, answer)
        except Exception as exc:
            raise AssertionError(f"seed {seed}: {answer!r:.300}") from exc
        assert isinstance(found.get("ansible_host", ""), str)
