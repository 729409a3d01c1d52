# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab as Python functions; the command line and the tests use these."""

from __future__ import annotations

import json
import os
import secrets
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from lab import archive, cacher, checks, containers, leftovers, network, repo, roots, table
from lab.config import (
    BRIDGE,
    CACHE,
    CACHE_LOCK,
    CACHER_PORT,
    CHECKOUT,
    CLIENT,
    GATEWAY,
    HOSTS,
    INFO,
    KEYS,
    NUMBER,
    OWNER,
    PENDING,
    PVE_PORT,
    PVE_TOKEN,
    PVE_USER,
    RUNTIME,
    SOCKET,
    STATE,
    SUPERVISOR_LOG,
    USER,
    LabError,
)  # fmt: skip
from lab.machine import namespaces
from lab.repo import publish, suite, unpublish
from lab.system import die_with_parent, locked, process, remove_tree, say, step
from lab.system import run as _run

__all__ = [
    "cut", "down", "env", "guest", "heal", "hosts", "node", "publish", "remove", "requests", "reset", "reset_guests",
    "reset_repo", "restart", "run", "shell", "start", "status", "stop", "suite", "unpublish", "up",
]  # fmt: skip

DOWN = "the lab is not up; start it: tools/lab up"
ANSWER_SECONDS = 300


def ask(do: str, **what: Any) -> Any:
    """Send a command to the supervisor; its result."""
    checks.root()
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(ANSWER_SECONDS)
            connection.connect(str(SOCKET))
            connection.sendall(json.dumps({"do": do, **what}).encode() + b"\n")
            with connection.makefile() as reader:
                line = reader.readline()
    except TimeoutError as error:
        raise LabError(f"the lab has not done `{do}` in {ANSWER_SECONDS} s; see {SUPERVISOR_LOG}") from error
    except OSError as error:
        raise LabError(DOWN) from error
    if not line:
        raise LabError(f"the lab's supervisor ended while it was asked to {do}; see {SUPERVISOR_LOG}")
    answer = json.loads(line)
    if "error" in answer:
        raise LabError(answer["error"])
    return answer["result"]


# --- hosts ---


def status() -> dict[str, Any]:
    """What runs: checkout, supervisor's pid, hosts."""
    found: dict[str, Any] = ask("status")
    return found


def hosts() -> list[dict[str, Any]]:
    """The hosts that the lab has at the moment: name, address, state, distro, node, vmid, tags, leader, boots."""
    found: list[dict[str, Any]] = status()["hosts"]
    return found


def start(*names: str) -> None:
    """Switch hosts on (any of the table) and wait until they answer ssh."""
    ask("start", hosts=_named(names))


def stop(*names: str) -> None:
    """Shut hosts down; after a deadline the plug is pulled."""
    ask("stop", hosts=_named(names))


def restart(*names: str, wait: bool = True) -> None:
    """A hard power cycle."""
    ask("restart", hosts=_named(names), wait=wait)


def reset(*names: str, plain: bool = False) -> None:
    """Put hosts back to "updates pending", and their guests to the table; wait until they answer ssh.

    :param plain: nothing is pending, and the lab's own repository is all that they know.
    """
    ask("reset", hosts=_named(names), plain=plain)


def remove(*names: str) -> None:
    """Destroy hosts: off, disk gone, unknown to the hypervisor."""
    ask("remove", hosts=_named(names))


def cut(*names: str) -> None:
    """Unplug the network; the hosts keep running."""
    ask("cut", hosts=_named(names))


def heal(*names: str) -> None:
    """Plug the network in again."""
    ask("heal", hosts=_named(names))


def _named(names: Sequence[str]) -> list[str]:
    if not names:
        raise LabError("which host? `tools/lab hosts` lists them")
    return list(names)


def _leader(name: str) -> int:
    for host in hosts():
        if host["name"] == name:
            if host["leader"]:
                return int(host["leader"])
            raise LabError(f"{name} does not run at this moment ({host['state']}); start it: tools/lab start {name}")
    table.load().pick([name])
    raise LabError(f"{name} is not started; start it: tools/lab start {name}")


def run(
    name: str, command: Sequence[str], *, check: bool = False, text: str | None = None, timeout: float | None = 120
) -> subprocess.CompletedProcess[str]:
    """Run a command as root inside a host, without ssh (so also when it is cut): a CompletedProcess with text."""
    return subprocess.run(
        namespaces(_leader(name), list(command)), input=text, stdin=None if text is not None else subprocess.DEVNULL,
        capture_output=True, text=True, check=check, timeout=timeout,
    )  # fmt: skip


def shell(name: str, command: Sequence[str] = ()) -> int:
    """A root shell, or one command, inside a host on this terminal; its exit status."""
    return subprocess.run(namespaces(_leader(name), list(command) or ["bash", "-l"]), check=False).returncode


