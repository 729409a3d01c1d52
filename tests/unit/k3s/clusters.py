"""Made-up hosts, nodes and members of a cluster, for tests of what is decided about them."""

from ansible_collections.homelab.patching.plugins.module_utils.k3s.topology import topology

CLUSTER = "a" * 64


def facts(role, number, cluster=CLUSTER, **more):
    """What a host says of itself; node names differ from the hosts' on purpose."""
    return {
        "role": role,
        "unit": "k3s.service" if role == "server" else "k3s-agent.service",
        "cluster": cluster,
        "datastore": "etcd" if role == "server" else None,
        "split": [],
        "addresses": [f"198.18.0.{number}"],
        "machine_id": f"machine-{number}",
        "problems": [],
        **more,
    }


def state(number=1, roles=(), **more):
    return {
        "ready": True,
        "unschedulable": False,
        "boot_id": f"boot-{number}",
        "machine_id": f"machine-{number}",
        "version": "v1.34.3+k3s1",
        "addresses": [f"198.18.0.{number}"],
        "roles": list(roles),
        "hold": False,
        "mark": None,
        "member": f"s{number}-abcd" if "etcd" in roles else None,
        "voter": None,
        **more,
    }


SERVER = ("control-plane", "etcd", "master")
HOSTS = {
    "one": facts("server", 1),
    "two": facts("server", 2),
    "three": facts("server", 3),
    "four": facts("agent", 4),
    "five": facts("agent", 5),
    "web": None,
}
NODES = {
    "S1.lab.example": state(1, SERVER),
    "s2": state(2, SERVER),
    "s3": state(3, SERVER),
    "a4": state(4),
    "a5": state(5),
}


def etcd(*healthy, size=3, learner=(), gone=()):
    return [
        {
            "id": str(number),
            "name": f"s{number}-abcd",
            "node": None if number in gone else {1: "S1.lab.example"}.get(number, f"s{number}"),
            "address": f"198.18.0.{number}",
            "learner": number in learner,
            "healthy": number in healthy,
        }
        for number in range(1, size + 1)
    ]


def health(**more):
    return {
        "nodes": NODES,
        "unready": "",
        "etcd": etcd(1, 2, 3),
        "kured": None,
        "plans": [],
        "longhorn": None,
        **more,
    }


def of(hosts=HOSTS, **healths):
    """The one cluster that these hosts are."""
    (cluster,) = topology(hosts, healths or {"one": health(), "two": health()})["clusters"].values()
    return cluster


def one_problem(found):
    (only,) = found
    assert only["remedy"] or only["commands"]
    return only["cause"]
