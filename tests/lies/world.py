"""A world of machines that answer what a test lets them: whole playbooks in seconds, with no lab.

Only the connection is the tests' own (`connection_plugins/lies.py`): it hands each module, with its arguments, to this
process, and each machine here is an object with a method for each module. Playbooks, roles, actions, filters and the
ways of Ansible itself are the real ones. Machines are honest (they are claimed, upgraded, rebooted, drained) until a
test lets them lie:

    def test_something(world):                              # the fixture, in conftest.py
        world.add("web1", updates=["curl"])
        evil = world.add("web2")
        evil.lie("host_info", lambda told, args: {**told, "host": {**told["host"], "claim": "soon"}})
        played = world.play("patch")                        # as tests.support.play: status, output, report
        assert played.report["hosts"]["web1"]["result"] == "patched"
        assert not world.calls("web2", "host_upgrade")      # every call that a machine got: host, module, args

`world.cluster(servers=3, agents=2)` adds the nodes of a K3s cluster (s1, s2, s3, a1, a2). A lie gets the honest answer
and the arguments of the module, and returns another answer: a mapping, or a text that is no JSON; or it raises
`Silent`, and the machine is unreachable. It may sleep, too. `raw` is a command that Ansible itself runs on a machine.
"""

from __future__ import annotations

import copy
import json
import re
import socketserver
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.lies.connection_plugins.lies import SOCKET
from tests.support import Played, play

Lie = Callable[[dict, dict], Any]
CA = "c" * 64


class Silent(Exception):
    """The machine does not answer."""


@dataclass
class Call:
    """One module that a machine was to run."""

    host: str
    module: str
    args: dict
    check: bool


