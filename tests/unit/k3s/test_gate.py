"""K3s: topology, quorum, gates, settling, and what a dead run left."""

import re
from datetime import datetime, timezone

import pytest
from ansible_collections.homelab.patching.plugins.module_utils.k3s import gate

CLUSTER = "a" * 64


def facts(role, number, cluster=CLUSTER, **more):
    """What a host says of itself; node names differ from the hosts' on purpose."""
    return {
        "role": role,
        "unit": "k3s.service" if role == "server" else "k3s-agent.service",
        "cluster": cluster,
        "datastore": "etcd" if role == "server" else None,
        "split": [],
        "addresses": [f"198.18.0.{number}"],
        "machine_id": f"machine-{number}",
        "problems": [],
        **more,
    }


def state(number=1, roles=(), **more):
    return {
        "ready": True,
        "unschedulable": False,
        "boot_id": f"boot-{number}",
        "machine_id": f"machine-{number}",
        "version": "v1.34.3+k3s1",
        "addresses": [f"198.18.0.{number}"],
        "roles": list(roles),
        "hold": False,
        "mark": None,
        "member": f"s{number}-abcd" if "etcd" in roles else None,
        "voter": None,
        **more,
    }


SERVER = ("control-plane", "etcd", "master")
HOSTS = {
    "one": facts("server", 1),
    "two": facts("server", 2),
    "three": facts("server", 3),
    "four": facts("agent", 4),
    "five": facts("agent", 5),
    "web": None,
}
NODES = {
    "S1.lab.example": state(1, SERVER),
    "s2": state(2, SERVER),
    "s3": state(3, SERVER),
    "a4": state(4),
    "a5": state(5),
}


def etcd(*healthy, size=3, learner=(), gone=()):
    return [
        {
            "id": str(number),
            "name": f"s{number}-abcd",
            "node": None if number in gone else {1: "S1.lab.example"}.get(number, f"s{number}"),
            "address": f"198.18.0.{number}",
            "learner": number in learner,
            "healthy": number in healthy,
        }
        for number in range(1, size + 1)
    ]


def health(**more):
    return {
        "nodes": NODES,
        "unready": "",
        "etcd": etcd(1, 2, 3),
        "kured": None,
        "plans": [],
        "longhorn": None,
        **more,
    }


def of(hosts=HOSTS, **healths):
    """The one cluster that these hosts are."""
    (cluster,) = gate.topology(hosts, healths or {"one": health(), "two": health()})["clusters"].values()
    return cluster


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
    found = gate.topology(hosts, {"one": health(nodes={"s1": state(1, SERVER)})})
    assert found["of"] == {"one": CLUSTER, "other": "b" * 64}
    assert [cluster["lone"] for cluster in found["clusters"].values()] == [True, True]


def test_hosts_without_k3s_are_no_cluster():
    assert gate.topology({"web": None}, {}) == {"clusters": {}, "of": {}}


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


