"""Real clusters: guests without names, dead agents, missing rights. Nothing may vanish or go unexplained."""

from __future__ import annotations

import socket
from types import SimpleNamespace

import pytest
from ansible.errors import AnsibleParserError
from ansible_collections.homelab.patching.plugins.module_utils.pve import dns

NET = {"net0": "virtio=BC:24:11:00:00:01,bridge=vmbr0"}
AGENT = {**NET, "ipconfig0": "ip=dhcp", "agent": "enabled=1,fstrim_cloned_disks=1,type=virtio"}


def nic(name: str, mac: str, *addresses: str) -> dict:
    """A NIC as the agent lists it."""
    found = []
    for text in addresses:
        address, _slash, prefix = text.partition("/")
        kind = "ipv6" if ":" in address else "ipv4"
        found.append({"ip-address": address, "ip-address-type": kind, "prefix": int(prefix or 24)})
    return {"name": name, "hardware-address": mac, "ip-addresses": found}


@pytest.fixture
def row(web):
    """Put rows and their configurations into a cluster whose rows may lack anything."""
    web.answers["cluster/resources"] = rows = [{"type": "node", "node": "pve1", "status": "online"}]

    def add(vmid: int, config: dict | None = None, **fields) -> None:
        rows.append({"type": "qemu", "vmid": vmid, "node": "pve1", "status": "running", **fields})
        kind = rows[-1]["type"]
        if config is not None:
            web.answers[f"nodes/{rows[-1]['node']}/{kind}/{vmid}/config"] = config

    return add


def test_a_row_without_a_name_takes_it_from_the_configuration(parse, web, row):
    row(105, {**NET, "name": "fresh", "ipconfig0": "ip=192.0.2.5/24"}, status="unknown")
    result = parse(web.options())
    assert result.hosts == ["fresh"]
    assert result.vars("fresh")["ansible_host"] == "192.0.2.5"
    assert "proxmox_patchable" in result.groups("fresh")


def test_a_row_without_any_name_is_called_by_its_number(parse, web, row):
    row(105, status="unknown")
    row(106, type="lxc", status="unknown")
    result = parse({**web.options(), "address": {"order": []}})
    assert result.hosts == ["lxc-106", "qemu-105"]
    assert result.vars("qemu-105")["proxmox_name"] == "qemu-105"
    assert "proxmox_patchable" in result.groups("qemu-105")
    assert "again in 10 seconds" in result.warned("qemu (105)", "name")


def test_a_row_without_a_name_is_not_guessed_where_names_decide(parse, web, row):
    row(105, NET, status="unknown")
    row(106, NET, name="web")
    result = parse({**web.options(), "exclude": {"names": ["db*"]}})
    assert result.hosts == ["web"]
    result.warned("go by name", "105")


def test_two_guests_of_one_name_are_both_kept_with_one_warning(parse, pve, options):
    pve.add_vm(101, "web", status="running", config={**NET, "ipconfig0": "ip=192.0.2.1/24"})
    pve.add_vm(102, "web", node="pve2", status="running", config={**NET, "ipconfig0": "ip=192.0.2.2/24"})
    pve.add_vm(103, "other", status="running", config={**NET, "ipconfig0": "ip=192.0.2.3/24"})
    result = parse(options)
    assert result.hosts == ["other", "web-101", "web-102"]
    assert result.vars("web-102")["ansible_host"] == "192.0.2.2"
    assert "web-101, web-102" in result.warned("2 guests are called 'web'")


def test_a_guest_named_like_the_control_node_a_node_or_a_group_is_renamed(parse, pve, options):
    for vmid, name in ((101, "localhost"), (102, "pve1"), (103, "k3s"), (104, "web")):
        address = f"ip=192.0.2.{vmid}/24"
        pve.add_vm(vmid, name, status="running", config={**NET, "ipconfig0": address, "tags": "k3s"})
    result = parse({**options, "groups": {"k3s": "'k3s' in proxmox_tags_parsed"}})
    assert result.hosts == ["k3s-103", "localhost-101", "pve1-102", "web"]
    assert result.members("k3s") == ["k3s-103", "localhost-101", "pve1-102", "web"]
    assert "ansible_host" not in result.data.groups["k3s"].vars


