# Copyright: The homelab.patching maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory plugin: joins what the API says, what is decided about it, and Ansible."""

from __future__ import annotations

DOCUMENTATION = r"""
name: proxmox
short_description: Guests of a Proxmox VE cluster, each with an address and where it came from
version_added: 0.1.0
author:
  - The homelab.patching maintainers (@homelab)
description:
  - Lists the VMs, containers and nodes of a Proxmox VE cluster as hosts.
  - An ordered list of sources determines C(ansible_host) of every guest; C(proxmox_address_source) says where it came
    from, and C(proxmox_address_reason) why there is none. Guests without an address stay hosts and are in the group
    C(proxmox_no_address). If two running guests have the same address, neither of them gets it.
  - One API call lists the cluster, and O(include) and O(exclude) apply to this listing. Only the remaining guests are
    queried further, with at most two calls each, in parallel.
  - The options and variables of P(community.proxmox.proxmox#inventory) keep their meaning; C(docs/inventory.md) of the
    collection lists the differences.
  - The name of the inventory file must end in C(proxmox.yml) or C(proxmox.yaml).
requirements:
  - proxmoxer >= 2.0.0
  - urllib3 >= 1.26
extends_documentation_fragment:
  - ansible.builtin.constructed
  - ansible.builtin.inventory_cache
notes:
  - Data from the API, such as names, tags and descriptions, is never templated.
  - All connection options can be templates, with lookups and extra variables.
  - When the plugin fails, it sets the variable C(__patching_inventory_error) on the group C(all), because Ansible
    continues with the other inventory sources and exits with 0.
options:
  plugin:
    description: The name of this plugin.
    type: str
    required: true
    choices: [homelab.patching.proxmox]
  url:
    description:
      - Address of the API. A plain host name means port 8006; V(http://) is treated as V(https://).
    type: str
    default: https://localhost:8006
    env:
      - name: PROXMOX_URL
  endpoints:
    description:
      - Addresses of several nodes of the same cluster, tried in this order. Replaces O(url).
    type: list
    elements: str
    default: []
  user:
    description: The user, with the realm, such as V(ansible@pve).
    type: str
    env:
      - name: PROXMOX_USER
  password:
    description:
      - Password of O(user). A token is better, because you can restrict and revoke it.
      - A password needs one more API call, the login.
    type: str
    env:
      - name: PROXMOX_PASSWORD
  token_id:
    description: Name of an API token of O(user), such as V(inventory); V(ansible@pve!inventory) also works.
    type: str
    env:
      - name: PROXMOX_TOKEN_ID
  token_secret:
    description: Secret of the API token.
    type: str
    env:
      - name: PROXMOX_TOKEN_SECRET
  validate_certs:
    description:
      - Whether to verify the server's certificate. With O(ca_path) or O(fingerprint) there is no need for V(false).
      - A string that is not a boolean is rejected; otherwise it would silently mean V(false).
    type: raw
    default: true
    env:
      - name: PROXMOX_VALIDATE_CERTS
  ca_path:
    description:
      - File with the CA certificate of the cluster (C(/etc/pve/pve-root-ca.pem) on a node), or a directory with
        such files. A relative path is relative to the directory of the inventory file.
    type: str
    env:
      - name: PROXMOX_CA_PATH
  fingerprint:
    description:
      - SHA-256 fingerprint of the server's certificate. A server with a different certificate is rejected, whoever
        signed it. If set, O(validate_certs) and O(ca_path) have no effect.
      - With several O(endpoints), give one fingerprint for all of them, or one for each in the same order.
    type: list
    elements: str
    default: []
    env:
      - name: PROXMOX_FINGERPRINT
  api_timeout:
    description: Timeout of one API call in seconds.
    type: float
    default: 10
  agent_timeout:
    description:
      - Timeout of guest agents in seconds. Proxmox VE itself gives up after 8 seconds.
      - Together, all agents that hang delay the inventory by at most this time.
    type: float
    default: 10
  concurrency:
    description: Maximum number of parallel API calls.
    type: int
    default: 48
    aliases: [facts_concurrency]
  retries:
    description: How often an API call is retried after a failure of the network or of a gateway.
    type: int
    default: 2
  include:
    description:
      - Only these guests. A guest must match every key that is set; matching one of a key's values is enough. Values
        may be patterns such as V(web*).
    type: dict
    default: {}
    suboptions: &rules
      tags:
        description: Tags.
        type: list
        elements: str
      pools:
        description: Pools, including nested pools.
        type: list
        elements: str
      nodes:
        description: Nodes.
        type: list
        elements: str
      names:
        description: Names of guests.
        type: list
        elements: str
      vmids:
        description: VM ids, or ranges such as V(100-199).
        type: list
        elements: str
      types:
        description: V(qemu) or V(lxc).
        type: list
        elements: str
      statuses:
        description: Statuses, such as V(running) or V(stopped).
        type: list
        elements: str
  exclude:
    description: None of these guests, even if they match O(include). Matching one key is enough.
    type: dict
    default: {}
    suboptions: *rules
  address:
    description: How C(ansible_host) is chosen.
    type: dict
    default: {}
    suboptions:
      order:
        description:
          - The sources, in order of preference.
          - V(ipconfig) is a static cloud-init address. V(agent) is what the guest agent reports for the VM's Proxmox VE
            NICs (matched by MAC address, so never a container bridge). V(cidr) is any other NIC with an address in
            O(address.cidrs). V(lxc) is a container's address. V(name) is the guest's name, if DNS resolves it.
        type: list
        elements: str
        choices: [ipconfig, agent, cidr, lxc, name]
        default: [ipconfig, agent, cidr, lxc, name]
      cidrs:
        description: Networks, in order of preference. An address in one of them takes precedence over all others.
        type: list
        elements: str
        default: []
      family:
        description: V(any) prefers IPv4 on a dual-stack NIC; V(ipv4) and V(ipv6) use only that family.
        type: str
        choices: [any, ipv6_first, ipv4, ipv6]
        default: any
      exclude_interfaces:
        description: Patterns of NICs that are never used, such as V(eth1) or V(net1).
        type: list
        elements: str
        default: []
  hostnames:
    description:
      - Expressions over a guest's variables; the first one with a non-empty result is its name in the inventory.
      - By default this is the guest's name. If two guests have the same name, both get the suffix C(-VMID).
    type: list
    elements: str
    default: []
  filters:
    description:
      - Expressions that must all be true, or the guest is excluded.
      - If an expression fails, the guest is excluded too, with a warning; with O(strict) the inventory fails.
      - Without O(want_facts), they see the variables from the listing (vmid, name, status, tags, pool, lock and so on),
        and guests that they exclude need no API calls. With it, they see all variables.
    type: list
    elements: str
    default: []
  want_facts:
    description: Whether to set variables for each guest's configuration keys, and for the NICs that its agent lists.
    type: bool
    default: false
  want_post_filter_facts:
    description: Like O(want_facts), but O(filters) apply first, so they need fewer API calls and see fewer variables.
    type: bool
    default: false
  qemu_extended_statuses:
    description: >-
      Whether to distinguish V(paused) and V(prelaunch) from V(running), with one more call for each running VM.
    type: bool
    default: false
  want_proxmox_nodes_ansible_host:
    description: Whether nodes get an C(ansible_host), with one more call that needs C(Sys.Audit) on C(/).
    type: bool
    default: false
  exclude_nodes:
    description: Whether to exclude the nodes.
    type: bool
    default: false
  exclude_vms:
    description: Whether to exclude VMs and containers.
    type: bool
    default: false
  patchable_types:
    description: The types of guests that can be in the group C(proxmox_patchable).
    type: list
    elements: str
    choices: [qemu, lxc]
    default: [qemu]
  group_prefix:
    description: Prefix of group names, except C(proxmox_patchable).
    type: str
    default: proxmox_
  facts_prefix:
    description: Prefix of variable names.
    type: str
    default: proxmox_
"""

