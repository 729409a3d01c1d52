"""What one call of k3s_node does to a made-up cluster, and where it stops."""

import copy
import subprocess

import pytest
from ansible_collections.homelab.patching.plugins.module_utils.core.problem import PatchingError
from ansible_collections.homelab.patching.plugins.module_utils.host import claim_file, system
from ansible_collections.homelab.patching.plugins.module_utils.k3s import kubectl, local, transitions
from ansible_collections.homelab.patching.plugins.module_utils.k3s.node import BOOT_ID, HOLD, PHASE, RUN

from .objects import DAEMON, budget, node, pod

MINE, DEAD = "20261123T030000Z-mine", "20261123T020000Z-dead"
PARAMS = {"node": "n1", "run": MINE, "takeover": [], "cordon": True, "boot_id": "", "containers": {}}
PARAMS |= {"wait": 0, "recover": False}


class Api:
    """An API server with nodes and pods, and a kubectl that evicts what no budget keeps."""

    def __init__(self, *pods, budgets=(), stderr=""):
        self.nodes = {name: node(name) for name in ("n1", "n2")}
        for each in self.nodes.values():
            each["metadata"] |= {"resourceVersion": "7", "annotations": {}}
            each["status"]["nodeInfo"] = {"bootID": "old"}
        self.pods, self.budgets, self.stderr = list(pods), list(budgets), stderr
        self.commands, self.ready = [], True

    def left(self):
        return 40.0

    def every(self, *_kinds):
        found = {"Node": list(self.nodes.values()), "Pod": self.pods, "PodDisruptionBudget": self.budgets}
        return copy.deepcopy(found | {"DaemonSet": [{"metadata": {"namespace": "default", "name": "svclb"}}]})

    def apply_node(self, name, annotations, unschedulable, version="", manager=kubectl.MANAGER):
        self.commands.append((manager, unschedulable, version))
        if manager == kubectl.MANAGER:
            self.nodes[name]["metadata"]["annotations"] = dict(annotations)
            self.nodes[name]["spec"] = {"unschedulable": True} if unschedulable else {}
        return self.nodes[name]

    def run(self, *words, seconds):
        self.commands.append(words)
        kept = [] if not self.budgets else self.pods
        self.pods = [each for each in self.pods if each in kept or each["metadata"]["ownerReferences"] == [DAEMON]]
        return subprocess.CompletedProcess(words, 1, "", self.stderr)

    def text(self, *words):
        self.commands.append(words)

    def ready_at(self, addresses, _path="/readyz"):
        return dict.fromkeys(addresses, self.ready)

    def mark(self, name, run, phase="drain", cordoned=True, **annotations):
        self.nodes[name]["metadata"]["annotations"] = {RUN: run, PHASE: phase, BOOT_ID: "old", **annotations}
        self.nodes[name]["spec"] = {"unschedulable": True} if cordoned else {}
        return self


def stop(kind, action, api, **params):
    """The action stops with this kind of failure; what it has said."""
    with pytest.raises(PatchingError) as caught:
        action(api, {**PARAMS, **params}, False)
    assert transitions.kind(caught.value) == kind
    return str(caught.value)


def test_a_slice_cordons_marks_and_drains():
    api = Api(pod("web-a"), pod("lb", owner=DAEMON))
    result = transitions.drained(api, PARAMS, False)
    assert (result["drained"], result["evicted"], result["grace"]) == (True, ["default/web-a"], 30)
    # The node was read in this version; the drain comes after the cordon, never forces, and has an end.
    (cordon, drain) = api.commands
    assert cordon == (kubectl.MANAGER, True, "7")
    assert drain == ("drain", "n1", "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=28s")
    assert api.nodes["n1"]["metadata"]["annotations"] == {RUN: MINE, PHASE: "drain", BOOT_ID: "old"}


def test_an_empty_node_is_cordoned_and_not_drained():
    api = Api(pod("lb", owner=DAEMON))
    assert transitions.drained(api, PARAMS, False)["drained"]
    assert api.commands == [(kubectl.MANAGER, True, "7")]
    assert not transitions.drained(api, PARAMS, False)["changed"]


def test_check_mode_says_what_would_go_and_does_nothing():
    api = Api(pod("web-a"))
    result = transitions.drained(api, PARAMS, True)
    assert (result["changed"], result["drained"], result["evicted"]) == (True, False, ["default/web-a"])
    assert api.commands == []


def test_what_a_budget_keeps_is_named():
    error = 'error when evicting pods/"web-a" -n "default" (will retry after 5s): Cannot evict pod'
    result = transitions.drained(Api(pod("web-a"), budgets=[budget("web")], stderr=error), PARAMS, False)
    assert (result["drained"], result["evicted"], result["hopeless"]) == (False, [], False)
    assert [each["name"] for each in result["blocked"]] == ["default/web"]


@pytest.mark.parametrize("action", [transitions.drained, transitions.rebooting])
def test_an_uncordon_by_somebody_else_ends_the_work(action):
    api = Api(pod("web-a")).mark("n1", MINE, cordoned=False)
    stop("uncordoned", action, api)
    assert api.nodes["n1"]["metadata"]["annotations"] == {}
    assert api.pods


@pytest.mark.parametrize("action", [transitions.drained, transitions.rebooting, transitions.schedulable])
def test_the_mark_of_another_run_is_left_alone(action):
    assert "node n2 is marked by run" in stop("foreign", action, Api().mark("n2", DEAD))
    assert "node n1 is marked by run" in stop("foreign", action, Api().mark("n1", DEAD))
    # That of a dead run on another node is none of this work, also where it is taken over.
    stop("foreign", action, Api().mark("n2", DEAD), takeover=[DEAD])


