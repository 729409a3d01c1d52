# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reboot this host if it is still the given run's, in the given boot, and at rest: fenced_reboot.py RUN BOOT_ID

An Ansible worker can outlive its run by hours. What it does then must not be a reboot.
"""

import fcntl
import json
import os
import subprocess
import sys
import time

CLAIM = "/var/lib/homelab-patching/claim.json"
LOCK = "/var/lib/homelab-patching/lock"
LOCK_SECONDS = 30
UPGRADE_UNIT = "homelab-patching-upgrade"
DPKG_LOCKS = ("/var/lib/dpkg/lock-frontend", "/var/lib/dpkg/lock")
# Every node of a K3s cluster has it. Such a host may go only while what its cluster's gate saw is still true.
K3S = "/var/lib/rancher/k3s/agent"
GATE_SECONDS = 60


def refuse(why):
    sys.exit(f"homelab.patching: not rebooted: {why}")


def at_work(name):
    """Is a oneshot unit not over yet? One that systemd has yet to start is inactive, and has a job."""
    words = ["systemctl", "show", "-p", "ActiveState,Job", name]
    shown = subprocess.run(words, check=False, capture_output=True, text=True).stdout
    state = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    return state.get("ActiveState") in ("activating", "deactivating") or state.get("Job", "0") not in ("", "0")


def check(claim, run, boot_id, now):
    """Refuse unless the host is this run's and at rest."""
    if claim.get("run") != run:
        refuse(f"the host belongs to run {claim.get('run')}, not to {run}")
    if now >= claim.get("expires", 0):
        refuse(f"the claim of run {run} has expired")
    if os.path.isdir(K3S) and not -1 <= now - claim.get("gate", 0) < GATE_SECONDS:
        refuse(f"the last gate of its K3s cluster is not from the last {GATE_SECONDS} s")
    if at_work(UPGRADE_UNIT):
        refuse("an upgrade is at work")
    with open("/proc/sys/kernel/random/boot_id", encoding="utf-8") as stream:
        if stream.read().strip() != boot_id:
            refuse("the host has been rebooted already")


def take(lock):
    """Take the lock on the claim; refuse where somebody keeps it: who waits without end reboots long after its run."""
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                refuse(f"{LOCK} is held by another process")
            time.sleep(0.2)


def lock_dpkg():
    """Keep package managers out from here to the end of this process; refuse if one is at work."""
    locks = []
    for path in DPKG_LOCKS:
        locks.append(os.open(path, os.O_RDWR | os.O_CREAT, 0o640))
        try:
            fcntl.lockf(locks[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            refuse(f"{path} is held: a package manager is at work")


def main():
    if len(sys.argv) != 3:
        refuse("usage: fenced_reboot.py RUN BOOT_ID")
    _name, run, boot_id = sys.argv
    with open(LOCK, "w", encoding="utf-8") as lock:
        take(lock)
        try:
            with open(CLAIM, encoding="utf-8") as stream:
                claim = json.load(stream)
        except (OSError, ValueError) as exc:
            refuse(f"no claim on this host: {exc}")
        check(claim, run, boot_id, time.time())
        lock_dpkg()
        done = subprocess.run(["systemctl", "reboot"], check=False, capture_output=True, text=True)
        if done.returncode != 0:
            refuse(f"systemctl reboot: {done.stderr.strip()}")


if __name__ == "__main__":
    main()