@dataclass
class Machine:
    """A Debian machine; `updates` are pending on it, and it wants a reboot after them where `reboots` says so."""

    name: str
    number: int
    updates: list[str] = field(default_factory=list)
    reboots: bool = False
    claim: dict | None = None
    variables: dict = field(default_factory=dict)
    cluster: Cluster | None = None
    role: str = ""
    lies: dict[str, Lie] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """It has its own identity, and this boot."""
        self.system_uuid = str(uuid.uuid5(uuid.NAMESPACE_OID, self.name))
        self.machine_id = uuid.uuid5(uuid.NAMESPACE_DNS, self.name).hex
        self.address = f"198.18.0.{self.number}"
        self.boot_id = str(uuid.uuid4())
        self.wants_reboot = False

    def lie(self, module: str, lie: Lie) -> None:
        """From now on what the machine says in a module is what `lie` makes of the honest answer."""
        self.lies[module] = lie

    # --- a method for each module ---

    def host_info(self, args: dict) -> dict:
        """As the module documents it."""
        updates = self.updates if args.get("upgrade", "full") != "none" else []
        return {
            "host": {
                "os": {"id": "debian", "version_id": "13", "codename": "trixie", "pretty": "Debian GNU/Linux 13"},
                "boot_id": self.boot_id,
                "machine_id": self.machine_id,
                "system_uuid": self.system_uuid,
                "kernel": {"running": {"release": "6.12.48+deb13-amd64", "version": "#1 SMP"}, "newest": None},
                "pending": [
                    {"name": name, "arch": "", "old": "1", "new": "2", "security": "2", "held_by": ""}
                    for name in updates
                ],
                "kept_baseline": None,
                "reboot": {
                    "required": self.wants_reboot,
                    "reasons": ["asked for by linux-image-amd64"] if self.wants_reboot else [],
                    "expected": ["linux-image-amd64 will be upgraded"] if self.reboots and updates else [],
                },
                "unfit": [],
                "starting": [],
                "needrestart": False,
                "warnings": [],
                "image": {},
                "rebuild": {},
                "lists_age": 1.0,
                "baseline": {"failed_units": [], "listeners": [22], "mounts": ["/"], "containers": 0},
                "claim": copy.deepcopy(self.claim),
                "k3s": self.local(),
                "clock": time.time(),
            }
        }

    def local(self) -> dict | None:
        """What it knows of its K3s."""
        if not self.cluster:
            return None
        return {
            "role": self.role,
            "unit": "k3s.service" if self.role == "server" else "k3s-agent.service",
            "active": True,
            "binary": "/usr/local/bin/k3s",
            "version": "v1.34.3+k3s1",
            "cluster": CA,
            "datastore": "etcd" if self.role == "server" else None,
            "split": [],
            "node_name": None,
            "addresses": [self.address],
            "machine_id": self.machine_id,
            "boot_id": self.boot_id,
            "problems": [],
        }

    def host_claim(self, args: dict) -> dict:
        """A claim on paper: who has the machine, and until when."""
        run, before = args["run"], self.claim
        holder = (before or {}).get("run")
        live = before is not None and before["expires"] > time.time() and holder not in args.get("takeover", [])
        ends = int(time.time()) + args.get("seconds", 14400)
        if args.get("state", "claimed") == "claimed":
            if live and holder != run:
                return {"failed": True, "msg": f"the host is claimed by run {holder}"}
            self.claim = {"run": run, "owner": args.get("owner", {}), "expires": ends}
            return {"changed": True, "claim": self.claim, "taken_over": before if holder != run else None}
        if args["state"] == "renewed":
            if holder != run:
                return {"failed": True, "msg": f"the host is not claimed by run {run} any more"}
            self.claim = {**(before or {}), "expires": ends}
            return {"changed": True, "claim": self.claim, "taken_over": None}
        if holder == run:
            self.claim = None
        return {"changed": holder == run, "claim": self.claim, "taken_over": None}

    def host_upgrade(self, args: dict) -> dict:
        """Everything that is pending is installed at once."""
        if args.get("state", "finished") == "downloaded":
            return {"changed": bool(self.updates), "fixes": {}}
        change = {"arch": "", "old": "1", "new": "2", "security": None, "held_by": ""}
        installed = [{"name": name, **change} for name in self.updates]
        if args.get("state") == "settled":
            return {"changed": False, "finished": True, "installed": [], "earlier": ""}
        self.wants_reboot = self.wants_reboot or (self.reboots and bool(installed))
        self.updates = []
        return {"changed": bool(installed), "finished": True, "installed": installed}

    def k3s_info(self, args: dict) -> dict:
        """What a server says of its cluster, and any node of itself."""
        answer: dict = {"changed": False}
        gather = args.get("gather") or ["local", "rest", "health", "workloads", "drain"]
        if "rest" in gather:
            rest = {"upgrade": False, "daily_run": False, "shutdown": None, "stopping": False}
            answer["rest"] = {**rest, "clock": time.time(), "boot_id": self.boot_id}
        if "local" in gather:
            answer["local"] = self.local()
        if {"health", "workloads", "drain"} & set(gather):
            if not self.cluster or self.role != "server":
                return {"failed": True, "msg": "this host is no server of a K3s cluster.", "kind": "refused"}
            answer["cluster"] = self.cluster.told()
        return answer

    def k3s_node(self, args: dict) -> dict:
        """Cordon, drain, mark and give back, on paper."""
        if not self.cluster or self.role != "server" or (self.claim or {}).get("run") != args["run"]:
            return {"failed": True, "msg": "this host is not this run's", "kind": "claim"}
        return self.cluster.work(args)

    def unattended_upgrades_info(self, _args: dict) -> dict:
        """A daily policy that is in force."""
        timer = {"active": True, "enabled": "enabled", "next": None, "last": None}
        return {
            "policy": {
                "installed": "2.12",
                "enabled": True,
                "options": {},
                "timers": {"apt-daily": timer, "apt-daily-upgrade": timer, "held": None},
                "origins": [],
                "security_archives": [],
                "security_covered": True,
                "uncovered": [],
                "would_install": [],
                "would_hold": [],
                "last_success": None,
                "last_run": None,
                "stalled": [],
                "warnings": [],
                "overridden": [],
                "reboot_policy": {"automatic": False, "with_users": False, "time": "now"},
            }
        }

    def setup(self, _args: dict) -> dict:
        """The little that roles and core actions ask for."""
        facts = {"distribution": "Debian", "distribution_version": "13", "distribution_major_version": "13"}
        facts["os_family"] = "Debian"
        return {"ansible_facts": {f"ansible_{name}": value for name, value in facts.items()}}

    def stat(self, args: dict) -> dict:
        """Nothing is there yet."""
        return {"changed": False, "stat": {"exists": False, "path": args.get("path")}}

    def find(self, _args: dict) -> dict:
        """Nothing is found."""
        return {"changed": False, "files": [], "matched": 0, "examined": 0}

    def command(self, args: dict) -> dict:
        """Every command succeeds; the one of role unattended_upgrades that is read is answered."""
        said = "installed\n" + "enabled\n" * 4 if "dpkg-query -W" in str(args.get("_raw_params")) else ""
        return {"changed": True, "rc": 0, "stdout": said, "stderr": "", "cmd": "", "start": "", "end": "", "delta": ""}

    def raw(self, args: dict) -> str:
        """The commands of core actions: the boot's id, the reboot, folders for files. The answer is their output."""
        command = args["command"]
        if "fenced_reboot" in command or "fenced-reboot" in command:
            self.boot_id, self.wants_reboot = str(uuid.uuid4()), False
        if "boot_id" in command:
            return self.boot_id
        folder = re.search(r"echo (ansible-tmp-[\w.-]+)=", command)
        if folder:
            return f"{folder[1]}=/tmp/{folder[1]}\n"
        return "/root\n" if "echo ~" in command else ""


