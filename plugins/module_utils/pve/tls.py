# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which certificates of Proxmox VE are good."""

from __future__ import annotations

import os
import ssl

from ..core.problem import PatchingError


def tls_context(verify: bool | str) -> ssl.SSLContext:
    """How servers are checked.

    :param verify: a path, or False for no check; True takes REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE, else the system's
        certificates.
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


def colons(digits: str) -> str:
    """A fingerprint as openssl and Proxmox VE show it."""
    return ":".join(digits[at : at + 2] for at in range(0, len(digits), 2)).upper()
