# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""K3s: which hosts are a cluster, may a node go now, is it whole again, what did a dead run leave. Pure.

What is not known is None. It is a problem wherever it is asked for, and never means "no".
A problem is a dict of ``message`` and ``remedy``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from ipaddress import ip_address
from urllib.parse import urlsplit

# What a run writes on the node that it works on, and what a person writes to keep a cordon.
RUN = "homelab-patching/run"
PHASE = "homelab-patching/phase"
BOOT_ID = "homelab-patching/boot-id"
HOLD = "homelab-patching/hold"

_ROLE = "node-role.kubernetes.io/"
# K3s's own: the name of the node's etcd member.
_MEMBER = "etcd.k3s.cattle.io/node-name"


def problem(message: str, remedy: str) -> dict:
    """A problem, as every verdict here lists them."""
    return {"message": message, "remedy": remedy}


def told(problems: Iterable[Mapping]) -> str:
    """Problems as one text for a person."""
    return " ".join(f"{each['message']}. {each['remedy']}.".replace("..", ".") for each in problems)


def node_state(node: Mapping) -> dict:
    """What counts of a Node object: see the keys below. ``mark`` is what a run wrote on it, None where none did."""
    metadata, status = node["metadata"], node.get("status") or {}
    annotations, labels = metadata.get("annotations") or {}, metadata.get("labels") or {}
    conditions = {condition["type"]: condition["status"] for condition in status.get("conditions") or []}
    info = status.get("nodeInfo") or {}
    mark = None
    if RUN in annotations:
        mark = {"run": annotations[RUN], "phase": annotations.get(PHASE), "boot_id": annotations.get(BOOT_ID)}
    return {
        "ready": conditions.get("Ready") == "True",
        "unschedulable": bool((node.get("spec") or {}).get("unschedulable")),
        "boot_id": info.get("bootID", ""),
        "machine_id": info.get("machineID", ""),
        "version": info.get("kubeletVersion", ""),
        "addresses": sorted(
            address["address"] for address in status.get("addresses") or [] if address["type"] == "InternalIP"
        ),
        "roles": sorted(name.removeprefix(_ROLE) for name in labels if name.startswith(_ROLE)),
        "hold": HOLD in annotations,
        "mark": mark,
        "member": annotations.get(_MEMBER),
        # Written by etcd's leader every 15 s at best, and absent on old releases: told, never waited for.
        "voter": {"True": True, "False": False}.get(conditions.get("EtcdIsVoter", "")),
    }


def same_address(one: str, other: str) -> bool:
    """Are two texts the same IP address? False where one is none."""
    try:
        return ip_address(one) == ip_address(other)
    except ValueError:
        return False


def members(listed: Iterable[Mapping], nodes: Mapping) -> list:
    """etcd's members, each with its node.

    :param listed: as the JSON gateway lists them.
    :param nodes: name -> `node_state`.
    :returns: dicts of ``id``, ``name``, ``node`` (None: its Node is gone), ``address`` (None where it tells none) and
        ``learner``.
    """
    found = []
    for member in listed:
        urls = [*(member.get("clientURLs") or []), *(member.get("peerURLs") or [])]
        hosts = [host for host in (urlsplit(url).hostname for url in urls) if host]
        name = member.get("name", "")
        by_name = [node for node, state in nodes.items() if name and state["member"] == name]
        by_address = [
            node
            for node, state in nodes.items()
            if any(same_address(host, address) for host in hosts for address in state["addresses"])
        ]
        found.append(
            {
                "id": str(member.get("ID", "")),
                "name": name,
                "node": next(iter([*by_name, *by_address]), None),
                "address": next(iter(hosts), None),
                "learner": bool(member.get("isLearner")),
            }
        )
    return found


