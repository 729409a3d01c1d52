"""The monthly run on a cluster with one server: drained, rebooted, proved, given back. Asked of API and machines."""

import json
import time
from itertools import cycle, product

import pytest

from tests.faults.clusters import SOON, Cluster, Watcher, policy, whole
from tests.faults.conftest import at, awake, results, version
from tests.faults.test_killed import FULL, killed
from tests.support import ask, lab, state

# The order of the run: agents, then the server; before them the plain host.
SERVER, AGENTS, PLAIN = "app1", ["db1", "web1"], "app2"
NODES = [*AGENTS, SERVER]
EVERYBODY = [*NODES, PLAIN]


@pytest.fixture(scope="module")
def one(machines):
    """A server with sqlite and two agents, and a Deployment of three that can spare one."""
    lab("reset", "--plain", *EVERYBODY)
    cluster = Cluster([SERVER], AGENTS, etcd=False)
    cluster.deploy("web", 3, minimum=2)
    return cluster


def test_a_roll_over_a_cluster_with_one_server(one, pending, run):
    pending(*EVERYBODY)
    before = {host: state(host).boot_id for host in EVERYBODY}
    with Watcher(one, "web") as watcher:
        played = run("patch", policy=policy(*EVERYBODY))
    assert played.status == 0
    assert results(played) == dict.fromkeys(sorted(EVERYBODY), "patched")
    assert all(state(host).boot_id != before[host] for host in EVERYBODY)
    assert whole(one, *NODES)
    for host in NODES:
        steps = ["claim", "gate", "upgrade", "assess", "lock", "drain", "reboot", "restore", "settle", "prove"]
        assert [step["name"] for step in played.report["hosts"][host]["steps"]] == steps
    # One at a time, each of them once, and the Deployment kept what its budget asks for.
    assert {name for gone in watcher.out for name in gone} == {one.node(host) for host in NODES}
    assert max(len(gone) for gone in watcher.out) == 1
    assert min(watcher.ready) >= 2


def test_a_node_without_a_reboot_is_not_drained_and_one_with_nothing_to_do_not_touched(one, pending, run):
    name = pending(AGENTS[0], reboot=False)
    with Watcher(one, "web") as watcher:
        played = run("patch", policy=policy(*EVERYBODY))
    assert played.status == 0
    assert results(played) == {**dict.fromkeys(EVERYBODY, "nothing to do"), AGENTS[0]: "patched"}
    assert version(AGENTS[0], name) == "2.0"
    assert watcher.out and not any(watcher.out)
    assert whole(one, *NODES)


def test_a_budget_that_allows_nothing_fails_or_skips_and_is_named(one, pending, run):
    first, second = AGENTS
    one.deploy("stuck", 1, minimum=1, node=one.node(first))
    try:
        pending(first, second, PLAIN)
        before = state(first).boot_id
        more = {"patching_k3s_drain_timeout": 5, "patching_max_failures": 5}
        played = run("patch", policy=policy(*EVERYBODY, **more))
        assert played.status != 0
        # Its cluster is closed, whatever is tolerated; a plain host is not in it.
        assert results(played) == {
            **{first: "failed", second: "not attempted", SERVER: "nothing to do", PLAIN: "patched"}
        }
        assert "PodDisruptionBudget default/stuck" in played.report["hosts"][first]["reason"]
        assert played.report["hosts"][second]["reason"] == f"its cluster was closed after {first}"
        assert state(first).boot_id == before
        assert whole(one, *NODES)
        played = run("patch", policy=policy(*EVERYBODY, **more, patching_k3s_on_blocked="skip"))
        assert played.status != 0
        assert results(played) == {
            **{first: "reboot pending", second: "patched", SERVER: "nothing to do", PLAIN: "nothing to do"}
        }
        assert "default/stuck" in played.report["hosts"][first]["reason"]
        assert state(first).boot_id == before
        assert whole(one, *NODES)
    finally:
        one.kubectl("delete", "deployment,pdb", "stuck")
        ask(first, "rm -f /run/reboot-required*")


def test_the_cordon_of_an_admin_stays(one, pending, run):
    node = one.node(AGENTS[0])
    pending(AGENTS[0])
    one.kubectl("cordon", node)
    before = state(AGENTS[0]).boot_id
    try:
        assert run("patch", policy=policy(*NODES)).status == 0
        assert state(AGENTS[0]).boot_id != before
        assert one.nodes()[node]["unschedulable"] and not one.nodes()[node]["marks"]
    finally:
        one.kubectl("uncordon", node)
    assert whole(one, *NODES)


