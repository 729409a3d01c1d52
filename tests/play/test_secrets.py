"""A token is in nothing that a run shows or leaves behind, however much it is asked to tell."""

import pytest
import yaml

from tests.support import play

SECRET = "7b0e8c1d-not-to-be-seen"


@pytest.fixture
def run(fakepve, fakepve_cafile, tmp_path):
    """assess.yml with -vvvv, its log and report; the token of the inventory is the one that is given."""
    fakepve.apitokens["ansible@pve!inventory"] = SECRET
    config = {"net0": "virtio=BC:24:11:00:00:01", "ipconfig0": "ip=198.18.255.100/15"}
    fakepve.add_vm(100, "web1", status="running", config=config)
    ssh = tmp_path / "ssh"
    ssh.write_text("#!/bin/sh\nexit 255\n")
    ssh.chmod(0o755)

    def assess(secret, **more):
        source = tmp_path / "lab.proxmox.yml"
        options = {
            "plugin": "homelab.patching.proxmox", "url": fakepve.url, "ca_path": fakepve_cafile, "retries": 0,
            "user": "ansible@pve", "token_id": "inventory", "token_secret": secret,
            "cache": True, "cache_plugin": "jsonfile", "cache_connection": str(tmp_path / "left" / "cache"),
            "compose": {"ansible_ssh_executable": f"'{ssh}'"}, **more,
        }  # fmt: skip
        source.write_text(yaml.safe_dump(options))
        env = {"ANSIBLE_SSH_RETRIES": "0", "ANSIBLE_LOG_PATH": str(tmp_path / "left" / "ansible.log")}
        (tmp_path / "left").mkdir(exist_ok=True)
        played = play("assess", "-vvvv", inventory=[source], env=env, reports=tmp_path / "left" / "reports")
        files = [path for path in (tmp_path / "left").rglob("*") if path.is_file()]
        assert tmp_path / "left" / "ansible.log" in files
        return played, played.output + "".join(path.read_text() for path in files)

    return assess


def test_a_run_shows_no_token_nor_one_whose_guests_cannot_be_asked(run, fakepve):
    _, seen = run(SECRET)
    assert "Plan of run" in seen and "web1" in seen
    assert SECRET not in seen
    # From its cache, the inventory knows them.
    fakepve.fail("GET", "/cluster/resources", 503, "down")
    _, seen = run(SECRET)
    assert "503" in seen
    assert SECRET not in seen


def test_a_refused_token_is_not_shown(run):
    played, seen = run(f"{SECRET}-wrong")
    assert played.status != 0
    assert "the login was refused" in seen
    assert SECRET not in seen
