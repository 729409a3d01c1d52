"""K3s nodes in the plan: their order, who may not go and why, and what closes a cluster."""

import re

import pytest
from ansible_collections.homelab.patching.plugins.module_utils.core.problem import remedies
from ansible_collections.homelab.patching.plugins.module_utils.report import summary, text
from ansible_collections.homelab.patching.plugins.module_utils.run import plan as planning
from ansible_collections.homelab.patching.plugins.module_utils.run import waves as rolling
from ansible_collections.homelab.patching.plugins.module_utils.run.assessment import assessment

from tests.unit.k3s.clusters import NODES, etcd, facts, health, state
from tests.unit.run.assessments import NOW, OWNER, POLICY, UPDATE, WANTS_REBOOT, host, record

MACHINES = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5}
DEAD = {"run": "dead", "owner": {}, "expires": 0}
MARK = {"run": "dead", "phase": "reboot", "boot_id": "boot-4"}


def node(name, cluster=None, policy=None, role=None, **changes):
    """The assessment of a node."""
    number = MACHINES[name]
    local = facts(role or ("server" if number < 4 else "agent"), number)
    changes = {"reboot": WANTS_REBOOT, "k3s": local, "machine_id": f"machine-{number}", **changes}
    known = {"host": host(**changes)}
    return assessment({**POLICY, **(policy or {})}, {}, {}, known, {"cluster": cluster} if cluster else {})


def plan(names=MACHINES, told=None, plain=(), peers=(), dead=(), changes=None, accepted=()):
    """A plan of these nodes; the first two servers answer what `told` says."""
    told = told or health()
    every = {
        name: node(name, told if name in ("one", "two") else None, **(changes or {}).get(name, {}))
        for name in {*names, *peers}
    }
    hosts = {name: every[name] for name in names}
    hosts |= {name: assessment(POLICY, {}, {}, {"host": host(pending=[UPDATE])}) for name in plain}
    others = {name: every[name] for name in peers}
    return planning.make_plan("run-1", OWNER, hosts, set(dead), NOW, "patch", accepted, others)


def with_nodes(**changes):
    """A health whose nodes differ: node -> changes of its state."""
    return health(nodes={name: {**told, **changes.get(name, {})} for name, told in NODES.items()})


def test_agents_go_before_servers_and_the_delegate_last_each_alone_after_the_plain_hosts_of_its_ring():
    made = plan(plain=("web", "zap"))
    assert made["waves"] == [["web"], ["zap"], ["five"], ["four"], ["one"], ["three"], ["two"]]
    assert [step["step"] for step in made["hosts"]["four"]["steps"]] == [
        *("claim", "gate", "assess", "lock", "drain", "reboot", "restore", "settle", "prove")
    ]


def test_a_cluster_goes_with_the_lowest_ring_of_its_nodes():
    made = plan(plain=("web",), changes={"two": {"policy": {"ring": 10}}})
    assert made["waves"] == [["five"], ["four"], ["one"], ["three"], ["two"], ["web"]]


def test_a_node_with_nothing_to_do_is_in_no_wave():
    idle = {"reboot": {"required": False, "reasons": [], "expected": []}}
    made = plan(changes={name: idle for name in MACHINES if name != "four"})
    assert made["waves"] == [["four"]]
    assert made["held"] == ["five", "one", "three", "two"]


def test_an_upgrade_without_a_reboot_drains_nothing():
    calm = {"pending": [UPDATE], "reboot": {"required": False, "reasons": [], "expected": []}}
    made = plan(changes={name: calm for name in MACHINES})
    for entry in made["hosts"].values():
        assert [step["step"] for step in entry["steps"]] == [
            *("claim", "gate", "upgrade", "assess", "restart services", "settle", "prove")
        ]


@pytest.mark.parametrize(
    ("told", "refused", "says"),
    [
        (with_nodes(a5={"ready": False}), {"one", "two", "three", "four", "five"}, "node a5 is not Ready"),
        (health(etcd=etcd(1, 2)), {"one", "two", "three"}, "healthy"),
        (health(etcd=None), {"one", "two", "three"}, "the members of etcd are unknown"),
        (
            health(kured={"namespace": "kube-system", "name": "kured", "held": False}),
            set(MACHINES),
            "kured is in the cluster",
        ),
        (health(longhorn={"default/v": "degraded"}), set(MACHINES), "Longhorn's volumes are not healthy"),
        (health(plans=["system-upgrade/agent"]), set(MACHINES), "system-upgrade-controller applies"),
    ],
)
def test_what_speaks_against_a_node_refuses_it_with_cause_and_remedy(told, refused, says):
    hosts = plan(told=told)["hosts"]
    assert {name for name, entry in hosts.items() if entry["result"] == "refused"} == refused
    for name in refused:
        assert says in hosts[name]["reason"]
        assert remedies(hosts[name]["problems"])


