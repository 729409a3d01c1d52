"""What a fleet costs in Ansible itself, from simulated assessments: python -m tests.bench.fleet [HOSTS...]"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.bench.plan import assessment
from tests.support import BIN, CHECKOUT

FORKS = (5, 50)


def played(folder: Path, forks: int) -> dict:
    """Run fleet.yml on the inventory in `folder`: seconds by task, and Ansible's peak memory in KiB."""
    done = subprocess.run(
        [BIN / "ansible-playbook", "-i", folder / "hosts", "--forks", str(forks), CHECKOUT / "tests/bench/fleet.yml"],
        cwd=CHECKOUT,
        env={
            **os.environ,
            "ANSIBLE_CALLBACK_PLUGINS": str(CHECKOUT / "tests" / "bench" / "callback_plugins"),
            "ANSIBLE_CALLBACKS_ENABLED": "seconds",
            "ANSIBLE_DISPLAY_OK_HOSTS": "false",
            "SECONDS_FILE": str(folder / "seconds.json"),
        },
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        raise SystemExit(done.stdout[-3000:] + done.stderr[-3000:])
    return json.loads((folder / "seconds.json").read_text())


def main(sizes: list[int]) -> None:
    """Measure each size, with few forks and with many."""
    for size in sizes:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            known = {f"host{number:05}": {"assessment": assessment(number)} for number in range(size)}
            listed = {"fleet": {"hosts": list(known)}, "_meta": {"hostvars": known}}
            (folder / "listed.json").write_text(json.dumps(listed))
            (folder / "hosts").write_text(f"#!/bin/sh\ncat {folder}/listed.json\n")
            (folder / "hosts").chmod(0o755)
            for forks in FORKS:
                told = played(folder, forks)
                seconds = told["seconds"]
                idle = seconds["A task that asks nothing"] * 1000 / size
                keep = seconds["Keep the assessment"] * 1000 / size
                plan = seconds["Decide who is patched, and in which order"]
                print(
                    f"{size:>6} hosts, {forks:>2} forks: {idle:4.1f} ms a host for a task that asks nothing, "
                    f"{keep:4.1f} to keep an assessment; plan and its table {plan:5.1f} s; "
                    f"{told['peak'] / 1024:.0f} MB"
                )


if __name__ == "__main__":
    main([int(size) for size in sys.argv[1:]] or [1_000])
