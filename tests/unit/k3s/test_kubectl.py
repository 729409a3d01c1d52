"""The client of the cluster's API, against a kubectl that says what a test wants."""

import json

import pytest
from ansible_collections.homelab.patching.plugins.module_utils.k3s import kubectl


@pytest.fixture
def api(tmp_path, monkeypatch):
    """A client whose kubectl is a shell script of the test's; it notes its words and input below tmp_path."""
    monkeypatch.setattr(kubectl, "KUBECONFIG", tmp_path / "k3s.yaml")
    (tmp_path / "k3s.yaml").write_text('clusters:\n- cluster:\n    server: "https://127.0.0.1:7443"\n')

    def make(script, seconds=20.0):
        binary = tmp_path / "k3s"
        binary.write_text(f'#!/bin/sh\necho "$KUBECONFIG|$*" >> {tmp_path}/words\ncat > {tmp_path}/input\n{script}\n')
        binary.chmod(0o755)
        return kubectl.Api(str(binary), seconds)

    return make


@pytest.mark.parametrize(
    ("stderr", "kind"),
    [
        ("The connection to the server 127.0.0.1:6443 was refused", kubectl.Unknown),
        ("Unable to connect to the server: net/http: TLS handshake timeout", kubectl.Unknown),
        ("Error from server (ServiceUnavailable): the server is currently unable", kubectl.Unknown),
        ("Error from server (Timeout): the server was unable to return a response", kubectl.Unknown),
        ("Error from server: etcdserver: request timed out", kubectl.Unknown),
        ("Error from server (InternalError): an error on the server", kubectl.Unknown),
        ("Error from server (TooManyRequests): retry later", kubectl.Unknown),
        ("", kubectl.Unknown),
        ('Error from server (NotFound): nodes "x" not found', kubectl.Missing),
        ('error: the server doesn\'t have a resource type "volumes"', kubectl.Missing),
        ("Error from server (Forbidden): nodes is forbidden", kubectl.Refused),
        ('Error from server (Conflict): Operation cannot be fulfilled on nodes "x"', kubectl.Conflict),
        (
            'error: Operation cannot be fulfilled on nodes "x": the object has been modified; please apply\n'
            "Please review the fields above--they currently have other managers." + " Here are the ways." * 60,
            kubectl.Conflict,
        ),
        ('error: Apply failed with 1 conflict: conflict with "kubectl": .spec.unschedulable', kubectl.Conflict),
    ],
)
def test_what_kubectl_says_when_it_fails(api, stderr, kind):
    with pytest.raises(kubectl.PatchingError) as caught:
        api(f"echo '{stderr.replace(chr(39), '')}' >&2; exit 1").text("get", "nodes")
    # No answer must never pass for a refusal, nor the other way round.
    assert type(kubectl.failure(("get", "nodes"), stderr)) is kind
    assert "kubectl get nodes" in str(caught.value)


def test_its_words_and_its_environment(api, tmp_path, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", "/root/other-cluster")
    assert api("echo '{\"items\": []}'").every("nodes", "pods") == {}
    environment, _bar, words = (tmp_path / "words").read_text().strip().partition("|")
    assert environment == ""
    assert words.startswith(f"kubectl --kubeconfig={tmp_path}/k3s.yaml --request-timeout=20s --cache-dir=/run/")
    assert words.endswith("get nodes,pods --all-namespaces -o json")


def test_one_that_hangs_is_ended_with_everything_it_started(api, tmp_path):
    with pytest.raises(kubectl.Unknown, match="did not end within 1 s"):
        api(f"sleep 30; touch {tmp_path}/survived").run("drain", "n1", seconds=1)
    assert not (tmp_path / "survived").exists()


def test_no_call_is_begun_when_time_is_over(api, tmp_path):
    with pytest.raises(kubectl.Unknown, match="no time left"):
        api("true", seconds=0.5).run("get", "nodes")
    assert not (tmp_path / "words").exists()


def test_a_binary_that_is_not_there():
    with pytest.raises(kubectl.Unknown):
        kubectl.Api("/nowhere/k3s").text("get", "nodes")


@pytest.mark.parametrize("printed", ["", "[]", "null", "Error"])
def test_what_is_no_object_is_no_answer(api, printed):
    with pytest.raises(kubectl.Unknown):
        api(f"echo '{printed}'").json("get", "nodes")


@pytest.mark.parametrize(
    ("given", "applied"),
    [
        (
            ("n1", {"a": "b"}, True, "77"),
            {
                "metadata": {"name": "n1", "annotations": {"a": "b"}, "resourceVersion": "77"},
                "spec": {"unschedulable": True},
            },
        ),
        (("n1", {}, False), {"metadata": {"name": "n1"}}),
    ],
)
def test_only_our_own_fields_are_applied(api, tmp_path, given, applied):
    api("echo '{}'").apply_node(*given)
    assert json.loads((tmp_path / "input").read_text()) == {"apiVersion": "v1", "kind": "Node", **applied}
    words = (tmp_path / "words").read_text()
    assert "apply --server-side --field-manager=homelab-patching -f -" in words
    assert "force" not in words


def test_every_server_is_asked_at_its_own_address(api, tmp_path):
    script = 'case "$*" in *10.0.0.1*) exit 0;; *) exit 1;; esac'
    found = api(script).ready_at(["10.0.0.1", "2001:db8::2"], "/readyz/etcd")
    assert found == {"10.0.0.1": True, "2001:db8::2": False}
    words = (tmp_path / "words").read_text()
    assert "--server=https://10.0.0.1:7443 get --raw /readyz/etcd" in words
    assert "--server=https://[2001:db8::2]:7443 get --raw" in words


def test_why_a_server_is_not_ready(api):
    assert api("exit 0").unready() == ""
    assert api("echo '[+]ping ok'>&2; echo '[-]etcd failed: reason withheld' >&2; exit 1").unready() == (
        "[-]etcd failed: reason withheld"
    )
    assert api("exit 1").unready() == "no answer"
