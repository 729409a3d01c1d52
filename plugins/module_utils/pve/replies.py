# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of Proxmox VE, what comes back, and why nothing did. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# 595 and 596: pveproxy could not reach the node (pve-http-server, AnyEvent codes).
NODE_DOWN = (595, 596)
RETRIED = (502, 503, 504)


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


def passes(failure: Failure) -> bool:
    """Whether trying again may help."""
    return failure.kind in ("network", "timeout") or failure.status in RETRIED


def http_failure(status: int, text: str) -> Failure:
    kinds = {401: "auth", 403: "forbidden"}
    kind = "node_down" if status in NODE_DOWN else kinds.get(status, "server")
    return Failure(kind, one_line(text), status)


def network_text(exc: Exception) -> str:
    """The system's own words, without what the library puts around them."""
    text = str(exc)
    for words in ("Connection refused", "No route to host", "Network is unreachable", "Connection reset by peer"):
        if words in text:
            return words.lower()
    if "NameResolutionError" in text or "getaddrinfo" in text or "Name or service not known" in text:
        return "its name does not resolve"
    return one_line(text)


def one_line(text: str) -> str:
    return " ".join(text.split())[:200]