def test_a_keyed_group_named_like_a_guest_is_refused(parse, pve, options):
    pve.add_vm(101, "web", status="running", config={**NET, "ipconfig0": "ip=192.0.2.1/24", "tags": "web"})
    with pytest.raises(AnsibleParserError, match=r"a group 'web', and a guest has that name.*prefix"):
        parse({**options, "keyed_groups": [{"key": "proxmox_tags_parsed", "separator": ""}]})


def test_guests_of_an_offline_node_stay_and_are_not_asked(parse, pve, options, calls):
    pve.add_vm(101, "up", status="running", config={**NET, "ipconfig0": "ip=192.0.2.1/24"})
    pve.add_vm(102, "down", node="pve2", status="running", config=AGENT)
    pve.set_node_offline("pve2")
    result = parse(options)
    assert result.hosts == ["down", "up"]
    assert {"proxmox_no_address", "proxmox_patchable", "proxmox_all_unknown"} <= result.groups("down")
    assert result.vars("down")["proxmox_address_reason"] == "its node pve2 is offline"
    assert result.vars("pve2")["proxmox_status"] == "offline"
    assert not [path for path in calls() if "pve2" in path]
    assert "Remedy: start it" in result.warned("down (102)", "node pve2 is offline")


def test_a_node_that_is_called_online_but_does_not_answer(parse, pve, options, calls):
    for vmid in range(101, 109):
        pve.add_vm(vmid, f"vm{vmid}", node="pve2", status="running", config=AGENT)
        pve.fail("GET", f"/qemu/{vmid}/config", 595, "No route to host")
    result = parse({**options, "concurrency": 1})
    assert len(result.hosts) == 8
    assert len(calls()) == 2, "one guest has to find out, not each"
    assert "vm101 (101)" in result.warned("node pve2 cannot be reached")


def test_templates_are_hosts_but_never_patched(parse, pve, options):
    pve.add_vm(900, "noble", status="stopped", template=True, config={**NET, "tags": "terraform"})
    result = parse(options)
    assert result.groups("noble") - {"all"} == {"proxmox_all_templates", "proxmox_tag_terraform"}
    assert result.vars("noble")["proxmox_template"] is True
    assert "ansible_host" not in result.vars("noble")
    assert result.warnings == []


def test_a_container_with_dhcp_is_asked_for_its_address(parse, web, row):
    row(201, {"net0": "name=eth0,bridge=vmbr0,hwaddr=BC:24:11:00:00:09,ip=dhcp,ip6=auto"}, type="lxc", name="ct")
    web.answers["nodes/pve1/lxc/201/interfaces"] = [
        {"name": "lo", "hwaddr": "00:00:00:00:00:00", "inet": "127.0.0.1/8", "inet6": "::1/128"},
        {"name": "docker0", "hwaddr": "02:42:ac:11:00:01", "inet": "172.17.0.1/16"},
        {"name": "eth0", "hwaddr": "bc:24:11:00:00:09", "inet": "192.0.2.77/24", "inet6": "fe80::1/64"},
    ]
    result = parse({**web.options(), "address": {}})
    assert result.vars("ct")["ansible_host"] == "192.0.2.77"
    assert result.vars("ct")["proxmox_address_source"] == "lxc:net0/eth0"


def test_the_agents_container_networks_are_never_taken(parse, pve, options):
    vm = pve.add_vm(101, "k3s1", status="running", config={**AGENT, "ipconfig0": "ip=dhcp,ip6=auto"})
    vm.agent = {
        "interfaces": [
            nic("lo", "00:00:00:00:00:00", "127.0.0.1/8", "::1/128"),
            nic("docker0", "02:42:ac:11:00:01", "172.17.0.1/16"),
            nic("cni0", "02:42:ac:11:00:02", "10.42.0.1/24"),
            nic("flannel.1", "02:42:ac:11:00:03", "10.42.0.0/32"),
            nic("veth12ab", "02:42:ac:11:00:04", "fe80::1/64"),
            nic("tailscale0", "", "100.64.0.7/32"),
            nic("eth0", "bc:24:11:00:00:01", "fe80::be24:11ff:fe00:1/64", "192.0.2.50/24"),
        ]
    }
    result = parse(options)
    assert result.vars("k3s1")["ansible_host"] == "192.0.2.50"
    assert result.vars("k3s1")["proxmox_address_source"] == "agent:net0/eth0"


