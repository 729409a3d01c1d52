"""The filter `plan` refuses files of tasks that could not be included in the middle of a roll: one run of Ansible."""

import json

import pytest

from tests.support import ansible

PLAYBOOK = """\
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.debug:
        msg: "{{ {'db1': {'policy': {item.when: item.path}}} | homelab.patching.plan }}"
      loop: "{{ files }}"
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
    files = []
    for number, (tasks, _says) in enumerate(WRONG):
        files.append({"when": ("before", "after")[number % 2], "path": str(folder / f"{number}.yml")})
        (folder / f"{number}.yml").write_text(tasks)
    (folder / "play.yml").write_text(PLAYBOOK)
    given = json.dumps({"files": files, "said": str(folder / "said")})
    done = ansible("ansible-playbook", folder / "play.yml", "-e", given)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((folder / "said").read_text())


@pytest.mark.parametrize(("number", "says"), [(number, says) for number, (_tasks, says) in enumerate(WRONG)])
def test_tasks_of_the_user_that_could_not_be_included(said, number, says):
    assert f"patching_{('before', 'after')[number % 2]} of db1" in said[number]
    assert f"{number}.yml" in said[number]
    assert says in said[number]
