"""Pods as a drain meets them."""

from decimal import Decimal

import pytest
from ansible_collections.homelab.patching.plugins.module_utils.k3s import pods

DEPLOYED = {"kind": "ReplicaSet", "name": "web-1", "uid": "rs-web", "controller": True}
DAEMON = {"kind": "DaemonSet", "name": "svclb", "uid": "ds", "controller": True}


def pod(name, owner=DEPLOYED, node="n1", namespace="default", labels=None, ready=True, **more):
    """A pod as the API has it; `more` goes into metadata, spec or status by name."""
    spec = {"nodeName": node, "terminationGracePeriodSeconds": 30, "containers": [{}], **more.get("spec", {})}
    return {
        "metadata": {
            "namespace": namespace,
            "name": name,
            "uid": f"uid-{name}",
            "labels": labels or {"app": "web"},
            "ownerReferences": [owner] if owner else [],
            **more.get("metadata", {}),
        },
        "spec": {key: value for key, value in spec.items() if value is not None},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": str(ready)}],
            **more.get("status", {}),
        },
    }


def budget(name, allowed=0, namespace="default", **selector):
    return {
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"selector": selector or {"matchLabels": {"app": "web"}}},
        "status": {"disruptionsAllowed": allowed},
    }


def node(name, cpu="4", memory="8Gi", ready=True, labels=None, **spec):
    return {
        "metadata": {"name": name, "labels": labels or {}},
        "spec": spec,
        "status": {
            "allocatable": {"cpu": cpu, "memory": memory, "pods": "110"},
            "conditions": [{"type": "Ready", "status": str(ready)}],
        },
    }


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("100m", Decimal("0.1")),
        ("2", Decimal(2)),
        ("1.5", Decimal("1.5")),
        ("128Mi", Decimal(128 * 1024**2)),
        ("1Gi", Decimal(1024**3)),
        ("1G", Decimal(10**9)),
        ("1e3", Decimal(1000)),
        ("500n", Decimal("0.0000005")),
        (3, Decimal(3)),
        ("", Decimal(0)),
        ("lots", Decimal(0)),
    ],
)
def test_quantities(text, number):
    assert pods.quantity(text) == number


@pytest.mark.parametrize(
    ("thing", "stays"),
    [
        (pod("web"), False),
        (pod("bare", owner=None), False),
        (pod("daemon", owner=DAEMON), True),
        (pod("static", owner=None, metadata={"annotations": {"kubernetes.io/config.mirror": "x"}}), True),
        (pod("done", status={"phase": "Succeeded"}), True),
        (pod("broken", owner=None, status={"phase": "Failed"}), True),
        (pod("waiting", status={"phase": "Pending"}), False),
        # Owned, but by nobody who would make it anew.
        (pod("owned", owner={**DAEMON, "controller": False}), False),
    ],
)
def test_what_may_be_on_a_drained_node(thing, stays):
    assert pods.stays(thing) is stays


def test_what_is_left_on_a_node():
    ending = pod("ending", metadata={"deletionTimestamp": "2026-11-23T03:00:00Z"})
    left = pods.left_on("n1", [pod("web"), ending, pod("daemon", owner=DAEMON), pod("elsewhere", node="n2")])
    assert [pods.key(each) for each in left["blocking"]] == ["default/web"]
    assert [pods.key(each) for each in left["terminating"]] == ["default/ending"]


