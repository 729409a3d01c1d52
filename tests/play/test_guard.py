"""What must not get into a run is refused before any host is touched: ansible-playbook without machines."""

import stat

import pytest

from tests.support import ansible, play


@pytest.fixture
def inventory(tmp_path):
    """Three hosts whose ssh writes down that it was called."""
    ssh = tmp_path / "ssh"
    ssh.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/touched\nexit 255\n')
    ssh.chmod(ssh.stat().st_mode | stat.S_IXUSR)
    hosts = tmp_path / "hosts.yml"
    hosts.write_text(
        "proxmox_patchable:\n  vars:\n"
        f"    ansible_ssh_executable: {ssh}\n    ansible_host: 198.18.255.254\n"
        "  hosts:\n    web1:\n    web2:\n    db1:\n"
    )
    return hosts


def touched(inventory):
    return (inventory.parent / "touched").exists()


# Which are refused: tests/unit/run/test_guard.py. Here: each of them reaches the decision, and each playbook has it.
@pytest.mark.parametrize(
    ("playbook", "arguments", "says"),
    [
        ("patch", ["--limit", "web1"], "-e 'patching_hosts=web1'"),
        ("patch", ["--tags", "upgrade"], "--tags and --skip-tags would cut safety steps"),
        ("patch", ["--skip-tags", "reboot"], "--tags and --skip-tags would cut safety steps"),
        ("patch", ["-e", "patching_hosts=web9"], "No host matches web9"),
        ("patch", ["-e", "patching_exclude_package=kernel"], "Did you mean patching_exclude_packages?"),
        ("reboot", ["--limit", "web1"], "-e 'patching_hosts=web1'"),
    ],
)
def test_refused_before_a_host_is_touched(inventory, playbook, arguments, says):
    played = play(playbook, *arguments, inventory=[inventory], reports=inventory.parent / "reports")
    assert says in played.output
    assert played.status != 0
    assert not touched(inventory)


@pytest.mark.parametrize(
    "task", ["Decide who is patched, and in which order", "Name the hosts of the plan*", "Add everything up"]
)
def test_start_at_task_does_not_get_past_the_guard(inventory, task):
    played = play("patch", "--start-at-task", task, inventory=[inventory], reports=inventory.parent / "reports")
    assert played.status != 0
    assert "from its beginning" in played.output or "--start-at-task" in played.output
    assert not touched(inventory)


def test_patching_hosts_is_for_the_command_line(inventory):
    inventory.write_text(inventory.read_text().replace("vars:\n", "vars:\n    patching_hosts: web1\n"))
    played = play("patch", inventory=[inventory], reports=inventory.parent / "reports")
    assert played.status != 0
    assert "-e 'patching_hosts=...'" in played.output
    assert not touched(inventory)
    play("assess", "-e", "patching_hosts=web1", inventory=[inventory])
    assert touched(inventory)


def test_tasks_of_the_user_are_looked_at_before_anything_is_done(inventory, tmp_path):
    """Which are wrong, and what is said of them: test_hooks.py."""
    before = tmp_path / "before.yml"
    before.write_text("- name: Stop it\n  no.such.module:\n")
    played = play("patch", "-e", f"patching_before={before}", inventory=[inventory], reports=tmp_path / "reports")
    assert played.status != 0
    assert "patching_before of db1" in played.output and "no.such.module" in played.output
    assert "Traceback" not in played.output
    assert played.report is None or not played.report["hosts"]


def test_an_empty_inventory_is_no_success(tmp_path):
    hosts = tmp_path / "hosts.yml"
    hosts.write_text("proxmox_patchable:\n  hosts: {}\n")
    played = play("patch", inventory=[hosts], reports=tmp_path / "reports")
    assert played.status != 0
    assert "No host matches proxmox_patchable" in played.output


@pytest.mark.parametrize("order", [1, -1])
def test_an_unreadable_inventory_beside_a_good_one(inventory, order):
    broken = inventory.parent / "broken.proxmox.yml"
    broken.write_text(
        "plugin: homelab.patching.proxmox\nurl: https://127.0.0.1:9\nuser: a@pve\ntoken_id: b\ntoken_secret: c\n"
        "validate_certs: false\n"
    )
    played = play("patch", inventory=[inventory, broken][::order], reports=inventory.parent / "reports")
    assert played.status != 0
    assert "The inventory is not whole" in played.output
    assert "broken.proxmox.yml" in played.output
    assert not touched(inventory)


def test_a_wrong_policy_is_refused_in_one_line(inventory):
    """Which are wrong, and what is said of them: tests/unit/run/test_policy.py."""
    played = play("patch", "-e", "patching_wave_size=0", inventory=[inventory], reports=inventory.parent / "reports")
    assert played.status != 0
    assert "patching_wave_size is '0' on db1. Use a whole number of at least 1." in played.output


def test_two_runs_in_one_process_are_refused(inventory, tmp_path):
    # A run that fails is the last one anyhow.
    inventory.write_text(inventory.read_text().replace("vars:\n", "vars:\n    proxmox_status: stopped\n"))
    twice = tmp_path / "twice.yml"
    twice.write_text("- import_playbook: homelab.patching.patch\n" * 2)
    told = ansible("ansible-playbook", "-i", inventory, "-e", f"patching_report_dir={tmp_path}/reports", twice)
    assert told.returncode != 0
    assert "Two runs in one playbook" in told.stdout + told.stderr
    assert len(list((tmp_path / "reports").glob("*.json"))) == 1


def test_unreachable_hosts_are_refused_and_the_report_is_kept(inventory):
    reports = inventory.parent / "reports"
    played = play("patch", inventory=[inventory], reports=reports)
    assert played.status == 2
    assert {host: entry["result"] for host, entry in played.report["hosts"].items()} == dict.fromkeys(
        ("db1", "web1", "web2"), "refused"
    )
