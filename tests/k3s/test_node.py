"""k3s_node: whose cordon it is, what a slice of a drain does, and when a node is given back. On a real API server."""

import json

import pytest

from tests.k3s.boxes import until
from tests.k3s.conftest import RUN, running

OURS = "homelab-patching/run"


@pytest.fixture
def call(claimed):
    """Run k3s_node on ks1, for node ka1."""

    def call(state, on="ks1", **more):
        return claimed[on].module("k3s_node", **{"state": state, "node": "ka1", "run": RUN, **more})

    return call


def cordoned(cluster, name="ka1"):
    return bool(cluster["ks1"].get("node", name)["spec"].get("unschedulable"))


def marks(cluster, name="ka1"):
    """What a run has written on a node."""
    annotations = cluster["ks1"].get("node", name)["metadata"].get("annotations", {})
    return {key.partition("/")[2]: value for key, value in annotations.items() if key.startswith("homelab-patching/")}


def test_an_empty_node_is_cordoned_drained_and_given_back(cluster, call):
    drained = call("drained")
    assert (drained["drained"], drained["changed"], drained["evicted"]) == (True, True, [])
    assert cordoned(cluster)
    assert marks(cluster) == {"run": RUN, "phase": "drain", "boot-id": cluster["ka1"].boot_id()}
    again = call("drained")
    assert (again["drained"], again["changed"]) == (True, False)
    given = call("schedulable")
    assert (given["changed"], given["unschedulable"], given["problems"]) == (True, False, [])
    assert not cordoned(cluster)
    assert marks(cluster) == {}
    assert call("schedulable")["changed"] is False


def test_check_mode_touches_nothing(cluster, call, deploy):
    deploy("web", "ka1")
    told = call("drained", _ansible_check_mode=True)
    assert (told["changed"], told["drained"]) == (True, False)
    assert [name.rpartition("-")[0].rpartition("-")[0] for name in told["evicted"]] == ["default/web"]
    assert (cordoned(cluster), marks(cluster)) == (False, {})
    call("drained")
    assert call("schedulable", _ansible_check_mode=True)["changed"] is True
    assert cordoned(cluster)


def test_pods_move_and_what_belongs_to_the_node_stays(cluster, call, deploy):
    deploy("web", replicas=2, affinity=only_on("ka1", "ka2"))
    deploy("lb", kind="DaemonSet")
    before = running(cluster["ks1"], "web", "ka1")
    drained = call("drained")
    assert drained["drained"]
    assert drained["evicted"] == [f"default/{name}" for name in before]
    assert len(running(cluster["ks1"], "lb", "ka1")) == 1
    assert drained["seconds"] < 30


