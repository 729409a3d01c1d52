"""Which hosts are a cluster, in which order, and why it cannot be worked on."""

import re

import pytest
from ansible_collections.homelab.patching.plugins.module_utils.core.problem import problem
from ansible_collections.homelab.patching.plugins.module_utils.k3s.topology import topology

from .clusters import CLUSTER, HOSTS, NODES, SERVER, facts, health, of, one_problem, state


def test_the_shape_of_a_cluster():
    cluster = of()
    assert cluster == {
        "id": CLUSTER,
        "name": "a" * 12,
        "datastore": "etcd",
        "servers": ["one", "three", "two"],
        "agents": ["five", "four"],
        "delegate": "two",
        "order": ["five", "four", "one", "three", "two"],
        "nodes": {"one": "S1.lab.example", "two": "s2", "three": "s3", "four": "a4", "five": "a5"},
        "foreign": [],
        "lone": False,
        "problems": [],
    }


def test_a_server_that_does_not_answer_is_not_the_delegate():
    assert of(one=health(), two=None)["delegate"] == "one"


def test_two_clusters_are_two():
    hosts = {"one": facts("server", 1), "other": facts("server", 9, cluster="b" * 64)}
    found = topology(hosts, {"one": health(nodes={"s1": state(1, SERVER)})})
    assert found["of"] == {"one": CLUSTER, "other": "b" * 64}
    assert [cluster["lone"] for cluster in found["clusters"].values()] == [True, True]


def test_hosts_without_k3s_are_no_cluster():
    assert topology({"web": None}, {}) == {"clusters": {}, "of": {}}


def test_a_node_that_no_host_is_stands_out():
    hosts = {name: told for name, told in HOSTS.items() if name != "five"}
    assert of(hosts, one=health())["foreign"] == ["a5"]


def test_clones_that_share_a_machine_id_are_told_apart_by_address():
    nodes = {**NODES, "a4": state(4, machine_id="same"), "a5": state(5, machine_id="same")}
    hosts = {
        **HOSTS,
        "four": facts("agent", 4, machine_id="same"),
        "five": facts("agent", 5, machine_id="same", addresses=["fe80::1", "198.18.0.5"]),
    }
    cluster = of(hosts, one=health(nodes=nodes))
    assert (cluster["nodes"]["four"], cluster["nodes"]["five"]) == ("a4", "a5")


@pytest.mark.parametrize(
    ("hosts", "healths", "says"),
    [
        ({"four": facts("agent", 4)}, {}, "no server of the cluster of four is among the hosts"),
        (HOSTS, {"one": None}, "the API answers on none of one, three, two"),
        ({**HOSTS, "three": facts("server", 3, datastore="sqlite")}, {"one": health()}, "do not agree.*etcd, sqlite"),
        ({**HOSTS, "six": facts("agent", 6)}, {"one": health()}, "six has K3s and is no node of its cluster"),
        (
            {**HOSTS, "one": facts("server", 1, split=["disable-etcd"])},
            {"two": health()},
            "one is a server with disable-",
        ),
        (
            HOSTS,
            {"one": health(nodes={**NODES, "s3": state(3, ["control-plane"])})},
            "node s3 is a server without etcd",
        ),
        (HOSTS, {"one": health(nodes={**NODES, "s3": state(3, ["etcd"])})}, "node s3 is a server without the API"),
        (HOSTS, {"one": health(nodes={**NODES, "s7": state(7, ["etcd"])})}, "node s7 is a server without the API"),
        (
            {**HOSTS, "five": facts("agent", 5, problems=[problem("odd", "mend it")])},
            {"one": health()},
            "odd",
        ),
    ],
)
def test_why_a_cluster_cannot_be_worked_on(hosts, healths, says):
    assert re.search(says, one_problem(of(hosts, **healths)["problems"]))


def test_sqlite_needs_no_etcd_role():
    hosts = {"one": facts("server", 1, datastore="sqlite"), "four": facts("agent", 4)}
    nodes = {"s1": state(1, ["control-plane", "master"]), "a4": state(4)}
    cluster = of(hosts, one=health(nodes=nodes, etcd=None))
    assert (cluster["datastore"], cluster["problems"]) == ("sqlite", [])