@dataclass
class Cluster:
    """A K3s cluster with embedded etcd, in which every pod finds another node at once."""

    hosts: list[Machine] = field(default_factory=list)
    marks: dict[str, dict] = field(default_factory=dict)
    cordoned: set[str] = field(default_factory=set)

    def told(self) -> dict:
        """What the API of each server says."""
        nodes = {host.name: self._node(host) for host in self.hosts}
        servers = [host for host in self.hosts if host.role == "server"]
        return {
            "nodes": nodes,
            "unready": "",
            "etcd": [
                {"id": host.name, "name": f"{host.name}-abcd", "node": host.name, "address": host.address}
                | {"learner": False, "healthy": True}
                for host in servers
            ],
            "kured": None,
            "plans": [],
            "longhorn": None,
            "workloads": {"Deployment default/web": {"desired": 2, "ready": 2, "pinned": {}}},
            "forecast": {},
        }

    def _node(self, host: Machine) -> dict:
        server = host.role == "server"
        return {
            "ready": True,
            "unschedulable": host.name in self.cordoned,
            "boot_id": host.boot_id,
            "machine_id": host.machine_id,
            "version": "v1.34.3+k3s1",
            "addresses": [host.address],
            "roles": ["control-plane", "etcd", "master"] if server else [],
            "hold": False,
            "mark": self.marks.get(host.name),
            "member": f"{host.name}-abcd" if server else None,
            "voter": True if server else None,
        }

    def work(self, args: dict) -> dict:
        """One call of k3s_node."""
        name, state = args["node"], args["state"]
        boot_id = next((host.boot_id for host in self.hosts if host.name == name), "")
        answer = {"changed": True, "node": name, "seconds": 0.1}
        if state == "schedulable":
            waits = args.get("boot_id") and args["boot_id"] != boot_id
            if not waits:
                self.marks.pop(name, None)
                self.cordoned.discard(name)
            problems = [{"cause": "the API shows another boot", "remedy": "wait", "commands": []}] if waits else []
            return {**answer, "problems": problems, "unschedulable": False}
        if state in ("drained", "rebooting"):
            phase = "drain" if state == "drained" else "reboot"
            self.marks[name] = {"run": args["run"], "phase": phase, "boot_id": boot_id}
            self.cordoned |= {name} if args.get("cordon", True) else set()
        if state == "rebooting":
            return {**answer, "containers": {}}
        empty: dict = {"terminating": [], "blocked": [], "volumes": []}
        return {**answer, **empty, "drained": True, "hopeless": False, "evicted": [f"default/web-{name}"], "grace": 0}


