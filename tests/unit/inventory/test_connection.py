"""Reaching the API: certificates, logins, endpoints, and answers that no Proxmox VE gives. One clear line for each."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
from pathlib import Path

import pytest
from ansible.errors import AnsibleParserError
from ansible.inventory.data import InventoryData
from ansible_collections.homelab.patching.plugins.module_utils.pve import client
from ansible_collections.homelab.patching.plugins.module_utils.pve.tls import colons

from .conftest import CHECKOUT, TOKEN, serve

NET = {"net0": "virtio=BC:24:11:00:00:01,bridge=vmbr0", "ipconfig0": "ip=192.0.2.1/24"}
ROW = {"type": "qemu", "vmid": 101, "node": "pve1", "status": "running", "name": "web"}
ORDER = {"address": {"order": []}}


@pytest.fixture
def known(web):
    """A `web` with one guest."""
    web.answers["cluster/resources"] = [ROW]
    return web


def fingerprint(web) -> str:
    """The SHA-256 of its certificate."""
    return hashlib.sha256(web.certificate).hexdigest()


def refused(parse, options: dict) -> str:
    """The message of a configuration that is refused; one line that names no internals."""
    with pytest.raises(AnsibleParserError) as caught:
        parse(options)
    message = caught.value.message
    assert "\n" not in message
    assert "HTTPSConnectionPool" not in message
    assert "Traceback" not in message
    return message


# --- certificates ---


def test_a_ca_file_is_enough_for_a_certificate_that_nobody_signed(parse, known):
    assert parse({**known.options(), **ORDER}).hosts == ["web"]


def test_a_self_signed_certificate_is_refused_and_its_fingerprint_shown(parse, known):
    message = refused(parse, {**known.options(), "ca_path": None})
    assert "TLS certificate is not accepted" in message
    assert "ca_path" in message
    assert colons(fingerprint(known)) in message
    assert known.seen == [], "the token was sent to a server that nobody vouched for"


@pytest.mark.parametrize("form", ["plain", "colons", "openssl"])
def test_a_pinned_certificate_needs_no_ca(parse, known, form):
    digits = fingerprint(known)
    text = {"plain": digits, "colons": colons(digits), "openssl": f"sha256 Fingerprint={colons(digits)}"}[form]
    assert parse({**known.options(), "ca_path": None, "fingerprint": text, **ORDER}).hosts == ["web"]


@pytest.mark.parametrize("login", [TOKEN, {"user": "root@pam", "password": "secret"}])
def test_another_certificate_than_the_pinned_one_gets_no_secret(parse, known, login):
    options = {**login, "url": known.url, "validate_certs": False, "fingerprint": "ab" * 32, "retries": 0}
    message = refused(parse, options)
    assert "not the pinned one" in message
    assert colons("ab" * 32) in message
    assert colons(fingerprint(known)) in message
    assert known.seen == []


def test_a_pin_holds_through_a_proxy(parse, known, monkeypatch, tmp_path):
    """A proxy that tunnels: the pin has to be looked at behind it as well."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    script = tmp_path / "proxy.py"
    script.write_text(PROXY)
    proxy = subprocess.Popen([os.sys.executable, str(script), str(listener.fileno())], pass_fds=[listener.fileno()])
    listener.close()
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    try:
        good = {**known.options(), "ca_path": None, "fingerprint": fingerprint(known), **ORDER}
        assert parse(good).hosts == ["web"]
        known.seen.clear()
        refused(parse, {**good, "fingerprint": "ab" * 32})
        assert known.seen == []
    finally:
        proxy.kill()
        proxy.wait()


PROXY = """
import socket, sys, threading

def pump(source, target):
    while data := source.recv(65536):
        target.sendall(data)
    target.close()

listener = socket.socket(fileno=int(sys.argv[1]))
while True:
    client, _ = listener.accept()
    host, port = client.recv(65536).split()[1].decode().rsplit(":", 1)
    server = socket.create_connection((host, int(port)))
    client.sendall(b"HTTP/1.1 200 OK\\r\\n\\r\\n")
    threading.Thread(target=pump, args=(client, server), daemon=True).start()
    threading.Thread(target=pump, args=(server, client), daemon=True).start()
"""


@pytest.mark.filterwarnings("error:Unverified HTTPS request")
@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_the_environment_does_not_change_what_was_asked_for(parse, known, web, monkeypatch, tmp_path, variable):
    (tmp_path / "other").mkdir()
    other, server = serve(tmp_path / "other")
    server.server_close()
    monkeypatch.setenv(variable, other.cafile)
    assert parse({**known.options(), **ORDER}).hosts == ["web"], "ca_path"
    off = {**known.options(), "ca_path": None, "validate_certs": False, **ORDER}
    assert parse(off).hosts == ["web"], "validate_certs: false"
    login = {**off, "user": "root@pam", "password": "secret", "token_id": None, "token_secret": None}
    web.answers["access/ticket"] = {"ticket": "PVE:root@pam:1", "CSRFPreventionToken": "x"}
    assert parse(login).hosts == ["web"], "the login"


