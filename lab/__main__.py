# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line of the lab: python -m lab COMMAND."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from lab import api, checks, k3s, repo
from lab.config import CLIENT, GATEWAY, PVE_PORT, LabError


def _table(hosts: list[dict[str, Any]]) -> str:
    columns = ("name", "address", "state", "distro", "node", "vmid")
    rows = [columns, *[tuple(str(host[column]) for column in columns) for host in hosts]]
    widths = [max(len(row[index]) for row in rows) for index in range(len(columns))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _pairs(items: list[str]) -> dict[str, str]:
    out = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not equals:
            raise LabError(f"{item!r}: KEY=VALUE is wanted")
        out[key] = value
    return out


def _script(value: str) -> str:
    """The text itself, or @FILE."""
    return Path(value[1:]).read_text() if value.startswith("@") else value


def parser() -> argparse.ArgumentParser:  # noqa: PLR0915 - a list of commands
    """The command line's grammar."""
    top = argparse.ArgumentParser(prog="tools/lab", description=__doc__, allow_abbrev=False)
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text, allow_abbrev=False)

    up = command("up", "build what is missing and start the hosts")
    up.add_argument("--hosts", help="which ones, separated by commas (default: those that hosts.toml starts)")
    down = command("down", "leave nothing but the cache")
    down.add_argument("--purge", action="store_true", help="the cache goes too")
    down.add_argument("--every", action="store_true", help="all labs of this checkout, whatever their number")
    down.add_argument("--any", action="store_true", help="also a lab of another checkout")
    command("check", "can this machine boot test machines?")
    status = command("status", "what runs")
    status.add_argument("--json", action="store_true")
    command("hosts", "what runs, as a table")
    for name, text in {
        "start": "switch hosts on (any of hosts.toml)",
        "stop": "shut hosts down",
        "restart": "a hard power cycle",
        "remove": "destroy hosts: disk gone, unknown to the hypervisor",
        "cut": "unplug hosts from the network",
        "heal": "plug hosts in again",
    }.items():
        command(name, text).add_argument("host", nargs="+")
    reset = command("reset", "updates pending again")
    reset.add_argument("host", nargs="*")
    reset.add_argument("--plain", action="store_true", help="nothing pending, and no source but the lab's repository")
    reset.add_argument("--repo", action="store_true", help="the lab's apt repository too")
    reset.add_argument("--guests", action="store_true", help="what Proxmox says of the guests too")
    shell = command("shell", "a root shell, or one command, inside a host")
    shell.add_argument("host")
    shell.add_argument("words", nargs=argparse.REMAINDER, metavar="CMD")
    command("env", "the environment a controller needs")
    guest = command("guest", "change what Proxmox says of a guest: lock=backup tags='a;b' agent=hang node=pve2")
    guest.add_argument("host")
    guest.add_argument(
        "facts", nargs="*", metavar="KEY=VALUE", help="lock= takes a lock away; other keys are config keys"
    )
    guest.add_argument("--default", action="store_true", help="first put it back to hosts.toml")
    node = command("node", "take a node of the hypervisor offline, or bring it back")
    node.add_argument("name")
    node.add_argument("state", choices=("online", "offline"))
    cluster = command("k3s", "make a K3s cluster of hosts")
    cluster.add_argument("--servers", required=True, help="separated by commas; the first one begins the cluster")
    cluster.add_argument("--agents", default="", help="separated by commas")
    cluster.add_argument("--datastore", choices=("etcd", "sqlite"), help="default: sqlite for one server, else etcd")
    publish = command("publish", "offer a package in the lab's apt repository")
    publish.add_argument("name")
    publish.add_argument("version")
    publish.add_argument("--suite", default="lab")
    publish.add_argument("--architecture", default="all")
    publish.add_argument("--depends", default="")
    for script in repo.SCRIPTS:
        publish.add_argument(f"--{script}", default="", metavar="TEXT", help="shell text, or @FILE")
    for option in ("field", "index-field", "conffile", "file"):
        publish.add_argument(f"--{option}", action="append", default=[], metavar="KEY=TEXT")
    publish.add_argument("--not-offered", action="store_true", help="build it, but keep it out of the index")
    unpublish = command("unpublish", "take a package out of the lab's apt repository")
    unpublish.add_argument("name")
    unpublish.add_argument("version", nargs="?")
    suite = command("suite", "add a suite to the repository; prints its line for sources.list")
    suite.add_argument("name")
    suite.add_argument("--origin", default="Lab")
    suite.add_argument("--label", default="Lab")
    suite.add_argument("--codename", default="")
    command("packages", "what the lab's apt repository offers")
    return top


