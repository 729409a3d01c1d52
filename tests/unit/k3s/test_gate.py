"""May a node go now? Tables of cases."""

import re

import pytest
from ansible_collections.homelab.patching.plugins.module_utils.k3s import gate

from .clusters import HOSTS, NODES, etcd, facts, health, of, one_problem, state


@pytest.mark.parametrize(
    ("members", "ok", "outage"),
    [
        (None, False, False),
        (etcd(1, 2, 3), True, False),
        (etcd(1, 3), False, False),  # Its pods would not leave it.
        (etcd(1, 2), False, False),
        (etcd(2, 3), False, False),
        (etcd(2), False, False),
        (etcd(1, 2, 3, 4, size=4), True, False),  # 3 of 4 remain, and 3 are needed.
        (etcd(1, 2, 3, size=4), False, False),
        # A member whose Node is gone stops every server, whether it answers or not.
        (etcd(1, 2, 3, 4, size=4, gone=[4]), False, False),
        (etcd(1, 2, 3, 4, size=5, gone=[5]), False, False),
        (etcd(1, 2, 3, 4, size=5), True, False),
        (etcd(1, 2, 3, size=5), False, False),
        (etcd(2, size=1), False, False),
        (etcd(1, 2, size=2), True, True),
        (etcd(2, size=2), False, True),
        (etcd(1, 2, 3, learner=[3]), False, False),
        (etcd(1, 2, 3, learner=[2]), False, False),
    ],
)
def test_quorum_without_the_second_server(members, ok, outage):
    found = gate.quorum(members, "s2")
    assert (not found["problems"], found["outage"]) == (ok, outage)


def test_quorum_of_a_single_member():
    assert gate.quorum(etcd(1, size=1), "S1.lab.example") == {"outage": True, "problems": []}


def test_the_outage_of_servers_without_etcd():
    hosts = {"one": facts("server", 1, datastore="sqlite"), "four": facts("agent", 4)}
    nodes = {"s1": state(1, ["control-plane"]), "a4": state(4)}
    cluster = of(hosts, one=health(nodes=nodes, etcd=None))
    assert gate.outage(cluster, health(nodes=nodes, etcd=None), "s1")
    assert not gate.outage(cluster, health(nodes=nodes, etcd=None), "a4")


REST = {"upgrade": False, "daily_run": False, "shutdown": None, "stopping": False, "clock": 1.0, "boot_id": "b"}
AT_REST = {name: REST for name in HOSTS if name != "web"}
MARK = {"run": "mine", "phase": "drain", "boot_id": "boot-4"}


def nodes_with(name, **more):
    return health(nodes={**NODES, name: {**NODES[name], **more}})


KURED = {"namespace": "kube-system", "name": "kured", "held": False}


@pytest.mark.parametrize(
    ("told", "more"),
    [
        (health(), {}),
        (nodes_with("a4", mark=MARK), {"runs": ["mine"]}),
        (nodes_with("a4", mark=MARK, ready=False), {"runs": ["mine"]}),  # It is what is to be recovered.
        (nodes_with("a5", unschedulable=True), {}),  # An admin's cordon is his business.
        (health(kured=KURED), {"kured": "ignore"}),
        (health(kured={**KURED, "held": True}), {}),
        (health(longhorn={"longhorn-system/v": "healthy"}), {}),
        (health(longhorn={"longhorn-system/v": "degraded"}), {"drained": True}),
        (health(etcd=None), {}),  # An agent takes no member along.
        (health(etcd=etcd(1, 2)), {}),
    ],
)
def test_an_agent_may_go(told, more):
    assert gate.gate("a4", of(), told, AT_REST, **more) == []


@pytest.mark.parametrize(
    ("told", "hosts", "says"),
    [
        (None, AT_REST, "the API of the cluster does not answer"),
        (nodes_with("s2", ready=False), AT_REST, "node s2 is not Ready"),
        (nodes_with("a4", ready=False), AT_REST, "node a4 is not Ready"),  # Its pods would not leave it.
        (nodes_with("a5", mark=MARK), AT_REST, "node a5 is still marked by run mine"),
        (nodes_with("a4", mark={**MARK, "run": "dead"}), AT_REST, "node a4 is still marked by run dead"),
        (health(kured=KURED), AT_REST, "kured is in the cluster"),
        (health(plans=["system-upgrade/server"]), AT_REST, "applies system-upgrade/server"),
        (health(longhorn={"longhorn-system/v": "degraded"}), AT_REST, r"longhorn-system/v \(degraded\)"),
        (health(), {**AT_REST, "five": None}, "five does not say whether it is at rest"),
        (health(), {name: REST for name in AT_REST if name != "two"}, "two does not say"),
        (health(), {**AT_REST, "five": {**REST, "upgrade": True}}, "an upgrade is at work on five"),
        (health(), {**AT_REST, "five": {**REST, "daily_run": True}}, "the daily update is at work on five"),
        (health(), {**AT_REST, "four": {**REST, "shutdown": "reboot"}}, "a reboot is scheduled on four"),
    ],
)
def test_an_agent_must_not_go(told, hosts, says):
    assert re.search(says, one_problem(gate.gate("a4", of(), told, hosts, runs=["mine"])))


def test_a_foreign_node_refuses_unless_it_is_announced():
    cluster = of({name: told for name, told in HOSTS.items() if name != "five"}, one=health())
    assert "nobody keeps other work off a5" in one_problem(gate.gate("a4", cluster, health(), AT_REST))
    assert gate.gate("a4", cluster, health(), AT_REST, foreign="announce") == []


def test_a_server_needs_the_quorum_that_an_agent_does_not():
    assert "needs 2" in one_problem(gate.gate("s3", of(), health(etcd=etcd(1, 3)), AT_REST))
    assert "unknown" in one_problem(gate.gate("s3", of(), health(etcd=None), AT_REST))
    assert gate.gate("s3", of(), health(), AT_REST) == []


def test_an_outage_of_the_api_can_be_refused():
    hosts = {"one": facts("server", 1, datastore="sqlite"), "four": facts("agent", 4)}
    told = health(nodes={"s1": state(1, ["control-plane"]), "a4": state(4)}, etcd=None)
    cluster = of(hosts, one=told)
    assert gate.gate("s1", cluster, told, AT_REST) == []
    found = gate.gate("s1", cluster, told, AT_REST, api_outage="refuse")
    assert "the API would be away while s1 reboots" in one_problem(found)
    assert gate.gate("a4", cluster, told, AT_REST, api_outage="refuse") == []


def test_without_etcd_another_server_has_to_be_ready():
    hosts = {name: facts("server", number, datastore="external") for name, number in (("one", 1), ("two", 2))}
    api = ["control-plane"]
    told = health(nodes={"s1": state(1, api), "s2": state(2, api)}, etcd=None)
    cluster = of(hosts, one=told)
    assert gate.gate("s1", cluster, told, AT_REST, api_outage="refuse") == []
    sick = health(nodes={"s1": state(1, api), "s2": state(2, api, ready=False)}, etcd=None)
    says = [each["cause"] for each in gate.gate("s1", cluster, sick, AT_REST)]
    assert says == ["node s2 is not Ready", "no other server is Ready"]
