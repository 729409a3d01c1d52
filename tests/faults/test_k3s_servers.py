"""The monthly run on three servers with etcd: quorum, delegates, members that are gone. Asked of the API."""

import json
import time

import pytest

from tests.faults.clusters import SOON, Cluster, Watcher, policy, whole
from tests.faults.conftest import at, results
from tests.faults.test_killed import FULL
from tests.support import ask, lab, state

SERVERS, WORKERS = ["app1", "db1", "web1"], ["app2", "app3"]
MEMBERS = [*SERVERS, *WORKERS]


@pytest.fixture(scope="module")
def three(machines):
    """Three servers with etcd and two agents; these hosts are no other cluster any more."""
    lab("reset", "--plain", *MEMBERS)
    cluster = Cluster(SERVERS, WORKERS, etcd=True)
    cluster.deploy("web", 3, minimum=2)
    return cluster


def test_a_roll_over_three_servers_with_etcd_and_two_agents(three, pending, run):
    pending(*MEMBERS)
    with Watcher(three, "web") as watcher:
        played = run("patch", policy=policy(*MEMBERS))
    assert played.status == 0
    assert results(played) == dict.fromkeys(sorted(MEMBERS), "patched")
    assert whole(three, *MEMBERS)
    assert {name for gone in watcher.out for name in gone} == {three.node(host) for host in MEMBERS}
    assert max(len(gone) for gone in watcher.out) == 1
    assert min(watcher.ready) >= 2
    # Agents first, then the servers.
    order = [name for gone in watcher.out for name in gone]
    assert max(order.index(three.node(host)) for host in WORKERS) < min(
        order.index(three.node(host)) for host in SERVERS
    )


def test_the_server_that_is_asked_dies_in_the_middle_of_a_drain(three, pending, run):
    host, delegate = WORKERS[0], SERVERS[-1]
    pending(host)
    before = state(host).boot_id
    # The first call has cordoned the node; the server is gone for good before the next.
    dies = at(host, "Drain | Mark the reboot", "shell", delegate, "systemctl", "mask", "--runtime", "--now", "k3s")
    try:
        played = run("patch", policy=policy(host), moments=[dies])
        assert results(played) == {host: "patched"}
        assert state(host).boot_id != before
    finally:
        ask(delegate, "systemctl unmask --runtime k3s && systemctl start --no-block k3s")
    three.until_ready(MEMBERS)
    assert whole(three, *MEMBERS)


def test_a_member_of_etcd_that_is_down_keeps_every_server_as_it_is(three, pending, run):
    down = SERVERS[1]
    pending(SERVERS[0], down, WORKERS[0], reboot=False)
    before = {host: state(host).boot_id for host in SERVERS}
    ask(down, "systemctl stop k3s; pkill -x k3s || true")
    try:
        played = run("patch", policy=policy(*MEMBERS))
        assert played.status != 0
        assert {results(played)[host] for host in (SERVERS[0], down)} == {"refused"}
        assert {host: state(host).boot_id for host in SERVERS} == before
    finally:
        # The API shows its node as Ready for a while after it has died.
        ask(down, "systemctl start --no-block k3s; until k3s kubectl get --raw /readyz > /tmp/ready; do sleep 1; done")
    three.until_ready(MEMBERS)
    assert run("patch", policy=policy(*MEMBERS)).status == 0
    assert whole(three, *MEMBERS)


@pytest.mark.skipif(not FULL, reason="only with FULL=1")
def test_a_member_of_etcd_that_reaches_nobody_after_its_reboot_stays_cordoned(three, pending, run):
    """Its kubelet and its own API server run: only a quorum read through its own member tells."""
    first, host, last = SERVERS
    peers = [each["address"] for each in json.loads(lab("status", "--json"))["hosts"] if each["name"] in (first, last)]
    drop_in = "/etc/systemd/system/k3s.service.d"
    lines = ["[Service]", *(f"ExecStartPre=/bin/ip route replace blackhole {peer}" for peer in peers)]
    quoted = "' '".join(lines)
    script = f"mkdir -p {drop_in} && printf '%s\\n' '{quoted}' > {drop_in}/alone.conf"
    pending(host, first)
    before = state(first).boot_id
    cut = at(host, "patch_reboot : Reboot", "shell", host, "sh", "-c", script)
    more = {"patching_k3s_node_timeout": 20, "patching_max_failures": 5}
    played = run("patch", policy=policy(host, **more), moments=[cut])
    assert results(played) == {host: "failed"} and played.status != 0
    assert three.nodes()[three.node(host)]["unschedulable"]
    # Nobody else of its cluster is touched meanwhile.
    assert results(run("patch", policy=policy(first, **more)))[first] == "refused"
    assert state(first).boot_id == before
    mend = "; ".join(f"ip route del blackhole {peer}" for peer in peers)
    ask(host, f"rm -r {drop_in} && systemctl daemon-reload && {mend}")
    ask(host, "until k3s kubectl get --raw /readyz > /tmp/ready; do sleep 1; done")
    three.until_ready(MEMBERS)
    assert run("patch", policy=policy(*MEMBERS, **SOON)).status == 0
    assert whole(three, *MEMBERS)


def test_a_node_that_is_gone_for_good_is_forgotten_and_the_rest_goes_on(three, pending, run):
    """The last one: the cluster has one node less after it."""
    gone, *rest = [WORKERS[1], WORKERS[0], *SERVERS]
    node = three.node(gone)
    pending(gone, rest[0])
    kill = {"host": gone, "task": "patch_reboot : Reboot", "run": ["sh", "-c", "kill -9 $PPID"]}
    assert run("patch", policy=policy(gone), moments=[kill]).status == -9
    # While it is there it is not forgotten.
    told = run("recover", policy=policy(*rest, patching_forget=node))
    assert told.status != 0 and f"node {node} is not gone" in told.output
    lab("stop", gone)
    deadline = time.monotonic() + 120
    while three.nodes()[node]["ready"]:
        assert time.monotonic() < deadline
        time.sleep(2)
    played = run("patch", policy=policy(*rest))
    assert results(played)[rest[0]] == "refused"
    assert f"node {node} is still marked by run" in played.report["hosts"][rest[0]]["reason"]
    run("recover", policy=policy(*rest, patching_forget=node))
    assert node not in three.nodes()
    healed = run("patch", policy=policy(*rest))
    assert healed.status == 0
    assert results(healed)[rest[0]] == "patched"
    assert whole(three, *rest)
