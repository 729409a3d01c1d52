"""Role k3s_maintenance on a real cluster: whom it asks, what it leaves behind, and what it says."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.homelab.patching.plugins.module_utils.k3s.topology import topology

from tests.k3s import boxes
from tests.k3s.boxes import CHECKOUT
from tests.k3s.conftest import RUN, has_roles, ready
from tests.k3s.test_node import cordoned, marks

BIN = Path(sys.executable).parent


@pytest.fixture
def play(claimed, tmp_path):
    """Run an entry point on ka1; hosts are called host-NODE. Returns status, output and what the role came to."""
    for name, box in claimed.items():
        box.interpreter(tmp_path / f"python-{name}")
    hosts = {
        f"host-{name}": {"ansible_connection": "local", "ansible_python_interpreter": str(tmp_path / f"python-{name}")}
        for name in claimed
    }
    # A server that died: nobody is at that address.
    hosts["ghost"] = {"ansible_host": "198.18.250.99", "ansible_ssh_common_args": "-o ConnectTimeout=1"}
    inventory = tmp_path / "hosts.json"
    inventory.write_text(json.dumps({"all": {"hosts": hosts}}))
    local = {name: box.module("k3s_info", gather=["local"])["local"] for name, box in claimed.items()}
    health = claimed["ks1"].module("k3s_info", gather=["health", "workloads"])["cluster"]
    found = topology({f"host-{name}": told for name, told in local.items()}, {"host-ks1": health})
    (cluster,) = found["clusters"].values()

    def play(entry, cluster=cluster, target="host-ka1", **variables):
        result = tmp_path / "result.json"
        result.unlink(missing_ok=True)
        given = {
            "target": target,
            "entry": entry,
            "result": str(result),
            "k3s_maintenance_run": RUN,
            "k3s_maintenance_cluster": cluster,
            **variables,
        }
        done = subprocess.run(
            [BIN / "ansible-playbook", "-i", inventory, CHECKOUT / "tests/k3s/role.yml", "-e", json.dumps(given)],
            cwd=CHECKOUT,
            env={
                **os.environ,
                "ANSIBLE_NOCOLOR": "1",
                "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / ".build/collections"),
            },
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        print(done.stdout + done.stderr)
        told = json.loads(result.read_text()) if result.exists() else {}
        return done.returncode, " ".join(done.stdout.split()), told

    play.cluster = cluster
    play.health = health
    return play


def test_skipping_is_for_blocked_drains_only(cluster, play):
    cluster["ka1"].module("host_claim", run="other", seconds=3600, takeover=[RUN])
    status, output, _told = play("drain", k3s_maintenance_on_blocked="skip")
    assert status == 2
    assert f"the host is not claimed by run {RUN} any more, but by run other" in output
    assert (cordoned(cluster), marks(cluster)) == (False, {})


def test_the_gate_names_what_speaks_against_it_and_nothing_is_touched(cluster, play, deploy):
    deploy("kured", kind="DaemonSet")
    status, output, _told = play("drain")
    assert status == 2
    assert "kured is in the cluster and may reboot another node meanwhile" in output
    assert "weave.works/kured-node-lock=" in output
    assert (cordoned(cluster), marks(cluster)) == (False, {})
    status, _output, told = play("gate", k3s_maintenance_kured="ignore")
    assert (status, told["gate"]["problems"]) == (0, [])


def test_a_host_that_says_nothing_is_not_at_rest(cluster, play):
    status, output, _told = play("gate", cluster={**play.cluster, "order": [*play.cluster["order"], "ghost"]})
    assert status == 2
    assert "ghost does not say whether it is at rest" in output


def test_an_api_that_says_nothing_is_unknown(play):
    nobody = {**play.cluster, "servers": ["ghost"], "delegate": "ghost"}
    status, output, _told = play("gate", cluster=nobody)
    assert status == 2
    assert "the API of the cluster does not answer, so nothing is known" in output


def test_a_server_that_cannot_be_reached_is_followed_by_the_next(cluster, play):
    """Whatever is asked of it: how the cluster is, whether it is as before, or to let a node go."""
    lost = {**play.cluster, "servers": [*play.cluster["servers"], "ghost"], "delegate": "ghost"}
    status, _output, told = play("health", cluster=lost)
    assert (status, sorted(told["health"]["nodes"])) == (0, sorted(cluster))
    assert play("settle", cluster=lost, k3s_maintenance_baseline=play.health)[0] == 0
    status, _output, told = play("drain", cluster=lost)
    assert (status, told["drained"]["ready"], cordoned(cluster)) == (0, True, True)
    status, _output, _told = play("restore", cluster=lost, k3s_maintenance_recover=True)
    assert (status, cordoned(cluster), marks(cluster)) == (0, False, {})


def test_an_admin_who_uncordons_ends_the_drain_and_keeps_his_node(cluster, play, deploy, budget):
    deploy("web", "ka1")
    budget("tight", "web", 1)
    # Left of an earlier slice of this very run, and uncordoned since.
    cluster["ks1"].module("k3s_node", state="rebooting", cordon=False, node="ka1", run=RUN)
    status, output, _told = play("drain")
    assert status == 2
    assert "somebody uncordoned node ka1" in output
    assert (cordoned(cluster), marks(cluster)) == (False, {})


def test_a_member_of_etcd_whose_node_is_gone_keeps_every_server_as_it_is(cluster, play):
    server = cluster["ks1"]
    server.kubectl("delete", "node", "ks3")
    try:
        status, output, _told = play("drain", target="host-ks2")
        assert status == 2
        assert re.search("etcd's member ks3[^ ]* has no node in the API", output)
        assert (cordoned(cluster, "ks2"), marks(cluster, "ks2")) == (False, {})
        # An agent takes no part in the quorum.
        status, _output, told = play("gate")
        assert (status, told["gate"]["problems"]) == (0, [])
    finally:
        # As at its start, K3s makes the Node of a server anew.
        cluster["ks3"].stop()
        cluster["ks3"].start()
        boxes.until("ks3 Ready", lambda: ready(server) == sorted(cluster))
        boxes.until("the labels of ks3", lambda: has_roles(server, "ks3"))


def test_a_node_that_does_not_come_back_stays_cordoned(cluster, play):
    _status, _output, told = play("drain")
    assert told["drained"]["ready"]
    late = {"k3s_maintenance_boot_id": "of-the-next-boot", "k3s_maintenance_node_timeout": 3}
    status, output, _told = play("restore", **late)
    assert status == 2
    assert "the API still shows the boot from before" in output
    assert (cordoned(cluster), marks(cluster)["phase"]) == (True, "reboot")
