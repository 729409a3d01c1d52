"""The roll in Ansible itself, with hosts that are this machine and a transaction that only leaves a mark."""

import json

import pytest

from tests.bench.plan import assessment
from tests.support import CHECKOUT, ansible

RECORD = {
    **{"step": "upgrade", "reason": "", "failures": [], "seconds": {}, "installed": [], "log": [], "boot_id": ""},
    **{"kernel": None, "marks": [{"step": "claim", "at": 1}, {"step": "", "at": 2}]},
}
PREPARE = """\
- ansible.builtin.set_fact:
    patch_host_refusal: {cause: it cannot be claimed, remedy: "", commands: []}
  when: inventory_hostname == 'two'
"""
TRANSACTION = """\
- ansible.builtin.file:
    path: "{{ marks }}/{{ inventory_hostname }}"
    state: touch
- ansible.builtin.set_fact:
    patch_host_result: "{{ records[inventory_hostname] | default(records.default) }}"
"""
PLAYBOOK = """\
- hosts: localhost
  gather_facts: false
  vars: {__patching_guarded: true, patch_plan_pattern: all}
  roles: [homelab.patching.patch_plan]
- import_playbook: homelab.patching.roll
"""


@pytest.fixture
def roll(tmp_path):
    """Roll over five hosts, two at a time, of which `two` cannot be claimed; who was worked on, and what was told."""
    collection = tmp_path / "ansible_collections" / "homelab" / "patching"
    tasks = collection / "roles" / "patch_host" / "tasks"
    tasks.mkdir(parents=True)
    for name in ("galaxy.yml", "meta", "playbooks", "plugins", "roles/patch_plan", "roles/patch_report"):
        (collection / name).symlink_to(CHECKOUT / name)
    for name, text in (("prepare", PREPARE), ("main", TRANSACTION), ("release", "[]\n")):
        (tasks / f"{name}.yml").write_text(text)
    hosts = {name: assessment(number) for number, name in enumerate(("one", "two", "three", "four", "five"))}
    for number, each in enumerate(hosts.values()):
        each["policy"] |= {"wave_size": 2, "ring": number, "apart": []} if number > 2 else {"wave_size": 2, "ring": 0}
    listed = {
        name: {"patch_assess_result": each, "ansible_connection": "local", "ansible_become": False}
        for name, each in hosts.items()
    }
    (tmp_path / "hosts.json").write_text(json.dumps({"all": {"hosts": listed}}))
    (tmp_path / "play.yml").write_text(PLAYBOOK)
    (tmp_path / "marks").mkdir()

    def rolled(**records):
        given = {"default": {**RECORD, "result": "patched"}, **records}
        extra = {"records": given, "marks": str(tmp_path / "marks"), "patching_report_dir": str(tmp_path / "reports")}
        words = ["-i", tmp_path / "hosts.json", "-e", json.dumps(extra), tmp_path / "play.yml"]
        done = ansible("ansible-playbook", *words, env={"ANSIBLE_COLLECTIONS_PATH": str(tmp_path)})
        assert done.returncode != 0, "one host is refused"
        assert "Traceback" not in done.stdout + done.stderr
        return {path.name for path in (tmp_path / "marks").iterdir()}, done.stdout

    return rolled


def test_every_wave_opens_after_the_one_before_it(roll):
    worked, told = roll()
    assert worked == {"one", "three", "four", "five"}
    assert "4 patched, 1 refused" in told


def test_no_wave_opens_after_a_failure(roll):
    worked, told = roll(one={**RECORD, "result": "failed"})
    assert worked == {"one", "three"}
    assert "the roll stopped after one" in told


def test_no_wave_opens_where_the_conductor_cannot_say_so(roll):
    worked, _told = roll(one="no record at all")
    assert worked == {"one", "three"}
