"""What a host looks like: variables and groups, as community.proxmox gives them and beyond; selection and filters."""

from __future__ import annotations

import json
import os
import subprocess
from datetime import datetime, timedelta, timezone

import pytest
import yaml
from ansible.errors import AnsibleParserError

from .conftest import CHECKOUT

NET = {"net0": "virtio=BC:24:11:00:00:01,bridge=vmbr0", "ipconfig0": "ip=192.0.2.1/24,gw=192.0.2.254"}


@pytest.fixture
def cluster(pve):
    """Two nodes with a bit of everything, at rest: nothing in it changes by itself."""
    web = pve.add_vm(
        101, "web", status="running", pool="prod", config={
            **NET, "tags": "terraform;web", "agent": "1,fstrim_cloned_disks=1", "ostype": "l26", "cores": 2,
            "description": "Managed by Terraform", "scsihw": "virtio-scsi-pci", "boot": "order=scsi0;net0",
            "scsi0": "local-lvm:vm-101-disk-0,size=8G", "ide2": "none,media=cdrom",
        },
    )  # fmt: skip
    web.agent = {}
    web.ha_state = "started"
    web.stats["uptime"] = 4711
    pve.add_vm(102, "win", node="pve2", status="stopped", config={**NET, "ostype": "win11"})
    pve.add_vm(103, "db", node="pve2", status="stopped", lock="backup", config={**NET, "tags": "db;nopatch"})
    pve.add_vm(900, "noble", status="stopped", template=True, config=NET)
    ct = pve.add_ct(201, "dns", status="running", config={"net0": "name=eth0,hwaddr=BC:24:11:00:00:09,ip=192.0.2.9/24"})
    ct.started_at = None
    return pve


def test_the_variables_of_community_proxmox(parse, cluster, options):
    found = parse({**options, "want_facts": True}).vars("web")
    assert {key: found[f"proxmox_{key}"] for key in ("vmid", "node", "vmtype", "status", "name", "template")} == {
        "vmid": 101, "node": "pve1", "vmtype": "qemu", "status": "running", "name": "web", "template": False,
    }  # fmt: skip
    assert found["proxmox_tags"] == "terraform;web"
    assert found["proxmox_tags_parsed"] == ["terraform", "web"]
    assert found["proxmox_net0"] == {"virtio": "BC:24:11:00:00:01", "bridge": "vmbr0"}
    assert found["proxmox_ipconfig0"] == {"ip": "192.0.2.1/24", "gw": "192.0.2.254"}
    assert found["proxmox_scsi0"] == {"disk_image": "local-lvm:vm-101-disk-0", "size": "8G"}
    assert found["proxmox_ide2"] == {"disk_image": "none", "media": "cdrom"}
    assert found["proxmox_description"] == "Managed by Terraform"
    assert found["proxmox_agent"] == "1,fstrim_cloned_disks=1"
    assert found["proxmox_cores"] == 2
    assert found["proxmox_agent_interfaces"][1] == {
        "name": "eth0", "mac-address": "bc:24:11:00:00:01", "ip-addresses": ["192.0.2.10/24"],
    }  # fmt: skip


def test_the_variables_beyond(parse, cluster, options):
    result = parse(options)
    found = result.vars("web")
    assert found["ansible_host"] == "192.0.2.1"
    assert found["proxmox_address_source"] == "ipconfig:net0"
    assert found["proxmox_pool"] == "prod"
    assert found["proxmox_hastate"] == "started"
    assert found["proxmox_uptime"] == 4711
    assert found["proxmox_lock"] == ""
    assert found["proxmox_problems"] == []
    assert result.vars("db")["proxmox_lock"] == "backup"
    assert "proxmox_net0" not in found, "facts were not asked for"


def test_the_groups(parse, cluster, options):
    result = parse(options)
    assert result.groups("web") - {"all"} == {
        "proxmox_all_qemu", "proxmox_all_running", "proxmox_pve1_qemu", "proxmox_pool_prod", "proxmox_tag_terraform",
        "proxmox_tag_web", "proxmox_patchable",
    }  # fmt: skip
    assert result.groups("dns") - {"all"} == {"proxmox_all_lxc", "proxmox_all_running", "proxmox_pve1_lxc"}
    assert result.members("proxmox_nodes") == ["pve1", "pve2"]
    # Groups that have nobody are there all the same: to name one in a pattern is no mistake.
    assert result.members("proxmox_pve2_lxc") == []
    assert result.members("proxmox_no_address") == []


