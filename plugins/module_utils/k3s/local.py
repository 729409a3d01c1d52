# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host with K3s knows of itself, with no API to ask. Runs on the host, Python 3.10 and newer."""

from __future__ import annotations

import hashlib
import json
import re
import ssl
import time
from pathlib import Path

from ..core.problem import PatchingError, on_host, problem
from ..host import claim_file, system

DATA = Path("/var/lib/rancher/k3s")
_CONFIG = Path("/etc/rancher/k3s/config.yaml")
_ENVIRONMENT = ("/etc/default/{}", "/etc/sysconfig/{}", "/etc/systemd/system/{}.service.env")
_CA = {"server": DATA / "server/tls/server-ca.crt", "agent": DATA / "agent/server-ca.crt"}
_SPLITTING = ("disable-etcd", "disable-apiserver", "disable-controller-manager", "disable-scheduler")
# What a flag is called in the environment, for those that are read here and can be set there.
_VARIABLES = {"K3S_DATASTORE_ENDPOINT": "datastore-endpoint", "K3S_NODE_NAME": "node-name", "K3S_DATA_DIR": "data-dir"}
_SECONDS = 10


def parse_config(text: str) -> dict:
    """Top-level keys of K3s's configuration: key -> text of the last value given.

    A host need not have a YAML library, and only scalars and short lists are looked for here.

    :param text: YAML as people write it there, or JSON.
    """
    try:
        loaded = json.loads(text)
    except ValueError:
        pass
    else:
        return {name: _text(value) for name, value in loaded.items()} if isinstance(loaded, dict) else {}
    values: dict = {}
    name = ""
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        pair = re.match(r"""^["']?([A-Za-z0-9-]+)["']?\+?\s*:(?:\s+(.*))?$""", line)
        if pair:
            name = pair[1]
            values[name] = _scalar(pair[2] or "")
        elif name and re.match(r"^\s*-\s+", line):
            item = _scalar(re.sub(r"^\s*-\s+", "", line))
            values[name] = f"{values[name]},{item}" if values[name] else item
    return values