EXAMPLES = r"""
# The minimum: a token. Save it as homelab.proxmox.yml and keep the secret in PROXMOX_TOKEN_SECRET.
plugin: homelab.patching.proxmox
url: https://pve1.lan:8006
user: ansible@pve
token_id: inventory
ca_path: pve-root-ca.pem

---
# VMs from Terraform: those with the tag terraform, except databases.
plugin: homelab.patching.proxmox
url: https://pve1.lan:8006
user: ansible@pve
token_id: inventory
ca_path: pve-root-ca.pem
include:
  tags: [terraform]
exclude:
  tags: [db]
  names: ["scratch-*"]

---
# The address in the management network, whatever other addresses the guests have.
plugin: homelab.patching.proxmox
url: https://pve1.lan:8006
user: ansible@pve
token_id: inventory
ca_path: pve-root-ca.pem
address:
  cidrs: [192.168.20.0/24, "fd00:20::/64"]
  exclude_interfaces: [net1]

---
# Pinned certificates of a homelab; two nodes, so that one may be down.
plugin: homelab.patching.proxmox
endpoints: [pve1.lan, pve2.lan]
user: ansible@pve
token_id: inventory
token_secret: "{{ lookup('ansible.builtin.file', '~/.config/proxmox-token') }}"
fingerprint:
  - "5A:0C:41:9E:77:1F:0B:D2:43:9A:6C:8E:30:55:B7:F1:2D:94:E8:06:AB:C3:7D:19:62:F0:58:8B:04:CE:91:3F"
  - "C7:33:28:E1:96:4F:BA:70:1D:58:02:AE:6B:F4:9D:15:80:3C:E7:52:0A:B9:46:DF:61:8E:27:F3:94:0D:5B:A2"

---
# Cached for an hour: no API calls while the cache is fresh. --flush-cache queries again.
plugin: homelab.patching.proxmox
url: https://pve1.lan:8006
user: ansible@pve
token_id: inventory
ca_path: pve-root-ca.pem
cache: true
cache_plugin: ansible.builtin.jsonfile
cache_connection: ~/.cache/homelab-patching
cache_timeout: 3600
compose:
  ansible_user: "'debian' if 'debian' in proxmox_tags_parsed else 'ubuntu'"
keyed_groups:
  - key: proxmox_node
    prefix: node
"""

