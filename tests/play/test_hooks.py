"""Action run_plan refuses files of tasks that could not be included in the middle of a roll: one run of Ansible."""

import json

import pytest

from tests.support import ansible

PLAYBOOK = """\
- hosts: localhost
  gather_facts: false
  vars: {__patching_guarded: true}
  tasks:
    - homelab.patching.run_plan:
        hosts: ["{{ item }}"]
      loop: "{{ groups.all }}"
      register: planned
      ignore_errors: true
    - ansible.builtin.copy:
        content: "{{ planned.results | map(attribute='msg') | to_json }}"
        dest: "{{ said }}"
"""
WRONG = [
    ("- name: Stop it\n  no.such.module:\n", "no.such.module"),
    ("- block:\n    - nonsense: 1\n      debug:\n", "nonsense"),
    ("- block: [{rescue_me: 1}]\n", "rescue_me"),
    ("hosts: all\n", "is no list of tasks"),
    ("- just text\n", "is no task"),
    ("- a: [\n", "Name a file of tasks"),
]


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """What is said of each of the wrong files; they are in turn those for before and for after."""
    folder = tmp_path_factory.mktemp("hooks")
    hosts = {}
    for number, (tasks, _says) in enumerate(WRONG):
        policy = {("before", "after")[number % 2]: str(folder / f"{number}.yml")}
        hosts[f"db{number}"] = {"patch_assess_result": {"policy": policy}}
        (folder / f"{number}.yml").write_text(tasks)
    (folder / "play.yml").write_text(PLAYBOOK)
    (folder / "hosts.json").write_text(json.dumps({"all": {"hosts": hosts}}))
    extra = json.dumps({"said": str(folder / "said")})
    done = ansible("ansible-playbook", "-i", folder / "hosts.json", folder / "play.yml", "-e", extra)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((folder / "said").read_text())


@pytest.mark.parametrize(("number", "says"), [(number, says) for number, (_tasks, says) in enumerate(WRONG)])
def test_tasks_of_the_user_that_could_not_be_included(said, number, says):
    assert f"patching_{('before', 'after')[number % 2]} of db{number}" in said[number]
    assert f"{number}.yml" in said[number]
    assert says in said[number]
