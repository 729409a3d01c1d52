"""One cluster for all tests of the K3s modules: three servers with etcd and two agents, in namespaces."""

import json
import os

import pytest

from lab.config import RUNTIME
from tests.faults.clusters import binary
from tests.k3s import boxes

RUN = "20261123T030000Z-mine"


def _binary() -> str:
    if RUNTIME:
        pytest.skip("LAB_RUNTIME is for the lab's hosts; these nodes run no containers")
    if os.geteuid() != 0:
        pytest.skip("network namespaces want root: run make test as root")
    return str(binary())


@pytest.fixture(scope="session")
def every_box(tmp_path_factory):
    """All nodes: name -> box."""
    boxes.network()
    made: dict = {}
    try:
        yield from _formed(made, tmp_path_factory.mktemp("boxes"), _binary())
    finally:
        for box in made.values():
            box.remove()
        boxes.sh("ip", "link", "delete", boxes.BRIDGE, check=False)


def _formed(made, root, binary):
    first = {"server": "https://198.18.250.11:6443"}
    for name, role, number, config in (
        ("ks1", "server", 11, {"cluster-init": True}),
        ("ks2", "server", 12, first),
        ("ks3", "server", 13, first),
        ("ka1", "agent", 21, first),
        ("ka2", "agent", 22, first),
    ):
        made[name] = boxes.Box(root, binary, name, role, number, config)
        made[name].start()
        boxes.until(f"{name} Ready", lambda: sorted(made) == ready(made["ks1"]))
    boxes.until("labels of the servers", lambda: all(has_roles(made["ks1"], name) for name in ("ks1", "ks2", "ks3")))
    yield made


def ready(server) -> list:
    """Names of the nodes that are Ready; none where the API does not answer."""
    told = server.kubectl("get", "nodes", "-o", "json", check=False)
    try:
        nodes = json.loads(told)["items"]
    except ValueError:
        return []
    return sorted(
        node["metadata"]["name"]
        for node in nodes
        if any(each["type"] == "Ready" and each["status"] == "True" for each in node["status"]["conditions"])
    )


def has_roles(server, name) -> bool:
    return "node-role.kubernetes.io/etcd" in server.get("node", name)["metadata"]["labels"]


@pytest.fixture
def cluster(every_box):
    """The cluster with nothing on it, all of it claimed by the run."""
    server = every_box["ks1"]
    yield every_box
    kinds = "deployments,statefulsets,daemonsets,pods,poddisruptionbudgets"
    server.kubectl("delete", kinds, "--all", "--grace-period=0", "--force", check=False)
    for manager in ("homelab-patching", "homelab-patching-hold"):
        for name in every_box:
            bare = json.dumps({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
            server.kubectl("apply", "--server-side", f"--field-manager={manager}", "-f", "-", stdin=bare)
    server.kubectl("uncordon", *every_box)
    server.kubectl("annotate", "node", "--all", "homelab-patching/hold-")
    boxes.until("an empty cluster", lambda: not server.get("pods")["items"])


@pytest.fixture
def claimed(cluster):
    """The same, with every node claimed by the run."""
    for box in cluster.values():
        box.module("host_claim", run=RUN, state="released")
        claim = box.module("host_claim", run=RUN, seconds=3600, takeover=["dead", "other"])
        assert claim["claim"]["run"] == RUN
    return cluster


@pytest.fixture
def deploy(cluster):
    """Run pods on a node, and wait until they are ready."""
    server = cluster["ks1"]

    def make(name, node=None, replicas=1, kind="Deployment", grace=2, env=None, wait=True, **spec):
        pod = {
            "terminationGracePeriodSeconds": grace,
            "containers": [{"name": "main", "image": "any", "env": env or []}],
            **({"nodeSelector": {"kubernetes.io/hostname": node}} if node else {}),
            **spec,
        }
        labels = {"app": name}
        if kind == "Pod":
            thing = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": pod}
        else:
            template = {"metadata": {"labels": labels}, "spec": pod}
            count = {} if kind == "DaemonSet" else {"replicas": replicas}
            thing = {
                "apiVersion": "apps/v1",
                "kind": kind,
                "metadata": {"name": name},
                "spec": {**count, "selector": {"matchLabels": labels}, "template": template},
            }
        server.kubectl("apply", "-f", "-", stdin=json.dumps(thing))
        expected = len(cluster) if kind == "DaemonSet" else replicas
        if wait:
            boxes.until(f"pods of {name}", lambda: len(running(server, name)) == expected)

    return make


def running(server, app, node=None) -> list:
    """Names of an app's pods that run, all or those of a node."""
    return sorted(
        pod["metadata"]["name"]
        for pod in server.get("pods", "-l", f"app={app}")["items"]
        if node in (None, pod["spec"].get("nodeName"))
        and pod["status"]["phase"] == "Running"
        and all(each["ready"] for each in pod["status"].get("containerStatuses", [{"ready": False}]))
    )


@pytest.fixture
def budget(cluster):
    """Make a PodDisruptionBudget for an app, and wait until the API has counted its pods."""
    server = cluster["ks1"]

    def make(name, app, minimum):
        thing = {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": name},
            "spec": {"minAvailable": minimum, "selector": {"matchLabels": {"app": app}}},
        }
        server.kubectl("apply", "-f", "-", stdin=json.dumps(thing))
        boxes.until("the budget's count", lambda: server.get("pdb", name)["status"].get("currentHealthy"))

    return make