def _text(value: object) -> str:
    if isinstance(value, list):
        return ",".join(_text(item) for item in value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _scalar(text: str) -> str:
    text = text.strip()
    quoted = re.match(r"""^(["'])(.*?)\1\s*(#.*)?$""", text)
    if quoted:
        return quoted[2]
    text = re.sub(r"(^|\s)#.*$", "", text).strip()
    if text.startswith("[") and text.endswith("]"):
        return ",".join(_scalar(item) for item in text[1:-1].split(",") if item.strip())
    return text


def parse_arguments(words: list) -> dict:
    """Flags of a command line: ``--name value``, ``--name=value``, or ``--name`` alone, which is ``true``."""
    values: dict = {}
    for number, word in enumerate(words):
        match = re.match(r"^--?([A-Za-z0-9-]+)(?:=(.*))?$", word)
        if match:
            following = words[number + 1] if number + 1 < len(words) else "-"
            value = match[2] if match[2] is not None else "true" if following.startswith("-") else following
            values[match[1]] = _scalar(value)
    return values


def _settings(unit: str, words: list) -> dict:
    """What K3s was told: by its files, its environment and its command line, which wins."""
    values: dict = {}
    for file in (_CONFIG, *sorted(Path(f"{_CONFIG}.d").glob("*.yaml"))):
        values |= parse_config(system.read(str(file)))
    for path in _ENVIRONMENT:
        for line in system.read(path.format(unit.removesuffix(".service"))).splitlines():
            name, _equals, value = line.partition("=")
            if name.strip() in _VARIABLES:
                values[_VARIABLES[name.strip()]] = _scalar(value)
    return values | parse_arguments(words)


def _units() -> dict:
    """The units that run a K3s: name -> words of the command line. Their names depend on how it was installed."""
    listed = system.run(["systemctl", "list-unit-files", "k3s*.service", "--plain", "--no-legend"], timeout=_SECONDS)
    found = {}
    for unit in (line.split()[0] for line in listed.stdout.splitlines() if line.split()):
        shown = system.run(["systemctl", "show", unit, "-p", "ExecStart", "--value"], timeout=_SECONDS).stdout
        match = re.search(r"argv\[\]=(.*?) ; ", shown)
        words = match[1].split() if match else []
        if words[1:2] in (["server"], ["agent"]):
            found[unit] = words
    return found


def _fingerprint(path: Path) -> str | None:
    """SHA-256 of the first certificate in a file, the one that signs; None where there is none."""
    text = system.read(str(path))
    start, end = text.find("-----BEGIN CERTIFICATE-----"), text.find("-----END CERTIFICATE-----")
    if start < 0 or end < start:
        return None
    try:
        der = ssl.PEM_cert_to_DER_cert(text[start : end + len("-----END CERTIFICATE-----")] + "\n")
    except ValueError:
        return None
    return hashlib.sha256(der).hexdigest()


def embedded_etcd() -> bool:
    """Has this server a member of the embedded etcd? The folder above it is there where etcd was left, too."""
    return (DATA / "server/db/etcd/member/wal").is_dir()


def _datastore(settings: dict) -> str:
    endpoint = settings.get("datastore-endpoint", "")
    if endpoint and not endpoint.startswith("sqlite"):
        return "external"
    return "etcd" if embedded_etcd() and not endpoint else "sqlite"


def _addresses(settings: dict) -> list:
    configured = [
        each for name in ("node-ip", "node-external-ip") for each in settings.get(name, "").split(",") if each
    ]
    shown = system.run(["ip", "-json", "address", "show", "scope", "global"], timeout=_SECONDS).stdout
    try:
        links = json.loads(shown or "[]")
    except ValueError:
        links = []
    own = [entry["local"] for link in links for entry in link.get("addr_info", []) if "local" in entry]
    return list(dict.fromkeys([*configured, *own]))


def _version(binary: str) -> str | None:
    try:
        told = system.run([binary, "--version"], timeout=_SECONDS).stdout
    except PatchingError:
        return None
    match = re.search(r"k3s version (\S+)", told)
    return match[1] if match else None


def facts() -> dict | None:
    """The K3s of this host, None where there is none.

    :returns: ``role`` (``server`` or ``agent``), ``unit``, ``active``, ``binary``, ``version``, ``cluster``
        (fingerprint of the servers' CA: the same on all nodes of a cluster, None where it cannot be read),
        ``datastore`` (``etcd``, ``sqlite``, ``external``; None on an agent), ``split`` (flags that make half a
        server), ``node_name`` (a hint), ``addresses``, ``machine_id``, ``boot_id`` and ``problems``.
    """
    units = _units()
    if not units and not (DATA / "agent").is_dir():
        return None
    problems = []
    if len(units) != 1:
        found = " and ".join(sorted(units)) or f"{DATA}, and no k3s.service or k3s-agent.service"
        remedy = "a K3s that is installed in another way is not supported: leave the host out (tag it nopatch)"
        problems.append(problem(f"the host has {found}", remedy))
    unit, command = sorted(units.items())[0] if units else ("k3s-agent.service", ["k3s", "agent"])
    role = command[1]
    settings = _settings(unit, command[2:])
    if settings.get("data-dir", str(DATA)).rstrip("/") != str(DATA):
        remedy = "only the usual place is supported: leave the host out (tag it nopatch)"
        problems.append(problem(f"K3s has its data in {settings['data-dir']}", remedy))
    cluster = _fingerprint(_CA[role])
    if cluster is None and not problems:
        problems.append(
            problem(
                f"{_CA[role]} holds no certificate", f"has {unit} ever started?", on_host("systemctl", "status", unit)
            )
        )
    return {
        "role": role,
        "unit": unit,
        "active": system.unit(unit).get("ActiveState") == "active",
        "binary": command[0],
        "version": _version(command[0]),
        "cluster": cluster,
        "datastore": _datastore(settings) if role == "server" else None,
        "split": [flag for flag in _SPLITTING if role == "server" and settings.get(flag) == "true"],
        "node_name": settings.get("node-name"),
        "addresses": _addresses(settings),
        "machine_id": system.read("/etc/machine-id"),
        "boot_id": system.read("/proc/sys/kernel/random/boot_id"),
        "problems": problems,
    }


def server() -> str | None:
    """The K3s binary of this server; None where the host is none."""
    return next((words[0] for words in _units().values() if words[1] == "server"), None)


def rest() -> dict:
    """Is this host at rest? Each answer is from now.

    :returns: ``upgrade`` and ``daily_run`` (at work), ``shutdown`` (what is scheduled, or None), ``stopping`` (a
        shutdown is under way), ``clock`` (the host's own, seconds since the epoch) and ``boot_id``.
    """
    clock = time.time()
    return {
        "clock": clock,
        "boot_id": system.read("/proc/sys/kernel/random/boot_id"),
        "upgrade": system.at_work(system.unit(system.UPGRADE_UNIT)),
        "daily_run": claim_file.daily_run_active(),
        "shutdown": system.shutdown_scheduled(),
        "stopping": system.run(["systemctl", "is-system-running"], timeout=_SECONDS).stdout.strip() == "stopping",
    }
