"""How much the inventory asks: counted in the server's own log, for guests, agents, passwords and caches."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from ansible.errors import AnsibleParserError
from ansible_collections.homelab.patching.plugins.module_utils.pve import client

STATIC = {"net0": "virtio=BC:24:11:00:00:01,bridge=vmbr0", "ipconfig0": "ip=192.0.2.5/24"}
DYNAMIC = {"net0": "virtio=BC:24:11:00:00:01,bridge=vmbr0", "ipconfig0": "ip=dhcp", "agent": "1"}


def add(pve, first: int, count: int, config: dict, **more) -> None:
    """Guests with numbers from `first`, each with a MAC and a static address of its own."""
    for vmid in range(first, first + count):
        mac = f"BC:24:11:00:{vmid // 256:02X}:{vmid % 256:02X}"
        own = {key: str(value).replace("BC:24:11:00:00:01", mac) for key, value in config.items()}
        if "192.0.2.5" in own.get("ipconfig0", ""):
            own["ipconfig0"] = f"ip=198.51.{vmid // 256}.{vmid % 256}/16"
        vm = pve.add_vm(vmid, f"vm{vmid}", status="running", config=own, **more)
        address = {"ip-address": f"203.0.113.{vmid % 256}", "prefix": 24}
        vm.agent = {"interfaces": [{"name": "eth0", "hardware-address": mac.lower(), "ip-addresses": [address]}]}


def test_one_call_when_no_address_needs_one(parse, pve, options, calls):
    add(pve, 100, 5, DYNAMIC)
    result = parse({**options, "address": {"order": []}})
    assert calls() == ["GET /cluster/resources"]
    assert len(result.hosts) == 5


def test_one_call_when_the_user_composes_the_address(parse, pve, options, calls):
    add(pve, 100, 3, DYNAMIC)
    result = parse({**options, "compose": {"ansible_host": "proxmox_name ~ '.lan'"}})
    assert calls() == ["GET /cluster/resources"]
    assert result.vars("vm101")["ansible_host"] == "vm101.lan"
    assert result.vars("vm101")["proxmox_address_source"] == "compose"


def test_a_static_address_costs_one_call_and_an_agent_two(parse, pve, options, calls):
    add(pve, 100, 4, STATIC)
    add(pve, 200, 3, DYNAMIC)
    result = parse(options)
    assert len(calls()) == 1 + 4 + 2 * 3
    assert result.vars("vm100")["ansible_host"] == "198.51.0.100"
    assert result.vars("vm200")["ansible_host"] == "203.0.113.200"


def test_only_the_kept_guests_are_asked(parse, pve, options, calls):
    add(pve, 100, 10, DYNAMIC)
    add(pve, 200, 2, {**DYNAMIC, "tags": "k3s"})
    parse({**options, "include": {"tags": ["k3s"]}})
    seen = calls()
    assert len(seen) == 1 + 2 * 2
    assert not [path for path in seen if "/10" in path]


def test_a_filter_without_facts_saves_the_calls_of_those_it_leaves_out(parse, pve, options, calls):
    add(pve, 100, 6, DYNAMIC)
    parse({**options, "filters": ["proxmox_vmid < 102"]})
    assert len(calls()) == 1 + 2 * 2


def test_facts_and_extended_statuses_stay_below_the_limit(parse, pve, options, calls):
    add(pve, 100, 6, DYNAMIC)
    pve.add_ct(300, "ct", status="running", config={"net0": "name=eth0,hwaddr=BC:24:11:00:00:09,ip=192.0.2.9/24"})
    parse({**options, "want_facts": True})
    assert len(calls()) <= 1 + 2 * 7
    parse({**options, "want_facts": True, "qemu_extended_statuses": True})
    assert len(calls()) <= 1 + 3 * 7


def test_stopped_guests_and_templates_are_not_bothered(parse, pve, options, calls):
    pve.add_vm(100, "off", status="stopped", config=DYNAMIC)
    pve.add_vm(101, "template", status="stopped", template=True, config=DYNAMIC)
    parse(options)
    assert calls() == ["GET /cluster/resources", "GET /nodes/pve1/qemu/100/config"]


def test_a_password_costs_one_login_however_many_threads_there_are(parse, pve, options, calls):
    add(pve, 100, 40, DYNAMIC)
    login = {**options, "user": "root@pam", "password": "secret", "concurrency": 12}
    del login["token_id"], login["token_secret"]
    parse(login)
    seen = calls()
    assert seen.count("POST /access/ticket") == 1
    assert len(seen) == 1 + 1 + 2 * 40


def cached(options: dict, folder: Path) -> dict:
    """These options with a cache in a directory."""
    return {**options, "cache": True, "cache_plugin": "jsonfile", "cache_connection": str(folder / "cache")}


@pytest.mark.parametrize("password", [False, True])
def test_a_warm_cache_costs_nothing_also_when_the_api_is_down(parse, pve, options, calls, tmp_path, password):
    add(pve, 100, 3, DYNAMIC)
    if password:
        options = {**options, "user": "root@pam", "password": "secret", "token_id": None, "token_secret": None}
    warm = cached(options, tmp_path)
    before = parse(warm)
    assert len(calls()) == 1 + 2 * 3 + password
    after = parse(warm)
    assert calls() == []
    # Anything that is sent now is answered with an error.
    for path in ("/access/ticket", "/cluster/resources"):
        for method in ("GET", "POST"):
            pve.fail(method, path, 503, "down")
    again = parse(warm)
    assert calls() == []
    for host in before.hosts:
        assert before.vars(host) == after.vars(host) == again.vars(host)


def test_a_refresh_asks_again_and_keeps_what_it_heard(parse, pve, options, calls, tmp_path):
    add(pve, 100, 1, STATIC)
    warm = cached(options, tmp_path)
    parse(warm)
    add(pve, 101, 1, STATIC)
    calls()
    assert parse(warm).hosts == ["vm100"]
    assert parse(warm, cache=False).hosts == ["vm100", "vm101"]
    assert len(calls()) == 3
    assert parse(warm).hosts == ["vm100", "vm101"]
    assert calls() == []


def test_a_cache_that_lacks_something_is_completed(parse, pve, options, calls, tmp_path):
    add(pve, 100, 2, STATIC)
    warm = cached(options, tmp_path)
    parse(warm)
    calls()
    # Facts want the agent, too, which the addresses did not need.
    parse({**warm, "want_facts": True, "filters": []})
    assert len([path for path in calls() if "agent" not in path]) <= 1
    parse({**warm, "want_facts": True})
    assert calls() == []


def test_the_cache_of_another_user_is_not_used(parse, pve, options, calls, tmp_path):
    add(pve, 100, 2, STATIC)
    pve.apitokens["ansible@pve!other"] = "s3cret"
    parse(cached(options, tmp_path))
    calls()
    parse({**cached(options, tmp_path), "token_id": "other"})
    assert len(calls()) == 3


def test_no_secret_gets_into_the_cache(parse, pve, options, tmp_path):
    add(pve, 100, 1, STATIC)
    parse(cached(options, tmp_path))
    stored = "".join(path.read_text() for path in (tmp_path / "cache").iterdir())
    assert "cluster/resources" in stored
    assert options["token_secret"] not in stored


def test_an_empty_answer_is_not_kept(parse, pve, options, calls, tmp_path):
    parse(cached(options, tmp_path))
    add(pve, 100, 1, STATIC)
    calls()
    assert parse(cached(options, tmp_path)).hosts == ["vm100"]


@pytest.mark.fakepve(time_scale=0.4)
def test_hung_agents_together_delay_by_one_deadline(parse, pve, options):
    """A hung agent needs 4 s here, and gets 1; forty of them stand in front of the ten that answer."""
    add(pve, 100, 40, DYNAMIC)
    for vm in pve.vms:
        vm.agent_hangs = True
    add(pve, 200, 10, DYNAMIC)
    began = time.monotonic()
    result = parse({**options, "agent_timeout": 1, "concurrency": 4})
    took = time.monotonic() - began
    assert took < 8, "waiting in turns of four takes ten"
    assert [host for host in result.hosts if "ansible_host" in result.vars(host)] == [f"vm{n}" for n in range(200, 210)]
    warning = result.warned("did not answer in time")
    assert "vm100 (100)" in warning and "and 30 more" in warning


@pytest.mark.fakepve(time_scale=0.4)
def test_hung_agents_beyond_all_threads_cost_no_more(parse, pve, options, monkeypatch):
    monkeypatch.setattr(client, "MOST_THREADS", 4)
    add(pve, 100, 40, DYNAMIC)
    for vm in pve.vms:
        vm.agent_hangs = True
    began = time.monotonic()
    assert len(parse({**options, "agent_timeout": 1, "concurrency": 4}).members("proxmox_no_address")) == 40
    assert time.monotonic() - began < 8, "waiting in turns of four takes ten"


@pytest.mark.fakepve(time_scale=0.4)
def test_a_hung_node_costs_one_deadline_and_its_guests_stay(parse, pve, options):
    add(pve, 100, 12, STATIC, node="pve2")
    add(pve, 200, 2, STATIC)
    pve.network["node_latency"]["pve2"] = 6.0  # 2.4 s
    began = time.monotonic()
    result = parse({**options, "api_timeout": 1, "concurrency": 4, "retries": 0})
    assert time.monotonic() - began < 2.2
    assert len(result.hosts) == 14
    assert result.vars("vm200")["ansible_host"] == "198.51.0.200"
    assert "vm100" in result.members("proxmox_no_address")


def test_a_broken_gateway_is_asked_again(parse, pve, options, calls):
    add(pve, 100, 1, STATIC)
    pve.fail("GET", "/qemu/100/config", 503, "busy", times=1)
    result = parse(options)
    assert result.vars("vm100")["ansible_host"] == "198.51.0.100"
    assert len(calls()) == 3


def test_refused_credentials_are_tried_once(parse, pve, options, calls):
    # A wrong password at every node of a cluster is how accounts get locked.
    nodes = [pve.url, pve.url.replace("127.0.0.1", "localhost")]
    with pytest.raises(AnsibleParserError):
        parse({**options, "endpoints": nodes, "token_secret": "wrong"})
    assert len(calls()) == 1


def test_one_login_is_enough_when_the_listing_has_to_be_repeated(parse, pve, options, calls):
    add(pve, 100, 1, STATIC)
    pve.fail("GET", "/cluster/resources", 503, "busy", times=1)
    parse({**options, "user": "root@pam", "password": "secret", "token_id": None, "token_secret": None})
    assert calls().count("POST /access/ticket") == 1
