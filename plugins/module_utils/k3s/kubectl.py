# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cluster's API, asked with the kubectl that K3s brings. Runs on a server, Python 3.10 and newer."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ..core.problem import PatchingError

KUBECONFIG = Path("/etc/rancher/k3s/k3s.yaml")
# Whose fields ours are: the API server takes away with them only what nobody else owns.
MANAGER = "homelab-patching"
REQUEST_SECONDS = 20
# kubectl keeps what it learned of the API; not in a home directory, and not beyond the next boot.
_CACHE = "/run/homelab-patching-kubectl"


class Unknown(PatchingError):
    """The API gave no answer. Nothing is known, and nothing must be concluded."""


class Refused(PatchingError):
    """The API answered, and said no."""


class Conflict(Refused):
    """Somebody else changed the object meanwhile."""


class Missing(Refused):
    """There is no such object, or no such kind of object."""


_ANSWERS = {"Conflict": Conflict, "NotFound": Missing, "Forbidden": Refused, "Invalid": Refused, "BadRequest": Refused}


def failure(words: Iterable[str], stderr: str) -> PatchingError:
    """What a kubectl that failed has said, as an exception of the right kind.

    :param words: its command line, for the message.
    :param stderr: its words.
    """
    text = " ".join(stderr.split()) or "kubectl said nothing"
    # The cause comes first, advice that is not ours to take after it.
    message = f"`kubectl {' '.join(words)}`: {text[:400]}"
    if "doesn't have a resource type" in text or "could not find the requested resource" in text:
        return Missing(message)
    if re.search(r"Apply failed with \d+ conflict|the object has been modified", text):
        return Conflict(message)
    answer = re.search(r"Error from server \((\w+)\)", text)
    kind = _ANSWERS.get(answer[1]) if answer else None
    remedy = "" if kind else "On a server: journalctl -u k3s; k3s kubectl get --raw /readyz?verbose"
    return (kind or Unknown)(message, remedy)


class Api:
    """kubectl on this server.

    :param binary: of K3s.
    :param seconds: after which no call is begun and none goes on.
    """

    def __init__(self, binary: str = "k3s", seconds: float = 120) -> None:
        self._binary = binary
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds that are left."""
        return self._end - time.monotonic()

    def run(self, *words: str, stdin: str | None = None, seconds: float = 25) -> subprocess.CompletedProcess:
        """Run kubectl; its status is for the caller.

        :param seconds: after which it is ended, also where this process has gone: an orphan must not go on.
        :raises Unknown: it could not be run, or was ended.
        """
        seconds = min(seconds, self.left())
        if seconds < 1:
            raise Unknown("there was no time left to ask the cluster.")
        # -k: one that does not listen. A drain lives no longer than this, whoever started it.
        command = ["timeout", "-k", "1", f"{seconds:.1f}", self._binary, "kubectl"]
        command += [f"--kubeconfig={KUBECONFIG}", f"--request-timeout={REQUEST_SECONDS}s", f"--cache-dir={_CACHE}"]
        environment = {name: value for name, value in os.environ.items() if name != "KUBECONFIG"}
        try:
            # A client knows no AnsibleModule, whose run_command it would be.
            done = subprocess.run(  # pylint: disable=ansible-bad-function
                [*command, *words],
                capture_output=True,
                text=True,
                errors="replace",
                input=stdin or "",
                timeout=seconds + 5,
                check=False,
                env={**environment, "LC_ALL": "C.UTF-8"},
            )
        except (OSError, subprocess.TimeoutExpired) as exc:
            raise Unknown(f"kubectl cannot be run on this host: {exc}.") from exc
        if done.returncode in (124, 125, 126, 127, 137, -9):
            said = " ".join(done.stderr.split())[-200:]
            raise Unknown(f"`kubectl {' '.join(words)}` did not end within {seconds:.0f} s. {said}".strip())
        return done

    def text(self, *words: str, stdin: str | None = None) -> str:
        """What kubectl prints.

        :raises PatchingError: `Unknown`, or what the API answered, see `failure`.
        """
        done = self.run(*words, stdin=stdin)
        if done.returncode != 0:
            raise failure(words, done.stderr)
        return done.stdout

    def json(self, *words: str, stdin: str | None = None) -> dict:
        """What kubectl prints with ``-o json``.

        :raises PatchingError: as `text`; `Unknown` where it is no JSON object.
        """
        try:
            found = json.loads(self.text(*words, "-o", "json", stdin=stdin))
        except ValueError as exc:
            raise Unknown(f"`kubectl {' '.join(words)}` printed no JSON: {exc}.") from exc
        if not isinstance(found, dict):
            raise Unknown(f"`kubectl {' '.join(words)}` printed no object.")
        return found

    def every(self, *kinds: str, more: Iterable[str] = ()) -> dict:
        """All objects of these kinds in all namespaces: ``Kind`` -> list.

        :param kinds: as kubectl knows them.
        :param more: further words, such as a field selector.
        """
        found: dict = {}
        for item in self.json("get", ",".join(kinds), "--all-namespaces", *more)["items"]:
            found.setdefault(item["kind"], []).append(item)
        return found

    def groups(self) -> set:
        """Names of the API groups that the server has; tells which extensions are installed."""
        try:
            return {group["name"] for group in json.loads(self.text("get", "--raw", "/apis"))["groups"]}
        except (ValueError, KeyError) as exc:
            raise Unknown(f"the list of API groups is not readable: {exc}.") from exc

    def unready(self) -> str:
        """Why the API server here does not call itself ready; empty where it does."""
        done = self.run("get", "--raw", "/readyz?verbose")
        failed = [line for line in done.stderr.splitlines() if line.startswith("[-]")]
        return "" if done.returncode == 0 else "; ".join(failed) or " ".join(done.stderr.split())[-600:] or "no answer"

    def ready_at(self, addresses: Iterable[str], path: str = "/readyz") -> dict:
        """address -> does the API server there call itself ready? No answer is no.

        :param path: ``/readyz``, or one check below it.
        """
        port = _port(KUBECONFIG.read_text(encoding="utf-8"))

        def ask(address: str) -> bool:
            host = f"[{address}]" if ":" in address else address
            try:
                done = self.run(f"--server=https://{host}:{port}", "get", "--raw", path, seconds=8)
            except Unknown:
                return False
            return done.returncode == 0

        addresses = list(addresses)
        with ThreadPoolExecutor(max_workers=8) as pool:
            return dict(zip(addresses, pool.map(ask, addresses), strict=True))

    def apply_node(
        self, name: str, annotations: Mapping, unschedulable: bool, version: str = "", manager: str = MANAGER
    ) -> dict:
        """Make these the fields of a node that are ours; what was ours before and is not named goes.

        :param annotations: none and not `unschedulable`: give everything back.
        :param version: the resourceVersion that was read; a node that has changed since is not touched.
        :param manager: whose fields they are.
        :returns: the Node.
        :raises Conflict: it has changed since.
        """
        node: dict = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}
        if annotations:
            node["metadata"]["annotations"] = dict(annotations)
        if version:
            node["metadata"]["resourceVersion"] = version
        if unschedulable:
            node["spec"] = {"unschedulable": True}
        words = ("apply", "--server-side", f"--field-manager={manager}", "-f", "-")
        return self.json(*words, stdin=json.dumps(node))


def _port(kubeconfig: str) -> int:
    """The port of the API, which is the same on every server of a cluster."""
    match = re.search(r"server:\s*[\"']?https://[^\s\"']+:(\d+)", kubeconfig)
    return int(match[1]) if match else 6443