def test_what_the_remedy_says_works():
    """What it names is set as it says, where a user sets it."""
    kured = {"namespace": "kube-system", "name": "kured", "held": False}
    for told, some in ((health(kured=kured), MACHINES), (health(), ["one", "two", "three", "four"])):
        (remedy,) = {entry["problems"][0]["remedy"] for entry in plan(some, told)["hosts"].values()}
        name, value = re.search(r"set patching_(\w+): (\w+)$", remedy).groups()
        allowed = {machine: {"policy": {name: value}} for machine in some}
        assert len(plan(some, told, changes=allowed)["waves"]) == len(some)


def test_an_api_that_is_silent_refuses_its_cluster_and_no_plain_host():
    hosts = {name: node(name) for name in MACHINES}
    hosts["web"] = assessment(POLICY, {}, {}, {"host": host(pending=[UPDATE])})
    made = planning.make_plan("run-1", OWNER, hosts, set(), NOW)
    assert made["waves"] == [["web"]]
    assert "the API answers on none of" in made["hosts"]["four"]["reason"]


def test_a_node_that_nobody_answers_for_refuses_its_cluster_unless_it_is_a_peer():
    some = ["one", "two", "three", "four"]
    assert "nobody keeps other work off a5" in plan(some)["hosts"]["four"]["reason"]
    made = plan(some, peers=["five"])
    assert made["waves"] == [["four"], ["one"], ["three"], ["two"]]
    assert made["held"] == ["five"]
    allowed = {name: {"policy": {"k3s_foreign_nodes": "announce"}} for name in some}
    assert len(plan(some, changes=allowed)["waves"]) == 4


def test_the_mark_of_a_dead_run_is_recovered_first():
    made = plan(told=with_nodes(s3={"mark": MARK}))
    assert made["waves"][0] == ["three"]
    assert [step["step"] for step in made["hosts"]["three"]["steps"]][:4] == [
        "claim",
        "recover",
        "recover node",
        "gate",
    ]
    assert made["k3s"]["clusters"]["a" * 64]["marked"] == {"three": "dead"}
    # Nobody had said so: its claims have expired, or are gone.
    assert made["dead"] == ["dead"]


def test_a_mark_that_cannot_be_recovered_now_stops_its_cluster():
    broken = {"kept_baseline": {"run": "dead", "baseline": {"failed_units": [], "listeners": [22, 10250]}}}
    made = plan(told=with_nodes(a4={"mark": MARK}), changes={"four": broken})
    assert made["waves"] == []
    assert "nothing listens on TCP port 10250 any more" in made["hosts"]["four"]["reason"]
    assert "node a4 is still marked by run dead" in made["hosts"]["five"]["reason"]


WEB = "deployment default/web"
KEPT = {
    "run": "dead",
    "baseline": {
        "failed_units": [],
        "listeners": [22],
        "k3s": {"workloads": {WEB: {"desired": 3, "ready": 3, "pinned": {}}}, "longhorn": None},
    },
}


def web(ready, **more):
    return {**health(workloads={WEB: {"desired": 3, "ready": ready, "pinned": {}}}), **more}


@pytest.mark.parametrize("how", ["it is told in the run", "it is told by a peer", "its claim kept it"])
def test_what_a_run_broke_in_a_cluster_closes_it_until_it_is_healthy_or_accepted(how):
    changes = {"four": {"kept_baseline": KEPT}}
    if how == "its claim kept it":
        changes = {"four": {"claim": {**DEAD, **KEPT}}}
    some = {"peers": ["four"], "names": [name for name in MACHINES if name != "four"]} if "peer" in how else {}
    hosts = plan(told=web(ready=2), changes=changes, **some)["hosts"]
    assert {entry["result"] for entry in hosts.values()} == {"refused"}
    assert f"{WEB} has 2 ready, and had 3" in hosts["one"]["reason"]
    assert "patching_accept=four" in remedies(hosts["one"]["problems"])
    if "four" in hosts:
        assert hosts["four"]["reason"] == f"{WEB} has 2 ready, and had 3 (run dead left it so)"
    for made in (
        plan(told=web(ready=3), changes=changes, **some),
        plan(told=web(ready=2), changes=changes, accepted=["four"], **some),
    ):
        assert made["waves"][-1] == ["two"]
    # What was kept is what the node is compared with at its end; what was accepted is forgotten.
    if "four" in made["hosts"]:
        assert made["hosts"]["four"]["before"]["baseline"]["k3s"]["workloads"][WEB]["ready"] == 2