def test_who_is_patchable(parse, cluster, options):
    cluster.add_vm(104, "off", status="stopped", lock="snapshot", config={"net0": "virtio=BC:24:11:00:00:04"})
    result = parse(options)
    # Not Windows, nopatch, a container or a template; but also what is off, locked and without an address.
    assert result.members("proxmox_patchable") == ["off", "web"]
    assert "off" in result.members("proxmox_no_address")
    other = parse({**options, "patchable_types": ["qemu", "lxc"], "group_prefix": "x_", "facts_prefix": "y_"})
    assert other.members("proxmox_patchable") == ["dns", "off", "web"]
    assert "x_all_qemu" in other.groups("web")
    assert other.vars("web")["y_vmid"] == 101


def test_extended_statuses(parse, cluster, options):
    cluster.vm(101).qmpstatus = "paused"
    assert "proxmox_all_running" in parse(options).groups("web")
    result = parse({**options, "qemu_extended_statuses": True})
    assert {"proxmox_all_paused"} == {name for name in result.groups("web") if name.endswith(("paused", "running"))}
    assert result.vars("web")["proxmox_qmpstatus"] == "paused"


def test_nodes_and_guests_can_be_left_out(parse, cluster, options, calls):
    assert "proxmox_nodes" not in parse({**options, "exclude_nodes": True}).data.groups
    calls()
    result = parse({**options, "exclude_vms": True, "want_proxmox_nodes_ansible_host": True})
    assert sorted(result.data.hosts) == ["pve1", "pve2"]
    assert result.vars("pve1")["ansible_host"] == "192.0.2.11"
    assert len(calls()) == 2


# --- selection ---


@pytest.mark.parametrize(
    ("rules", "kept"),
    [
        ({"include": {"tags": ["terraform"]}}, ["web"]),
        ({"include": {"tags": ["terra*"]}}, ["web"]),
        ({"include": {"tags": ["terraform", "db"]}}, ["db", "web"]),
        ({"include": {"tags": ["terraform"], "nodes": ["pve2"]}}, []),
        ({"include": {"pools": "prod"}}, ["web"]),
        ({"include": {"names": ["d*"]}}, ["db", "dns"]),
        ({"include": {"vmids": [101, "200-299"]}}, ["dns", "web"]),
        ({"include": {"types": ["lxc"]}}, ["dns"]),
        ({"include": {"statuses": ["running"]}}, ["dns", "web"]),
        ({"include": {"nodes": ["pve2"]}, "exclude": {"names": ["win"]}}, ["db"]),
        ({"exclude": {"tags": ["db"], "types": ["lxc"]}}, ["noble", "web", "win"]),
        ({"include": {"tags": ["db"]}, "exclude": {"tags": ["nopatch"]}}, []),
    ],
)
def test_include_and_exclude(parse, cluster, options, rules, kept):
    result = parse({**options, **rules})
    assert result.hosts == kept
    if not kept:
        assert "db, nopatch, terraform, web" in result.warned("leave none of 5 guests")


def test_filters(parse, cluster, options):
    assert parse({**options, "filters": ["proxmox_status == 'running'", "proxmox_vmid < 200"]}).hosts == ["web"]
    facts = {**options, "want_facts": True, "filters": ["proxmox_ostype == 'win11'"], "exclude": {"types": ["lxc"]}}
    assert parse({**facts, "filters": ["proxmox_ostype | default('') == 'win11'"]}).hosts == ["win"]


@pytest.mark.parametrize("want_facts", [False, True])
@pytest.mark.parametrize("broken", ["proxmox_tagz == ''", "proxmox_vmid <", "1 / 0", "proxmox_tags | no_such_filter"])
def test_a_filter_that_fails_leaves_the_guest_out_and_says_so(parse, cluster, options, broken, want_facts):
    wanted = {**options, "want_facts": want_facts, "filters": ["proxmox_vmid > 0", broken]}
    result = parse(wanted)
    assert result.hosts == []
    assert "web (101)" in result.warned("left out", f"filter {broken!r} failed")
    with pytest.raises(AnsibleParserError, match="failed"):
        parse({**wanted, "strict": True})