def quorum(etcd: list | None, node: str) -> dict:
    """May the server `node` go without etcd losing its majority?

    A member whose Node is gone stops every server, also while it still answers.

    :param etcd: `members`, each with ``healthy``; None where they could not be listed.
    :returns: ``problems``, and ``outage``: the API will be away while it is gone.
    """
    if etcd is None:
        return {"outage": False, "problems": [problem("the members of etcd are unknown", _ON_A_SERVER)]}
    voters = [member for member in etcd if not member["learner"]]
    sick = [member["name"] or member["id"] for member in etcd if not member["healthy"]]
    mine = [member for member in voters if member["node"] == node]
    remedy = f"mend etcd first: {_ON_A_SERVER}"
    if len(mine) != 1:
        return {"outage": False, "problems": [problem(f"etcd does not list {node} once as a voting member", remedy)]}
    lost = [member["name"] or member["id"] for member in etcd if member["node"] is None]
    if lost:
        # Nobody can say what becomes of it next: it may answer now and be taken away with its machine at any moment.
        why = f"etcd's member {', '.join(lost)} has no node in the API"
        return {"outage": False, "problems": [problem(why, f"let its server join again, or remove it; {_ON_A_SERVER}")]}
    if len(voters) < len(etcd):
        joining = ", ".join(member["name"] or member["id"] for member in etcd if member["learner"])
        return {"outage": False, "problems": [problem(f"etcd's member {joining} is still joining", "wait for it")]}
    if len(voters) <= 2:
        # Their majority cannot survive the loss of one: all have to be well, and the API will be away.
        problems = [problem(f"etcd's member {', '.join(sick)} is not healthy", remedy)] if sick else []
        return {"outage": True, "problems": problems}
    if not mine[0]["healthy"]:
        # Its pods would not leave it, and a reboot is no repair that anybody asked for.
        return {"outage": False, "problems": [problem(f"etcd's member {', '.join(sick)} is not healthy", remedy)]}
    needed = len(voters) // 2 + 1
    remaining = [member for member in voters if member["healthy"] and member["node"] != node]
    if len(remaining) >= needed:
        return {"outage": False, "problems": []}
    why = f"without {node} etcd would have {len(remaining)} healthy members of {len(voters)}, and needs {needed}"
    return {"outage": False, "problems": [problem(f"{why} (not healthy: {', '.join(sick) or 'none'})", remedy)]}


_ON_A_SERVER = "on a server: journalctl -u k3s, k3s kubectl get nodes"


def outage(cluster: Mapping, health: Mapping | None, node: str) -> bool:
    """Will the API be away while `node` reboots?

    :param cluster: of a `topology`.
    :param health: see `gate`.
    """
    if node not in [cluster["nodes"].get(host) for host in cluster["servers"]]:
        return False
    if cluster["datastore"] == "etcd":
        return quorum((health or {}).get("etcd"), node)["outage"]
    return len(cluster["servers"]) == 1


def topology(hosts: Mapping, healths: Mapping) -> dict:
    """Which hosts are a cluster, in which order they go, and why a cluster cannot be worked on.

    :param hosts: host -> what it says of itself (`local.facts`), None where it has no K3s.
    :param healths: server's host -> what the API says there (``cluster`` of k3s_info), None where it gave no answer.
    :returns: ``clusters`` (id -> see below) and ``of`` (host -> id). A cluster has ``id``, ``name`` (short),
        ``datastore``, ``servers``, ``agents``, ``delegate`` (the server that is asked, patched last), ``order``,
        ``nodes`` (host -> name in the API), ``foreign`` (nodes that are none of these hosts), ``lone`` and
        ``problems``.
    """
    groups: dict = {}
    for host, facts in sorted(hosts.items()):
        if facts:
            groups.setdefault(facts["cluster"] or f"unknown cluster of {host}", {})[host] = facts
    clusters = {name: _cluster(name, some, healths) for name, some in sorted(groups.items())}
    return {"clusters": clusters, "of": {host: name for name, some in groups.items() for host in some}}