def test_several_nics_ipv6_only_and_a_preferred_network(parse, pve, options):
    two = {"net0": "virtio=BC:24:11:00:00:01", "net1": "virtio=BC:24:11:00:00:02", "agent": "1"}
    vm = pve.add_vm(101, "two", status="running", config=two)
    vm.agent = {
        "interfaces": [
            nic("eth1", "bc:24:11:00:00:02", "10.0.20.5/24"),
            nic("eth0", "bc:24:11:00:00:01", "192.0.2.5/24"),
        ]
    }
    six = pve.add_vm(102, "six", status="running", config={"net0": "virtio=BC:24:11:00:00:03", "agent": "1"})
    six.agent = {"interfaces": [nic("eth0", "bc:24:11:00:00:03", "fe80::1/64", "2001:db8::5/64")]}
    result = parse(options)
    assert result.vars("two")["ansible_host"] == "192.0.2.5"
    assert result.vars("six")["ansible_host"] == "2001:db8::5"
    result = parse({**options, "address": {**options["address"], "cidrs": ["10.0.20.0/24"]}})
    assert result.vars("two")["ansible_host"] == "10.0.20.5"
    assert result.vars("six")["ansible_host"] == "2001:db8::5", "preferred, not demanded"


@pytest.mark.parametrize(
    ("config", "answer", "cause", "remedy"),
    [
        ({**NET, "ipconfig0": "ip=dhcp,ip6=auto"}, None, "agent is switched off", "install qemu-guest-agent"),
        ({**NET, "agent": "0"}, None, "no static ipconfigN; its guest agent is switched off", "qemu-guest-agent"),
        (AGENT, (500, "QEMU guest agent is not running"), "its guest agent does not run", "install qemu-guest-agent"),
        (AGENT, (500, "VM 101 qmp command 'guest-ping' failed - got timeout"), "in time", "restart qemu-guest-agent"),
        (AGENT, (403, "Permission check failed"), "may not be asked (403)", "9: give the token VM.GuestAgent.Audit"),
        (AGENT, (403, "Permission check failed"), "may not be asked (403)", "8: leave `agent` out of address.order"),
        (AGENT, (501, "Method not implemented"), "cannot be asked", "qemu-guest-agent"),
    ],
)
def test_an_agent_that_does_not_help_is_explained(parse, pve, options, config, answer, cause, remedy):
    pve.add_vm(101, "web", status="running", config=config)
    if answer:
        pve.fail("GET", "/agent/network-get-interfaces", *answer)
    result = parse(options)
    found = result.vars("web")
    assert "ansible_host" not in found
    assert cause in found["proxmox_address_reason"]
    assert len(found["proxmox_problems"]) == 1
    assert "proxmox_no_address" in result.groups("web")
    assert "proxmox_patchable" in result.groups("web")
    assert remedy in result.warned("web (101)", cause)


@pytest.mark.parametrize(
    "answer",
    [
        {"result": {"error": {"class": "CommandDisabled", "desc": "has been disabled"}}},
        {"result": "?"},
        ["?"],
        {"result": ["?", {"name": None, "ip-addresses": ["?", {"ip-address": None}, {"ip-address": "no"}]}, {}]},
        (200, "text/html", "<html>login</html>"),
        (200, "application/json", "[]"),
    ],
)
def test_an_agent_that_talks_nonsense_is_survived(parse, web, row, answer):
    row(101, AGENT, name="web")
    web.answers["nodes/pve1/qemu/101/agent/network-get-interfaces"] = answer
    result = parse({**web.options(), "address": {"order": ["agent"]}, "want_facts": True})
    assert result.hosts == ["web"]
    assert result.vars("web")["proxmox_address_reason"]
    assert [line for line in result.warnings if "web (101)" in line]