def one_problem(found):
    (only,) = found
    assert only["remedy"]
    return only["message"]


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
            {**HOSTS, "five": facts("agent", 5, problems=[gate.problem("odd", "mend it")])},
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
    assert gate.node_state(node) == {
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
    found = gate.node_state({"metadata": {"name": "a"}})
    assert (found["ready"], found["mark"], found["voter"], found["boot_id"]) == (False, None, None, "")


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
    found = gate.members(listed, nodes)
    assert [member["node"] for member in found] == ["S1.lab.example", "s2", "s3", None]
    assert [member["learner"] for member in found] == [False, False, True, False]
    assert found[2]["address"] == "2001:db8::3"


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
    says = [each["message"] for each in gate.gate("s1", cluster, sick, AT_REST)]
    assert says == ["node s2 is not Ready", "no other server is Ready"]


NOW = datetime(2026, 11, 23, 3, 0, tzinfo=timezone.utc)
HELD_AT = '"created":"2026-11-23T02:59:00.123456789Z"'


@pytest.mark.parametrize(
    ("lock", "held"),
    [
        ("", False),
        ('{"nodeID":"manual"}', True),
        ('{"nodeID":"a4"}', False),  # kured itself is at work there.
        (f'{{"nodeID":"manual",{HELD_AT},"TTL":120000000000}}', True),
        (f'{{"nodeID":"manual",{HELD_AT},"TTL":30000000000}}', False),
        ('{"nodeID":"manual","TTL":30000000000}', False),
        ('{"maxOwners":2,"locks":[]}', False),
        ("[]", False),
        ("manual", False),
    ],
)
def test_the_lock_of_kured(lock, held):
    daemon = {
        "metadata": {
            "namespace": "kube-system",
            "name": "reboots",
            "annotations": {"weave.works/kured-node-lock": lock},
        },
        "spec": {"template": {"spec": {"containers": [{"image": "ghcr.io/kubereboot/kured:1.16.0"}]}}},
    }
    assert gate.kured([daemon], NODES, NOW) == {"namespace": "kube-system", "name": "reboots", "held": held}


def test_no_kured():
    daemon = {"metadata": {"name": "lb"}, "spec": {"template": {"spec": {"containers": [{"image": "kured-like/lb"}]}}}}
    assert gate.kured([daemon], NODES, NOW) is None


def test_plans_and_volumes():
    plans = [
        {"metadata": {"namespace": "s", "name": "server"}, "status": {"applying": ["s1"]}},
        {"metadata": {"namespace": "s", "name": "agent"}},
    ]
    assert gate.applying(plans) == ["s/server"]
    volumes = [
        {"metadata": {"namespace": "l", "name": name}, "status": {"state": how, "robustness": robustness}}
        for name, how, robustness in (("a", "attached", "degraded"), ("b", "detached", "unknown"))
    ]
    assert gate.longhorn(volumes) == {"l/a": "degraded"}


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
    assert says in one_problem(gate.node_gate(now, boot, "old", {"default/lb": ["was"]}, daemons))


@pytest.mark.parametrize("before", [{"default/lb": ["was"]}, {}, {"default/deleted": ["was"]}])
def test_a_node_is_whole(before):
    assert gate.node_gate(state(4), "boot-4", "old", before, DAEMONS) == []


def test_without_a_reboot_the_containers_may_be_the_same():
    assert gate.node_gate(state(4), "boot-4", "", {"default/lb": ["new"]}, DAEMONS) == []


def work(ready, desired=3, **pinned):
    return {"desired": desired, "ready": ready, "pinned": pinned}


@pytest.mark.parametrize(
    ("before", "now", "well"),
    [
        (work(3), work(3), True),
        (work(3), work(2), False),
        (work(2), work(2), True),  # It was so before.
        (work(3), None, True),  # Somebody deleted it.
        (work(3), work(1, desired=1), True),  # Somebody wants fewer.
        (work(3), work(2, a5=1), True),  # It waits for a node that an admin has cordoned.
        (work(3), work(2, a4=1), False),
        (work(3), work(1, a5=1), False),
    ],
)
def test_what_was_ready_has_to_be_ready_again(before, now, well):
    found = gate.settled({"deployment default/web": before}, {"deployment default/web": now} if now else {}, ["a5"])
    assert (not found) is well


def test_the_remedy_can_be_typed():
    (found,) = gate.settled({"deployment default/web": work(3)}, {"deployment default/web": work(2)}, [])
    assert found["message"] == "deployment default/web has 2 ready, and had 3"
    assert found["remedy"] == "on a server: k3s kubectl -n default describe deployment web"
    (found,) = gate.settled({"node a4": work(1, 1)}, {"node a4": work(0, 1)}, [])
    assert found["remedy"] == "on a server: k3s kubectl describe node a4"


@pytest.mark.parametrize(
    ("before", "now", "well"),
    [
        (None, None, True),
        ({"v": "healthy"}, {"v": "healthy"}, True),
        ({"v": "healthy"}, {"v": "degraded"}, False),
        ({"v": "healthy"}, {}, True),
        ({"v": "degraded"}, {"v": "degraded"}, True),
        ({"v": "healthy"}, None, True),
    ],
)
def test_volumes_have_to_be_as_healthy_as_before(before, now, well):
    assert (not gate.volumes_settled(before, now)) is well


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
    assert gate.recover(state(4, mark=mark), boot, stopping, wanted)["do"] == do


def test_no_answer_is_not_no_mark():
    assert gate.recover(None, "old", False, True)["do"] == "stop"


BEGUN = {"began": 1000.0, "timeout": 600, "ask": ["one", "two"]}
SLICE = {
    "node": "a4",
    "drained": False,
    "evicted": ["default/web-a"],
    "blocked": [],
    "terminating": [],
    "hopeless": False,
    "volumes": [],
    "grace": 30,
    "seconds": 31.0,
}
BLOCKED = {"why": "budget", "name": "default/web", "pods": ["default/web-a"], "message": "m", "hopeless": False}


def test_a_drain_goes_on_until_it_is_done():
    first = gate.progress(BEGUN, SLICE, 1031.0)
    assert (first["again"], first["pause"], first["ready"]) == (True, 0, False)
    second = gate.progress(first, {**SLICE, "evicted": ["default/web-b"], "drained": True}, 1040.0)
    assert (second["again"], second["ready"], second["evicted"]) == (False, True, ["default/web-a", "default/web-b"])


def test_a_slice_that_ends_at_once_is_not_repeated_at_once():
    assert gate.progress(BEGUN, {**SLICE, "seconds": 0.7}, 1031.0)["pause"] == 3


@pytest.mark.parametrize(
    ("more", "now", "ends"),
    [
        ({}, 1600.0, False),
        ({}, 1600.1, True),
        ({"grace": 1200}, 2259.0, False),
        ({"grace": 1200}, 2261.0, True),
        ({"hopeless": True}, 1001.0, True),
    ],
)
def test_when_a_drain_is_blocked(more, now, ends):
    found = gate.progress(BEGUN, {**SLICE, "blocked": [BLOCKED], **more}, now)
    assert (not found["again"], bool(found["blocked"])) == (ends, ends)
    assert not ends or "PodDisruptionBudget default/web does not let default/web-a go" in found["blocked"]


def test_an_earlier_long_grace_counts():
    first = gate.progress(BEGUN, {**SLICE, "grace": 1200}, 1031.0)
    assert gate.progress(first, {**SLICE, "grace": 0}, 2000.0)["again"]


@pytest.mark.parametrize(
    "result",
    [
        {"unreachable": True, "msg": "no route"},
        {"msg": "Timed out", "timedout": {}},
        {"kind": "unknown", "msg": "`kubectl`: refused"},
    ],
)
def test_a_delegate_that_does_not_answer_is_changed(result):
    found = gate.progress(BEGUN, result, 1010.0)
    assert (found["again"], found["ask"], found["pause"]) == (True, ["two", "one"], 3)
    assert gate.progress(BEGUN, result, 1700.0)["stop"].startswith("one: ")


def test_a_node_that_changed_in_this_moment_is_tried_again_at_the_same_server():
    found = gate.progress(BEGUN, {"kind": "changed", "msg": "modified"}, 1010.0)
    assert (found["again"], found["ask"]) == (True, ["one", "two"])


@pytest.mark.parametrize(
    ("kind", "undo"), [("claim", False), ("uncordoned", False), ("foreign", False), ("refused", True)]
)
def test_what_ends_a_drain_at_once_and_whether_it_is_undone(kind, undo):
    found = gate.progress(BEGUN, {"kind": kind, "msg": "no"}, 1001.0)
    assert (found["again"], found["ready"], found["stop"], found["undo"]) == (False, False, "no", undo)


def test_giving_back_waits_for_the_node():
    waiting = {"node": "a4", "problems": [gate.problem("the node is not Ready", "look")], "seconds": 36.0}
    found = gate.progress({**BEGUN, "timeout": 60}, waiting, 1036.0)
    assert found["again"]
    assert gate.progress(found, waiting, 1080.0)["blocked"] == "the node is not Ready. look."
    assert gate.progress(found, {**waiting, "problems": []}, 1050.0)["ready"]


def test_marking_the_reboot_keeps_the_containers():
    found = gate.progress(BEGUN, {"node": "a4", "containers": {"default/lb": ["c"]}, "seconds": 1.0}, 1001.0)
    assert (found["ready"], found["containers"]) == (True, {"default/lb": ["c"]})


@pytest.mark.parametrize(
    ("each", "says"),
    [
        ({**BLOCKED, "why": "two budgets", "name": "default/a, default/b"}, "under two PodDisruptionBudgets"),
        ({**BLOCKED, "why": "bare", "name": ""}, "no controller"),
        ({**BLOCKED, "why": "error", "name": "", "message": "strange"}, "strange"),
    ],
)
def test_a_blocked_drain_says_why(each, says):
    assert says in gate.progress(BEGUN, {**SLICE, "blocked": [each], "hopeless": True}, 1001.0)["blocked"]


def test_what_is_still_ending_is_said():
    late = {**SLICE, "terminating": ["default/slow"], "volumes": ["pv-1"]}
    assert "still ending: default/slow; still attached: pv-1" in gate.progress(BEGUN, late, 1700.0)["blocked"]


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
    found = gate.forgettable([node], hosts)
    assert says in gate.told(found["problems"])
    if not says:
        assert found == {"servers": {"a5": "one"}, "problems": []}