def test_a_filter_can_fail_for_some_guests_only(parse, cluster, options):
    result = parse({**options, "want_facts": True, "filters": ["proxmox_ostype != 'win11'"]})
    assert "win" not in result.hosts
    assert "web" in result.hosts
    # These have no ostype: undecided, so left out.
    assert "db (103), noble (900)" in result.warned("left out")


def test_filters_before_facts(parse, cluster, options, calls):
    result = parse({**options, "want_post_filter_facts": True, "filters": ["proxmox_vmid == 101"]})
    assert result.hosts == ["web"]
    assert "proxmox_net0" in result.vars("web")
    assert len(calls()) == 3


# --- names, composed variables and groups ---


def test_hostnames(parse, cluster, options):
    wanted = [
        "proxmox_no_such_thing",
        "'' if proxmox_vmtype == 'lxc' else proxmox_name ~ '.lan'",
        "'ct' ~ proxmox_vmid",
    ]
    assert parse({**options, "hostnames": wanted}).hosts == ["ct201", "db.lan", "noble.lan", "web.lan", "win.lan"]
    with pytest.raises(AnsibleParserError, match="hostnames entry 'proxmox_no_such_thing' failed"):
        parse({**options, "hostnames": wanted, "strict": True})


def test_a_composed_address_wins_and_one_that_fails_does_not(parse, cluster, options):
    composed = {"ansible_host": "proxmox_ipconfig0.gw", "ansible_user": "'debian'"}
    result = parse({**options, "want_facts": True, "compose": composed})
    assert result.vars("web")["ansible_host"] == "192.0.2.254"
    assert result.vars("web")["proxmox_address_source"] == "compose"
    assert result.vars("web")["ansible_user"] == "debian"
    assert result.vars("dns")["ansible_host"] == "192.0.2.9"
    assert "dns (201)" in result.warned("compose of ansible_host failed")
    kept = parse({**options, "compose": {"ansible_host": "ansible_host | replace('192', '198')"}})
    assert kept.vars("web")["ansible_host"] == "198.0.2.1"
    with pytest.raises(AnsibleParserError, match="compose of ansible_host failed"):
        parse({**options, "want_facts": True, "compose": composed, "strict": True})


def test_keyed_groups_and_groups(parse, cluster, options):
    made = {
        "keyed_groups": [{"key": "proxmox_node", "prefix": "on"}],
        "groups": {"busy": "proxmox_lock != ''"},
        "compose": {"where": "proxmox_node | upper"},
    }
    result = parse({**options, **made})
    assert result.members("on_pve2") == ["db", "win"]
    assert result.members("busy") == ["db"]
    assert result.vars("db")["where"] == "PVE2"


# --- images ---


def day(age: int) -> str:
    """The date so many days ago, as in an image's name."""
    return (datetime.now(timezone.utc).date() - timedelta(days=age)).strftime("%Y%m%d")


@pytest.mark.parametrize(
    ("config", "image", "age"),
    [
        ({"tags": f"image-ubuntu-noble-{day(40)};terraform"}, "ubuntu-noble", 40),
        ({"tags": "image-debian-13"}, "debian-13", None),
        ({"description": f"Managed by Terraform\nimage: ubuntu-noble-{day(3)}\n"}, "ubuntu-noble", 3),
        ({"tags": f"image-a-{day(1)}", "description": "image: b"}, "a", 1),
        ({"tags": "image-noble-20261399"}, "noble-20261399", None),
        ({"tags": "image-", "description": "an image: of something"}, None, None),
        ({"description": "image: {{ lookup('pipe', 'id') }}"}, None, None),
    ],
)
def test_the_image_and_its_age(parse, pve, options, config, image, age):
    pve.add_vm(101, "web", status="running", config={**NET, **config})
    result = parse(options)
    assert result.vars("web").get("proxmox_image") == image
    assert result.vars("web").get("proxmox_image_age_days") == age
    groups = {group for group in result.groups("web") if group.startswith("proxmox_image_")}
    assert groups == ({f"proxmox_image_{image.replace('-', '_')}"} if image else set())