def _cluster(identity: str, hosts: Mapping, healths: Mapping) -> dict:
    servers = [host for host, facts in hosts.items() if facts["role"] == "server"]
    agents = [host for host in hosts if host not in servers]
    answering = [host for host in servers if healths.get(host)]
    delegate = answering[-1] if answering else None
    health = healths[delegate] if delegate else None
    nodes = _nodes_of(hosts, health["nodes"] if health else {})
    foreign = sorted(set(health["nodes"]) - set(nodes.values())) if health else []
    datastores = sorted({hosts[host]["datastore"] for host in servers})
    problems = [each for facts in hosts.values() for each in facts["problems"]]
    if not servers:
        problems.append(
            problem(f"no server of the cluster of {', '.join(agents)} is among the hosts", "add it to the inventory")
        )
    elif health is None:
        problems.append(
            problem(f"the API answers on none of {', '.join(servers)}, so nothing is known of it", _ON_A_SERVER)
        )
    if len(datastores) > 1:
        problems.append(problem(f"its servers do not agree on a datastore: {', '.join(datastores)}", _ON_A_SERVER))
    for host in hosts:
        if health and host not in nodes:
            remedy = f"on a server: k3s kubectl get nodes -o wide; on {host}: journalctl -u {hosts[host]['unit']}"
            problems.append(problem(f"{host} has K3s and is no node of its cluster", remedy))
    problems += _split_roles(hosts, nodes, health["nodes"] if health else {})
    return {
        "id": identity,
        "name": identity[:12] if len(identity) == 64 else identity,
        "datastore": datastores[0] if len(datastores) == 1 else None,
        "servers": servers,
        "agents": agents,
        "delegate": delegate,
        "order": [*agents, *(host for host in servers if host != delegate), *([delegate] if delegate else [])],
        "nodes": nodes,
        "foreign": foreign,
        "lone": len(hosts) == 1 and not foreign,
        "problems": problems,
    }


def _nodes_of(hosts: Mapping, states: Mapping) -> dict:
    """host -> the name of its node: by the machine's id, and where that is not unique, by address."""
    found = {}
    for host, facts in hosts.items():
        matching = [name for name, state in states.items() if state["machine_id"] == facts["machine_id"]]
        if len(matching) != 1:
            matching = [
                name
                for name, state in states.items()
                if any(same_address(one, other) for one in state["addresses"] for other in facts["addresses"])
            ]
        if len(matching) == 1:
            found[host] = matching[0]
    return found


def _split_roles(hosts: Mapping, nodes: Mapping, states: Mapping) -> list:
    remedy = "servers without etcd, or without the API, are not supported yet: leave the cluster out (tag it nopatch)"
    problems = []
    for host, facts in hosts.items():
        if facts["split"]:
            problems.append(problem(f"{host} is a server with {', '.join(facts['split'])}", remedy))
    embedded = any(facts["datastore"] == "etcd" for facts in hosts.values())
    of_node = {node: host for host, node in nodes.items()}
    for node, state in states.items():
        # Also of nodes that are no host here; servers said it themselves above.
        host = of_node.get(node)
        if host and (hosts[host]["split"] or hosts[host]["role"] != "server"):
            continue
        api, etcd = "control-plane" in state["roles"], "etcd" in state["roles"]
        if (etcd and not api) or (api and embedded and not etcd):
            problems.append(problem(f"node {node} is a server {'without the API' if etcd else 'without etcd'}", remedy))
    return problems


