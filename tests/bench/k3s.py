"""How long a node is away from its cluster, beside the playbook that most people write: python -m tests.bench.k3s

Three servers with etcd and two agents on the lab's hosts. Of the agents, and of two of the servers, one is patched by
`tests/bench/k3s_peer.yml` (kubernetes.core.k8s_drain, apt, reboot, wait for Ready, uncordon), the other by
`homelab.patching.patch`, with the same updates. All times are asked from outside: the API, and a port of the host.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import requests
import yaml

from tests.bench.inventory import environment
from tests.faults.clusters import Cluster, binary
from tests.support import CHECKOUT, ask, lab, lab_env, pending, play

# Hosts that are compared are of one distribution. The last server only answers.
SERVERS, AGENTS = ["db1", "app1", "app2"], ["web1", "app3"]
PAIRS = {"agent": AGENTS, "server": SERVERS[:2]}
# Each moment, and what the time since the one before it is.
MOMENTS = {
    "cordoned": "",
    "empty": "until its pods were gone",
    "down": "until the machine went down",
    "up": "until it answered again: the machine's reboot",
    "Ready": "until the API showed the new boot as Ready: the kubelet's return",
    "given back": "until it was schedulable",
}


class Api:
    """The API of a server, with the admin's certificate."""

    def __init__(self, host: str, address: str, folder: Path) -> None:
        known = yaml.safe_load(ask(host, "cat /etc/rancher/k3s/k3s.yaml"))
        cluster, user = known["clusters"][0]["cluster"], known["users"][0]["user"]
        self._base = cluster["server"] = f"https://{address}:6443"
        self._session = requests.Session()
        self._session.trust_env = False
        for section, key in ((cluster, "certificate-authority"), (user, "client-certificate"), (user, "client-key")):
            # K3s puts the data into the file, the stand-in a path.
            data = section.pop(f"{key}-data", None)
            text = base64.b64decode(data) if data else ask(host, f"cat {section[key]}").encode()
            (folder / key).write_bytes(text + b"\n")
            section[key] = str(folder / key)
        self._session.verify = cluster["certificate-authority"]
        self._session.cert = (user["client-certificate"], user["client-key"])
        self.kubeconfig = folder / "kubeconfig"
        self.kubeconfig.write_text(yaml.safe_dump(known))

    def node(self, name: str) -> dict:
        """A node: ``boot_id``, ``ready``, ``unschedulable``, and how many ``pods`` of workloads it has."""
        node = self._session.get(f"{self._base}/api/v1/nodes/{name}", timeout=5).json()
        pods = self._session.get(f"{self._base}/api/v1/pods?fieldSelector=spec.nodeName={name}", timeout=5).json()
        return {
            "boot_id": node["status"]["nodeInfo"]["bootID"],
            "ready": any(each["type"] == "Ready" and each["status"] == "True" for each in node["status"]["conditions"]),
            "unschedulable": bool(node["spec"].get("unschedulable")),
            "pods": len(pods["items"]),
        }


class Stopwatch:
    """Writes down when a node reaches each of the moments, while the block runs."""

    def __init__(self, api: Api, node: str, address: str) -> None:
        self._api, self._node, self._address = api, node, address
        self._boot_id = api.node(node)["boot_id"]
        self.moments: dict[str, float] = {}
        self._end = threading.Event()
        self._threads = [threading.Thread(target=watch, daemon=True) for watch in (self._ask_api, self._knock)]

    def __enter__(self) -> Stopwatch:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def _reach(self, moment: str, after: str, reached: bool) -> None:
        if reached and moment not in self.moments and (not after or after in self.moments):
            self.moments[moment] = time.monotonic()

    def _ask_api(self) -> None:
        while not self._end.wait(0.1):
            try:
                node = self._api.node(self._node)
            except (requests.RequestException, KeyError):
                # While a server is away the others choose a leader anew.
                continue
            self._reach("cordoned", "", node["unschedulable"])
            self._reach("empty", "cordoned", not node["pods"])
            self._reach("Ready", "empty", node["ready"] and node["boot_id"] != self._boot_id)
            self._reach("given back", "cordoned", not node["unschedulable"])

    def _knock(self) -> None:
        while not self._end.wait(0.1):
            # Nobody listens there: refusing is the machine's answer. sshd would punish who knocks so often.
            try:
                socket.create_connection((self._address, 9), timeout=0.5).close()
                answers = True
            except OSError as exc:
                answers = isinstance(exc, ConnectionRefusedError)
            self._reach("down", "empty", not answers)
            self._reach("up", "down", answers)


