# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How to connect to Proxmox VE: what the user wrote, checked."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from ..core.problem import PatchingError

PORT = 8006


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
