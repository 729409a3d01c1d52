# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The members of the etcd inside K3s, as etcd lists them. Runs on a server, Python 3.10 and newer."""

from __future__ import annotations

import http.client
import json
import ssl
import urllib.error
import urllib.request
from pathlib import Path

from ..core.problem import PatchingError

_TLS = Path("/var/lib/rancher/k3s/server/tls/etcd")
# etcd's JSON gateway. K3s has it on 2382 and keeps 2379 for gRPC alone; older releases have both on 2379.
URLS = ("https://127.0.0.1:2382", "https://127.0.0.1:2379")
_SECONDS = 5


class Unknown(PatchingError):
    """etcd gave no answer."""


def _context(tls: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(tls / "server-ca.crt"))
    context.load_cert_chain(str(tls / "client.crt"), str(tls / "client.key"))
    return context


def listed(urls: tuple = URLS, tls: Path = _TLS) -> list:
    """The members as etcd lists them: ``ID``, ``name``, ``peerURLs``, ``clientURLs``, ``isLearner``.

    :param urls: where its JSON gateway may be; the first that answers counts.
    :param tls: folder of K3s's own client certificate.
    :raises Unknown: none answers.
    """
    reasons = []
    try:
        # No proxy of the environment stands between a host and itself.
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=_context(tls))
        )
    except OSError as exc:
        raise Unknown(f"K3s's client certificate for etcd cannot be used: {exc}.", f"Look at {tls}.") from exc
    for url in urls:
        request = urllib.request.Request(f"{url}/v3/cluster/member/list", data=b"{}", method="POST")
        try:
            with opener.open(request, timeout=_SECONDS) as answer:
                members = json.loads(answer.read(1_000_000))["members"]
        except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as exc:
            reasons.append(f"{url}: {exc}")
            continue
        if isinstance(members, list) and members:
            return members
        reasons.append(f"{url}: no members")
    raise Unknown(f"etcd does not list its members ({'; '.join(reasons)}).", "On the server: journalctl -u k3s")