@pytest.mark.parametrize(
    ("selector", "chosen"),
    [
        (None, False),
        ({}, True),
        ({"matchLabels": {"app": "web"}}, True),
        ({"matchLabels": {"app": "web", "tier": "x"}}, False),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["web", "db"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}, False),
        ({"matchExpressions": [{"key": "none", "operator": "NotIn", "values": ["web"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}, False),
        ({"matchExpressions": [{"key": "app", "operator": "Unheard"}]}, False),
    ],
)
def test_label_selectors(selector, chosen):
    assert pods.selects(selector, {"app": "web"}) is chosen


def test_a_budget_covers_its_own_namespace_only():
    found = pods.budgets_of(pod("web"), [budget("here"), budget("there", namespace="other")])
    assert [pods.key(each) for each in found] == ["default/here"]


def local_volume(*nodes):
    rule = {"key": "kubernetes.io/hostname", "operator": "In", "values": list(nodes)}
    return {"spec": {"nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [rule]}]}}}}


CLAIMS = {"default/data": {"spec": {"volumeName": "pv-1"}}, "default/far": {"spec": {"volumeName": "pv-2"}}}
VOLUMES = {"pv-1": local_volume("n1"), "pv-2": {"spec": {"nfs": {}}}}


def with_claim(name):
    return {"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": name}}]}


@pytest.mark.parametrize(("claim", "nodes"), [("data", ["n1"]), ("far", []), ("gone", [])])
def test_where_the_local_data_of_a_pod_is(claim, nodes):
    assert pods.pinned_to(pod("db", spec=with_claim(claim)), CLAIMS, VOLUMES) == nodes


def test_requests_count_sidecars_and_the_largest_first_step():
    def wants(cpu, **more):
        return {"resources": {"requests": {"cpu": cpu}}, **more}

    spec = {"containers": [wants("100m"), wants("200m")], "initContainers": [wants("1", restartPolicy="Always")]}
    assert pods.requests(pod("web", spec=spec))["cpu"] == Decimal("1.3")
    spec = {"containers": [wants("100m")], "initContainers": [wants("2")], "overhead": {"cpu": "50m"}}
    assert pods.requests(pod("web", spec=spec))["cpu"] == Decimal("2.05")


def sized(name, memory, **more):
    spec = {"containers": [{"resources": {"requests": {"memory": memory}}}], **more.pop("spec", {})}
    return pod(name, spec=spec, **more)


TAINT = {"key": "special", "value": "yes", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("moving", "others", "homeless"),
    [
        ([sized("a", "4Gi"), sized("b", "4Gi")], [node("n2", memory="8Gi")], []),
        ([sized("a", "4Gi"), sized("b", "5Gi")], [node("n2", memory="8Gi")], ["a"]),
        ([sized("a", "4Gi"), sized("b", "5Gi")], [node("n2", memory="5Gi"), node("n3", memory="4Gi")], []),
        ([sized("a", "1Gi")], [], ["a"]),
        ([sized("a", "1Gi")], [node("n2", taints=[TAINT])], ["a"]),
        ([sized("a", "1Gi")], [node("n2", taints=[{**TAINT, "effect": "PreferNoSchedule"}])], []),
        (
            [sized("a", "1Gi", spec={"tolerations": [{"key": "special", "operator": "Exists"}]})],
            [node("n2", taints=[TAINT])],
            [],
        ),
        ([sized("a", "1Gi", spec={"nodeSelector": {"disk": "ssd"}})], [node("n2")], ["a"]),
        ([sized("a", "1Gi", spec={"nodeSelector": {"disk": "ssd"}})], [node("n2", labels={"disk": "ssd"})], []),
    ],
)
def test_who_finds_no_room_elsewhere(moving, others, homeless):
    assert [each["metadata"]["name"] for each in pods.homeless(moving, others, [])] == homeless


def test_what_runs_already_takes_room():
    running = [sized("x", "6Gi", node="n2"), sized("y", "6Gi", node="n2", status={"phase": "Succeeded"})]
    assert pods.homeless([sized("a", "2Gi")], [node("n2")], running) == []
    assert pods.homeless([sized("a", "3Gi")], [node("n2")], running) != []


def test_a_forecast_names_everything_that_a_drain_will_meet():
    job = {"kind": "Job", "name": "backup", "uid": "job", "controller": True}
    alone = {"kind": "StatefulSet", "name": "db", "uid": "sts", "controller": True}
    every = [
        pod("web-a"),
        pod("web-b", node="n2"),
        pod("bare", owner=None, labels={"app": "bare"}),
        pod("backup", owner=job, labels={"app": "job"}, spec={"volumes": [{"name": "tmp", "emptyDir": {}}]}),
        pod(
            "db-0", owner=alone, labels={"app": "db"}, spec={**with_claim("data"), "terminationGracePeriodSeconds": 120}
        ),
        pod("daemon", owner=DAEMON),
    ]
    budgets = [
        budget("web", allowed=0),
        budget("web-too", allowed=1),
        budget("elsewhere", allowed=0, matchLabels={"app": "nobody"}),
    ]
    found = pods.forecast("n1", every, budgets, [node("n1"), node("n2", unschedulable=True)], CLAIMS, VOLUMES)
    assert found == {
        "moving": 4,
        "grace": 120,
        "no_disruption": [{"budget": "default/web", "pods": ["default/web-a"]}],
        "two_budgets": [{"pod": "default/web-a", "budgets": ["default/web", "default/web-too"]}],
        "bare": ["default/bare"],
        "only": ["default/db-0"],
        "job": ["default/backup"],
        "empty_dir": ["default/backup"],
        "local": ["default/db-0"],
        # The one other node is cordoned. What cannot move anyway needs no room.
        "homeless": ["default/backup", "default/web-a"],
    }


# As kubectl 1.34, 1.21 and 1.18 print them.
RETRY = (
    'error when evicting pods/"web-a" -n "default" (will retry after 5s): '
    "Cannot evict pod as it would violate the pod's disruption budget.\n"
)
LATE = """\
There are pending pods in node "n1" when an error occurred: error when evicting pods/"web-a" -n "default": global \
timeout reached: 30s
pod/web-a
error: unable to drain node "n1" due to error: error when evicting pods/"web-a" -n "default": global timeout reached: \
30s, continuing command...
There are pending nodes to be drained:
 n1
error when evicting pods/"web-a" -n "default": global timeout reached: 30s
"""
OLD = RETRY.replace('pods/"web-a" -n "default"', 'pod "web-a"')
TWICE = (
    'error when evicting pods/"web-a" -n "default": This pod has more than one PodDisruptionBudget, '
    "which the eviction subresource does not support.\n"
)


@pytest.mark.parametrize(
    ("stderr", "budgets", "why", "name", "hopeless"),
    [
        (RETRY, [budget("web")], "budget", "default/web", False),
        (RETRY * 5 + LATE, [budget("open", allowed=1), budget("web")], "budget", "default/web", False),
        (OLD, [budget("web")], "budget", "default/web", False),
        (TWICE, [budget("a"), budget("b")], "two budgets", "default/a, default/b", True),
        (RETRY, [], "error", "", False),
        ('error when evicting pods/"web-a" -n "default": etcdserver: leader changed\n', [], "error", "", False),
    ],
)
def test_why_a_pod_was_not_moved(stderr, budgets, why, name, hopeless):
    (found,) = pods.blockers(stderr, [pod("web-a")], budgets)
    assert (found["why"], found["name"], found["hopeless"]) == (why, name, hopeless)
    assert found["pods"] == ["default/web-a"]


def test_a_bare_pod_blocks_whatever_kubectl_says():
    (found,) = pods.blockers("", [pod("mine", owner=None)], [])
    assert (found["why"], found["pods"], found["hopeless"]) == ("bare", ["default/mine"], True)


def test_a_refusal_to_begin_is_told_in_kubectls_words():
    said = 'error: unable to drain node "n1" due to error: cannot delete DaemonSet-managed Pods, continuing\n'
    (found,) = pods.blockers(said, [pod("web-a")], [])
    assert found["why"] == "error"
    assert "DaemonSet-managed" in found["message"]


def test_a_pod_that_has_gone_meanwhile_blocks_nothing():
    assert pods.blockers(RETRY, [], [budget("web")]) == []


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
    found = pods.workloads(objects)
    assert found == {
        "node n1": {"desired": 1, "ready": 1, "pinned": {}},
        "node n2": {"desired": 1, "ready": 0, "pinned": {}},
        "deployment default/web": {"desired": 3, "ready": 2, "pinned": {"n1": 1}},
        "statefulset default/db": {"desired": 1, "ready": 0, "pinned": {}},
        "daemonset default/lb": {"desired": 2, "ready": 2, "pinned": {}},
        "pod default/mine": {"desired": 1, "ready": 1, "pinned": {}},
    }


def test_the_containers_of_daemon_sets():
    lb = {"kind": "DaemonSet", "name": "lb", "uid": "ds", "controller": True}
    running = {"containerStatuses": [{"containerID": "containerd://1", "ready": True}]}
    objects = {
        "DaemonSet": [{"metadata": {"namespace": "default", "name": name}} for name in ("lb", "absent")],
        "Pod": [
            pod("lb-old", owner=lb, metadata={"deletionTimestamp": "x"}, status=running),
            pod("lb-new", owner=lb, status=running),
            pod("lb-far", owner=lb, node="n2", status=running),
            pod("web"),
        ],
    }
    assert pods.daemon_containers("n1", objects) == {
        "default/lb": {"ready": True, "containers": ["containerd://1"]},
        "default/absent": {"ready": False, "containers": []},
    }


@pytest.mark.parametrize(
    "statuses",
    [
        [],
        [{"containerID": "containerd://1", "ready": False}],
        [{"containerID": "containerd://1", "ready": True}, {"ready": False}],
        [{"ready": True}],
    ],
)
def test_a_pod_whose_containers_are_not_there_yet_is_not_ready_whatever_it_says(statuses):
    lb = {"kind": "DaemonSet", "name": "lb", "uid": "ds", "controller": True}
    found = pods.daemon_containers("n1", {"Pod": [pod("lb", owner=lb, status={"containerStatuses": statuses})]})
    assert found["default/lb"]["ready"] is False


def test_attached_volumes_that_no_pod_there_uses():
    def attachment(volume, node="n1"):
        return {"metadata": {"name": "va"}, "spec": {"nodeName": node, "source": {"persistentVolumeName": volume}}}

    every = [pod("daemon", owner=DAEMON, spec=with_claim("far"))]
    attachments = [attachment("pv-1"), attachment("pv-2"), attachment("pv-3", "n2")]
    assert pods.attached("n1", attachments, every, CLAIMS) == ["pv-1"]
