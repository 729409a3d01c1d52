"""A run asks Proxmox VE itself which guests are off or locked; an inventory cache says what was so yesterday."""

import pytest
import yaml

from tests.support import play

TOKEN = {"user": "ansible@pve", "token_id": "inventory", "token_secret": "s3cret"}


@pytest.fixture
def cached(fakepve, fakepve_cafile, tmp_path):
    """An inventory of three guests that are on and free, in a cache that is warm; nobody is at their addresses."""
    fakepve.apitokens[f"{TOKEN['user']}!{TOKEN['token_id']}"] = TOKEN["token_secret"]
    for vmid, name in ((100, "web1"), (101, "db1"), (102, "app1")):
        config = {"net0": f"virtio=BC:24:11:00:00:{vmid - 100:02}", "ipconfig0": f"ip=198.18.255.{vmid}/15"}
        fakepve.add_vm(vmid, name, status="running", config=config)
    ssh = tmp_path / "ssh"
    ssh.write_text("#!/bin/sh\nexit 255\n")
    ssh.chmod(0o755)
    path = tmp_path / "lab.proxmox.yml"
    options = {
        "plugin": "homelab.patching.proxmox", "url": fakepve.url, "ca_path": fakepve_cafile, "retries": 0, **TOKEN,
        "cache": True, "cache_plugin": "jsonfile", "cache_connection": str(tmp_path / "cache"),
        "compose": {"ansible_ssh_executable": f"'{ssh}'"},
    }  # fmt: skip
    path.write_text(yaml.safe_dump(options))
    assert "unreachable" in row(assess(path), "web1")
    return path


def assess(path):
    played = play("assess", inventory=[path], env={"ANSIBLE_SSH_RETRIES": "0"})
    assert "Traceback" not in played.output
    return played.output


def guest(fakepve, vmid):
    return next(vm for vm in fakepve.vms if int(vm.vmid) == vmid)


def row(output, host):
    """What the plan's table says of a host."""
    table = output.partition("Plan of run")[2].partition("PLAY RECAP")[0]
    return " ".join(table.partition(f" {host} ")[2].partition("\n-  ")[0].split())


def test_what_proxmox_says_now_counts(cached, fakepve):
    guest(fakepve, 100).lock = "backup"
    guest(fakepve, 101).status = "stopped"
    fakepve.vms.remove(guest(fakepve, 102))
    output = assess(cached)
    assert "locked by Proxmox VE (backup)" in row(output, "web1")
    assert "powered off" in row(output, "db1")
    assert "Proxmox VE has no guest 102 any more" in row(output, "app1")
    # No answer is not taken for a good one.
    fakepve.fail("GET", "/cluster/resources", 503, "down")
    told = row(assess(cached), "web1")
    assert "it is not known whether it is off or locked" in told
    assert "503" in told