# By default after what changes a node the most, healed by turns; with FULL=1 after every task that changes something.
GRAVE = ("The node is drained", "patch_reboot : Reboot")


@pytest.mark.parametrize("role", ["agent", "server"] if FULL else ["agent"])
def test_killed_at_the_boundaries_of_a_node(one, pending, run, tmp_path, role):
    """Only a part of the cluster is in the run that is killed: all of it is claimed."""
    host = SERVER if role == "server" else AGENTS[0]
    pending(host)
    played, lines = killed(run, tmp_path, policy=policy(host))
    assert played.status == 0
    tasks = [line["task"] for line in lines if "start" in line]
    changing = sorted({line["changed"] for line in lines if "changed" in line})
    grave = [number for number in changing if tasks[number].endswith(GRAVE)]
    assert len(grave) == len(GRAVE)
    healers = ["patch", "recover"]
    tried = list(product(changing, healers)) if FULL else list(zip(grave, cycle(healers), strict=False))
    print(f"{len(changing)} tasks change something; killed after {len({number for number, _healer in tried})} of them")
    for number, healer in tried:
        what = f"killed after task {number}, {tasks[number]}; then {healer}"
        print(what)
        name = pending(host)
        before = state(host)
        played, _lines = killed(run, tmp_path, number + 1, policy=policy(host))
        assert played.status == -9, what
        left = state(host)
        healed = run(healer, policy=policy(*NODES, **SOON))
        assert healed.status == 0, what
        after = state(host)
        upgraded = left.packages.get(name) == "2.0"
        assert after.packages.get(name) == ("2.0" if healer == "patch" or upgraded else "1.0"), what
        assert not after.wants_reboot, what
        if before.leftovers != left.leftovers:
            assert "left by run" in healed.output, what
        # Never rebooted twice for one update.
        if left.boot_id != before.boot_id:
            assert after.boot_id == left.boot_id, what
        assert whole(one, *NODES), what


def test_a_node_that_comes_back_without_its_kubelet_stays_cordoned_and_closes_its_cluster(one, pending, run):
    first, second = AGENTS
    pending(first, second, PLAIN)
    before = state(second).boot_id
    more = {"patching_k3s_node_timeout": 15, "patching_max_failures": 5}
    broken = at(first, "patch_reboot : Reboot", "shell", first, "systemctl", "disable", "-q", "k3s-agent")
    played = run("patch", policy=policy(*EVERYBODY, **more), moments=[broken])
    assert played.status != 0
    assert results(played) == {**{first: "failed", second: "not attempted", SERVER: "nothing to do", PLAIN: "patched"}}
    assert one.nodes()[one.node(first)]["unschedulable"]
    assert state(second).boot_id == before
    # Not mended: nobody else of the cluster is touched.
    assert results(run("patch", policy=policy(*EVERYBODY, **more)))[second] == "refused"
    ask(first, "systemctl enable -q --now --no-block k3s-agent")
    one.until_ready(NODES)
    healed = run("patch", policy=policy(*EVERYBODY, **SOON))
    assert healed.status == 0
    assert whole(one, *NODES)


def test_an_api_that_does_not_answer_refuses_its_cluster_and_no_other(one, pending, run):
    name = pending(AGENTS[0], PLAIN)
    ask(SERVER, "systemctl stop k3s; pkill -x k3s || true")
    try:
        played = run("patch", policy=policy(*EVERYBODY))
    finally:
        ask(SERVER, "systemctl start --no-block k3s")
    assert played.status != 0
    assert (results(played)[AGENTS[0]], results(played)[PLAIN]) == ("refused", "patched")
    assert "the API answers on none of app1" in played.report["hosts"][AGENTS[0]]["reason"]
    assert version(AGENTS[0], name) == "1.0"
    one.until_ready(NODES)
    assert run("patch", policy=policy(*EVERYBODY)).status == 0


# Between gate and reboot it is the fence that holds, on a node as on a plain host (test_claims.py).
@pytest.mark.parametrize(
    "where", ["Call | Make sure that the host is still this run's", *(["patch_reboot : Reboot"] if FULL else [])]
)
def test_a_run_that_slept_past_its_claims_touches_nothing_more(one, pending, run, asleep, where):
    """Once between gate and reboot, once in a drain that a budget blocks."""
    host = AGENTS[0]
    name = pending(host)
    before = state(host).boot_id
    blocked = where.startswith("Call")
    if blocked:
        one.deploy("stuck", 1, minimum=1, node=one.node(host))
    # In the drain the first call has cordoned the node.
    first = asleep(host, where, {"patching_hosts": host, "patching_claim_seconds": 40}, past=int(blocked))
    one.kubectl("delete", "deployment,pdb", "stuck", "--ignore-not-found")
    assert one.nodes()[one.node(host)]["unschedulable"] and state(host).boot_id == before
    time.sleep(41)
    with Watcher(one, "web") as watcher:
        second = run("patch", policy=policy(*NODES, **SOON))
        assert second.status == 0
        once = state(host).boot_id
        assert once != before
        awake(first)
        time.sleep(5)
    assert first.returncode != 0
    assert max(len(gone) for gone in watcher.out) == 1
    assert state(host).boot_id == once and version(host, name) == "2.0"
    assert whole(one, *NODES)


