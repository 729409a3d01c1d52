"""k3s_info: what a cluster is and how it is, asked of a real one."""

import json

from ansible_collections.homelab.patching.plugins.module_utils.k3s import gate
from ansible_collections.homelab.patching.plugins.module_utils.k3s.settle import settled
from ansible_collections.homelab.patching.plugins.module_utils.k3s.topology import topology


def info(box, *parts):
    return box.module("k3s_info", gather=list(parts))


def test_the_hosts_and_the_api_agree_on_a_topology(cluster):
    hosts = {f"host-{name}": info(box, "local")["local"] for name, box in cluster.items()}
    assert {name: told["datastore"] for name, told in hosts.items()} == {
        **dict.fromkeys(("host-ks1", "host-ks2", "host-ks3"), "etcd"),
        **dict.fromkeys(("host-ka1", "host-ka2"), None),
    }
    found = topology(hosts, {"host-ks2": info(cluster["ks2"], "health")["cluster"]})
    (only,) = found["clusters"].values()
    assert only["nodes"] == {f"host-{name}": name for name in cluster}
    assert only["order"] == ["host-ka1", "host-ka2", "host-ks1", "host-ks3", "host-ks2"]
    assert (only["foreign"], only["problems"]) == ([], [])


def test_the_members_of_etcd_are_asked_now(cluster):
    told = info(cluster["ks2"], "health")["cluster"]
    assert sorted(member["node"] for member in told["etcd"]) == ["ks1", "ks2", "ks3"]
    assert all(member["healthy"] and not member["learner"] for member in told["etcd"])
    assert gate.quorum(told["etcd"], "ks1") == {"outage": False, "problems": []}
    assert told["unready"] == ""
    assert (told["kured"], told["plans"], told["longhorn"]) == (None, [], None)


def test_an_old_gateway_is_asked_on_its_own_port(cluster):
    """Older releases of K3s have it on 2379; where 2382 answers not, that is asked."""
    code = """
from ansible_collections.homelab.patching.plugins.module_utils.k3s import etcd
print(len(etcd.listed(("https://127.0.0.1:1", "https://127.0.0.1:2382"))))
etcd.listed(("https://127.0.0.1:1",))
"""
    done = cluster["ks1"].run("python", "-c", code)
    assert done.stdout == "3\n"
    assert "etcd.Unknown: etcd does not list its members" in done.stderr


def test_what_a_drain_will_meet(cluster, deploy, budget):
    deploy("web", "ka1", volumes=[{"name": "tmp", "emptyDir": {}}])
    deploy("mine", "ka1", kind="Pod", grace=45)
    budget("tight", "web", 1)
    budget("loose", "web", 0)
    told = info(cluster["ks1"], "drain")["cluster"]["forecast"]["ka1"]
    (web,) = told["only"]
    assert web.startswith("default/web-")
    assert told == {
        "moving": 2,
        "grace": 45,
        "no_disruption": [{"budget": "default/tight", "pods": [web]}],
        "two_budgets": [{"pod": web, "budgets": ["default/loose", "default/tight"]}],
        "bare": ["default/mine"],
        "only": [web],
        "job": [],
        "empty_dir": [web],
        "local": [],
        # It wants to be on ka1, and nowhere else.
        "homeless": [web],
    }


def test_workloads_before_and_after_somebody_breaks_one(cluster, deploy):
    deploy("web", replicas=2)
    deploy("lb", kind="DaemonSet")
    before = info(cluster["ks1"], "workloads")["cluster"]["workloads"]
    assert before["deployment default/web"] == {"desired": 2, "ready": 2, "pinned": {}}
    assert before["daemonset default/lb"] == {"desired": 5, "ready": 5, "pinned": {}}
    cluster["ks1"].kubectl("set", "env", "deployment/web", "A=b")
    cluster["ks1"].kubectl("patch", "deployment", "web", "-p", json.dumps(NOWHERE))
    cluster["ks1"].kubectl("delete", "pods", "-l", "app=web", "--grace-period=0", "--force")
    after = info(cluster["ks1"], "workloads")["cluster"]["workloads"]
    (problem,) = settled(before, after, [])
    assert problem["cause"] == "deployment default/web has 0 ready, and had 2"


# No node takes pods of this kind.
NOWHERE = {
    "spec": {
        "template": {"spec": {"nodeSelector": {"no": "such"}}},
        "strategy": {"type": "Recreate", "rollingUpdate": None},
    }
}


def test_a_kured_is_seen_and_so_is_its_lock(cluster, deploy):
    deploy("kured", kind="DaemonSet")
    hold = ("annotate", "daemonset", "kured", 'weave.works/kured-node-lock={"nodeID":"manual"}')
    assert info(cluster["ks1"], "health")["cluster"]["kured"] == {
        "namespace": "default",
        "name": "kured",
        "held": False,
    }
    cluster["ks1"].kubectl(*hold)
    assert info(cluster["ks1"], "health")["cluster"]["kured"]["held"] is True


def test_an_agent_answers_for_itself_only(cluster):
    told = info(cluster["ka1"], "local", "rest")
    assert told["local"]["role"] == "agent"
    assert told["rest"]["boot_id"] == cluster["ka1"].boot_id()
    assert info(cluster["ka1"], "health")["kind"] == "refused"