# --- the hypervisor ---


def guest(name: str, *, default: bool = False, **facts: Any) -> dict[str, Any]:
    """Change what Proxmox says of a guest: lock, tags, agent (on, off, hang), node, config={key: value or None}."""
    found: dict[str, Any] = ask("guest", host=name, facts=facts, default=default)
    return found


def node(name: str, *, online: bool) -> None:
    """Take a node of the hypervisor offline, or bring it back."""
    ask("node", name=name, online=online)


def reset_guests() -> None:
    """Put what Proxmox says of all guests and nodes back to the table."""
    ask("reload")


def requests(*, clear: bool = False) -> list[list[str]]:
    """The requests that the Proxmox API has seen: [method, path]."""
    found: list[list[str]] = ask("requests", clear=clear)
    return found


# --- the repository ---


def reset_repo() -> None:
    """Put the lab's apt repository back to what it was after `up`."""
    lab = leftovers.running()
    if not lab:
        raise LabError(DOWN)
    _refuse_kind(lab)
    repo.defaults(table.load())


# --- what a controller needs ---


def env() -> dict[str, str]:
    """The environment for a controller."""
    checks.root()
    lab = leftovers.running()
    if not lab:
        raise LabError(DOWN)
    found: dict[str, str] = lab["env"]
    return found


def env_text(values: Mapping[str, str]) -> str:
    """KEY=value lines that a shell reads."""
    return "".join(f"{key}={shlex.quote(value)}\n" for key, value in values.items())


def _hand_over() -> dict[str, str]:
    """Make keys and certificate, and put what a controller needs where the invoking user can read it."""
    KEYS.mkdir(mode=0o700)
    _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", KEYS / "id_ed25519")
    # Not at the top: it takes as long to import as all the rest together.
    from lab.hypervisor import certificate  # noqa: PLC0415

    _, _, fingerprint = certificate(KEYS)
    known = ""
    for host in table.load().hosts.values():
        folder = HOSTS / host.name
        folder.mkdir(parents=True)
        _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", host.name, "-f", folder / "ssh_host_ed25519_key")
        public = (folder / "ssh_host_ed25519_key.pub").read_text().split()[:2]
        known += f"{host.name},{host.address} {' '.join(public)}\n"
    values = {
        "PROXMOX_URL": f"https://{GATEWAY}:{PVE_PORT}",
        "PROXMOX_USER": PVE_USER,
        "PROXMOX_TOKEN_ID": PVE_TOKEN,
        "PROXMOX_TOKEN_SECRET": secrets.token_hex(16),
        "PROXMOX_CA_PATH": str(CLIENT / "pve.crt"),
        "PROXMOX_FINGERPRINT": fingerprint,
        "ANSIBLE_REMOTE_USER": USER,
        "ANSIBLE_PRIVATE_KEY_FILE": str(CLIENT / "id_ed25519"),
        "ANSIBLE_SSH_COMMON_ARGS": f"-o UserKnownHostsFile={shlex.quote(str(CLIENT / 'known_hosts'))} "
        "-o StrictHostKeyChecking=yes",
    }
    owner = CHECKOUT.stat()
    uid = int(os.environ.get("SUDO_UID", owner.st_uid))
    gid = int(os.environ.get("SUDO_GID", owner.st_gid))
    shutil.rmtree(CLIENT, ignore_errors=True)
    for folder in (CLIENT.parent, CLIENT):
        if not folder.exists():
            folder.mkdir()
            os.chown(folder, uid, gid)
    for name, text, mode in (
        ("id_ed25519", (KEYS / "id_ed25519").read_text(), 0o600),
        ("known_hosts", known, 0o644),
        ("pve.crt", (KEYS / "pve.crt").read_text(), 0o644),
        ("env", env_text(values), 0o600),
    ):
        path = CLIENT / name
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(handle, "w") as out:
            os.fchmod(handle, mode)
            os.fchown(handle, uid, gid)
            out.write(text)
    return values


# --- up and down ---


