"""How many of each thing in a cluster are there and ready."""

from ansible_collections.homelab.patching.plugins.module_utils.k3s.workloads import workloads

from .objects import CLAIMS, VOLUMES, node, pod, with_claim


def test_workloads_and_what_waits_for_its_data():
    replica_set = {
        "metadata": {
            "namespace": "default",
            "name": "web-1",
            "uid": "rs-web",
            "ownerReferences": [{"kind": "Deployment", "name": "web", "uid": "d", "controller": True}],
        }
    }
    waiting = {"node": None, "ready": False, "status": {"phase": "Pending"}}
    objects = {
        "Node": [node("n1"), node("n2", ready=False)],
        "Deployment": [
            {
                "metadata": {"namespace": "default", "name": "web"},
                "spec": {"replicas": 3},
                "status": {"readyReplicas": 2},
            }
        ],
        "StatefulSet": [{"metadata": {"namespace": "default", "name": "db"}, "spec": {}, "status": {}}],
        "DaemonSet": [
            {
                "metadata": {"namespace": "default", "name": "lb"},
                "spec": {},
                "status": {"desiredNumberScheduled": 2, "numberReady": 2},
            }
        ],
        "ReplicaSet": [replica_set],
        "Pod": [
            pod("web-a"),
            pod("web-c", spec={**with_claim("data"), "nodeName": None}, **waiting),
            pod("mine", owner=None),
            pod("done", owner=None, status={"phase": "Succeeded"}),
        ],
        "PersistentVolumeClaim": [{"metadata": {"namespace": "default", "name": "data"}, **CLAIMS["default/data"]}],
        "PersistentVolume": [{"metadata": {"name": "pv-1"}, **VOLUMES["pv-1"]}],
    }
    found = workloads(objects)
    assert found == {
        "node n1": {"desired": 1, "ready": 1, "pinned": {}},
        "node n2": {"desired": 1, "ready": 0, "pinned": {}},
        "deployment default/web": {"desired": 3, "ready": 2, "pinned": {"n1": 1}},
        "statefulset default/db": {"desired": 1, "ready": 0, "pinned": {}},
        "daemonset default/lb": {"desired": 2, "ready": 2, "pinned": {}},
        "pod default/mine": {"desired": 1, "ready": 1, "pinned": {}},
    }