def _publish(args: argparse.Namespace) -> None:
    scripts = {name: _script(getattr(args, name)) for name in repo.SCRIPTS}
    api.publish(
        args.name, args.version, suite=args.suite, architecture=args.architecture, depends=args.depends,
        fields=_pairs(args.field), index_fields=_pairs(args.index_field), conffiles=_pairs(args.conffile),
        files=_pairs(args.file), offered=not args.not_offered, **scripts,
    )  # fmt: skip


def _guest(args: argparse.Namespace) -> None:
    facts: dict[str, Any] = _pairs(args.facts)
    config = {key: facts.pop(key) or None for key in list(facts) if key not in ("lock", "tags", "agent", "node")}
    if config:
        facts["config"] = config
    print(json.dumps(api.guest(args.host, default=args.default, **facts), indent=1))


def _k3s(args: argparse.Namespace) -> None:
    servers, agents = ([name for name in names.split(",") if name] for names in (args.servers, args.agents))
    k3s.cluster(servers, agents, etcd=args.datastore == "etcd" if args.datastore else len(servers) > 1)
    print(f"lab: K3s is Ready; ask it: tools/lab shell {servers[0]} k3s kubectl get nodes")


def _reset(args: argparse.Namespace) -> None:
    if not (args.host or args.repo or args.guests):
        raise LabError("reset what? Name hosts, --repo or --guests")
    if args.repo:
        api.reset_repo()
    if args.guests:
        api.reset_guests()
    if args.host:
        api.reset(*args.host, plain=args.plain)


def main(argv: list[str] | None = None) -> int:  # noqa: PLR0912
    """Do one command; the exit status."""
    args = parser().parse_args(argv)
    checks.root()
    match args.command:
        case "up":
            found = api.up([name for name in args.hosts.split(",") if name] if args.hosts else None)
            print(_table(found["hosts"]))
            print(f"Proxmox API: https://{GATEWAY}:{PVE_PORT}; environment for a controller: {CLIENT}/env")
        case "down" if args.every:
            print(f"lab: {api.down_every()}")
        case "down":
            print("lab: down" if api.down(purge=args.purge, other=args.any) else "lab: nothing was up")
        case "check":
            print(f"lab: {api.check()}")
        case "status":
            found = api.status()
            if args.json:
                print(json.dumps(found, indent=1))
            else:
                print(f"lab of {found['checkout']}, pid {found['supervisor']}\n{_table(found['hosts'])}")
        case "hosts":
            print(_table(api.hosts()))
        case "start" | "stop" | "restart" | "remove" | "cut" | "heal":
            getattr(api, args.command)(*args.host)
        case "reset":
            _reset(args)
        case "shell":
            return api.shell(args.host, args.words)
        case "env":
            print(api.env_text(api.env()), end="")
        case "guest":
            _guest(args)
        case "node":
            api.node(args.name, online=args.state == "online")
        case "k3s":
            _k3s(args)
        case "publish":
            _publish(args)
        case "unpublish":
            if not api.unpublish(args.name, args.version):
                raise LabError(f"the lab's repository has no {args.name} {args.version or ''}".rstrip())
        case "suite":
            print(api.suite(args.name, origin=args.origin, label=args.label, codename=args.codename))
        case "packages":
            print("\n".join(repo.listing()))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("lab: interrupted", file=sys.stderr)
        sys.exit(130)
