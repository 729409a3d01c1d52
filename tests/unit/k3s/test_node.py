"""A node as the API tells of it, and whether it is whole again."""

import pytest
from ansible_collections.homelab.patching.plugins.module_utils.k3s.node import node_gate, node_state

from .clusters import one_problem, state


def test_a_node_object_in_the_words_of_this_collection():
    node = {
        "metadata": {
            "name": "s1",
            "labels": {"node-role.kubernetes.io/etcd": "true", "kubernetes.io/hostname": "s1"},
            "annotations": {
                "homelab-patching/run": "r",
                "homelab-patching/phase": "drain",
                "homelab-patching/boot-id": "b",
                "etcd.k3s.cattle.io/node-name": "s1-abcd",
            },
        },
        "spec": {"unschedulable": True},
        "status": {
            "conditions": [{"type": "Ready", "status": "Unknown"}, {"type": "EtcdIsVoter", "status": "True"}],
            "nodeInfo": {"bootID": "b", "machineID": "m", "kubeletVersion": "v1"},
            "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}, {"type": "Hostname", "address": "s1"}],
        },
    }
    assert node_state(node) == {
        "ready": False,
        "unschedulable": True,
        "boot_id": "b",
        "machine_id": "m",
        "version": "v1",
        "addresses": ["10.0.0.1"],
        "roles": ["etcd"],
        "hold": False,
        "mark": {"run": "r", "phase": "drain", "boot_id": "b"},
        "member": "s1-abcd",
        "voter": True,
    }


def test_a_bare_node_of_an_old_release():
    found = node_state({"metadata": {"name": "a"}})
    assert (found["ready"], found["mark"], found["voter"], found["boot_id"]) == (False, None, None, "")


DAEMONS = {"default/lb": {"ready": True, "containers": ["new"]}}


@pytest.mark.parametrize(
    ("now", "boot", "daemons", "says"),
    [
        (None, "boot-4", DAEMONS, "the API does not know the node"),
        (state(4, boot_id="old"), "boot-4", DAEMONS, "still shows the boot from before"),
        (state(4, boot_id="third"), "boot-4", DAEMONS, "shows another boot than the host"),
        (state(4, ready=False), "boot-4", DAEMONS, "the node is not Ready"),
        (state(4), "boot-4", {"default/lb": {"ready": False, "containers": ["new"]}}, "default/lb is not ready"),
        (state(4), "boot-4", {"default/lb": {"ready": True, "containers": ["was"]}}, "is from before the reboot"),
    ],
)
def test_a_node_is_not_whole_yet(now, boot, daemons, says):
    assert says in one_problem(node_gate(now, boot, "old", {"default/lb": ["was"]}, daemons))


@pytest.mark.parametrize("before", [{"default/lb": ["was"]}, {}, {"default/deleted": ["was"]}])
def test_a_node_is_whole(before):
    assert node_gate(state(4), "boot-4", "old", before, DAEMONS) == []


def test_without_a_reboot_the_containers_may_be_the_same():
    assert node_gate(state(4), "boot-4", "", {"default/lb": ["new"]}, DAEMONS) == []