@pytest.mark.parametrize(
    ("failing", "remedy", "kept"),
    [
        ("/config", "VM.Audit", True),
        ("/agent/network-get-interfaces", "Proxmox VE 9: give the token VM.GuestAgent.Audit on /vms", True),
        ("/status/current", "VM.Audit", True),
        ("/interfaces", "VM.Audit", True),
        ("/cluster/status", "Sys.Audit on /", True),
        ("/cluster/resources", "PVEAuditor on /vms", False),
    ],
)
def test_403_on_each_endpoint_in_turn(parse, pve, options, failing, remedy, kept):
    pve.add_vm(101, "web", status="running", config={**AGENT, "ipconfig0": "ip=192.0.2.1/24"}).agent = {}
    pve.add_ct(102, "ct", status="running", config={"net0": "name=eth0,hwaddr=BC:24:11:00:00:09,ip=192.0.2.9/24"})
    pve.fail("GET", failing, 403, "Permission check failed (/vms/101, VM.Audit)")
    every = {"want_facts": True, "qemu_extended_statuses": True, "want_proxmox_nodes_ansible_host": True}
    if not kept:
        with pytest.raises(AnsibleParserError, match=remedy):
            parse({**options, **every})
        return
    result = parse({**options, **every})
    assert result.hosts == ["ct", "web"]
    assert result.members("proxmox_patchable") == ["web"]
    result.warned(remedy)


def test_a_token_without_rights_is_told_what_is_missing(parse, pve, options):
    pve.add_vm(101, "web", status="running", config=NET)
    pve.grant("someone@pve", "/", "VM.Audit")
    result = parse(options)
    assert result.hosts == []
    warning = result.warned("no guest at all")
    assert "pveum acl modify /vms --tokens" in warning
    assert "VM.Audit" in warning


def test_the_same_cause_is_told_once_with_all_names(parse, pve, options):
    for vmid in range(101, 106):
        pve.add_vm(vmid, f"web{vmid}", status="running", config=AGENT)
    result = parse(options)
    warning = result.warned("its guest agent does not run")
    assert all(f"web{vmid} ({vmid})" in warning for vmid in range(101, 106))


def test_a_stopped_guest_without_an_address_is_no_news(parse, pve, options):
    pve.add_vm(101, "off", status="stopped", config=AGENT)
    result = parse(options)
    assert result.warnings == []
    assert "it is stopped" in result.vars("off")["proxmox_address_reason"]
    assert {"proxmox_no_address", "proxmox_patchable", "proxmox_all_stopped"} <= result.groups("off")


def test_nested_pools(parse, pve, options):
    pve.add_vm(101, "inner", status="running", config=NET, pool="lab/k3s")
    pve.add_vm(102, "outer", status="running", config=NET, pool="lab")
    result = parse({**options, "address": {"order": []}})
    assert result.vars("inner")["proxmox_pool"] == "lab/k3s"
    assert result.members("proxmox_pool_lab_k3s") == ["inner"]
    assert result.members("proxmox_pool_lab") == ["inner", "outer"]
    assert parse({**options, "include": {"pools": ["lab"]}}).hosts == ["inner", "outer"]
    assert parse({**options, "include": {"pools": ["lab/k3s"]}}).hosts == ["inner"]


def test_copies_with_one_address_are_told(parse, pve, options):
    for vmid in (101, 102):
        pve.add_vm(vmid, f"web{vmid}", status="running", config={**NET, "ipconfig0": "ip=192.0.2.1/24"})
    result = parse(options)
    result.warned("web101 (101), web102 (102)", "the address 192.0.2.1")
    assert result.members("proxmox_no_address") == ["web101", "web102"]
    reason = result.vars("web101")["proxmox_address_reason"]
    assert reason == "192.0.2.1 (ipconfig:net0) is the address of web102 (102), too"


