"""What a host with K3s knows of itself, from the files and commands that an installation leaves."""

import json
import subprocess

import pytest
from ansible_collections.homelab.patching.plugins.module_utils.host import system
from ansible_collections.homelab.patching.plugins.module_utils.k3s import local

CONFIG = """\
# Written by hand.
write-kubeconfig-mode: "0644"
cluster-init: true   # three servers
node-name: 'KS1.lab.example'
"disable-etcd": false
node-ip:
  - 10.0.0.1
  - 2001:db8::1
disable: [traefik, servicelb]
datastore-endpoint: postgres://user:secret#1@db/k3s
tls-san+:
  - name.example
kubelet-arg:
- "max-pods=200"
"""


def test_the_configuration_that_people_write():
    assert local.parse_config(CONFIG) == {
        "write-kubeconfig-mode": "0644",
        "cluster-init": "true",
        "node-name": "KS1.lab.example",
        "disable-etcd": "false",
        "node-ip": "10.0.0.1,2001:db8::1",
        "disable": "traefik,servicelb",
        "datastore-endpoint": "postgres://user:secret#1@db/k3s",
        "tls-san": "name.example",
        "kubelet-arg": "max-pods=200",
    }


def test_a_configuration_in_json():
    text = json.dumps({"disable-etcd": True, "node-ip": ["10.0.0.1"], "node-name": "a"})
    assert local.parse_config(text) == {"disable-etcd": "true", "node-ip": "10.0.0.1", "node-name": "a"}


@pytest.mark.parametrize("text", ["", "[]", "# nothing\n", "{not yaml either"])
def test_a_configuration_without_keys(text):
    assert local.parse_config(text) == {}


@pytest.mark.parametrize(
    ("line", "flags"),
    [
        ("--disable-etcd", {"disable-etcd": "true"}),
        ("--disable-etcd=false --node-name a", {"disable-etcd": "false", "node-name": "a"}),
        ("--cluster-init --node-ip=10.0.0.1", {"cluster-init": "true", "node-ip": "10.0.0.1"}),
        ("--datastore-endpoint 'mysql://x'", {"datastore-endpoint": "mysql://x"}),
        ("", {}),
    ],
)
def test_flags_of_a_command_line(line, flags):
    assert local.parse_arguments(line.split()) == flags


# One short certificate: its content does not matter, its bytes do.
PEM = "-----BEGIN CERTIFICATE-----\nTUlJQg==\n-----END CERTIFICATE-----\n"


@pytest.fixture
def host(tmp_path, monkeypatch):
    """A host that has whatever a test gives it: units (name -> ExecStart), and files below its K3s folder."""
    units: dict = {}
    data, config = tmp_path / "data", tmp_path / "config.yaml"

    def run(argv, timeout=60, env=None):
        told = ""
        if argv[:2] == ["systemctl", "list-unit-files"]:
            told = "".join(f"{name} enabled enabled\n" for name in units)
        elif argv[:2] == ["systemctl", "show"] and "ExecStart" in argv:
            words = units.get(argv[2])
            told = f"{{ path=/usr/local/bin/k3s ; argv[]={words} ; ignore_errors=no ; pid=0 }}\n" if words else "\n"
        elif argv[:2] == ["systemctl", "show"]:
            told = "ActiveState=active\nSubState=running\n"
        elif argv[-1] == "--version":
            told = "k3s version v1.34.3+k3s1 (48ffa7b6)\ngo version go1.24.11\n"
        elif argv[0] == "ip":
            told = json.dumps([{"addr_info": [{"local": "198.18.0.9"}]}, {}])
        return subprocess.CompletedProcess(argv, 0, told, "")

    monkeypatch.setattr(system, "run", run)
    monkeypatch.setattr(local, "DATA", data)
    monkeypatch.setattr(local, "_CONFIG", config)
    monkeypatch.setattr(local, "_ENVIRONMENT", (str(tmp_path / "{}.env"),))
    authorities = {"server": data / "server/tls/server-ca.crt", "agent": data / "agent/server-ca.crt"}
    monkeypatch.setattr(local, "_CA", authorities)

    def put(path, text=""):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)

    return type("Host", (), {"units": units, "put": staticmethod(put), "data": data})