def test_the_mark_of_a_dead_run_is_taken_over():
    api = Api().mark("n1", DEAD)
    assert transitions.drained(api, {**PARAMS, "takeover": [DEAD]}, False)["changed"]
    assert api.nodes["n1"]["metadata"]["annotations"][RUN] == MINE


def test_what_the_api_does_not_know_is_refused():
    assert "knows no node nobody" in stop("refused", transitions.drained, Api(), node="nobody")


def test_only_a_drained_node_is_marked_for_its_reboot():
    stop("refused", transitions.rebooting, Api())
    up = {"containerStatuses": [{"ready": True, "containerID": "c"}]}
    api = Api(pod("lb", owner=DAEMON, status=up)).mark("n1", MINE)
    assert transitions.rebooting(api, PARAMS, False)["containers"] == {"default/svclb": ["c"]}
    assert api.nodes["n1"]["metadata"]["annotations"][PHASE] == "reboot"
    assert not transitions.rebooting(api, PARAMS, False)["changed"]
    # A lone node is marked and stays schedulable.
    alone = Api()
    transitions.rebooting(alone, {**PARAMS, "cordon": False}, False)
    assert alone.nodes["n1"]["spec"] == {}


def test_a_node_is_given_back():
    api = Api().mark("n1", MINE)
    result = transitions.schedulable(api, PARAMS, False)
    assert (result["changed"], result["unschedulable"], result["problems"]) == (True, False, [])
    assert api.nodes["n1"]["metadata"]["annotations"] == {}
    assert not transitions.schedulable(api, PARAMS, False)["changed"]


@pytest.mark.parametrize(
    ("more", "boot", "says"),
    [
        ({}, "old", "was to be rebooted, and still runs in the boot from before"),
        ({"recover": True}, "old", ""),
        ({"boot_id": "new"}, "old", "still shows the boot from before"),
        ({"boot_id": "new"}, "new", ""),
    ],
)
def test_a_node_in_the_middle_of_its_reboot_is_given_back_in_its_new_boot(more, boot, says):
    api = Api().mark("n1", MINE, "reboot")
    api.nodes["n1"]["status"]["nodeInfo"]["bootID"] = boot
    result = transitions.schedulable(api, {**PARAMS, **more}, False)
    assert result["changed"] is not bool(says)
    assert says in " ".join(each["cause"] for each in result["problems"])


@pytest.mark.parametrize("ready", [True, False])
def test_a_server_is_given_back_when_its_own_api_is_ready(ready):
    api = Api().mark("n1", MINE, "reboot")
    api.ready = ready
    server = api.nodes["n1"]
    server["metadata"]["labels"] = {"node-role.kubernetes.io/control-plane": "true"}
    server["status"] |= {"nodeInfo": {"bootID": "new"}, "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]}
    assert transitions.schedulable(api, {**PARAMS, "boot_id": "new"}, False)["changed"] is ready


def test_a_cordon_that_somebody_wants_kept_is_theirs_before_ours_goes():
    api = Api().mark("n1", MINE, **{HOLD: "true"})
    transitions.schedulable(api, PARAMS, False)
    assert [manager for manager, _unschedulable, _version in api.commands] == ["homelab-patching-hold", kubectl.MANAGER]


def test_only_a_marked_node_that_is_not_ready_is_forgotten():
    gone = Api().mark("n1", DEAD)
    stop("refused", transitions.forgotten, gone)
    gone.nodes["n1"]["status"]["conditions"] = []
    assert transitions.forgotten(gone, PARAMS, True)["changed"] and gone.commands == []
    assert transitions.forgotten(gone, PARAMS, False)["changed"]
    assert gone.commands == [("delete", "node", "n1", "--wait=false")]
    unmarked = Api()
    unmarked.nodes["n1"]["status"]["conditions"] = []
    assert "k3s kubectl delete node n1" in stop("refused", transitions.forgotten, unmarked)
    assert not transitions.forgotten(Api(), {**PARAMS, "node": "n9"}, False)["changed"]


@pytest.fixture
def host(tmp_path, monkeypatch):
    """A host whose claim and K3s can be chosen; nothing is asked of a cluster."""
    monkeypatch.setattr(system, "LOCK", tmp_path / "lock")
    monkeypatch.setattr(claim_file, "CLAIM", tmp_path / "claim.json")
    monkeypatch.setattr(local, "server", lambda: "k3s")
    monkeypatch.setattr(kubectl, "Api", lambda *_given: Api(pod("web-a")))
    claim_file.CLAIM.write_text(f'{{"run": "{MINE}", "expires": 4e9}}')
    return monkeypatch


def test_a_call_has_its_seconds(host):
    assert transitions.bring({**PARAMS, "state": "drained"}, False)["seconds"] >= 0


@pytest.mark.parametrize(
    ("claim", "binary", "kind"), [('{"run": "other", "expires": 4e9}', "k3s", "claim"), ("", None, "refused")]
)
def test_nothing_is_asked_of_a_cluster_by_who_may_not(host, claim, binary, kind):
    if claim:
        claim_file.CLAIM.write_text(claim)
    host.setattr(local, "server", lambda: binary)
    host.setattr(kubectl, "Api", None)
    with pytest.raises(PatchingError) as caught:
        transitions.bring({**PARAMS, "state": "drained"}, False)
    assert transitions.kind(caught.value) == kind


@pytest.mark.parametrize(
    ("error", "kind"),
    [(kubectl.Unknown("m"), "unknown"), (kubectl.Conflict("m"), "changed"), (kubectl.Missing("m"), "refused")],
)
def test_kinds_of_failures(error, kind):
    assert transitions.kind(error) == kind
