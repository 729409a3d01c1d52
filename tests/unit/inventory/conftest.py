"""Runs the inventory plugin against fakepve, or against a web server that answers what a test says."""

from __future__ import annotations

import json
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from ansible.inventory.data import InventoryData
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader, inventory_loader
from ansible.utils.collection_loader import AnsibleCollectionConfig
from ansible.utils.display import Display
from fakepve.certs import make_cert

CHECKOUT = Path(__file__).parents[3]
TOKEN = {"user": "ansible@pve", "token_id": "inventory", "token_secret": "s3cret"}

if not AnsibleCollectionConfig.collection_finder:
    # Ansible's own loader knows the collection only if nobody has imported it past the loader.
    for name in [name for name in sys.modules if name.partition(".")[0] == "ansible_collections"]:
        del sys.modules[name]
    init_plugin_loader([str(CHECKOUT / ".build" / "collections")])


@dataclass
class Result:
    """An inventory, and what the user was told."""

    data: InventoryData
    warnings: list[str]

    @property
    def hosts(self) -> list[str]:
        """Names of all hosts but the nodes, sorted."""
        nodes = self.data.groups.get("proxmox_nodes")
        names = {host.name for host in nodes.get_hosts()} if nodes else set()
        return sorted(set(self.data.hosts) - names)

    def vars(self, host: str) -> dict[str, Any]:
        """The variables of a host."""
        return self.data.hosts[host].get_vars()

    def groups(self, host: str) -> set[str]:
        """The groups that a host is in."""
        return {group.name for group in self.data.hosts[host].get_groups()}

    def members(self, group: str) -> list[str]:
        """The hosts in a group."""
        return sorted(host.name for host in self.data.groups[group].get_hosts())

    def warned(self, *parts: str) -> str:
        """The one warning that has all these parts."""
        found = [line for line in self.warnings if all(part in line for part in parts)]
        assert len(found) == 1, f"{parts} in {self.warnings}"
        return found[0]


@pytest.fixture
def spoken(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The warnings of this test."""
    lines: list[str] = []
    monkeypatch.setattr(Display, "warning", lambda _self, msg, **_options: lines.append(str(msg)))
    return lines


@pytest.fixture
def parse(tmp_path: Path, spoken: list[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Parse a configuration as Ansible does; errors are raised."""
    for name in ("URL", "USER", "TOKEN_ID", "TOKEN_SECRET", "PASSWORD", "CA_PATH", "FINGERPRINT", "VALIDATE_CERTS"):
        monkeypatch.delenv(f"PROXMOX_{name}", raising=False)

    def run(options: dict[str, Any], *, cache: bool = True, data: InventoryData | None = None) -> Result:
        path = tmp_path / "lab.proxmox.yml"
        path.write_text(yaml.safe_dump({"plugin": "homelab.patching.proxmox", **options}, allow_unicode=True))
        data = data or InventoryData()
        plugin = inventory_loader.get("homelab.patching.proxmox")
        assert plugin.verify_file(str(path))
        del spoken[:]
        plugin.parse(data, DataLoader(), str(path), cache=cache)
        plugin.update_cache_if_changed() if options.get("cache") else None
        data.reconcile_inventory()
        return Result(data, list(spoken))

    return run


@pytest.fixture
def pve(fakepve: Any) -> Any:
    """A fakepve that has the token of `TOKEN`."""
    fakepve.apitokens[f"{TOKEN['user']}!{TOKEN['token_id']}"] = TOKEN["token_secret"]
    return fakepve


@pytest.fixture
def options(pve: Any, fakepve_cafile: str) -> dict[str, Any]:
    """Options that reach `pve`, without DNS."""
    return {**TOKEN, "url": pve.url, "ca_path": fakepve_cafile, "address": {"order": ["ipconfig", "agent", "lxc"]}}


@pytest.fixture
def calls(pve: Any) -> Callable[[], list[str]]:
    """The requests that `pve` has seen since the last time this was asked: "GET /path"."""

    def read() -> list[str]:
        seen = [f"{method} {path.removeprefix('/api2/json')}" for method, path, _body in pve.requests]
        del pve.requests[:]
        return seen

    return read


@dataclass
class Web:
    """A server whose every answer a test sets: path below /api2/json to data, or to (status, type, body)."""

    url: str = ""
    cafile: str = ""
    certificate: bytes = b""
    answers: dict[str, Any] = field(default_factory=dict)
    seen: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)

    def options(self) -> dict[str, Any]:
        """Options that reach it."""
        return {**TOKEN, "url": self.url, "ca_path": self.cafile, "retries": 0, "address": {"order": ["ipconfig"]}}


class _Handler(BaseHTTPRequestHandler):
    web: Web
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer as the test said; 501 where it said nothing."""
        length = int(self.headers.get("Content-Length") or 0)
        self.rfile.read(length)
        path = urlsplit(self.path).path.removeprefix("/api2/json/")
        self.web.seen.append((self.command, path, dict(self.headers)))
        answer = self.web.answers.get(path, (501, "text/plain", "nothing here"))
        if callable(answer):
            answer = answer()
        if not isinstance(answer, tuple):
            answer = (200, "application/json", json.dumps({"data": answer}))
        status, kind, body = answer
        self.send_response(status, "Said by the test")
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body.encode())))
        if 300 <= status < 400:
            self.send_header("Location", f"{self.web.url}/login")
        self.end_headers()
        self.wfile.write(body.encode())

    do_POST = do_GET

    def log_message(self, *_args: Any) -> None:
        """Keep quiet."""


def serve(
    folder: Path, host: str = "127.0.0.1", certificate: tuple[str, str] = ("", "")
) -> tuple[Web, ThreadingHTTPServer]:
    """Start a `Web` with a certificate of its own."""
    cert, key, der = make_cert(str(folder))
    web = Web(cafile=cert, certificate=der)
    server = ThreadingHTTPServer((host, 0), type("Handler", (_Handler,), {"web": web}))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*([folder / name for name in certificate] if certificate[0] else [cert, key]))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_args: None  # type: ignore[method-assign]
    web.url = f"https://{host}:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    return web, server


@pytest.fixture
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """A `Web`."""
    found, server = serve(tmp_path_factory.mktemp("web"))
    yield found
    server.shutdown()
    server.server_close()
