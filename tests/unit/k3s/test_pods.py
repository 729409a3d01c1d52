"""What keeps a node from being empty, what covers it, where its data is."""

import pytest
from ansible_collections.homelab.patching.plugins.module_utils.k3s import pods

from .objects import CLAIMS, DAEMON, VOLUMES, budget, pod, with_claim


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


@pytest.mark.parametrize(("claim", "nodes"), [("data", ["n1"]), ("far", []), ("gone", [])])
def test_where_the_local_data_of_a_pod_is(claim, nodes):
    assert pods.pinned_to(pod("db", spec=with_claim(claim)), CLAIMS, VOLUMES) == nodes