import os
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from typing import Any

from ansible.errors import AnsibleError, AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin, Cacheable, Constructable

from ..module_utils.core.problem import PatchingError
from ..module_utils.pve import guests as pve_guests
from ..module_utils.pve.addresses import Choice, parse_policy
from ..module_utils.pve.client import Client
from ..module_utils.pve.gather import Needs, gather
from ..module_utils.pve.replies import Call, Reply, describe
from ..module_utils.pve.settings import Settings, parse_settings

CONNECTION = (
    "url", "endpoints", "user", "password", "token_id", "token_secret", "validate_certs", "ca_path", "fingerprint",
    "api_timeout", "agent_timeout", "concurrency", "facts_concurrency", "retries",
)  # fmt: skip

# The playbooks' guard reads it: a source that fails beside a good one does not change Ansible's exit status.
ERROR = "__patching_inventory_error"
# The inventory file that a guest comes from, and its number there.
SOURCE = "__patching_source"
CACHE_VERSION = 1

ELSEWHERE = dict.fromkeys(
    ("hostname", "qemu_hostname", "lxc_hostname"), "Use hostnames: [...], expressions over the host's variables."
)


class InventoryModule(BaseInventoryPlugin, Constructable, Cacheable):
    """Guests of a Proxmox VE cluster."""

    NAME = "homelab.patching.proxmox"

    def verify_file(self, path: str) -> bool:
        """Whether the source is a file with the name that this plugin wants."""
        return super().verify_file(path) and path.endswith(("proxmox.yml", "proxmox.yaml"))

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:
        """Fill the inventory from one file."""
        super().parse(inventory, loader, path)
        variables = inventory.groups["all"].vars
        before = variables.get(ERROR)
        # Set first and taken away last, so that it is there whatever ends this early.
        self._tell_failure(before, f"{path}: the inventory plugin did not finish")
        try:
            self._parse(path, cache)
        except PatchingError as exc:
            self._tell_failure(before, f"{path}: {exc}")
            raise AnsibleParserError(str(exc)) from exc
        except AnsibleError as exc:
            self._tell_failure(before, f"{path}: {exc.message}")
            raise
        if before is None:
            del variables[ERROR]
        else:
            self._tell_failure(None, before)

    def set_options(self, task_keys: Any = None, var_options: Any = None, direct: Any = None) -> None:
        """Take the file's values; connection options are templated before their types are looked at."""
        if direct:
            self.templar.available_variables = self._vars or {}
            direct = {
                key: self.templar.template(value) if key in CONNECTION else value for key, value in direct.items()
            }
        super().set_options(task_keys, var_options, direct)

    def _tell_failure(self, before: Any, message: str) -> None:
        self.inventory.set_variable("all", ERROR, "; ".join(filter(None, (before, message))))

    def listing(self, loader: Any, path: str) -> list[dict[str, Any]]:
        """What Proxmox VE lists at this moment, without any cache; no inventory is filled.

        :param loader: Ansible's loader of files.
        :param path: the inventory file that says where and how to ask.
        :raises AnsibleError: the file is wrong.
        :raises PatchingError: the file is wrong, or no endpoint answers.
        """
        super().parse(None, loader, path)
        return Client(self._settings(path)).listing()

    def _settings(self, path: str) -> Settings:
        config = self._read_config_data(path)
        for name in config:
            if name in ELSEWHERE:
                raise PatchingError(f"Option {name!r} is not supported.", ELSEWHERE[name])
            if name not in self._options and name not in CONNECTION:
                raise PatchingError(
                    f"Unknown option {name!r}.", pve_guests.suggestion(str(name), sorted(self._options))
                )
        return parse_settings({**self._options, "ca_path": self._beside(path, self.get_option("ca_path"))})

    def _parse(self, path: str, cache: bool) -> None:
        settings = self._settings(path)
        selection = pve_guests.parse_selection(self.get_option("include"), self.get_option("exclude"))
        needs = self._needs()

        cache_key = self.get_cache_key(path)
        record = self._cached(cache_key, settings) if cache and self.get_option("cache") else {}
        client = Client(settings, {k: Reply.from_json(v) for k, v in record.get("replies", {}).items()})
        resolved = {name: tuple(found) for name, found in record.get("resolved", {}).items()}

        rows = client.listing()
        for complaint in client.complaints:
            self.display.warning(f"{path}: {complaint}. Another endpoint answered.")
        nodes = sorted((row for row in rows if row.get("type") == "node"), key=lambda row: str(row.get("node")))
        self._add_groups(rows, nodes)
        if not self.get_option("exclude_nodes"):
            self._add_nodes(client, nodes)
        guests = [] if self.get_option("exclude_vms") else self._select(rows, selection)
        late = needs.facts and self.get_option("want_facts")
        if not late:
            guests = self._filter(guests)
        offline = {str(row["node"]) for row in nodes if row.get("status") == "offline"}
        gather(client, guests, offline, needs, resolved)
        if late:
            guests = self._filter(guests)
        self._add_guests(path, guests, nodes)
        self._warn_about(guests)
        if self.get_option("cache") and client.asked and guests:
            # An empty answer is not worth keeping: mostly a right is missing that is about to be given.
            self._cache[cache_key] = {
                "version": CACHE_VERSION,
                "identity": settings.identity,
                "replies": {name: reply.to_json() for name, reply in sorted(client.replies.items())},
                "resolved": {name: list(found) for name, found in sorted(resolved.items())},
            }

    def _beside(self, path: str, name: str | None) -> str:
        """A path of the user's, relative to the inventory file."""
        return os.path.join(os.path.dirname(os.path.abspath(path)), os.path.expanduser(name)) if name else ""

    def _needs(self) -> Needs:
        composed = str((self.get_option("compose") or {}).get("ansible_host", ""))
        facts = self.get_option("want_facts") or self.get_option("want_post_filter_facts")
        return Needs(
            facts=facts,
            # Who composes the address from other variables needs none from here.
            addresses=facts or not composed or "ansible_host" in composed or "address" in composed,
            extended=self.get_option("qemu_extended_statuses"),
            policy=parse_policy(self.get_option("address") or {}),
        )

    def _cached(self, cache_key: str, settings: Settings) -> Mapping[str, Any]:
        try:
            record = self._cache[cache_key]
        except KeyError:
            return {}
        if not isinstance(record, Mapping) or record.get("version") != CACHE_VERSION:
            return {}
        return record if record.get("identity") == settings.identity else {}

    def _group(self, name: str) -> str:
        return pve_guests.safe(f"{self.get_option('group_prefix')}{name.lower()}")

    def _add_groups(self, rows: Iterable[Mapping[str, Any]], nodes: Iterable[Mapping[str, Any]]) -> None:
        """The groups that are always there, so that a pattern that names one is no mistake."""
        names = ["all_lxc", "all_qemu", "all_running", "all_stopped", "all_templates", "no_address"]
        if self.get_option("qemu_extended_statuses"):
            names += ["all_paused", "all_prelaunch"]
        if not self.get_option("exclude_nodes"):
            names.append("nodes")
        names += [f"{row['node']}_{vmtype}" for row in nodes for vmtype in pve_guests.TYPES]
        found = {self._group(name) for name in names} | {pve_guests.PATCHABLE}
        pools = {pool for row in rows for pool in pve_guests.pool_path(row.get("pool"))}
        found |= {self._group(f"pool_{pool}") for pool in pools}
        for name in sorted(found):
            self.inventory.add_group(name)
        for pool in sorted(pools):
            for outer in pve_guests.pool_path(pool)[1:2]:
                self.inventory.add_child(self._group(f"pool_{outer}"), self._group(f"pool_{pool}"))

    def _add_nodes(self, client: Client, nodes: Iterable[Mapping[str, Any]]) -> None:
        addresses: dict[str, str] = {}
        if self.get_option("want_proxmox_nodes_ansible_host"):
            reply = client.fetch([Call("cluster/status")])["cluster/status"]
            if reply.failure:
                self.display.warning(
                    f"The nodes get no ansible_host: {describe(reply.failure)}."
                    " Remedy: give the token Sys.Audit on / (role PVEAuditor)."
                )
            addresses = {row.get("name"): row["ip"] for row in reply.data or () if row.get("ip")}
        prefix = self.get_option("facts_prefix")
        for row in nodes:
            name = str(row["node"])
            self.inventory.add_host(name, self._group("nodes"))
            self.inventory.set_variable(name, f"{prefix}node", name)
            self.inventory.set_variable(name, f"{prefix}status", str(row.get("status") or "unknown"))
            if name in addresses:
                self.inventory.set_variable(name, "ansible_host", addresses[name])

    def _select(self, rows: list[dict[str, Any]], selection: pve_guests.Selection) -> list[pve_guests.Guest]:
        found = [row for row in rows if row.get("type") in pve_guests.TYPES and row.get("vmid") and row.get("node")]
        found.sort(key=lambda row: int(row["vmid"]))
        kept = [row for row in found if selection.keeps(row) and not selection.undecided(row)]
        undecided = [str(row["vmid"]) for row in found if selection.undecided(row)]
        if undecided:
            self.display.warning(
                f"Guests left out, because include or exclude go by name and Proxmox VE does not tell theirs now:"
                f" {', '.join(undecided)}. Remedy: run again in 10 seconds, or see whether their node is up."
            )
        if not found:
            self.display.warning(
                "Proxmox VE shows this user no guest at all. Most often the token has no rights of its own. Remedy:"
                " pveum acl modify /vms --tokens 'USER@REALM!TOKEN' --roles PVEAuditor (with VM.Audit, on Proxmox VE 8"
                " and 9); a new right needs some seconds."
            )
        elif not kept:
            tags = sorted({tag for row in found for tag in pve_guests.split_list(row.get("tags"))})
            self.display.warning(
                f"include and exclude leave none of {len(found)} guests. Remedy: compare them with the tags, pools and"
                f" names that exist; the tags are {', '.join(tags) or 'none'}."
            )
        return [pve_guests.Guest(row) for row in kept]

    def _variables(self, guest: pve_guests.Guest) -> dict[str, Any]:
        wanted = self.get_option("want_facts") or self.get_option("want_post_filter_facts")
        today = datetime.now(timezone.utc).date()
        return pve_guests.variables(guest, self.get_option("facts_prefix"), wanted, today)

    def _filter(self, guests: list[pve_guests.Guest]) -> list[pve_guests.Guest]:
        """Those for which every filter is true. What cannot be decided is left out: a typo must not patch a host."""
        if not self.get_option("filters"):
            return guests
        kept: list[pve_guests.Guest] = []
        failed: dict[pve_guests.Problem, list[pve_guests.Guest]] = {}
        for guest in guests:
            variables = self._variables(guest)
            for expression in self.get_option("filters"):
                try:
                    if not self._compose(expression, variables):
                        break
                except AnsibleError as exc:
                    message = f"filter {str(expression)!r} failed: {' '.join(str(exc.message).split())}"
                    if self.get_option("strict"):
                        raise PatchingError(
                            f"{guest.label}: {message}", "Mend the filter, or set strict: false."
                        ) from exc
                    failed.setdefault(pve_guests.Problem(f"left out, {message}", "mend the filter"), []).append(guest)
                    break
            else:
                kept.append(guest)
        for line in pve_guests.tell((guest, problem) for problem, some in failed.items() for guest in some):
            self.display.warning(line)
        return kept

    def _add_guests(self, path: str, guests: list[pve_guests.Guest], nodes: Iterable[Mapping[str, Any]]) -> None:
        taken = set(self.inventory.groups) | set(self.get_option("groups") or {})
        if not self.get_option("exclude_nodes"):
            taken |= {str(row["node"]) for row in nodes}
        for problem in pve_guests.give_names(guests, self._wanted_names(guests), taken):
            self.display.warning(f"{problem.cause}. Remedy: {problem.remedy}.")
        self._names = {guest.hostname for guest in guests}
        compose = dict(self.get_option("compose") or {})
        address = compose.pop("ansible_host", None)
        for guest in guests:
            self.inventory.add_host(guest.hostname)
            if address is not None:
                self._compose_address(guest, address)
            # Set on the host itself: by its name Ansible would first look for a group.
            host = self.inventory.get_host(guest.hostname)
            for name, value in sorted(self._variables(guest).items()):
                host.set_variable(name, value)
            # Who wants to know later how the guest is then asks for it there.
            host.set_variable(SOURCE, {"path": os.path.abspath(path), "vmid": guest.vmid})
            for name in pve_guests.groups(guest, self.get_option("group_prefix"), self.get_option("patchable_types")):
                self.inventory.add_group(name)
                self.inventory.add_host(guest.hostname, name)
        # All hosts are there before the first of the user's own groups.
        strict, keyed = self.get_option("strict"), self.get_option("keyed_groups")
        for guest in guests if compose else ():
            name = guest.hostname
            self._set_composite_vars(compose, self.inventory.get_host(name).get_vars(), name, strict=strict)
        for guest in guests if self.get_option("groups") or keyed else ():
            name = guest.hostname
            variables = self.inventory.get_host(name).get_vars()
            self._add_host_to_composed_groups(self.get_option("groups"), variables, name, strict=strict)
            self._add_host_to_keyed_groups(keyed, variables, name, strict=strict)

    def _wanted_names(self, guests: list[pve_guests.Guest]) -> dict[int, str]:
        wanted: dict[int, str] = {}
        for guest in guests if self.get_option("hostnames") else ():
            variables = self._variables(guest)
            for expression in self.get_option("hostnames"):
                try:
                    name = self._compose(expression, variables)
                except AnsibleError as exc:
                    if self.get_option("strict"):
                        raise PatchingError(
                            f"{guest.label}: hostnames entry {str(expression)!r} failed: {exc.message}",
                            "Mend it, or set strict: false to use the next one.",
                        ) from exc
                    continue
                if name:
                    wanted[guest.vmid] = str(name)
                    break
        return wanted

    def _compose_address(self, guest: pve_guests.Guest, expression: str) -> None:
        """The user's own ansible_host; where it fails or is empty, the one that was found stays."""
        try:
            value = self._compose(expression, self._variables(guest))
        except AnsibleError as exc:
            message = f"compose of ansible_host failed: {' '.join(str(exc.message).split())}"
            if self.get_option("strict"):
                raise PatchingError(f"{guest.label}: {message}", "Mend it, or set strict: false.") from exc
            guest.problems.append(pve_guests.Problem(message, "mend the expression"))
            if guest.choice is None:
                guest.choice = Choice(reason=message)
            return
        if value:
            guest.choice = Choice(str(value), "compose")

    def _warn_about(self, guests: list[pve_guests.Guest]) -> None:
        for line in pve_guests.tell((guest, problem) for guest in guests for problem in guest.problems):
            self.display.warning(line)

    def _sanitize_group_name(self, name: str) -> str:  # type: ignore[override]
        """As core does it, but never the name of a guest: variables of that host would become the group's."""
        group = super()._sanitize_group_name(name)
        if group in self._names:
            raise PatchingError(
                f"groups or keyed_groups make a group {group!r}, and a guest has that name.",
                "Give keyed_groups a prefix, or rename one of them by hostnames.",
            )
        return group