# --- text from the API is text ---

EVIL = "{{ lookup('pipe', 'touch OWNED') }} {% raw %} größe 漢字 \u202e"


def run(tmp_path, options: dict | str, *command: str) -> str:
    """Run an Ansible command on a configuration, or on the text of one."""
    path = tmp_path / "lab.proxmox.yml"
    text = options if isinstance(options, str) else yaml.safe_dump({"plugin": "homelab.patching.proxmox", **options})
    path.write_text(text)
    words = [str(CHECKOUT / ".venv/bin" / command[0]), "-i", str(path), *command[1:]]
    env = {key: value for key, value in os.environ.items() if not key.startswith("PROXMOX_")}
    env |= {"ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"), "ANSIBLE_CALLBACK_RESULT_FORMAT": "json"}
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, check=False, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("cached", [False, True])
def test_jinja_and_unicode_stay_text(pve, options, tmp_path, cached):
    config = {**NET, "description": EVIL, "tags": "größe;{{1+1}}", "name": "web"}
    pve.add_vm(101, EVIL, status="running", config=config, pool="p{{ 1 + 1 }}")
    options = {**options, "want_facts": True, "hostnames": ["'vm' ~ proxmox_vmid"]}
    options["compose"] = {"said": "proxmox_description"}
    if cached:
        options |= {"cache": True, "cache_plugin": "jsonfile", "cache_connection": str(tmp_path / "cache")}
        run(tmp_path, options, "ansible-inventory", "--list")
    names = ("description", "name", "pool", "tags", "tags_parsed")
    shown = "{{ {" + ", ".join(f"'{name}': proxmox_{name}" for name in names) + ", 'said': said} }}"
    found = run(tmp_path, options, "ansible", "vm101", "-c", "local", "-m", "debug", "-a", f"msg={shown}")
    assert not list(tmp_path.glob("**/OWNED"))
    said = json.loads(found.split("=>", 1)[1])["msg"]
    assert said["description"] == said["name"] == said["said"] == EVIL
    assert said["pool"] == "p{{ 1 + 1 }}"
    assert said["tags_parsed"] == ["größe", "{{1+1}}"]


def test_a_name_that_is_a_template_is_a_host_of_that_name(parse, pve, options):
    pve.add_vm(101, "{{ 1 + 1 }}", status="running", config=NET)
    result = parse(options)
    assert result.hosts == ["{{ 1 + 1 }}"]


# --- order ---


def test_the_same_cluster_gives_the_same_inventory_byte_for_byte(cluster, options, tmp_path):
    for vmid in range(300, 340):
        mac = f"BC:24:11:00:01:{vmid - 300:02X}"
        vm = cluster.add_vm(vmid, f"vm{vmid}", config={"net0": f"virtio={mac}", "agent": "1", "tags": "b;a"})
        vm.status, vm.agent = "running", {}
    options = {**options, "want_facts": True, "concurrency": 32}
    first = run(tmp_path, options, "ansible-inventory", "--list")
    cluster.vms.reverse()
    cluster.nodes = dict(reversed(cluster.nodes.items()))
    assert run(tmp_path, options, "ansible-inventory", "--list") == first
    assert len(json.loads(first)["_meta"]["hostvars"]) == 47


def test_a_secret_can_be_in_a_vault(pve, options, tmp_path):
    pve.add_vm(101, "web", status="running", config=NET)
    (tmp_path / "password").write_text("open sesame")
    vault = [str(CHECKOUT / ".venv/bin/ansible-vault"), "encrypt_string", "--vault-password-file", "password"]
    secret = subprocess.run(
        [*vault, options["token_secret"], "--name", "token_secret"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    rest = {key: value for key, value in options.items() if key != "token_secret"}
    text = yaml.safe_dump({"plugin": "homelab.patching.proxmox", **rest}) + secret.stdout
    found = run(tmp_path, text, "ansible-inventory", "--list", "--vault-password-file", "password")
    assert "web" in json.loads(found)["_meta"]["hostvars"]