def gate(
    node: str,
    cluster: Mapping,
    health: Mapping | None,
    hosts: Mapping,
    runs: Iterable[str] = (),
    kured: str = "refuse",
    api_outage: str = "announce",
    foreign: str = "refuse",
    drained: bool = False,
) -> list:
    """May this node go now? The problems say why not; none means that it may.

    :param node: its name in the API.
    :param cluster: of a `topology`.
    :param health: ``cluster`` of k3s_info: ``nodes``, ``etcd``, ``kured``, ``plans``, ``longhorn``; None where the API
        did not answer.
    :param hosts: host -> is it at rest (`local.rest`); None where it did not say.
    :param runs: ids of runs whose mark on the node itself is no obstacle: this run, and the dead one it recovers.
    :param kured: ``refuse`` or ``ignore`` a kured that could reboot another node.
    :param api_outage: ``announce``, or ``refuse`` to take the API down.
    :param foreign: ``refuse``, or ``announce`` nodes of the cluster that no host of the inventory is.
    :param drained: the node is empty already: Longhorn's replicas on it are stopped, and that degrades their volumes.
    """
    if health is None:
        return [problem("the API of the cluster does not answer, so nothing is known", _ON_A_SERVER)]
    problems = list(cluster["problems"])
    if node not in health["nodes"]:
        problems.append(problem(f"the API knows no node {node}", _ON_A_SERVER))
    for name, state in sorted(health["nodes"].items()):
        mark = state["mark"]
        # A node that a dead run left in the middle may be as it left it.
        recovers = name == node and mark and mark["run"] in runs
        if not state["ready"] and not recovers:
            problems.append(problem(f"node {name} is not Ready", f"on a server: k3s kubectl describe node {name}"))
        if mark and (name != node or mark["run"] not in runs):
            remedy = "finish it: ansible-playbook homelab.patching.recover"
            problems.append(problem(f"node {name} is still marked by run {mark['run']}", remedy))
    problems += _rest_problems(cluster, hosts)
    if cluster["foreign"] and foreign == "refuse":
        names = ", ".join(cluster["foreign"])
        remedy = "add them to the inventory, or set k3s_maintenance_foreign_nodes: announce"
        problems.append(problem(f"nobody keeps other work off {names}: no host that answers is that node", remedy))
    problems += _neighbours({**health, "longhorn": None} if drained else health, kured)
    server = node in [cluster["nodes"].get(host) for host in cluster["servers"]]
    if server and cluster["datastore"] == "etcd":
        problems += quorum(health["etcd"], node)["problems"]
    elif (
        server
        and len(cluster["servers"]) > 1
        and not [
            name
            for name, state in health["nodes"].items()
            if name != node and state["ready"] and "control-plane" in state["roles"]
        ]
    ):
        problems.append(problem("no other server is Ready", _ON_A_SERVER))
    if server and api_outage == "refuse" and outage(cluster, health, node):
        remedy = "add a third server, or allow it: k3s_maintenance_api_outage: announce"
        problems.append(problem(f"the API would be away while {node} reboots", remedy))
    return problems


def _rest_problems(cluster: Mapping, hosts: Mapping) -> list:
    problems = []
    for host in cluster["order"]:
        rest = hosts.get(host)
        if rest is None:
            remedy = "check that ansible -m ping reaches it, then run again"
            problems.append(problem(f"{host} does not say whether it is at rest", remedy))
            continue
        if rest["upgrade"]:
            problems.append(problem(f"an upgrade is at work on {host}", "wait for it"))
        if rest["daily_run"]:
            problems.append(problem(f"the daily update is at work on {host}", "wait for it"))
        if rest["shutdown"]:
            remedy = "wait for it, or on the host: shutdown -c"
            problems.append(problem(f"a {rest['shutdown']} is scheduled on {host}", remedy))
    return problems


def _neighbours(health: Mapping, kured: str) -> list:
    """What else works on the cluster, or is not whole."""
    problems = []
    found = health["kured"]
    if found and not found["held"] and kured == "refuse":
        remedy = (
            f"hold its lock: k3s kubectl -n {found['namespace']} annotate daemonset {found['name']} "
            """weave.works/kured-node-lock='{"nodeID":"manual"}'; or set k3s_maintenance_kured: ignore"""
        )
        problems.append(problem("kured is in the cluster and may reboot another node meanwhile", remedy))
    for plan in health["plans"]:
        problems.append(problem(f"the system-upgrade-controller applies {plan}", "wait for it"))
    sick = [f"{name} ({state})" for name, state in sorted((health["longhorn"] or {}).items()) if state != "healthy"]
    if sick:
        remedy = "on a server: k3s kubectl -n longhorn-system get volumes.longhorn.io"
        problems.append(problem(f"Longhorn's volumes are not healthy: {', '.join(sick)}", remedy))
    return problems


