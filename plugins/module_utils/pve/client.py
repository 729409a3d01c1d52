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
import queue
import re
import ssl
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from ..core.problem import PatchingError
from .replies import Call, Failure, Reply, describe, http_failure, network_text, one_line, passes
from .settings import PORT, Settings
from .tls import colons, tls_context

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
LISTING = "cluster/resources"


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
            if not any(passes(failure) for failure in failures.values()):
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
            return Reply(failure=http_failure(exc.status_code, str(exc.content or exc.status_message or "")))
        except urllib3.exceptions.SSLError as exc:
            return Reply(failure=Failure("tls", self._tls_text(exc)))
        except urllib3.exceptions.NewConnectionError as exc:  # a ConnectTimeoutError too, but it has an own cause
            return Reply(failure=Failure("network", network_text(exc)))
        except urllib3.exceptions.TimeoutError:
            return Reply(failure=Failure("timeout", f"no answer within {timeout:g} s"))
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as exc:  # ValueError: a host name that is none
            if isinstance(getattr(exc, "original_error", None), ssl.SSLError):
                return Reply(failure=Failure("tls", self._tls_text(exc)))
            return Reply(failure=Failure("network", network_text(exc)))
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
        return one_line(reason[1] if reason else str(exc))

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
                if reply.failure is None or not passes(reply.failure) or reply.failure.kind == "timeout":
                    break
                time.sleep(0.2 * 2**attempt)
                reply = self.client.ask(call, self.timeout)
            if reply.failure and call.node and reply.failure.kind in ("node_down", "timeout"):
                # One guest has waited for this node; the others need not.
                self.down[call.node] = reply.failure
        return reply


def _is_listing(data: Any) -> bool:
    return isinstance(data, list) and all(isinstance(row, dict) for row in data)