def server(host, words="/usr/local/bin/k3s server"):
    host.units["k3s.service"] = words
    host.put("data/server/tls/server-ca.crt", PEM)
    host.put("data/agent/server-ca.crt", PEM)


def test_a_host_without_k3s(host):
    assert local.facts() is None
    assert local.server() is None


def test_a_server_with_etcd(host):
    server(host)
    host.put("data/server/db/etcd/member/wal/0.wal")
    host.put("data/server/db/state.db")
    found = local.facts()
    assert {name: found[name] for name in ("role", "unit", "active", "version", "datastore", "split", "problems")} == {
        "role": "server",
        "unit": "k3s.service",
        "active": True,
        "version": "v1.34.3+k3s1",
        "datastore": "etcd",
        "split": [],
        "problems": [],
    }
    assert len(found["cluster"]) == 64
    assert found["addresses"] == ["198.18.0.9"]
    assert local.server() == "/usr/local/bin/k3s"


def test_an_agent_of_the_same_cluster(host):
    server(host)
    of_the_server = local.facts()["cluster"]
    host.units.clear()
    # An installation with a name of its own.
    host.units["k3s-blue.service"] = "/opt/bin/k3s agent --node-name Blue"
    found = local.facts()
    assert (found["role"], found["unit"], found["binary"]) == ("agent", "k3s-blue.service", "/opt/bin/k3s")
    assert (found["cluster"], found["datastore"], found["node_name"]) == (of_the_server, None, "Blue")
    assert local.server() is None


def test_another_authority_is_another_cluster(host):
    server(host)
    first = local.facts()["cluster"]
    # What follows the first certificate is the chain above it, which clusters may share.
    host.put("data/server/tls/server-ca.crt", PEM + PEM.replace("TUlJQg==", "TUlJRA=="))
    assert local.facts()["cluster"] == first
    host.put("data/server/tls/server-ca.crt", PEM.replace("TUlJQg==", "TUlJRA=="))
    assert local.facts()["cluster"] != first


@pytest.mark.parametrize(
    ("words", "config", "environment", "datastore"),
    [
        ("", "", "", "sqlite"),
        ("", "datastore-endpoint: mysql://x\n", "", "external"),
        ("", "", "K3S_DATASTORE_ENDPOINT='postgres://x'\nK3S_TOKEN=secret\n", "external"),
        (" --datastore-endpoint=etcd://x", "", "", "external"),
        (" --datastore-endpoint=sqlite:///x", "", "", "sqlite"),
    ],
)
def test_datastores_without_an_etcd_of_its_own(host, words, config, environment, datastore):
    server(host, f"/usr/local/bin/k3s server{words}")
    host.put("config.yaml", config)
    host.put("k3s.env", environment)
    # Left from the days before.
    host.put("data/server/db/etcd/name", "x")
    found = local.facts()
    assert found["datastore"] == datastore
    assert "secret" not in json.dumps(found)


@pytest.mark.parametrize("path", ["config.yaml", "config.yaml.d/role.yaml"])
def test_half_a_server(host, path):
    server(host)
    host.put(path, "disable-etcd: true\ndisable-apiserver: false\n")
    assert local.facts()["split"] == ["disable-etcd"]


def told(found):
    (only,) = found["problems"]
    return only["cause"]


def test_an_installation_that_is_not_known_is_a_problem(host):
    host.put("data/agent/server-ca.crt", PEM)
    assert "no k3s.service or k3s-agent.service" in told(local.facts())
    server(host)
    host.units["k3s-agent.service"] = "/usr/local/bin/k3s agent"
    assert "the host has k3s-agent.service and k3s.service" in told(local.facts())


def test_data_in_another_place_is_a_problem(host):
    server(host, "/usr/local/bin/k3s server --data-dir /srv/k3s")
    assert told(local.facts()) == "K3s has its data in /srv/k3s"


def test_a_k3s_that_never_started_is_a_problem(host):
    host.units["k3s.service"] = "/usr/local/bin/k3s server"
    found = local.facts()
    assert found["cluster"] is None
    assert "holds no certificate" in told(found)