def test_a_ca_directory(parse, known, tmp_path):
    folder = tmp_path / "certs"
    folder.mkdir()
    (folder / "README").write_text("no certificate")
    assert "ca_path: no certificate in" in refused(parse, {**known.options(), "ca_path": str(folder)})
    (folder / "pve.pem").write_bytes(Path(known.cafile).read_bytes())
    assert parse({**known.options(), "ca_path": str(folder), **ORDER}).hosts == ["web"]
    (folder / "pve.pem").unlink()
    assert "no certificate" in refused(parse, {**known.options(), "ca_path": str(folder / "README")})


OPENSSL = """
openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 9 -subj '/CN=Proxmox Virtual Environment'
openssl req -newkey rsa:2048 -nodes -keyout leaf.key -out leaf.csr -subj '/CN=pve1.lan'
printf 'subjectAltName=IP:127.0.0.1,DNS:pve1.lan\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n' > leaf.ext
openssl x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 9 -out leaf.pem -extfile leaf.ext
"""


@pytest.mark.parametrize("trusted", ["ca.pem", "leaf.pem"])
def test_the_ca_that_proxmox_makes(parse, tmp_path, trusted):
    """It has no key usage extension, which Python refuses from 3.13 on; and the node's own certificate is enough."""
    subprocess.run(["bash", "-ec", OPENSSL], cwd=tmp_path, check=True, capture_output=True)
    other, server = serve(tmp_path, certificate=("leaf.pem", "leaf.key"))
    other.answers["cluster/resources"] = [ROW]
    assert parse({**other.options(), "ca_path": trusted, **ORDER}).hosts == ["web"]
    server.server_close()


def test_a_relative_ca_path_starts_at_the_inventory_file(parse, known, tmp_path):
    (tmp_path / "pve.pem").write_bytes(Path(known.cafile).read_bytes())
    assert parse({**known.options(), "ca_path": "pve.pem", **ORDER}).hosts == ["web"]


def test_a_certificate_for_another_name(parse, tmp_path):
    other, server = serve(tmp_path, "127.0.0.2")
    message = refused(parse, other.options())
    server.server_close()
    assert "certificate is not accepted" in message
    assert "127.0.0.2" in message


# --- logins ---


def test_a_wrong_password(parse, pve, options):
    login = {**options, "user": "root@pam", "password": "wrong", "token_id": None, "token_secret": None}
    message = refused(parse, login)
    assert "the login was refused" in message
    assert "Check user" in message
    assert "wrong" not in message


def test_a_wrong_token(parse, options):
    assert "the login was refused" in refused(parse, {**options, "token_secret": "wrong"})


def test_a_second_factor(parse, pve, options):
    pve.tfa = True
    login = {**options, "user": "root@pam", "password": "secret", "token_id": None, "token_secret": None}
    assert "use an API token" in refused(parse, login)


def test_the_token_may_be_written_as_proxmox_shows_it(parse, pve, options):
    pve.add_vm(101, "web", status="running", config=NET)
    whole = {**options, "user": None, "token_id": " ansible@pve!inventory ", "token_secret": "s3cret\n"}
    assert parse(whole).hosts == ["web"]


def test_all_comes_from_the_environment(parse, pve, options, monkeypatch, fakepve_cafile):
    pve.add_vm(101, "web", status="running", config=NET)
    for name, value in {**TOKEN, "url": pve.url, "ca_path": fakepve_cafile}.items():
        monkeypatch.setenv(f"PROXMOX_{name.upper()}", value)
    assert parse({"address": options["address"]}).hosts == ["web"]
    monkeypatch.setenv("PROXMOX_FINGERPRINT", "ab" * 32)
    assert "not the pinned one" in refused(parse, {})


def test_all_connection_options_can_be_templates(parse, pve, options, monkeypatch):
    pve.add_vm(101, "web", status="running", config=NET)
    for name in ("url", "user", "token_id", "token_secret", "ca_path"):
        monkeypatch.setenv(f"MY_{name}", str(options[name]))
    templates = {
        name: f"{{{{ lookup('ansible.builtin.env', 'MY_{name}') }}}}"
        for name in ("user", "token_id", "token_secret", "ca_path")
    }
    numbers = {"validate_certs": "{{ 1 == 1 }}", "api_timeout": "{{ 2 + 3 }}", "retries": "{{ 0 }}"}
    endpoints = {"endpoints": ["{{ lookup('ansible.builtin.env', 'MY_url') }}"], "concurrency": "{{ 4 }}"}
    assert parse({**ORDER, **templates, **numbers, **endpoints}).hosts == ["web"]


