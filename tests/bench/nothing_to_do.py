"""How long a run with nothing to do takes, as a ratio to `ansible -m ping` on the same hosts.

The refresh of the package lists is measured apart and taken off: it is the archive's speed, not ours.
"""

import os
import re
import statistics
import subprocess
import time

from tests.support import BIN, CHECKOUT, lab_env

ROUNDS = 5
HOSTS = "proxmox_patchable"
INVENTORY = ["-i", "inventory/"]
COMMANDS = {
    "ansible -m ping": ["ansible", *INVENTORY, HOSTS, "-m", "ansible.builtin.ping"],
    "refresh of the lists": [
        *["ansible", *INVENTORY, HOSTS, "--become", "-m", "ansible.builtin.command"],
        *["-a", "apt-get update --quiet --error-on=any"],
    ],
    "patch, nothing to do": ["ansible-playbook", *INVENTORY, "homelab.patching.patch"],
}


def seconds(command: list[str], env: dict[str, str]) -> float:
    """How long a command takes; it has to succeed."""
    begun = time.monotonic()
    done = subprocess.run(
        [str(BIN / command[0]), *command[1:]], cwd=CHECKOUT, env=env, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    if command[0] == "ansible-playbook" and re.search(r"\d+ patched", done.stdout):
        raise SystemExit("there was something to do; run the bench again")
    return time.monotonic() - begun


def main() -> None:
    """Measure the three in turn, so that a machine that grows slower does so for all."""
    env = {**os.environ, **lab_env(), "ANSIBLE_NOCOLOR": "1"}
    taken: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _round in range(ROUNDS):
        for name, command in COMMANDS.items():
            taken[name].append(seconds(command, env))
    median = {name: statistics.median(values) for name, values in taken.items()}
    for name, values in taken.items():
        print(f"{name:<22} {median[name]:6.2f} s   ({min(values):.2f} to {max(values):.2f}, {ROUNDS} rounds)")
    ping, refresh, patch = median.values()
    # The refresh was measured as a command of its own, start of Ansible included; that share is ping's.
    print(f"{'patch to ping':<22} {patch / ping:6.2f}     ")
    print(f"{'without the refresh':<22} {(patch - (refresh - ping)) / ping:6.2f}     the goal is at most 3")


if __name__ == "__main__":
    main()