def test_an_agent_that_tells_another_guests_address_is_not_connected_to(parse, web, row):
    """Or the run would patch db1, which nobody wants patched, under the name of evil."""
    row(101, {**NET, "ipconfig0": "ip=192.0.2.1/24"}, name="db1", tags="nopatch")
    row(102, AGENT, name="evil")
    told = {"result": [nic("eth0", "bc:24:11:00:00:01", "192.0.2.1")]}
    web.answers["nodes/pve1/qemu/102/agent/network-get-interfaces"] = told
    row(103, {**NET, "ipconfig0": "ip=192.0.2.3/24"}, name="old", status="stopped")
    row(104, {**NET, "ipconfig0": "ip=192.0.2.3/24"}, name="new")
    result = parse({**web.options(), "address": {"order": ["ipconfig", "agent"]}})
    for name, other in (("db1", "evil (102)"), ("evil", "db1 (101)")):
        assert "ansible_host" not in result.vars(name)
        assert other in result.vars(name)["proxmox_address_reason"]
    # Who is switched off has no address at the moment.
    assert result.vars("new")["ansible_host"] == "192.0.2.3"


def test_what_an_agent_says_is_shown_as_text(parse, web, row):
    row(101, AGENT, name="evil")
    told = {"result": {"error": {"desc": "\x1b[2Jall is well"}}}
    web.answers["nodes/pve1/qemu/101/agent/network-get-interfaces"] = told
    result = parse({**web.options(), "address": {"order": ["ipconfig", "agent"]}})
    assert r"\x1b[2Jall is well" in result.warned("evil (101)", "does not list its addresses")


def test_no_name_is_an_option_of_ssh(parse, pve, options):
    pve.add_vm(101, "-oProxyCommand=id", status="running", config=NET)
    pve.add_ct(102, "-v", status="running")
    result = parse({**options, "address": {"order": []}})
    assert result.hosts == ["lxc-v", "qemu-oProxyCommand=id"]
    result.warned("'-oProxyCommand=id'", "ssh would read as an option")


def test_the_uuid_that_a_vm_got(parse, pve, options):
    smbios = "uuid=3D5A1F0E-0000-4000-8000-000000000001,manufacturer=x,base64=1"
    pve.add_vm(101, "web", status="running", config={**NET, "smbios1": smbios})
    assert parse(options).vars("web")["proxmox_smbios_uuid"] == "3d5a1f0e-0000-4000-8000-000000000001"


def test_the_name_is_used_if_the_dns_knows_it_and_no_wildcard_does(parse, pve, options, monkeypatch):
    known = {"real": "192.0.2.7", "wild1": "192.0.2.99", "wild2": "192.0.2.99", "deep.lab.test": "192.0.2.8"}
    asked = []

    def lookup(name, *_rest, **_options):
        asked.append(name)
        if name not in known:
            raise socket.gaierror("unknown")
        return [(socket.AF_INET, 1, 6, "", (known[name], 0))]

    for vmid, name in enumerate(("real", "wild1", "wild2", "deep", "nobody", "a{{b}}"), 101):
        pve.add_vm(vmid, name, status="running", config={**NET, "searchdomain": "lab.test"} if name == "deep" else NET)
    monkeypatch.setattr(dns, "socket", SimpleNamespace(getaddrinfo=lookup, SOCK_STREAM=socket.SOCK_STREAM))
    result = parse({**options, "address": {}})
    assert result.vars("real")["ansible_host"] == "real"
    assert result.vars("real")["proxmox_address_source"] == "name"
    assert result.vars("deep")["ansible_host"] == "deep.lab.test"
    for wild in ("wild1", "wild2"):
        assert "ansible_host" not in result.vars(wild)
        assert "leads to it) is the address of wild" in result.vars(wild)["proxmox_address_reason"]
    assert "nobody does not resolve" in result.vars("nobody")["proxmox_address_reason"]
    assert not [name for name in asked if "{" in name]