# --- endpoints ---


def closed_port() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def test_an_endpoint_that_is_down_does_not_matter_when_a_second_is_up(parse, pve, options, calls):
    pve.add_vm(101, "web", status="running", config=NET)
    dead = f"https://127.0.0.1:{closed_port()}"
    result = parse({**options, "endpoints": [dead, pve.url]})
    assert result.vars("web")["ansible_host"] == "192.0.2.1"
    assert "connection refused" in result.warned(dead)
    assert len(calls()) == 2


def test_an_endpoint_with_a_wrong_certificate_is_left_for_the_next(parse, known, tmp_path):
    other, server = serve(tmp_path)
    result = parse({**known.options(), "endpoints": [other.url, known.url], **ORDER})
    server.server_close()
    assert result.hosts == ["web"]
    result.warned(other.url, "certificate")
    assert other.seen == []


def test_each_endpoint_can_have_a_pin_of_its_own(parse, known, tmp_path):
    other, server = serve(tmp_path)
    options = {**known.options(), "ca_path": None, "endpoints": [other.url, known.url], **ORDER}
    other.answers["cluster/resources"] = (503, "text/plain", "busy")
    pins = [hashlib.sha256(other.certificate).hexdigest(), fingerprint(known)]
    assert parse({**options, "fingerprint": pins}).hosts == ["web"]
    assert other.seen
    server.server_close()
    assert "3 values for 2 endpoints" in refused(parse, {**options, "fingerprint": [*pins, "ab" * 32]})


def test_no_endpoint_at_all(parse, options):
    message = refused(parse, {**options, "url": f"https://127.0.0.1:{closed_port()}", "retries": 0})
    assert "connection refused" in message
    assert "8006" in message
    message = refused(parse, {**options, "url": "no-such-host.invalid", "retries": 0})
    assert "does not resolve" in message


# --- answers that no Proxmox VE gives ---


@pytest.mark.parametrize(
    "answer",
    [
        (200, "text/html", "<html><form>Sign in</form></html>"),
        (302, "text/html", "moved"),
        (200, "application/json", "[]"),
        (200, "application/json", "{}"),
        (200, "application/json", '{"data": null}'),
        (200, "application/json", '{"data": {"a": 1}}'),
        (200, "application/json", '{"data": ["a"]}'),
        (200, "application/json", '"text"'),
        (200, "application/json", "\ud83d".encode("utf-8", "replace").decode()),
    ],
)
def test_a_login_page_with_status_200(parse, web, answer):
    web.answers["cluster/resources"] = answer
    message = refused(parse, web.options())
    assert "not the API of Proxmox VE" in message
    assert "https://HOST:8006" in message


@pytest.mark.parametrize("answer", [(500, "application/json", "[]"), (500, "text/html", "<html>"), (418, "x", "")])
def test_an_error_in_any_form(parse, web, answer):
    web.answers["cluster/resources"] = answer
    assert f"HTTP {answer[0]}" in refused(parse, web.options())


def test_a_login_page_for_the_ticket(parse, web):
    web.answers["access/ticket"] = (200, "text/html", "<html>")
    login = {"user": "root@pam", "password": "secret", "token_id": None, "token_secret": None}
    assert "not the API of Proxmox VE" in refused(parse, {**web.options(), **login})


def test_a_server_without_tls(parse, options):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        # Nobody answers the handshake.
        message = refused(parse, {**options, "url": f"127.0.0.1:{port}", "retries": 0, "api_timeout": 1})
    assert "no answer within 1 s" in message


def test_http_never_carries_a_secret_in_the_clear(parse, known):
    assert parse({**known.options(), "url": known.url.replace("https", "http"), **ORDER}).hosts == ["web"]