def test_pods_that_wait_for_a_node_that_a_dead_run_cordoned_are_not_held_against_it():
    nodes = with_nodes(a4={"mark": MARK, "unschedulable": True})["nodes"]
    made = plan(told=web(ready=2, nodes=nodes), changes={"four": {"claim": {**DEAD, **KEPT}}})
    assert made["waves"][0] == ["four"]
    # They have to be ready again at its end.
    assert made["hosts"]["four"]["before"]["baseline"]["k3s"] == KEPT["baseline"]["k3s"]


def test_the_mark_of_a_live_run_stops_its_cluster():
    live = {"claim": {**DEAD, "expires": 1000}}
    made = plan(told=with_nodes(a4={"mark": MARK}), changes={"four": live})
    assert made["waves"] == []
    assert "claimed by run dead" in made["hosts"]["four"]["reason"]
    assert "node a4 is still marked by run dead" in made["hosts"]["five"]["reason"]


def test_what_a_drain_will_meet_stands_in_the_plan():
    forecast = {
        **{key: [] for key in ("job", "empty_dir", "local", "homeless")},
        "moving": 3,
        "no_disruption": [{"budget": "db/pg", "pods": ["db/pg-0"]}],
        "two_budgets": [{"pod": "web/a", "budgets": ["web/x", "web/y"]}],
        "bare": ["default/lonely"],
        "only": ["db/pg-0"],
    }
    made = plan(told=health(forecast={"a4": forecast}))
    (why,) = [step["why"] for step in made["hosts"]["four"]["steps"] if step["step"] == "drain"]
    assert why.startswith("3 pods move; PodDisruptionBudget db/pg allows no disruption of db/pg-0; web/a is under two")
    assert "no controller makes these anew, so they block the drain: default/lonely" in why
    assert max(len(line) for line in text.plan_lines(made)) <= 100


def test_the_health_of_a_node_is_its_units_and_the_ports_of_sshd_and_k3s():
    before = {"failed_units": ["x.service"], "listeners": [22, 80, 6443, 10250, 31000], "containers": 4}
    entry = plan(changes={"four": {"baseline": before}})["hosts"]["four"]
    assert entry["before"]["baseline"] == {
        **{"failed_units": ["x.service"], "listeners": [22, 6443, 10250], "containers": 0},
        "k3s": {"workloads": None, "longhorn": None},
    }


def test_a_failure_closes_its_cluster_and_no_other_wave():
    made = plan(plain=("web",), changes={name: {"policy": {"ring": 10}} for name in MACHINES})
    made["policy"]["max_failures"] = 5
    waves = made["waves"]
    assert waves == [["five"], ["four"], ["one"], ["three"], ["two"], ["web"]]
    records = {"five": record("patched"), "four": record("failed", reason="x")}
    assert rolling.next_go(made, 1, records, 0) == {"go": 2, "stopped": ""}
    assert rolling.next_go(made, 2, records, 0) == {"go": 6, "stopped": ""}
    # The nodes that were passed over are not lost.
    records["web"] = record("patched")
    assert rolling.next_go(made, 6, records, 0) == {"go": 7, "stopped": ""}
    end = summary.summarize(made, records)
    assert end["hosts"]["two"]["reason"] == "its cluster was closed after four"
    assert end["hosts"]["two"]["result"] == "not attempted"
    made["policy"]["max_failures"] = 0
    assert rolling.next_go(made, 2, records, 0)["go"] == 0


def test_two_clusters_go_one_after_the_other():
    other = "b" * 64
    hosts = {name: node(name, health() if name in ("one", "two") else None) for name in MACHINES}
    second = {"nodes": {"lone": state(9, ("control-plane",))}, "etcd": None, "forecast": {}}
    local = facts("server", 9, cluster=other, datastore="sqlite")
    known = {"host": host(reboot=WANTS_REBOOT, k3s=local, machine_id="machine-9")}
    hosts["alone"] = assessment(POLICY, {}, {}, known, {"cluster": {**health(), **second}})
    made = planning.make_plan("run-1", OWNER, hosts, set(), NOW)
    assert made["waves"] == [["alone"], ["five"], ["four"], ["one"], ["three"], ["two"]]
    assert "a lone node is not drained" in made["hosts"]["alone"]["steps"][4]["why"]
