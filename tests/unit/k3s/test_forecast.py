"""What a drain will meet."""

from decimal import Decimal

import pytest
from ansible_collections.homelab.patching.plugins.module_utils.k3s import forecast as forecasts
from ansible_collections.homelab.patching.plugins.module_utils.k3s.forecast import forecast, quantity, requests

from .objects import CLAIMS, DAEMON, VOLUMES, budget, node, pod, with_claim


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
    assert quantity(text) == number


def test_requests_count_sidecars_and_the_largest_first_step():
    def wants(cpu, **more):
        return {"resources": {"requests": {"cpu": cpu}}, **more}

    spec = {"containers": [wants("100m"), wants("200m")], "initContainers": [wants("1", restartPolicy="Always")]}
    assert requests(pod("web", spec=spec))["cpu"] == Decimal("1.3")
    spec = {"containers": [wants("100m")], "initContainers": [wants("2")], "overhead": {"cpu": "50m"}}
    assert requests(pod("web", spec=spec))["cpu"] == Decimal("2.05")


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
    assert [each["metadata"]["name"] for each in forecasts.homeless(moving, others, [])] == homeless


def test_what_runs_already_takes_room():
    running = [sized("x", "6Gi", node="n2"), sized("y", "6Gi", node="n2", status={"phase": "Succeeded"})]
    assert forecasts.homeless([sized("a", "2Gi")], [node("n2")], running) == []
    assert forecasts.homeless([sized("a", "3Gi")], [node("n2")], running) != []


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
    found = forecast("n1", every, budgets, [node("n1"), node("n2", unschedulable=True)], CLAIMS, VOLUMES)
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