# --- mistakes in the file ---


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"user": None}, "user: missing. Set user: ansible@pve"),
        ({"user": "ansible"}, "user: 'ansible' has no realm. Write ansible@pve"),
        ({"token_secret": None}, "token_secret: missing"),
        ({"token_id": None}, "token_id: missing"),
        ({"token_id": None, "token_secret": None}, "No credentials. Set token_id and token_secret"),
        ({"token_id": "root@pam!x"}, "the token belongs to root@pam"),
        ({"token_secret": "s3c\nret"}, "token_secret: has a blank"),
        ({"url": "ftp://pve"}, "url: 'ftp://pve' is not the address of an API. Write https://"),
        ({"url": "https://"}, "is not the address of an API"),
        ({"url": "pve1 pve2"}, "is not the address of an API"),
        ({"url": "https://pve:99999"}, "is not the address of an API"),
        ({"ca_path": "/nowhere.pem"}, "ca_path: /nowhere.pem does not exist"),
        ({"fingerprint": "AA:BB"}, "fingerprint: 'AA:BB' is no SHA-256 fingerprint (64 hex digits)"),
        ({"validate_certs": "maybe"}, "validate_certs"),
        ({"api_timeout": 0}, "api_timeout: 0.0 is not a number from 1 to 600"),
        ({"concurrency": 0}, "concurrency: 0 is not a number from 1 to 128"),
        ({"retries": -1}, "retries: -1 is not a number"),
        ({"inculde": {}}, "Unknown option 'inculde'. Did you mean include?"),
        ({"hostname": "{{ name }}"}, "Option 'hostname' is not supported. Use hostnames"),
        ({"include": {"tag": ["x"]}}, "include: unknown key 'tag'. Did you mean tags?"),
        ({"include": {"tags": {"a": 1}}}, "include.tags: a list is wanted"),
        ({"exclude": {"vmids": ["x"]}}, "exclude.vmids: 'x' is no vmid. Write 101"),
        ({"exclude": {"types": ["kvm"]}}, "exclude.types: 'kvm' is not known. Use qemu or lxc"),
        ({"address": {"ordr": []}}, "address: unknown key 'ordr'"),
        ({"address": {"order": ["dns"]}}, "address.order: unknown source 'dns'"),
        ({"address": {"cidrs": ["lan"]}}, "address.cidrs: 'lan' is not a network. Write it like 192.168.1.0/24"),
        ({"address": {"family": "v4"}}, "address.family: 'v4' is not known"),
    ],
)
def test_a_mistake_is_named_with_what_to_write_instead(parse, options, wrong, told):
    assert told in refused(parse, {**options, **wrong})


def test_a_missing_package_is_named_and_ends_no_process(parse, options, monkeypatch):
    monkeypatch.setattr(client, "MISSING", "No module named 'proxmoxer'")
    message = refused(parse, options)
    assert "No module named 'proxmoxer'" in message
    assert "pip install proxmoxer urllib3" in message


# --- what a failure leaves behind ---


def test_a_failure_leaves_a_variable_for_the_guard(parse, options, tmp_path):
    data = InventoryData()
    with pytest.raises(AnsibleParserError):
        parse({**options, "token_secret": "wrong"}, data=data)
    said = data.groups["all"].get_vars()["__patching_inventory_error"]
    assert str(tmp_path / "lab.proxmox.yml") in said
    assert "the login was refused" in said
    with pytest.raises(AnsibleParserError):
        parse({**options, "user": None}, data=data)
    both = data.groups["all"].get_vars()["__patching_inventory_error"]
    assert both.startswith(said)
    assert "user: missing" in both


def test_a_success_leaves_none_but_keeps_that_of_another_source(parse, pve, options):
    pve.add_vm(101, "web", status="running", config=NET)
    assert "__patching_inventory_error" not in parse(options).data.groups["all"].get_vars()
    data = InventoryData()
    data.set_variable("all", "__patching_inventory_error", "other.proxmox.yml: down")
    parse(options, data=data)
    assert data.groups["all"].get_vars()["__patching_inventory_error"] == "other.proxmox.yml: down"


def test_whatever_ends_the_plugin_the_variable_is_there(parse, options, monkeypatch):
    data = InventoryData()
    monkeypatch.setattr(
        "ansible_collections.homelab.patching.plugins.module_utils.pve.client.Client.listing", lambda _self: 1 / 0
    )
    with pytest.raises(ZeroDivisionError):
        parse(options, data=data)
    assert "did not finish" in data.groups["all"].get_vars()["__patching_inventory_error"]


def test_ansible_goes_on_beside_a_source_that_failed(tmp_path):
    """The reason for that variable: exit status 0, and the other source's hosts."""
    (tmp_path / "bad.proxmox.yml").write_text("plugin: homelab.patching.proxmox\nuser: x\n")
    (tmp_path / "good.ini").write_text("web\n")
    done = subprocess.run(
        [CHECKOUT / ".venv/bin/ansible", "-i", tmp_path, "web", "-m", "debug", "-a", "var=__patching_inventory_error"],
        capture_output=True,
        text=True,
        cwd=CHECKOUT,
        check=True,
        env={key: value for key, value in os.environ.items() if not key.startswith("PROXMOX_")},
    )
    assert "has no realm" in done.stdout
