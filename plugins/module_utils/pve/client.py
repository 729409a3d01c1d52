# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The client of the Proxmox VE API: connects, logs in once, reads in parallel, and says what went wrong.

It is proxmoxer's resources over a transport of its own. proxmoxer's ``ProxmoxAPI`` logs in once for each object, sends
that login past any pinned certificate, and has one timeout for everything (proxmoxer 2.3.0, backends/https.py); and
requests, below it, reads all CA certificates anew for each connection, which took half of the time.
"""

from __future__ import annotations

import hashlib
import json
import os
import queue
import re
import socket
import ssl
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from ..core.problem import PatchingError

try:
    import urllib3
    from proxmoxer.core import ProxmoxResource, ResourceException

    MISSING = ""
except ImportError as exc:
    MISSING = str(exc)

# A connection is there quickly or not at all; s.
CONNECT_TIMEOUT = 5.0
# After this part of the patience without any answer, twice as many guests are asked at the same time.
STALL = 0.05
MOST_THREADS = 256
# 595 and 596: pveproxy could not reach the node (pve-http-server, AnyEvent codes).
NODE_DOWN = (595, 596)
RETRIED = (502, 503, 504)

PORT = 8006
LISTING = "cluster/resources"


@dataclass(frozen=True)
class Settings:
    """How to connect, checked by `parse_settings`."""

    endpoints: tuple[str, ...]
    user: str = ""
    password: str = field(default="", repr=False)
    token_id: str = ""
    token_secret: str = field(default="", repr=False)
    verify: bool | str = True
    fingerprints: tuple[str, ...] = ()
    api_timeout: float = 10.0
    agent_timeout: float = 10.0
    retries: int = 2
    concurrency: int = 48

    @property
    def identity(self) -> str:
        """Who asks whom, without a secret: what a cache belongs to."""
        text = "|".join((*self.endpoints, self.user, self.token_id))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Call:
    """A GET that is to be made.

    :param path: below ``/api2/json``.
    :param params: of its query.
    :param node: the node that has to answer, empty for the cluster.
    """

    path: str
    params: tuple[tuple[str, str], ...] = ()
    node: str = ""


@dataclass(frozen=True)
class Failure:
    """Why a call has no answer.

    :param kind: ``forbidden``, ``auth``, ``node_down``, ``timeout``, ``network``, ``tls``, ``not_json``, ``server``.
    :param text: what the server or the system said, one line.
    """

    kind: str
    text: str = ""
    status: int = 0


@dataclass(frozen=True)
class Reply:
    """The answer to a call, or why there is none."""

    data: Any = None
    failure: Failure | None = None

    def to_json(self) -> dict[str, Any]:
        """For a cache."""
        if self.failure:
            return {"failure": [self.failure.kind, self.failure.text, self.failure.status]}
        return {"data": self.data}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Reply:
        """What `to_json` made."""
        if "failure" in stored:
            return cls(failure=Failure(*stored["failure"]))
        return cls(data=stored.get("data"))


# --- Settings -------------------------------------------------------------------------------------------------------


def parse_settings(options: Mapping[str, Any]) -> Settings:
    """The connection options as the user wrote them.

    :raises PatchingError: something is missing or cannot be right.
    """
    user = str(options.get("user") or "").strip()
    token_id = str(options.get("token_id") or "").strip()
    token_secret = str(options.get("token_secret") or "").strip()
    password = str(options.get("password") or "")
    if "!" in token_id:  # the form in which Proxmox VE shows it: user@realm!name
        owner, _mark, token_id = token_id.partition("!")
        if user not in ("", owner):
            raise PatchingError(
                f"token_id: the token belongs to {owner}, user says {user}.",
                f"Write user: {owner}, token_id: {token_id}.",
            )
        user = owner
    if not user:
        raise PatchingError("user: missing.", "Set user: ansible@pve, or PROXMOX_USER.")
    if "@" not in user:
        raise PatchingError(f"user: {user!r} has no realm.", f"Write {user}@pve or {user}@pam.")
    if bool(token_id) != bool(token_secret):
        missing = "token_secret" if token_id else "token_id"
        raise PatchingError(f"{missing}: missing; a token has both.", f"Set {missing}, or PROXMOX_{missing.upper()}.")
    for name, text in (("user", user), ("token_id", token_id), ("token_secret", token_secret)):
        if not re.fullmatch(r"[!-~]*", text):
            raise PatchingError(f"{name}: has a blank or a character that is not ASCII inside.", "Copy it again.")
    if not token_id and not password:
        raise PatchingError("No credentials.", "Set token_id and token_secret (better), or password.")
    urls = options.get("endpoints") or [options.get("url")]
    if isinstance(urls, str):
        urls = [urls]
    endpoints = tuple(parse_endpoint(str(url or "")) for url in urls)
    fingerprints = tuple(map(parse_fingerprint, _as_list(options.get("fingerprint"))))
    if len(fingerprints) not in (0, 1, len(endpoints)):
        raise PatchingError(
            f"fingerprint: {len(fingerprints)} values for {len(endpoints)} endpoints.",
            "Give one, or one for each endpoint in the same order.",
        )
    return Settings(
        endpoints=endpoints,
        user=user,
        password="" if token_id else password,
        token_id=token_id,
        token_secret=token_secret,
        verify=_verify(options.get("validate_certs", True), str(options.get("ca_path") or "")),
        fingerprints=fingerprints * len(endpoints) if len(fingerprints) == 1 else fingerprints,
        api_timeout=_number("api_timeout", options.get("api_timeout", 10), 1, 600),
        agent_timeout=_number("agent_timeout", options.get("agent_timeout", 10), 1, 600),
        retries=int(_number("retries", options.get("retries", 2), 0, 20)),
        concurrency=int(_number("concurrency", options.get("concurrency", 48), 1, 128)),
    )


def _as_list(value: Any) -> list[str]:
    if not value:
        return []
    return [str(item) for item in value] if isinstance(value, (list, tuple)) else [str(value)]


def _number(name: str, value: Any, least: float, most: float) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = least - 1
    if not least <= number <= most:
        raise PatchingError(f"{name}: {value!r} is not a number from {least:g} to {most:g}.", f"Write {name}: 10.")
    return number


def parse_endpoint(url: str) -> str:
    """The API's address: ``https://HOST:PORT[/PREFIX]`` of a URL or a plain host name.

    Proxmox VE speaks TLS only, so ``http://`` becomes ``https://`` and no secret travels in the clear. A URL without a
    port means 443, as everywhere; a plain host name means 8006.
    """
    bare = "://" not in url
    text = url.strip().rstrip("/")
    try:
        parts = urlsplit(f"https://{text}" if bare else text)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if not parts.hostname or parts.scheme not in ("http", "https") or re.search(r"\s", text):
        raise PatchingError(f"url: {url!r} is not the address of an API.", f"Write https://pve1.lan:{PORT}.")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    prefix = re.sub(r"/api2(/json)?$", "", parts.path)
    return f"https://{host}:{port or (PORT if bare else 443)}{prefix}"


def parse_fingerprint(text: str) -> str:
    """A SHA-256 fingerprint in any usual form (colons, blanks, case, ``sha256`` in front) as 64 lower-case digits."""
    digits = re.sub(r"(?i)^\s*sha-?256[\s:=]*(fingerprint\s*=)?|[\s:]", "", text).lower()
    if not re.fullmatch(r"[0-9a-f]{64}", digits):
        raise PatchingError(
            f"fingerprint: {text!r} is no SHA-256 fingerprint (64 hex digits).",
            "Read it on the node: openssl x509 -in /etc/pve/local/pve-ssl.pem -noout -fingerprint -sha256",
        )
    return digits


def _verify(validate: Any, ca_path: str) -> bool | str:
    """Whether and against what certificates are checked; a path wins over the environment, False over both."""
    if isinstance(validate, str):
        words = {
            "true": True,
            "yes": True,
            "on": True,
            "1": True,
            "false": False,
            "no": False,
            "off": False,
            "0": False,
        }
        if validate.strip().lower() not in words:
            raise PatchingError(
                f"validate_certs: {validate!r} is neither true nor false.", "Write validate_certs: true."
            )
        validate = words[validate.strip().lower()]
    if not validate:
        return False
    if not ca_path:
        return True
    path = os.path.expanduser(ca_path)
    if not os.path.exists(path):
        raise PatchingError(f"ca_path: {path} does not exist.", "Copy /etc/pve/pve-root-ca.pem of a node there.")
    return path


def tls_context(verify: bool | str) -> ssl.SSLContext:
    """How servers are checked.

    :param verify: see `Settings`; True takes REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE, else the system's certificates.
    :raises PatchingError: there is no certificate where one should be.
    """
    # Not ssl.create_default_context(): from Python 3.13 on that refuses the CA that Proxmox VE makes, which has no key
    # usage extension.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if verify is False:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    # A node's own certificate is good enough in the place of its CA.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    path = (
        verify if isinstance(verify, str) else os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    )
    if not path:
        context.load_default_certs()
        return context
    names = [path]
    if os.path.isdir(path):
        context.load_verify_locations(capath=path)  # finds those with hashed names (openssl rehash)
        names = [os.path.join(path, name) for name in sorted(os.listdir(path))]
    for name in names:
        try:
            context.load_verify_locations(cafile=name)
        except OSError:  # no certificate; ssl.SSLError is one of these
            continue
    if not context.cert_store_stats()["x509"]:
        raise PatchingError(f"ca_path: no certificate in {path}.", "Copy /etc/pve/pve-root-ca.pem of a node there.")
    return context


# --- Client ---------------------------------------------------------------------------------------------------------


class _Serializer:
    """Takes nothing for an answer that is none.

    proxmoxer's own gives a web page with status 200 as ``{"errors": b"<html>"}``, and stumbles over JSON that is no
    object with ``data``.
    """

    def loads(self, response: Any) -> Any:
        """The data of an answer, None where there is none."""
        try:
            answer = json.loads(response.content)
        except ValueError:
            return None
        return answer.get("data") if isinstance(answer, dict) else None

    def loads_errors(self, response: Any) -> Any:
        """The messages about single parameters, which a GET without parameters does not get."""
        return None


@dataclass(frozen=True)
class _Answer:
    """What proxmoxer wants to know of an answer."""

    status_code: int
    reason: str
    content: bytes


class _Transport:
    """The connections to one endpoint; its threads share them and the certificates that were read once."""

    def __init__(self, endpoint: str, context: ssl.SSLContext, fingerprint: str, most: int) -> None:
        options: dict[str, Any] = {"ssl_context": context, "num_pools": 1, "maxsize": most}
        if fingerprint:
            options["assert_fingerprint"] = fingerprint
            options["assert_hostname"] = False
        proxy = _proxy(endpoint)
        if proxy:
            parts = urlsplit(proxy)
            login = f"{unquote(parts.username)}:{unquote(parts.password or '')}" if parts.username else None
            options["proxy_headers"] = urllib3.make_headers(proxy_basic_auth=login) if login else {}
            self.pools: urllib3.PoolManager = urllib3.ProxyManager(proxy, **options)
        else:
            self.pools = urllib3.PoolManager(**options)
        if context.verify_mode == ssl.CERT_NONE:
            # Said by validate_certs: false, or checked by the fingerprint.
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)

    def session(self, headers: Mapping[str, str], timeout: float) -> _Session:
        """Something that asks with these headers and this patience."""
        return _Session(self.pools, {"Accept": "application/json", **headers}, timeout)


@dataclass(frozen=True)
class _Session:
    """What proxmoxer sends its requests with."""

    pools: Any
    headers: Mapping[str, str]
    timeout: float

    def request(self, method: str, url: str, data: Any = None, params: Any = None) -> _Answer:
        """One request. A redirect is not followed: it would carry a secret to a place that nobody named."""
        answer = self.pools.request(
            method,
            url,
            fields=data or params or None,
            headers=self.headers,
            timeout=urllib3.Timeout(connect=min(CONNECT_TIMEOUT, self.timeout), read=self.timeout),
            retries=False,
            redirect=False,
            **({"encode_multipart": False} if data else {}),
        )
        return _Answer(answer.status, answer.reason or "", answer.data)


def _proxy(endpoint: str) -> str:
    """The proxy that the environment names for an endpoint (HTTPS_PROXY, NO_PROXY)."""
    host = urlsplit(endpoint).netloc
    proxies = urllib.request.getproxies()
    proxy = proxies.get("https") or proxies.get("all") or ""
    if not proxy or urllib.request.proxy_bypass(host):
        return ""
    return proxy if "://" in proxy else f"http://{proxy}"


class Client:
    """Reads from one cluster.

    :param settings: see `parse_settings`.
    :param replies: answers that are already there (a warm cache), by path; only what is missing is asked for.

    Nothing is sent before something is missing: with all answers there is neither a call nor a login.
    """

    def __init__(self, settings: Settings, replies: Mapping[str, Reply] | None = None) -> None:
        self.settings = settings
        self.replies: dict[str, Reply] = dict(replies or {})
        # What the listing needed beyond the first endpoint, for a warning.
        self.complaints: list[str] = []
        self.asked = False
        self._endpoint = 0
        self._ticket = ""
        self._context: ssl.SSLContext | None = None
        self._transport: _Transport | None = None

    def listing(self) -> list[dict[str, Any]]:
        """All nodes, guests and pools that the user may see, in one call.

        The endpoints are tried in order; when all fail for a reason that may pass, all are tried again.

        :raises PatchingError: none gave an answer.
        """
        stored = self.replies.get(LISTING)
        if stored is not None and isinstance(stored.data, list):
            return stored.data
        if MISSING:
            raise PatchingError(
                f"The inventory plugin needs the Python packages proxmoxer and urllib3: {MISSING}.",
                "Install them for the Python that runs Ansible: pip install proxmoxer urllib3",
            )
        failures: dict[str, Failure] = {}
        for attempt in range(self.settings.retries + 1):
            if attempt:
                time.sleep(min(0.5 * 2 ** (attempt - 1), 5.0))
            for number, endpoint in enumerate(self.settings.endpoints):
                self._endpoint = number
                reply = self._connect()
                if reply.failure is None:
                    self.complaints = [f"{name}: {describe(one)}" for name, one in failures.items()]
                    self.replies[LISTING] = reply
                    return reply.data
                failures[endpoint] = reply.failure
                if reply.failure.kind in ("auth", "forbidden"):
                    raise self._error(failures)
            if not any(_passes(failure) for failure in failures.values()):
                break
        raise self._error(failures)

    def fetch(self, calls: Iterable[Call], patience: float | None = None) -> dict[str, Reply]:
        """Ask for all of these in parallel; what is stored is not asked again.

        :param patience: None for calls that the API answers from its own files. For calls that a guest has to answer,
            in s: those that hang delay the end by at most so long in total, however many they are.
        :returns: a reply for each path; nothing raises.
        """
        wanted = {call.path: call for call in calls}
        missing = [call for path, call in wanted.items() if path not in self.replies]
        if missing:
            self.listing()  # a stored listing whose details are missing still has to find a living endpoint
            if not self.asked:
                self._find_endpoint()
            timeout = self.settings.api_timeout if patience is None else patience
            self.replies.update(_Crew(self, missing, timeout, patience).run())
        return {path: self.replies[path] for path in wanted}

    # The rest talks to the server.

    def _find_endpoint(self) -> None:
        """Choose an endpoint and log in where the listing came from a cache."""
        stored = self.replies.pop(LISTING)
        try:
            self.listing()
        finally:
            self.replies[LISTING] = stored

    def _connect(self) -> Reply:
        """Log in where that is needed, and read the listing."""
        if self._context is None:
            # A pinned certificate is checked by its fingerprint, whoever signed it.
            self._context = tls_context(False if self.settings.fingerprints else self.settings.verify)
        pins = self.settings.fingerprints
        self._transport = _Transport(
            self.settings.endpoints[self._endpoint], self._context, pins[self._endpoint] if pins else "", MOST_THREADS
        )
        if not self.settings.token_id and not self._ticket:
            failure = self._login()
            if failure:
                return Reply(failure=failure)
        reply = self.ask(Call(LISTING), self.settings.api_timeout)
        self.asked = True
        if reply.failure is None and not _is_listing(reply.data):
            return Reply(failure=Failure("not_json", "an answer that no Proxmox VE gives"))
        return reply

    def _login(self) -> Failure | None:
        who = {"username": self.settings.user, "password": self.settings.password}
        reply = self._send(lambda resource: resource("access/ticket").post(**who), {}, self.settings.api_timeout)
        if reply.failure:
            return reply.failure
        if not isinstance(reply.data, Mapping) or not isinstance(reply.data.get("ticket"), str):
            return Failure("not_json", "an answer that no Proxmox VE gives")
        if reply.data.get("NeedTFA"):
            return Failure("auth", "the user needs a second factor; use an API token instead of the password")
        self._ticket = reply.data["ticket"]
        return None

    def ask(self, call: Call, timeout: float) -> Reply:
        """One GET, from any thread. Raises nothing."""
        if self.settings.token_id:
            token = f"{self.settings.user}!{self.settings.token_id}={self.settings.token_secret}"
            headers = {"Authorization": f"PVEAPIToken={token}"}
        else:
            headers = {"Cookie": f"PVEAuthCookie={self._ticket}"}
        return self._send(lambda resource: resource(call.path).get(**dict(call.params)), headers, timeout)

    def _send(self, method: Callable[[Any], Any], headers: Mapping[str, str], timeout: float) -> Reply:
        if self._transport is None:
            raise RuntimeError("nothing can be sent before _connect")
        base = f"{self.settings.endpoints[self._endpoint]}/api2/json"
        session = self._transport.session(headers, timeout)
        try:
            data = method(ProxmoxResource(base_url=base, session=session, serializer=_Serializer()))
        except ResourceException as exc:
            return Reply(failure=_http_failure(exc.status_code, str(exc.content or exc.status_message or "")))
        except urllib3.exceptions.SSLError as exc:
            return Reply(failure=Failure("tls", self._tls_text(exc)))
        except urllib3.exceptions.NewConnectionError as exc:  # a ConnectTimeoutError too, but it has an own cause
            return Reply(failure=Failure("network", _network_text(exc)))
        except urllib3.exceptions.TimeoutError:
            return Reply(failure=Failure("timeout", f"no answer within {timeout:g} s"))
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as exc:  # ValueError: a host name that is none
            if isinstance(getattr(exc, "original_error", None), ssl.SSLError):
                return Reply(failure=Failure("tls", self._tls_text(exc)))
            return Reply(failure=Failure("network", _network_text(exc)))
        if data is None:  # a redirect, or a page that is not the API's
            return Reply(failure=Failure("not_json", "a web page instead of the API"))
        return Reply(data=data)

    def _tls_text(self, exc: Exception) -> str:
        if self.settings.fingerprints:
            pinned = self.settings.fingerprints[self._endpoint]
            shown = self._shown_fingerprint()
            if shown and shown != pinned:
                return f"its certificate is not the pinned one: expected {colons(pinned)}, got {colons(shown)}"
        reason = re.search(r"certificate verify failed: ([^(]+)", str(exc))
        return _one_line(reason[1] if reason else str(exc))

    def _shown_fingerprint(self) -> str:
        """The SHA-256 of the certificate that the server shows now; empty where that cannot be had."""
        parts = urlsplit(self.settings.endpoints[self._endpoint])
        try:
            pem = ssl.get_server_certificate((str(parts.hostname), parts.port or PORT), timeout=CONNECT_TIMEOUT)
        except (OSError, ValueError):
            return ""
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()

    def _error(self, failures: Mapping[str, Failure]) -> PatchingError:
        told = "; ".join(f"{endpoint}: {describe(failure)}" for endpoint, failure in failures.items())
        last = list(failures.values())[-1]
        remedy = {
            "auth": "Check user, token_id and token_secret (pveum user token list USER), or password, and the expiry.",
            "forbidden": "Give the user and its token PVEAuditor on /vms; a new right needs some seconds.",
            "tls": "Set ca_path to the cluster's /etc/pve/pve-root-ca.pem, or fingerprint to that of the certificate.",
            "not_json": "Point url at Proxmox VE itself (https://HOST:8006), not at a login page or a proxy's front.",
            "timeout": "Look whether the node is up, raise api_timeout, or name more nodes in endpoints.",
            "network": "Check host and port (Proxmox VE listens on 8006), or name more nodes in endpoints.",
        }.get(last.kind, "Look into the journal of pveproxy on the node.")
        if last.kind == "tls" and not self.settings.fingerprints:
            shown = self._shown_fingerprint()
            if shown:
                remedy += f" It shows {colons(shown)}: compare that with the node's own before you trust it."
        return PatchingError(f"{told}.", remedy)


class _Crew:
    """The threads of one `Client.fetch`.

    They are daemons: one that still waits for a hung guest is left behind when the others are done.
    """

    def __init__(self, client: Client, calls: list[Call], timeout: float, patience: float | None) -> None:
        self.client, self.timeout, self.patience = client, timeout, patience
        self.todo: queue.SimpleQueue[Call] = queue.SimpleQueue()
        for call in calls:
            self.todo.put(call)
        self.done: queue.SimpleQueue[tuple[str, Reply]] = queue.SimpleQueue()
        self.calls = calls
        self.down: dict[str, Failure] = {}
        self.threads = 0

    def run(self) -> dict[str, Reply]:
        """All replies; those that did not come in time are failures."""
        replies: dict[str, Reply] = {}
        pause = None if self.patience is None else self.patience * STALL
        stalls = 0
        self._hire(self.client.settings.concurrency)
        while len(replies) < len(self.calls) and stalls * STALL < 1:
            try:
                path, reply = self.done.get(timeout=pause)
                replies[path] = reply
            except queue.Empty:
                # Nobody answered for a while: ask those who wait behind the silent ones, too.
                stalls += 1
                self._hire(self.threads)
        late = Reply(failure=Failure("timeout", f"no answer within {self.timeout:g} s"))
        return {call.path: replies.get(call.path, late) for call in self.calls}

    def _hire(self, count: int) -> None:
        for _call in range(min(count, len(self.calls) - self.threads, MOST_THREADS - self.threads)):
            threading.Thread(target=self._work, daemon=True).start()
            self.threads += 1

    def _work(self) -> None:
        while True:
            try:
                call = self.todo.get_nowait()
            except queue.Empty:
                break
            reply = Reply(failure=Failure("server", "the question could not be asked"))
            try:
                reply = self._ask(call)
            finally:  # without an answer to each call, whatever happened here, run() would wait for ever
                self.done.put((call.path, reply))

    def _ask(self, call: Call) -> Reply:
        known = self.down.get(call.node)
        if known:
            return Reply(failure=known)
        reply = self.client.ask(call, self.timeout)
        if self.patience is None:
            for attempt in range(self.client.settings.retries):
                if reply.failure is None or not _passes(reply.failure) or reply.failure.kind == "timeout":
                    break
                time.sleep(0.2 * 2**attempt)
                reply = self.client.ask(call, self.timeout)
            if reply.failure and call.node and reply.failure.kind in ("node_down", "timeout"):
                # One guest has waited for this node; the others need not.
                self.down[call.node] = reply.failure
        return reply


# --- What went wrong ------------------------------------------------------------------------------------------------


def describe(failure: Failure) -> str:
    """A failure as part of a sentence."""
    said = f" ({failure.text})" if failure.text else ""
    return {
        "auth": f"the login was refused{said}",
        "forbidden": f"permission denied{said}",
        "node_down": f"the node cannot be reached{said}",
        "timeout": failure.text,
        "network": failure.text,
        "tls": f"the TLS certificate is not accepted: {failure.text}",
        "not_json": f"this is not the API of Proxmox VE: {failure.text}",
    }.get(failure.kind, f"HTTP {failure.status}{said}")


def colons(digits: str) -> str:
    """A fingerprint as openssl and Proxmox VE show it."""
    return ":".join(digits[at : at + 2] for at in range(0, len(digits), 2)).upper()


def resolve(names: Iterable[str], deadline: float) -> dict[str, tuple[str, ...]]:
    """The addresses behind DNS names, sorted; empty where there is none, or no answer in time.

    :param deadline: for all of them together, s.
    """
    wanted = list(names)
    answers: queue.SimpleQueue[tuple[str, tuple[str, ...]]] = queue.SimpleQueue()
    todo: queue.SimpleQueue[str] = queue.SimpleQueue()
    for name in wanted:
        todo.put(name)

    def work() -> None:
        while True:
            try:
                name = todo.get_nowait()
            except queue.Empty:
                return
            try:
                found = {entry[4][0] for entry in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)}
            except (OSError, UnicodeError):
                found = set()
            answers.put((name, tuple(sorted(map(str, found)))))

    for _call in range(min(16, len(wanted))):
        threading.Thread(target=work, daemon=True).start()
    resolved: dict[str, tuple[str, ...]] = dict.fromkeys(wanted, ())
    end = time.monotonic() + deadline
    for _name in wanted:
        try:
            name, found = answers.get(timeout=max(0.0, end - time.monotonic()))
        except queue.Empty:
            break
        resolved[name] = found
    return resolved


def _is_listing(data: Any) -> bool:
    return isinstance(data, list) and all(isinstance(row, dict) for row in data)


def _passes(failure: Failure) -> bool:
    """Whether trying again may help."""
    return failure.kind in ("network", "timeout") or failure.status in RETRIED


def _http_failure(status: int, text: str) -> Failure:
    kinds = {401: "auth", 403: "forbidden"}
    kind = "node_down" if status in NODE_DOWN else kinds.get(status, "server")
    return Failure(kind, _one_line(text), status)


def _network_text(exc: Exception) -> str:
    """The system's own words, without what the library puts around them."""
    text = str(exc)
    for words in ("Connection refused", "No route to host", "Network is unreachable", "Connection reset by peer"):
        if words in text:
            return words.lower()
    if "NameResolutionError" in text or "getaddrinfo" in text or "Name or service not known" in text:
        return "its name does not resolve"
    return _one_line(text)


def _one_line(text: str) -> str:
    return " ".join(text.split())[:200]