def test_nobody_works_on_a_second_node_while_a_run_has_one(one, pending, run, asleep):
    """Neither another run nor the daily update, which has its own hour."""
    first, second = AGENTS
    name = pending(first, second)
    busy = asleep(first, "Upgrade", {"patching_hosts": first})
    holder = json.loads(ask(second, "cat /var/lib/homelab-patching/claim.json"))["run"]
    played = run("patch", policy=policy(second))
    assert played.status != 0
    assert results(played) == {second: "refused"}
    assert f"claimed by run {holder}" in played.report["hosts"][second]["reason"]
    skipped = "journalctl --unit apt-daily-upgrade.service --output cat | grep -c 'Skipped due to' || true"
    assert ask(second, f"systemctl start apt-daily-upgrade.service; {skipped}") == "1"
    awake(busy)
    assert busy.returncode == 0
    assert (version(first, name), version(second, name)) == ("2.0", "1.0")
    assert run("patch", policy=policy(*NODES)).status == 0
    assert version(second, name) == "2.0"
    assert whole(one, *NODES)


def test_what_a_run_breaks_in_the_cluster_stays_red_until_it_is_healthy_or_accepted(one, pending, run):
    first, second = AGENTS
    pending(first, second, reboot=False)
    one.deploy("fragile", 1)
    nowhere = {"spec": {"strategy": {"type": "Recreate", "rollingUpdate": None}}}
    nowhere["spec"]["template"] = {"spec": {"nodeSelector": {"nowhere": "x"}}}
    breaking = ["/usr/local/bin/k3s", "kubectl", "patch", "deployment", "fragile", "-p", json.dumps(nowhere)]
    soon = {"patching_k3s_settle_timeout": 5, "patching_max_failures": 5}
    # As an upgrade might: no node is rebooted.
    played = run("patch", policy=policy(*NODES, **soon), moments=[at(first, "Upgrade", "shell", SERVER, *breaking)])
    assert played.status != 0
    assert results(played) == {**{first: "failed", second: "not attempted", SERVER: "nothing to do"}}
    told = "deployment default/fragile has 0 ready, and had 1"
    assert told in played.report["hosts"][first]["reason"]
    # Running again does not launder it, also not from another node.
    played = run("patch", policy=policy(*NODES, **soon))
    assert results(played)[first] == results(played)[second] == "refused"
    assert told in played.report["hosts"][first]["reason"]
    played = run("patch", policy=policy(second, **soon))
    assert results(played) == {second: "refused"}
    assert f"patching_accept={first}" in played.report["hosts"][second]["remedy"]
    # Taken as it is, or mended.
    assert results(run("patch", policy=policy(second, patching_accept=first)))[second] == "patched"
    one.kubectl("delete", "deployment", "fragile")
    assert results(run("patch", policy=policy(*NODES)))[first] == "patched"
    assert whole(one, *NODES)


def test_two_clusters_in_one_run_go_one_after_the_other_and_a_lone_node_is_not_drained(one, pending, run):
    """After this the plain host is a cluster of its own."""
    lone = Cluster([PLAIN], [], etcd=False)
    lone.deploy("only", 1)
    pending(AGENTS[0], PLAIN)
    before = state(PLAIN).boot_id
    with Watcher(one, "web") as watcher, Watcher(lone, "only") as beside:
        played = run("patch", policy=policy(*EVERYBODY))
    assert played.status == 0
    assert results(played) == {
        **dict.fromkeys(NODES, "nothing to do"),
        **dict.fromkeys([AGENTS[0], PLAIN], "patched"),
    }
    assert state(PLAIN).boot_id != before
    assert {name for gone in watcher.out for name in gone} == {one.node(AGENTS[0])}
    # It was away, and never cordoned; that is what `unschedulable` at its end would show as well.
    assert not any(gone for gone in beside.cordoned)
    assert whole(one, *NODES) and whole(lone, PLAIN)
