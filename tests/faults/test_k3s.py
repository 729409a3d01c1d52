"""The monthly run on K3s nodes: drained, rebooted, proved and given back, one at a time. Asked of API and machines."""

import pytest

from tests.faults.clusters import Cluster, Watcher, binary
from tests.faults.test_failures import package, results, small  # noqa: F401 - fixtures
from tests.support import ask, state

pytestmark = pytest.mark.skipif(
    binary() is None, reason="no K3s: build the stand-in with tools/standin, or name a binary: K3S_BINARY=/path/k3s"
)
SERVER, AGENTS, PLAIN = "app1", ["db1", "web1"], "app2"
ALL = {"patching_hosts": f"{SERVER}:{':'.join(AGENTS)}:{PLAIN}"}


def test_a_cluster_with_one_server(small, package, run):  # noqa: F811
    hosts = [SERVER, *AGENTS, PLAIN]
    small(*hosts)
    cluster = Cluster([SERVER], AGENTS, etcd=False)
    cluster.deploy("web", 3, minimum=2)
    package("lab-roll", *hosts, new=("--postinst", "touch /run/reboot-required"))
    before = {host: state(host).boot_id for host in hosts}
    with Watcher(cluster, "web") as watcher:
        played = run("patch", policy=ALL)
    assert played.status == 0
    assert results(played) == dict.fromkeys(sorted(hosts), "patched")
    nodes = cluster.nodes()
    for host in hosts:
        now = state(host)
        assert now.boot_id != before[host]
        assert now.leftovers == []
        if host != PLAIN:
            node = nodes[cluster.node(host)]
            assert node["ready"] and not node["unschedulable"] and not node["marks"]
            assert node["boot_id"] == now.boot_id
    assert {name for gone in watcher.out for name in gone} == {cluster.node(host) for host in hosts if host != PLAIN}
    assert max(len(gone) for gone in watcher.out) == 1
    assert min(watcher.ready) >= 2
    # Nothing to do: no node is touched.
    with Watcher(cluster, "web") as watcher:
        again = run("patch", policy=ALL)
    assert again.status == 0
    assert set(results(again).values()) == {"nothing to do"}
    assert not any(watcher.out)
    assert ask(SERVER, "ls /usr/local/bin/k3s")
