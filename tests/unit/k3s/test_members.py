"""The members of etcd, each with its node."""

from ansible_collections.homelab.patching.plugins.module_utils.k3s import members as etcd_members

from .clusters import NODES, SERVER, state


def test_members_find_their_node_by_name_then_by_address():
    listed = [
        {"ID": "1", "name": "s1-abcd", "peerURLs": ["https://10.9.9.9:2380"]},
        {
            "ID": "2",
            "name": "other",
            "peerURLs": ["https://198.18.0.2:2380"],
            "clientURLs": ["https://198.18.0.2:2379"],
        },
        {"ID": "3", "name": "", "peerURLs": ["https://[2001:db8::3]:2380"], "isLearner": True},
        {"ID": "4", "name": "gone-ffff", "peerURLs": ["https://198.18.0.99:2380"]},
    ]
    nodes = {**NODES, "s3": state(3, SERVER, addresses=["2001:DB8:0::3"])}
    found = etcd_members.members(listed, nodes)
    assert [member["node"] for member in found] == ["S1.lab.example", "s2", "s3", None]
    assert [member["learner"] for member in found] == [False, False, True, False]
    assert found[2]["address"] == "2001:db8::3"
