"""Connection lies: a machine that is a function in the process of the test; see tests/lies/world.py."""

from __future__ import annotations

import ast
import json
import os
import re
import socket

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.connection import ConnectionBase

DOCUMENTATION = """
name: lies
short_description: A machine whose answers a test makes
author: The homelab.patching maintainers (@homelab)
description: Hands each module or command to the test, and back what the test makes of it.
extends_documentation_fragment: [connection_pipelining]
options: {}
"""

# Where the test listens.
SOCKET = "PATCHING_LIES_SOCKET"


def module_of(payload: str) -> dict | None:
    """The module that a payload of Ansible would run, and its arguments; None where it is none."""
    found = {name: re.findall(rf"^\s*{name}=(.*),$", payload, re.MULTILINE) for name in ("module_fqn", "params")}
    if not all(found.values()):
        return None
    name, params = (ast.literal_eval(values[-1]) for values in found.values())
    args = json.loads(params)["ANSIBLE_MODULE_ARGS"]
    own = {key: value for key, value in args.items() if not key.startswith("_ansible_")}
    return {"module": name.rpartition(".")[2], "args": own, "check": bool(args.get("_ansible_check_mode"))}


class Connection(ConnectionBase):
    """Nothing is run: what would be run is asked of the test."""

    transport = "lies"
    has_pipelining = True

    def _connect(self) -> Connection:
        return self

    def _ask(self, call: dict) -> dict:
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(os.environ[SOCKET])
            line.sendall(json.dumps({"host": self._play_context.remote_addr, **call}).encode() + b"\n")
            with line.makefile(encoding="utf-8") as stream:
                answer = json.loads(stream.readline())
        if answer["silent"]:
            raise AnsibleConnectionFailure("this machine says nothing")
        return answer

    def exec_command(self, cmd: str, in_data: bytes | None = None, sudoable: bool = True) -> tuple[int, bytes, bytes]:
        """The status and the output that the test gives a module, or a command of an action."""
        call = module_of(in_data.decode()) if in_data else None
        answer = self._ask(call or {"module": "raw", "args": {"command": cmd}, "check": False})
        return answer["status"], answer["output"].encode("utf-8", "surrogateescape"), b""

    def put_file(self, in_path: str, out_path: str) -> None:
        """The test hears of it."""
        self._ask({"module": "put", "args": {"path": out_path}, "check": False})

    def fetch_file(self, in_path: str, out_path: str) -> None:
        """No playbook of the collection fetches any."""
        raise AnsibleConnectionFailure(f"{in_path} is not fetched from here")

    def close(self) -> None:
        """There is nothing that stays open."""