def peer(programs: Path, api: Api, host: str) -> None:
    """Patch a node with the playbook that most people write."""
    given = {"target": host, "node": Cluster.node(host), "kubeconfig": str(api.kubeconfig)}
    env = {**os.environ, **lab_env(), "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / ".build" / "collections")}
    # Where one of these is set, the Kubernetes client would check against it.
    env = {name: value for name, value in env.items() if name not in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")}
    command = [programs / "ansible-playbook", "-i", "inventory/", "tests/bench/k3s_peer.yml", "-e", json.dumps(given)]
    subprocess.run(command, cwd=CHECKOUT, env={**env, "NO_PROXY": "*"}, check=True, stdout=subprocess.DEVNULL)


def ours(host: str, folder: Path) -> None:
    """Patch a node with ours."""
    played = play("patch", "-e", json.dumps({"patching_hosts": host}), env=lab_env(), reports=folder / host)
    if played.status != 0:
        raise SystemExit(played.output)


def show(name: str, updates: int, moments: dict[str, float]) -> float:
    """Print where the time went; all of it in seconds."""
    window = moments["given back"] - moments["cordoned"]
    print(f"{name:<24} {updates:3d} updates; cordoned for {window:5.1f} s")
    # In the order in which they came: who uncordons before the kubelet is back has it later.
    reached = sorted(moments, key=lambda moment: moments[moment])
    for before, moment in itertools.pairwise(reached):
        print(f"    {moments[moment] - moments[before]:5.1f} s {MOMENTS[moment]}")
    return window


def main() -> None:
    """Make the cluster, then patch one node of each pair with each."""
    if binary() is None:
        raise SystemExit("no K3s: build the stand-in with tools/standin (needs Go), or name a binary: K3S_BINARY=/path")
    programs = environment()
    hosts = [*SERVERS, *AGENTS]
    lab("up", timeout=1800)
    lab("reset", *hosts)
    cluster = Cluster(SERVERS, AGENTS, etcd=True)
    cluster.deploy("web", 3, minimum=2)
    addresses = {host["name"]: host["address"] for host in json.loads(lab("status", "--json"))["hosts"]}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        api = Api(SERVERS[-1], addresses[SERVERS[-1]], folder)
        for kind, (theirs, mine) in PAIRS.items():
            windows = []
            for label, host in ((f"{kind}, k8s_drain", theirs), (f"{kind}, ours", mine)):
                ask(host, "apt-get update -qq; touch /run/reboot-required")
                updates = len(pending(host))
                with Stopwatch(api, cluster.node(host), addresses[host]) as watch:
                    if host == mine:
                        ours(host, folder)
                    else:
                        peer(programs, api, host)
                    cluster.until_ready(hosts)
                    time.sleep(1)
                windows.append(show(label, updates, watch.moments))
                if host == mine:
                    at = watch.moments
                    # What neither the pods nor the machine nor the kubelet took.
                    own = at["down"] - at["empty"] + at["given back"] - at["Ready"]
                    print(f"    ours of it: {own:.1f} s; the goal is under 5")
            print(f"{kind}: ratio {windows[1] / windows[0]:.2f}; the goal is at most 0.5\n")


if __name__ == "__main__":
    main()
