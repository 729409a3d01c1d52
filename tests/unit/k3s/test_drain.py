"""What a drain has left on a node, and why."""

import pytest
from ansible_collections.homelab.patching.plugins.module_utils.k3s import drain

from .objects import CLAIMS, DAEMON, budget, pod, with_claim

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
    (found,) = drain.blockers(stderr, [pod("web-a")], budgets)
    assert (found["why"], found["name"], found["hopeless"]) == (why, name, hopeless)
    assert found["pods"] == ["default/web-a"]


def test_a_bare_pod_blocks_whatever_kubectl_says():
    (found,) = drain.blockers("", [pod("mine", owner=None)], [])
    assert (found["why"], found["pods"], found["hopeless"]) == ("bare", ["default/mine"], True)


def test_a_refusal_to_begin_is_told_in_kubectls_words():
    said = 'error: unable to drain node "n1" due to error: cannot delete DaemonSet-managed Pods, continuing\n'
    (found,) = drain.blockers(said, [pod("web-a")], [])
    assert found["why"] == "error"
    assert "DaemonSet-managed" in found["message"]


def test_a_pod_that_has_gone_meanwhile_blocks_nothing():
    assert drain.blockers(RETRY, [], [budget("web")]) == []


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
    assert drain.daemon_containers("n1", objects) == {
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
    found = drain.daemon_containers("n1", {"Pod": [pod("lb", owner=lb, status={"containerStatuses": statuses})]})
    assert found["default/lb"]["ready"] is False


def test_attached_volumes_that_no_pod_there_uses():
    def attachment(volume, node="n1"):
        return {"metadata": {"name": "va"}, "spec": {"nodeName": node, "source": {"persistentVolumeName": volume}}}

    every = [pod("daemon", owner=DAEMON, spec=with_claim("far"))]
    attachments = [attachment("pv-1"), attachment("pv-2"), attachment("pv-3", "n2")]
    assert drain.attached("n1", attachments, every, CLAIMS) == ["pv-1"]
