"""K3s clusters on the lab's hosts: what an admin would install, and kubectl from outside of the collection."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import subprocess
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

import pytest
import yaml

from lab import k3s
from lab.config import LabError
from tests.support import ask, lab, state

# The calls of a dead run have ended long before, where a test has killed it on this machine.
SOON = {"patch_host_orphan_seconds": 1}


def binary() -> Path:
    """The K3s that is at hand, or the stand-in, built if need be (see lab/k3s.py); without either: skipped."""
    try:
        return k3s.binary()
    except LabError as error:
        pytest.skip(str(error))


def policy(*hosts: str, **more: object) -> dict:
    """The policy of a run over these hosts."""
    return {"patching_hosts": ":".join(hosts), **more}


def whole(cluster: Cluster, *hosts: str) -> bool:
    """Nothing of a run is left on these nodes, and the API sees the boot that they are in."""
    nodes = cluster.nodes()
    for host in hosts:
        node, now = nodes[cluster.node(host)], state(host)
        assert node["ready"] and not node["unschedulable"] and not node["marks"]
        assert node["boot_id"] == now.boot_id
        assert now.leftovers == []
    return True


def credentials(server: str) -> ssl.SSLContext:
    """What the kubeconfig of a server's admin says: as files there, or as data in it."""
    config = yaml.safe_load(ask(server, "cat /etc/rancher/k3s/k3s.yaml"))
    given = {**config["users"][0]["user"], **config["clusters"][0]["cluster"]}

    def pem(name: str) -> str:
        data = given.get(f"{name}-data")
        return base64.b64decode(data).decode() if data else ask(server, f"cat {given[name]}")

    context = ssl.create_default_context(cadata=pem("certificate-authority"))
    context.check_hostname = False  # its certificate names 127.0.0.1
    with tempfile.NamedTemporaryFile("w") as both:
        both.write(f"{pem('client-certificate')}\n{pem('client-key')}\n")
        both.flush()
        context.load_cert_chain(both.name)
    return context


class Cluster:
    """A cluster on hosts of the lab. Node names are not the hosts' names, on purpose."""

    def __init__(self, servers: list[str], agents: list[str], etcd: bool) -> None:
        binary()
        self.servers, self.agents = servers, agents
        self.hosts = [*servers, *agents]
        datastore = "etcd" if etcd else "sqlite"
        words = ["--servers", ",".join(servers), "--agents", ",".join(agents), "--datastore", datastore]
        lab("k3s", *words, timeout=900)
        self._addresses = {host["name"]: host["address"] for host in json.loads(lab("status", "--json"))["hosts"]}
        self._contexts = {server: credentials(server) for server in servers}

    @staticmethod
    def node(host: str) -> str:
        """The name of a host's node."""
        return k3s.node(host)

    def kubectl(self, *words: str, check: bool = True) -> str:
        """kubectl of an admin, on the first server that answers."""
        for host in self.servers:
            told = lab("shell", host, "/usr/local/bin/k3s", "kubectl", "--request-timeout=10s", *words, check=False)
            if told or not check:
                return told
        return lab("shell", self.servers[0], "/usr/local/bin/k3s", "kubectl", *words, check=check)

    def get(self, path: str) -> dict:
        """What the API of the first server that answers has at a path; empty where none does.

        By the admin's kubeconfig, which is read once: a kubectl for each sample costs more than what it watches.
        """
        for host in self.servers:
            url = f"https://{self._addresses[host]}:6443{path}"
            try:
                with urllib.request.urlopen(url, timeout=5, context=self._contexts[host]) as answer:
                    return json.load(answer)
            except (OSError, http.client.HTTPException):
                continue
        return {}

    def nodes(self) -> dict[str, dict]:
        """Node -> ``ready``, ``unschedulable``, ``boot_id`` and our ``marks``; empty without an answer."""
        items = self.get("/api/v1/nodes").get("items", [])
        return {
            node["metadata"]["name"]: {
                "ready": any(
                    each["type"] == "Ready" and each["status"] == "True" for each in node["status"]["conditions"]
                ),
                "unschedulable": bool(node["spec"].get("unschedulable")),
                "boot_id": node["status"]["nodeInfo"]["bootID"],
                "marks": {
                    name: value
                    for name, value in node["metadata"].get("annotations", {}).items()
                    if name.startswith("homelab-patching/")
                },
            }
            for node in items
        }

    def until_ready(self, hosts: list[str], seconds: float = 120) -> None:
        """Wait until the nodes of these hosts are Ready."""
        end = time.monotonic() + seconds
        while True:
            nodes = self.nodes()
            if all(nodes.get(self.node(host), {"ready": False})["ready"] for host in hosts):
                return
            assert time.monotonic() < end, f"not Ready: {nodes}"
            time.sleep(1)

    def apply(self, thing: dict) -> None:
        """kubectl apply."""
        ask(self.servers[0], f"echo '{json.dumps(thing)}' | /usr/local/bin/k3s kubectl apply -f -")

    def deploy(self, name: str, replicas: int, minimum: int | None = None, node: str = "") -> None:
        """A Deployment, with a PodDisruptionBudget where `minimum` is given; waits until its pods are ready."""
        labels = {"app": name}
        pod: dict = {
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "main", "image": "any", "imagePullPolicy": "IfNotPresent"}],
        }
        if node:
            pod["nodeSelector"] = {"kubernetes.io/hostname": node}
        spec = {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        }
        self.apply({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec})
        if minimum is not None:
            budget = {"minAvailable": minimum, "selector": {"matchLabels": labels}}
            thing = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": name}}
            self.apply({**thing, "spec": budget})
        end = time.monotonic() + 60
        while self.ready(name) != replicas:
            assert time.monotonic() < end, f"{name} is not ready"
            time.sleep(0.5)

    def ready(self, name: str) -> int | None:
        """How many pods of a Deployment are ready; None: no answer."""
        found = self.get(f"/apis/apps/v1/namespaces/default/deployments/{name}")
        return found["status"].get("readyReplicas", 0) if found else None


class Watcher:
    """Samples a cluster all the time, from outside: what was out at once, and how many of a Deployment were ready."""

    def __init__(self, cluster: Cluster, deployment: str) -> None:
        self.cluster, self.deployment = cluster, deployment
        self.out: list[set[str]] = []
        self.cordoned: list[set[str]] = []
        self.ready: list[int] = []
        self._failure: Exception | None = None
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._end.set()
        self._thread.join()
        if self._failure:
            raise self._failure

    def _watch(self) -> None:
        # A watcher that has died has seen nothing wrong: that must not count.
        try:
            self._sample()
        except (AssertionError, OSError, ValueError, KeyError, subprocess.TimeoutExpired) as failure:
            self._failure = failure

    def _sample(self) -> None:
        while not self._end.wait(0.5):
            nodes = self.cluster.nodes()
            if nodes:
                gone = {name for name, node in nodes.items() if node["unschedulable"] or not node["ready"]}
                self.out.append(gone)
                self.cordoned.append({name for name, node in nodes.items() if node["unschedulable"]})
            ready = self.cluster.ready(self.deployment)
            if ready is not None:
                self.ready.append(ready)
