"""What a dead run left on a node, and nodes that are gone for good."""

import pytest
from ansible_collections.homelab.patching.plugins.module_utils.core import problem as problems
from ansible_collections.homelab.patching.plugins.module_utils.k3s import recovery

from .clusters import HOSTS, NODES, health, state

REBOOT = {"run": "dead", "phase": "reboot", "boot_id": "old"}


@pytest.mark.parametrize(
    ("mark", "boot", "stopping", "wanted", "do"),
    [
        (None, "old", False, True, "nothing"),
        (REBOOT, None, False, True, "stop"),
        (REBOOT, "new", False, True, "prove"),
        (REBOOT, "old", True, True, "wait"),
        (REBOOT, "old", False, True, "reboot"),
        (REBOOT, "old", False, False, "give back"),
        ({**REBOOT, "phase": "drain"}, "old", False, True, "give back"),
        ({**REBOOT, "phase": "drain"}, "new", False, True, "prove"),
    ],
)
def test_what_to_do_with_what_a_dead_run_left(mark, boot, stopping, wanted, do):
    assert recovery.recover(state(4, mark=mark), boot, stopping, wanted)["do"] == do


def test_no_answer_is_not_no_mark():
    assert recovery.recover(None, "old", False, True)["do"] == "stop"


def told(name, cluster=None):
    return {"k3s": HOSTS[name], "cluster": cluster}


@pytest.mark.parametrize(
    ("node", "hosts", "says"),
    [
        ("a9", {"one": told("one", health())}, "no server that answers knows a node a9"),
        ("a4", {"one": told("one", health())}, "node a4 is not gone: it is Ready"),
        ("a5", {"one": told("one", None)}, "no server that answers knows a node a5"),
        ("a5", {"one": told("one", health()), "five": told("five")}, "node a5 is not gone: its host five answers"),
        ("a5", {"one": told("one", health()), "five": {"k3s": None, "cluster": None}}, ""),
    ],
)
def test_only_a_node_that_is_gone_is_forgotten(node, hosts, says):
    nodes = {**NODES, "a5": {**NODES["a5"], "ready": False}}
    for each in hosts.values():
        each["cluster"] = each["cluster"] and {**each["cluster"], "nodes": nodes}
    found = recovery.forgettable([node], hosts)
    assert says in problems.told(found["problems"])
    if not says:
        assert found == {"servers": {"a5": "one"}, "problems": []}