def _install(families: Sequence[str]) -> bool:
    """Install the Debian packages that are missing; were there any?"""
    missing = checks.missing_packages(families)
    if not missing:
        return False
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_SUSPEND": "1"}
    with step(f"Installing {', '.join(missing)}", 30):
        own_cacher = "apt-cacher-ng" in missing
        if own_cacher:
            # The lab runs its own; a second one on all addresses is not wanted on this machine.
            _mask_cacher()
        _run("apt-get", "update", "-qq", env=quiet)
        try:
            _run("apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing, env=quiet)
        except LabError as error:
            raise LabError(f"apt cannot install {', '.join(missing)}: {error}; {checks.HINT}") from error
        if own_cacher and not Path("/run/systemd/system").is_dir():
            # Without systemd its start script has run, unless a policy forbids that.
            subprocess.run(["/etc/init.d/apt-cacher-ng", "stop"], capture_output=True, check=False)
    return True


def _mask_cacher() -> None:
    unit = Path("/etc/systemd/system/apt-cacher-ng.service")
    if not unit.exists() and not unit.is_symlink():
        unit.parent.mkdir(parents=True, exist_ok=True)
        unit.symlink_to("/dev/null")


def _refuse_other(lab: Mapping[str, Any]) -> None:
    if lab["checkout"] != str(CHECKOUT):
        prefix = f"LAB_NUMBER={NUMBER} " if NUMBER else ""
        raise LabError(
            f"lab {NUMBER} of this machine is that of {lab['checkout']} (pid {lab['supervisor']['pid']}); "
            f"take it down there with `make clean`, or here with `{prefix}tools/lab down --any`"
        )


def _refuse_kind(lab: Mapping[str, Any]) -> None:
    wanted = {"distro": os.environ.get("LAB_DISTRO", ""), "runtime": RUNTIME, "pending": PENDING}
    for key, now in wanted.items():
        was = lab.get(key, "")
        if was != now:
            kind = f"LAB_{key.upper()}={was}" if was else f"no LAB_{key.upper()}"
            raise LabError(f"the lab is up with {kind}; take it down first: tools/lab down")


def check() -> str:
    """Can the lab that is asked for (number, distribution, ...) be brought up here? What there is to say.

    :raises LabError: no, and why.
    """
    wanted = table.load()
    lab = leftovers.running()
    if lab and not leftovers.abandoned(lab):
        _refuse_other(lab)
        _refuse_kind(lab)
        return f"this lab is up (pid {lab['supervisor']['pid']})"
    archive.refresh_if_empty()
    sources = checks.all_of_them(wanted, free=not lab)
    _archives_answer(wanted, sources)
    missing = checks.missing_packages(wanted.families)
    return "this machine can boot test machines" + (f"; to install: {', '.join(missing)}" if missing else "")


def _archives_answer(wanted: table.Table, sources: Mapping[str, archive.Archive]) -> None:
    """A root that is not in the cache has to be built."""
    for distro in wanted.used:
        if not roots.path(distro).is_dir():
            checks.archive_answers(sources[distro.family], distro)


def _build_roots(wanted: list[table.Distro], sources: Mapping[str, archive.Archive]) -> None:
    """Build the roots that the cache lacks, side by side, through a cache of packages that lives meanwhile."""
    missing = [distro for distro in wanted if not roots.path(distro).is_dir()]
    if not missing:
        return
    with cacher.LOG.open("ab") as log:
        server = subprocess.Popen(
            cacher.command(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=die_with_parent,  # noqa: PLW1509
        )
    try:
        cacher.wait()
        for distro in missing:
            with step(f"Building the root of {distro.title}, once; it is kept in {CACHE}", distro.seconds):
                in_use = [root for lab in leftovers.others().values() for root in lab["roots"].values()]
                roots.build(distro, sources[distro.family], in_use)
    finally:
        server.kill()
        server.wait()


def _launch() -> None:
    """Start the supervisor and wait until it takes commands."""
    with SUPERVISOR_LOG.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-B", "-m", "lab.supervisor", str(INFO)],
            cwd=CHECKOUT, stdin=subprocess.DEVNULL, stdout=log,
            stderr=log, start_new_session=True,
        )  # fmt: skip
    deadline = time.monotonic() + 30
    while not SOCKET.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            lines = SUPERVISOR_LOG.read_text(errors="replace").strip().splitlines()
            raise LabError(
                f"the lab's supervisor did not start ({SUPERVISOR_LOG}): {lines[-1] if lines else 'no word'}"
            )
        time.sleep(0.02)


def _keep_logs() -> Path:
    """Copy the logs of a lab that is about to be removed."""
    kept = CACHE / "last-failure" / str(NUMBER)
    remove_tree(kept)
    kept.mkdir(parents=True)
    for log in (SUPERVISOR_LOG, cacher.LOG, *HOSTS.glob("*/console.log")):
        if log.exists():
            name = log.name if log.parent == STATE else f"{log.parent.name}-{log.name}"
            shutil.copyfile(log, kept / name)
    return kept


def _hosts_reach_cache(names: Sequence[str]) -> None:
    """A firewall of this machine may keep the hosts from the package cache: say so now, not in apt's words later."""
    probe = f"import socket; socket.create_connection(('{GATEWAY}', {CACHER_PORT}), 3)"
    for host in hosts():
        if host["name"] in names and host["leader"] and host["state"] == "running":
            if run(host["name"], ["python3", "-c", probe]).returncode:
                raise LabError(
                    f"{host['name']} does not reach {GATEWAY}:{CACHER_PORT} on this machine; if it has a firewall, "
                    f"let {BRIDGE} in (ufw allow in on {BRIDGE})"
                )
            return


def up(names: list[str] | None = None) -> dict[str, Any]:
    """Bring the lab up with these hosts (default: those of the table); what then runs."""
    checks.root()
    os.umask(0o022)  # the hosts' files are made here
    wanted = table.load()
    picked = wanted.pick(names)
    with locked():
        lab = leftovers.running()
        if lab and (why := leftovers.abandoned(lab)):
            with step(f"Taking down the lab of {lab['checkout']}: {why}"):
                leftovers.clean(wanted.hosts)
            lab = None
        if lab:
            _refuse_other(lab)
            _refuse_kind(lab)
            say(f"lab: already up (pid {lab['supervisor']['pid']}); making sure that the hosts run")
            found: dict[str, Any] = ask("start", hosts=[host.name for host in picked])
            return found
        if left := leftovers.any_left():
            with step(f"Cleaning up after a lab that was killed ({', '.join(left)})"):
                leftovers.clean(wanted.hosts)
        archive.refresh_if_empty()
        sources = checks.all_of_them(wanted)
        _archives_answer(wanted, sources)
        with locked(CACHE_LOCK):
            if _install(wanted.families):
                checks.machine()
        try:
            return _up(wanted, picked, sources)
        except BaseException as error:
            # A lab that is not whole is not left behind.
            kept = _keep_logs()
            leftovers.clean(wanted.hosts)
            if isinstance(error, LabError):
                raise LabError(f"{error} (the logs are now in {kept})") from error
            raise


def _up(wanted: table.Table, picked: list[table.Host], sources: Mapping[str, archive.Archive]) -> dict[str, Any]:
    CACHE.mkdir(parents=True, exist_ok=True)
    STATE.mkdir(parents=True)
    if checks.state_needs_tmpfs():
        _run("mount", "-t", "tmpfs", "-o", "mode=0700", "tmpfs", STATE)
    STATE.chmod(0o700)
    network.bridge_up()
    with locked(CACHE_LOCK):
        _build_roots(wanted.used, sources)
    repo.make_key()
    repo.defaults(wanted)
    values = _hand_over()
    info = {
        "checkout": str(CHECKOUT),
        "env": values,
        "distro": os.environ.get("LAB_DISTRO", ""),
        "runtime": RUNTIME,
        "pending": PENDING,
        "owner": process(int(OWNER)) if OWNER else None,
        "sysctls": containers.sysctls() if RUNTIME else {},
        "watchers": leftovers.watch_more(),
        "archives": {family: vars(source) for family, source in sources.items()},
        "roots": {distro.name: str(roots.path(distro)) for distro in wanted.used},
    }
    INFO.write_text(json.dumps(info))
    names = [host.name for host in picked]
    with step(f"Starting {', '.join(names)}", 3):
        _launch()
        ask("start", hosts=names)
        _hosts_reach_cache(names)
    return status()


def down_every() -> str:
    """Take down all labs of this checkout; what was done."""
    checks.root()
    mine = [number for number, lab in leftovers.every().items() if lab["checkout"] == str(CHECKOUT)]
    for number in mine:
        env = {**os.environ, "LAB_NUMBER": str(number)}
        subprocess.run([sys.executable, "-B", "-m", "lab", "down"], cwd=CHECKOUT, env=env, check=True)
    return "no other lab of this checkout is up" if mine else "nothing was up"


def down(*, purge: bool = False, other: bool = False) -> bool:
    """Leave nothing of the lab (with purge: not even its cache); False when there was nothing."""
    checks.root()
    with locked():
        lab = leftovers.running()
        if lab and not other and not leftovers.abandoned(lab):
            _refuse_other(lab)
        if purge and (others := sorted(leftovers.others())):
            raise LabError(f"lab {others[0]} needs the cache, too; take it down: LAB_NUMBER={others[0]} tools/lab down")
        left = leftovers.any_left()
        checkout = Path(leftovers.info().get("checkout", CHECKOUT))
        leftovers.clean(table.load().hosts)
        for place in {CHECKOUT, checkout}:
            shutil.rmtree(place / CLIENT.relative_to(CHECKOUT), ignore_errors=True)
        if purge:
            # By name: LAB_CACHE may be a folder that holds more than the lab's cache.
            for part in ("roots", "debs", "last-failure", *(path.name for path in CACHE.glob("k3s-*"))):
                remove_tree(CACHE / part)
            with suppress(OSError):
                CACHE.rmdir()
        return bool(left)
