"""Who is to forget a node that is gone for good, and under which claim: action k3s_gone, from made-up answers."""

import json

import pytest

from tests.support import ansible

PLAYBOOK = """\
- hosts: localhost
  gather_facts: false
  tasks:
    - homelab.patching.k3s_gone:
        nodes: "{{ nodes }}"
        hosts: "{{ hosts }}"
        clusters: "{{ clusters }}"
      register: gone
    - ansible.builtin.copy:
        content: "{{ gone | to_json }}"
        dest: "{{ result }}"
        mode: "0600"
"""
NODES = {
    "s1": {"ready": True, "machine_id": "m1", "mark": None},
    "a5": {"ready": False, "machine_id": "m5", "mark": None},
}


@pytest.fixture
def gone(tmp_path):
    """Run the action; what it returned, or what the playbook printed."""

    def gone(nodes, claim=None, **hosts):
        result = tmp_path / "result.json"
        (tmp_path / "gone.yml").write_text(PLAYBOOK)
        answers = {"server1": {"host": {"k3s": {"machine_id": "m1"}, "claim": claim}}, "away": {"unreachable": True}}
        given = {
            "nodes": nodes,
            "hosts": answers | hosts,
            "clusters": {"server1": {"cluster": {"nodes": NODES}}, "away": None},
            "result": str(result),
        }
        done = ansible(
            "ansible-playbook", tmp_path / "gone.yml", "-i", "localhost,", "-c", "local", "-e", json.dumps(given)
        )
        assert "Traceback" not in done.stdout + done.stderr
        return json.loads(result.read_text()) if done.returncode == 0 else " ".join(done.stdout.split())

    return gone


@pytest.mark.parametrize("nodes", ["a5,", ["a5"]])
def test_a_node_that_is_gone_has_a_server_that_forgets_it(gone, nodes):
    found = gone(nodes)
    assert (found["servers"], found["dead"], found["changed"]) == ({"a5": "server1"}, [], False)
    assert found["run"] and found["owner"]["pid"]


def test_the_claim_of_a_process_that_has_ended_is_no_obstacle(gone):
    owner = gone("a5")["owner"]
    assert gone("a5", claim={"run": "dead", "owner": owner})["dead"] == ["dead"]
    elsewhere = {**owner, "boot_id": "of another machine", "machine": "another"}
    assert gone("a5", claim={"run": "away", "owner": elsewhere})["dead"] == []


def test_a_node_that_is_not_gone_is_said(gone):
    assert "node s1 is not gone: it is Ready" in gone("s1")
    assert "node a5 is not gone: its host five answers" in gone("a5", five={"host": {"k3s": {"machine_id": "m5"}}})
    assert "no server that answers knows a node a9" in gone("a9")