class World:
    """All machines of a test, and everything that they were asked."""

    def __init__(self, folder: Path) -> None:
        """Listen in `folder`, which is the test's."""
        self.folder = folder
        self.hosts: dict[str, Machine] = {}
        self.asked: list[Call] = []
        self.variables: dict = {}
        self._turn = threading.Lock()
        world = self

        class Line(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                call = json.loads(self.rfile.readline())
                self.wfile.write(json.dumps(world._answer(Call(**call))).encode() + b"\n")

        self._path = folder / "s"
        self._server = socketserver.ThreadingUnixStreamServer(str(self._path), Line)
        self._server.daemon_threads = True
        # Closing does not wait for a machine that hangs.
        self._server.block_on_close = False
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        """Nobody answers any more."""
        self._server.shutdown()
        self._server.server_close()

    def add(self, name: str, **more: Any) -> Machine:
        """One more machine; what else it has is in `Machine`."""
        self.hosts[name] = Machine(name, len(self.hosts) + 1, **more)
        return self.hosts[name]

    def cluster(self, servers: int = 3, agents: int = 0, **more: Any) -> Cluster:
        """One more cluster, of machines s1, s2 ... and a1, a2 ..."""
        made = Cluster()
        for role, count in (("server", servers), ("agent", agents)):
            for number in range(1, count + 1):
                made.hosts.append(self.add(f"{role[0]}{number}", role=role, cluster=made, **more))
        return made

    def calls(self, host: str | None = None, module: str | None = None, **args: Any) -> list[Call]:
        """What was asked, in order: of a machine, in a module, with these arguments."""
        return [
            call
            for call in self.asked
            if host in (None, call.host)
            and module in (None, call.module)
            and all(call.args.get(name) == value for name, value in args.items())
        ]

    def reboots(self) -> list[str]:
        """The machines that were rebooted, in order."""
        return [call.host for call in self.calls(module="raw") if "fenced-reboot" in call.args["command"]]

    def play(self, playbook: str, *arguments: str, **more: Any) -> Played:
        """Run a playbook of the collection on all machines; see `tests.support.play`."""
        inventory = self.folder / "hosts.yml"
        settings = {"ansible_connection": "lies", "ansible_pipelining": True, **self.variables}
        hosts = {name: host.variables for name, host in self.hosts.items()}
        inventory.write_text(json.dumps({"proxmox_patchable": {"vars": settings, "hosts": hosts}}))
        plugins = Path(__file__).parent / "connection_plugins"
        env = {SOCKET: str(self._path), "ANSIBLE_CONNECTION_PLUGINS": str(plugins), **more.pop("env", {})}
        reports = self.folder / "reports"
        return play(playbook, *arguments, inventory=[inventory], env=env, reports=reports, timeout=600, **more)

    def _answer(self, call: Call) -> dict:
        self.asked.append(call)
        machine = self.hosts[call.host]
        with self._turn:
            # What no test has needed yet is done, and says nothing.
            honest = getattr(machine, call.module, lambda args: {"changed": False})(call.args)
        try:
            lie = machine.lies.get(call.module)
            told = lie(copy.deepcopy(honest), call.args) if lie else honest
        except Silent:
            return {"silent": True}
        failed = isinstance(told, dict) and told.get("failed") is True
        output = told if isinstance(told, str) else json.dumps(told)
        return {"silent": False, "status": int(failed), "output": output}