def kured(daemon_sets: Iterable[Mapping], nodes: Iterable[str], now: datetime) -> dict | None:
    """Is there a kured, which reboots nodes by itself, and does somebody hold its lock by hand?

    :param daemon_sets: all DaemonSets.
    :param nodes: names of the nodes; a lock that is one of theirs is kured at work.
    :param now: with its zone.
    :returns: ``namespace``, ``name`` and ``held``; None where there is none.
    """
    for thing in daemon_sets:
        images = [container.get("image", "") for container in thing["spec"]["template"]["spec"]["containers"]]
        if thing["metadata"]["name"] != "kured" and not any(re.search(r"(^|/)kured(:|@|$)", image) for image in images):
            continue
        annotation = (thing["metadata"].get("annotations") or {}).get("weave.works/kured-node-lock", "")
        held = _lock_holds(annotation, set(nodes), now)
        return {"namespace": thing["metadata"]["namespace"], "name": thing["metadata"]["name"], "held": held}
    return None


def _lock_holds(annotation: str, nodes: set, now: datetime) -> bool:
    try:
        lock = json.loads(annotation)
        holder, ttl = lock.get("nodeID"), int(lock.get("TTL") or 0)  # ns
        if not holder or holder in nodes:
            return False
        if not ttl:
            return True
        # Fractions of a second come in nanoseconds, which Python does not read.
        created = datetime.fromisoformat(re.sub(r"\.\d+", "", lock["created"]).replace("Z", "+00:00"))
        return now < created + timedelta(microseconds=ttl // 1000)
    except (ValueError, AttributeError, KeyError, TypeError):
        return False


def longhorn(volumes: Iterable[Mapping]) -> dict:
    """``namespace/name`` of each attached Longhorn volume -> its robustness."""
    return {
        f"{volume['metadata']['namespace']}/{volume['metadata']['name']}": volume["status"].get("robustness", "unknown")
        for volume in volumes
        if (volume.get("status") or {}).get("state") == "attached"
    }


def applying(plans: Iterable[Mapping]) -> list:
    """``namespace/name`` of the system-upgrade-controller's Plans that are at work on a node."""
    return sorted(
        f"{plan['metadata']['namespace']}/{plan['metadata']['name']}"
        for plan in plans
        if (plan.get("status") or {}).get("applying")
    )


def node_gate(state: Mapping | None, host_boot: str, old_boot: str, before: Mapping, now: Mapping) -> list:
    """Is the node whole again after its reboot? The problems say what is missing.

    :param state: `node_state`; None where the API does not know.
    :param host_boot: the boot_id that the host itself tells.
    :param old_boot: the one from before; empty where there was no reboot.
    :param before: ``namespace/name`` of a DaemonSet -> ids of its containers on the node, before the reboot.
    :param now: the same for all DaemonSets there are, with ``ready`` and ``containers``.
    """
    if state is None:
        return [problem("the API does not know the node", _ON_A_SERVER)]
    problems = []
    if state["boot_id"] == old_boot:
        problems.append(problem("the API still shows the boot from before", "on the node: systemctl status 'k3s*'"))
    elif state["boot_id"] != host_boot:
        problems.append(problem("the API shows another boot than the host", "on the node: systemctl status 'k3s*'"))
    if not state["ready"]:
        problems.append(problem("the node is not Ready", "on a server: k3s kubectl describe node"))
    for name, old in sorted(before.items()):
        if name not in now:
            continue  # Somebody deleted the DaemonSet.
        if not now[name]["ready"]:
            problems.append(problem(f"the pod of DaemonSet {name} is not ready", f"look at DaemonSet {name}"))
        elif old_boot and set(old) & set(now[name]["containers"]):
            problems.append(problem(f"the pod of DaemonSet {name} is from before the reboot", f"look at {name}"))
    return problems


def settled(before: Mapping, now: Mapping, cordoned: Iterable[str]) -> list:
    """Is all that was ready at the baseline ready again? The problems say what is not.

    :param before: name of a workload -> ``desired`` and ``ready``.
    :param now: the same, with ``pinned``: node -> how many of its pods wait for data that is there and nowhere else.
    :param cordoned: nodes that somebody else has cordoned: what waits for those alone is no fault of this run.
    """
    problems = []
    for name, old in sorted(before.items()):
        new = now.get(name)
        if new is None:
            continue  # Somebody deleted it.
        wanted = min(old["ready"], new["desired"])
        excused = sum(count for node, count in new["pinned"].items() if node in cordoned)
        if new["ready"] + excused < wanted:
            kind, _space, rest = name.partition(" ")
            namespace, _slash, bare = rest.rpartition("/")
            where = f" -n {namespace}" if namespace else ""
            remedy = f"on a server: k3s kubectl{where} describe {kind} {bare}"
            problems.append(problem(f"{name} has {new['ready']} ready, and had {old['ready']}", remedy))
    return problems


def volumes_settled(before: Mapping | None, now: Mapping | None) -> list:
    """Is every Longhorn volume that was healthy at the baseline healthy again? A detached one is nobody's problem.

    :param before: name -> robustness, of the attached volumes; None where there is no Longhorn.
    """
    remedy = "on a server: k3s kubectl -n longhorn-system get volumes.longhorn.io"
    return [
        problem(f"Longhorn's volume {name} is {now[name]}", remedy)
        for name, state in sorted((before or {}).items())
        if state == "healthy" and now is not None and now.get(name, state) != state
    ]


def worse(before: Mapping, now: Mapping) -> list:
    """What of a cluster is not as well as at the baseline; see `settled` and `volumes_settled`.

    :param before: ``workloads`` and ``longhorn``.
    :param now: ``cluster`` of k3s_info.
    """
    workloads = settled(before.get("workloads") or {}, now["workloads"], others_cordons(now["nodes"]))
    return workloads + volumes_settled(before.get("longhorn"), now.get("longhorn"))


def others_cordons(nodes: Mapping) -> list:
    """The nodes that somebody has cordoned who is no run."""
    return [name for name, state in nodes.items() if state["unschedulable"] and not state["mark"]]


def forgettable(names: Iterable[str], hosts: Mapping) -> dict:
    """Nodes that are said to be gone for good: who is to be asked to forget them.

    :param hosts: host -> ``k3s`` (what it says of itself) and ``cluster`` (of k3s_info); None where it did not say.
    :returns: ``servers`` (node -> host) and ``problems``.
    """
    servers, problems = {}, []
    for name in names:
        asked = [host for host, told in hosts.items() if name in (told["cluster"] or {"nodes": {}})["nodes"]]
        if not asked:
            remedy = "on a server: k3s kubectl get nodes"
            problems.append(problem(f"no server that answers knows a node {name}", remedy))
            continue
        state = hosts[asked[0]]["cluster"]["nodes"][name]
        alive = [host for host, told in hosts.items() if (told["k3s"] or {}).get("machine_id") == state["machine_id"]]
        why = "it is Ready" if state["ready"] else f"its host {', '.join(alive)} answers" if alive else ""
        if why:
            remedy = "put it in order: ansible-playbook homelab.patching.recover, without patching_forget"
            problems.append(problem(f"node {name} is not gone: {why}", remedy))
        servers[name] = asked[0]
    return {"servers": servers, "problems": problems}


def recover(state: Mapping | None, host_boot: str | None, shutting_down: bool, reboot_wanted: bool) -> dict:
    """What to do with a node that carries the mark of a dead run.

    :param state: `node_state`; None where the API does not answer.
    :param host_boot: the boot_id that the host tells now; None where it does not answer.
    :param shutting_down: a shutdown of the host is under way.
    :param reboot_wanted: the host needs a reboot, and its policy allows it.
    :returns: ``do`` and ``why``. ``nothing``; ``stop`` (nothing is known); ``wait``; ``give back`` (nothing was
        rebooted); ``prove`` (it was rebooted: node gate, then give back); ``reboot`` (fenced, on the old boot).
    """
    if state is None:
        return {"do": "stop", "why": "the API does not answer, so it is not known what was left"}
    mark = state["mark"]
    if mark is None:
        return {"do": "nothing", "why": "no run has marked the node"}
    if host_boot is None:
        return {
            "do": "stop",
            "why": f"run {mark['run']} left the node in phase {mark['phase']}, and it does not answer",
        }
    if host_boot != mark["boot_id"]:
        return {"do": "prove", "why": f"the node has been rebooted since run {mark['run']} marked it"}
    if shutting_down:
        return {"do": "wait", "why": "a shutdown is under way"}
    if mark["phase"] != "reboot":
        return {"do": "give back", "why": f"run {mark['run']} ended in phase {mark['phase']}, before the reboot"}
    why = f"run {mark['run']} ended between its mark and the reboot"
    return {"do": "reboot" if reboot_wanted else "give back", "why": why}


# After these nothing is put back: the host, or the node, is somebody else's by now.
_NOT_OURS = ("claim", "uncordoned", "foreign")


def progress(so_far: Mapping, result: Mapping, now: float) -> dict:
    """What a repeated call of k3s_node has come to, and whether it is to be repeated once more.

    :param so_far: ``began`` (seconds since the epoch), ``timeout`` (seconds) and ``ask`` (servers, to be asked in this
        order), or what this function returned before.
    :param result: what Ansible registered.
    :param now: seconds since the epoch.
    :returns: that, with ``ready``; ``again`` and ``pause`` (seconds before it); why it ended otherwise, ``blocked``
        (by what is on the node) or ``stop`` (anything else); ``undo`` (False: the node is not ours any more);
        ``evicted`` and ``containers``.
    """
    end = {"evicted": [], "containers": {}, "grace": 0, "undo": True, **so_far}
    end |= {"ready": False, "again": False, "pause": 0, "blocked": "", "stop": ""}
    end["evicted"] = [*end["evicted"], *result.get("evicted", [])]
    end["grace"] = max(end["grace"], result.get("grace", 0))
    late = now > end["began"] + max(end["timeout"], end["grace"] + 60 if end["grace"] else 0)
    if "node" in result and not result.get("failed"):
        why = _unfinished(result)
        if not why:
            return {**end, "ready": True, "containers": result.get("containers", end["containers"])}
        if result.get("hopeless") or late:
            return {**end, "blocked": why}
        # A call that ended early found nothing to wait for; asking at once would only keep the API busy.
        return {**end, "again": True, "pause": 3 if result.get("seconds", 0) < 5 else 0}
    message = " ".join(str(result.get("msg") or "it does not answer").split())
    kind = "unknown" if result.get("unreachable") else result.get("kind", "unknown")
    if kind in _NOT_OURS or kind == "refused":
        return {**end, "stop": message, "undo": kind == "refused"}
    if late:
        return {**end, "stop": f"{end['ask'][0]}: {message}"}
    if kind == "unknown":
        end["ask"] = [*end["ask"][1:], end["ask"][0]]
    return {**end, "again": True, "pause": 3}


def _unfinished(result: Mapping) -> str:
    """What a call of k3s_node left to be done, in words; empty where it is done."""
    if "problems" in result:
        return told(result["problems"])
    if result.get("drained", True):
        return ""
    reasons = []
    for each in result["blocked"]:
        pods = ", ".join(each["pods"])
        reasons.append(
            {
                "budget": f"PodDisruptionBudget {each['name']} does not let {pods} go",
                "two budgets": f"{pods} is under two PodDisruptionBudgets ({each['name']}), so nobody can evict it",
                "bare": f"{pods} has no controller that would make it anew: delete it yourself, or give it one",
                "error": f"{pods} cannot be evicted: {each['message']}",
            }[each["why"]]
        )
    if result["terminating"]:
        reasons.append(f"still ending: {', '.join(result['terminating'])}")
    if result["volumes"]:
        reasons.append(f"still attached: {', '.join(result['volumes'])}")
    return f"node {result['node']} cannot be drained: {'; '.join(reasons) or 'pods are left on it'}"