def only_on(*nodes):
    rule = {"key": "kubernetes.io/hostname", "operator": "In", "values": list(nodes)}
    terms = {"nodeSelectorTerms": [{"matchExpressions": [rule]}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}


# Whose is a cordon? The cases of an admin who was there before, comes meanwhile, or changes his mind.
def test_an_admins_cordon_stays(cluster, call):
    cluster["ks1"].kubectl("cordon", "ka1")
    assert call("drained")["drained"]
    given = call("schedulable")
    assert (given["changed"], given["unschedulable"]) == (True, True)
    assert cordoned(cluster)
    assert marks(cluster) == {}


def test_an_admin_who_uncordons_is_respected(cluster, call, deploy):
    deploy("web", "ka1")
    call("drained")
    cluster["ks1"].kubectl("uncordon", "ka1")
    told = call("drained")
    assert (told["failed"], told["kind"]) == (True, "uncordoned")
    assert "somebody uncordoned node ka1" in told["msg"]
    assert (cordoned(cluster), marks(cluster)) == (False, {})
    until("the pod to come back", lambda: running(cluster["ks1"], "web", "ka1"))


def test_an_uncordon_before_the_reboot_is_respected_too(cluster, call):
    call("drained")
    cluster["ks1"].kubectl("uncordon", "ka1")
    assert call("rebooting")["kind"] == "uncordoned"
    assert (cordoned(cluster), marks(cluster)) == (False, {})


def test_an_admin_who_uncordons_and_cordons_again_keeps_it(cluster, call):
    call("drained")
    cluster["ks1"].kubectl("uncordon", "ka1")
    cluster["ks1"].kubectl("cordon", "ka1")
    assert call("drained")["drained"]
    assert call("schedulable")["unschedulable"] is True
    assert (cordoned(cluster), marks(cluster)) == (True, {})


def test_the_hold_annotation_keeps_the_cordon(cluster, call):
    call("drained")
    cluster["ks1"].kubectl("annotate", "node", "ka1", "homelab-patching/hold=looking-at-it")
    assert call("schedulable")["unschedulable"] is True
    assert (cordoned(cluster), marks(cluster)) == (True, {"hold": "looking-at-it"})
    # From now on it is an admin's cordon like any other: it outlives the next run, and he can end it.
    call("drained")
    assert call("schedulable")["unschedulable"] is True
    cluster["ks1"].kubectl("uncordon", "ka1")
    assert not cordoned(cluster)


def test_a_node_that_changed_since_it_was_read_is_not_touched(cluster, call):
    api = "import sys; from ansible_collections.homelab.patching.plugins.module_utils.k3s import kubectl as k\n"
    apply = f"k.Api({cluster['ks1'].binary!r}).apply_node('ka1', {{'homelab-patching/run': 'x'}}, True, sys.argv[1])"
    old = cluster["ks1"].get("node", "ka1")["metadata"]["resourceVersion"]
    cluster["ks1"].kubectl("annotate", "node", "ka1", "somebody=else")
    done = cluster["ks1"].run("python", "-c", api + apply, old)
    cluster["ks1"].kubectl("annotate", "node", "ka1", "somebody-")
    assert "kubectl.Conflict" in done.stderr
    assert (cordoned(cluster), marks(cluster)) == (False, {})


# What a slice meets.
def test_a_budget_that_never_allows_blocks_and_is_named(cluster, call, deploy, budget):
    deploy("web", "ka1")
    deploy("other", "ka1")
    budget("tight", "web", 1)
    told = call("drained")
    assert (told["drained"], told["hopeless"]) == (False, False)
    (blocked,) = told["blocked"]
    (pod,) = running(cluster["ks1"], "web")
    assert (blocked["why"], blocked["name"], blocked["pods"]) == ("budget", "default/tight", [f"default/{pod}"])
    assert told["evicted"] != []
    assert told["seconds"] <= 45
    assert call("schedulable")["changed"]
    assert not cordoned(cluster)


def test_two_budgets_on_one_pod_are_hopeless_at_once(cluster, call, deploy, budget):
    deploy("web", "ka1")
    budget("first", "web", 0)
    budget("second", "web", 0)
    told = call("drained")
    assert (told["drained"], told["hopeless"]) == (False, True)
    (blocked,) = told["blocked"]
    assert (blocked["why"], blocked["name"]) == ("two budgets", "default/first, default/second")
    assert told["seconds"] < 20


def test_a_bare_pod_is_never_deleted(cluster, call, deploy):
    deploy("mine", "ka1", kind="Pod")
    deploy("web", "ka1")
    told = call("drained")
    assert (told["drained"], told["hopeless"], told["evicted"]) == (False, True, [])
    assert ["default/mine"] in [blocked["pods"] for blocked in told["blocked"] if blocked["why"] == "bare"]
    assert running(cluster["ks1"], "mine", "ka1")


def test_a_grace_that_is_longer_than_a_slice(cluster, call, deploy):
    slow = [{"name": "STOP_SECONDS", "value": "40"}]
    deploy("slow", grace=60, env=slow, affinity=only_on("ka1", "ka2"))
    cluster["ks1"].kubectl("cordon", "ka2")
    # It is wherever it is; the test needs it on ka1.
    if not running(cluster["ks1"], "slow", "ka1"):
        cluster["ks1"].kubectl("delete", "pod", "-l", "app=slow", "--grace-period=0", "--force")
        until("the pod on ka1", lambda: running(cluster["ks1"], "slow", "ka1"))
    cluster["ks1"].kubectl("uncordon", "ka2")
    (pod,) = running(cluster["ks1"], "slow", "ka1")
    first = call("drained")
    assert (first["drained"], first["hopeless"], first["terminating"]) == (False, False, [f"default/{pod}"])
    assert (first["grace"], first["evicted"]) == (60, [f"default/{pod}"])
    second = call("drained")
    assert (second["drained"], second["evicted"]) == (True, [])


# Who may.
def test_a_delegate_that_is_not_the_runs_any_more_does_nothing(cluster, call):
    cluster["ks1"].module("host_claim", run="other", seconds=3600, takeover=[RUN])
    told = call("drained")
    assert (told["failed"], told["kind"]) == (True, "claim")
    assert (cordoned(cluster), marks(cluster)) == (False, {})


def test_an_agent_is_no_delegate(call):
    assert call("drained", on="ka2")["kind"] == "refused"


def test_one_node_of_a_cluster_at_a_time(cluster, call):
    cluster["ks2"].module("k3s_node", state="drained", node="ka2", run=RUN)
    told = call("drained")
    assert (told["failed"], told["kind"]) == (True, "foreign")
    assert f"node ka2 is marked by run {RUN}" in told["msg"]
    assert not cordoned(cluster)


def test_what_a_dead_run_left_is_taken_over_only_when_told(cluster, call):
    call("drained")
    for box in cluster.values():
        box.module("host_claim", run="other", seconds=3600, takeover=[RUN])
    assert call("drained", run="other")["kind"] == "foreign"
    assert call("schedulable", run="other")["kind"] == "foreign"
    assert cordoned(cluster)
    assert call("drained", run="other", takeover=[RUN])["drained"]
    assert marks(cluster)["run"] == "other"
    assert call("schedulable", run="other")["changed"]
    assert not cordoned(cluster)


def test_a_node_that_is_not_there(claimed):
    told = claimed["ks1"].module("k3s_node", state="drained", node="nobody", run=RUN)
    assert (told["kind"], "the API knows no node nobody" in told["msg"]) == ("refused", True)


# The reboot, and the way back.
def test_a_node_that_was_not_drained_is_not_marked_for_a_reboot(cluster, call):
    assert call("rebooting")["kind"] == "refused"
    assert marks(cluster) == {}


def test_a_lone_node_is_marked_and_not_cordoned(cluster, call):
    assert call("rebooting", cordon=False)["changed"]
    assert (cordoned(cluster), marks(cluster)["phase"]) == (False, "reboot")
    assert call("schedulable", recover=True)["changed"]
    assert marks(cluster) == {}


def test_never_on_the_old_boot_unless_it_is_known_that_no_reboot_follows(cluster, call):
    call("drained")
    assert call("rebooting")["changed"]
    assert marks(cluster)["phase"] == "reboot"
    assert call("rebooting")["changed"] is False
    for more in ({}, {"boot_id": cluster["ka1"].boot_id()}):
        told = call("schedulable", **more)
        assert (told["changed"], len(told["problems"])) == (False, 1)
    assert cordoned(cluster)
    assert call("schedulable", recover=True)["changed"]
    assert not cordoned(cluster)


def test_a_rebooted_node_is_given_back_when_it_is_whole_and_not_before(cluster, call, deploy):
    deploy("lb", kind="DaemonSet")
    call("drained")
    containers = call("rebooting")["containers"]
    assert list(containers) == ["default/lb"]
    box = cluster["ka1"]
    old = box.boot_id()
    box.stop()
    # The API still calls it Ready, in its old boot.
    told = call("schedulable", boot_id="new", containers=containers)
    assert (told["changed"], "still shows the boot from before" in told["problems"][0]["cause"]) == (False, True)
    box.start()
    assert box.boot_id() != old
    told = call("schedulable", boot_id=box.boot_id(), containers=containers, wait=40)
    assert (told["changed"], told["problems"]) == (True, [])
    assert not cordoned(cluster)
    (pod,) = [pod for pod in cluster["ks1"].get("pods", "-l", "app=lb")["items"] if pod["spec"]["nodeName"] == "ka1"]
    assert pod["status"]["containerStatuses"][0]["containerID"] not in containers["default/lb"]


def test_a_rebooted_server_is_given_back_when_its_own_api_answers(cluster, call):
    node = {"node": "ks3", "run": RUN}
    delegate, box = cluster["ks1"], cluster["ks3"]
    assert delegate.module("k3s_node", state="drained", **node)["drained"]
    delegate.module("k3s_node", state="rebooting", **node)
    box.stop()
    gone = delegate.module("k3s_info", gather=["health"])["cluster"]
    assert {member["node"]: member["healthy"] for member in gone["etcd"]} == {"ks1": True, "ks2": True, "ks3": False}
    box.start()
    told = delegate.module("k3s_node", state="schedulable", boot_id=box.boot_id(), wait=40, **node)
    assert (told["changed"], told["problems"]) == (True, [])
    assert json.loads(box.kubectl("get", "--raw", "/version"))["major"] == "1"
    back = delegate.module("k3s_info", gather=["health"])["cluster"]
    assert all(member["healthy"] for member in back["etcd"])


def test_no_answer_is_unknown(claimed):
    box = claimed["ks2"]
    config = box.folder / "upper/etc/rancher/k3s/k3s.yaml"
    text = config.read_text()
    config.write_text(text.replace(":6443", ":6"))
    try:
        assert box.module("k3s_node", state="drained", node="ka1", run=RUN)["kind"] == "unknown"
        assert box.module("k3s_info", gather=["health"])["kind"] == "unknown"
    finally:
        config.write_text(text)


def test_a_node_is_forgotten_only_if_a_run_has_marked_it_and_it_is_not_ready(cluster, call):
    ks1 = cluster["ks1"]
    gone = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "gone"}}
    ks1.kubectl("apply", "-f", "-", stdin=json.dumps(gone))
    assert "no run has marked node gone" in call("forgotten", node="gone")["msg"]
    ks1.kubectl("annotate", "node", "gone", f"{OURS}=dead")
    assert call("forgotten", node="gone", _ansible_check_mode=True)["changed"] is True
    assert call("forgotten", node="gone")["changed"] is True
    assert call("forgotten", node="gone")["changed"] is False
    assert "gone" not in [
        item["metadata"]["name"] for item in json.loads(ks1.kubectl("get", "nodes", "-o", "json"))["items"]
    ]
    assert "node ka1 is Ready" in call("forgotten")["msg"]
