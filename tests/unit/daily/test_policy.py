"""The daily policy of a host that is made up: what is in force, and what is said of it."""

import time

import pytest
from ansible_collections.homelab.patching.plugins.module_utils.core.problem import PatchingError
from ansible_collections.homelab.patching.plugins.module_utils.daily import machine, policy
from ansible_collections.homelab.patching.plugins.module_utils.host import claim_file, dpkg

ARCHIVES = [
    {"name": "Debian:oldstable/main", "origin": "Debian", "archive": "oldstable", "codename": "bookworm"},
    {
        "name": "Debian:security/main",
        "origin": "Debian",
        "archive": "oldstable-security",
        "codename": "bookworm-security",
    },
]
DUMP = 'APT::Periodic::Enable "1";\nAPT::Periodic::Update-Package-Lists "1";\nAPT::Periodic::Unattended-Upgrade "1";\n'
TIMER = {"load": "loaded", "active": "active", "enabled": "enabled", "next": None, "last": None}
SERVICE = {"load": "loaded", "active": "inactive", "enabled": "static"}


class Program:
    """unattended-upgrades on a host that allows the security archive."""

    allowed, archives_known, error = True, True, None

    def __init__(self, _apt_pkg):
        pass

    def stop_reasons(self):
        return []

    def origins(self):
        return ["origin=Debian"]

    def archives(self, patterns, _settings):
        known = ARCHIVES if self.archives_known else []
        return [{**each, "patterns": patterns if self.allowed else []} for each in known]

    def distro(self):
        return "Debian", "bookworm"

    def proposals(self):
        if self.error:
            raise self.error
        return {"install": [{"name": "web"}], "hold": []}


@pytest.fixture
def host(monkeypatch):
    """A host on which all is well; the names of the machine's answers can be given others."""
    units = {name: TIMER if name.endswith(".timer") else SERVICE for name in machine.UNITS}
    answers = {"version": "2.9", "units": units, "dump": DUMP, "settings": [], "log": "", "dpkg_journal": False}
    answers |= {"last_success": time.time() - 60, "chance": 1e6, "unfinished_packages": []}
    for name in answers:
        monkeypatch.setattr(machine, name, lambda *_given, name=name: answers[name])
    monkeypatch.setattr(policy, "Program", Program)
    monkeypatch.setattr(dpkg, "complaint", lambda _options: answers.get("complaint", ""))
    monkeypatch.setattr(dpkg, "lock_holder", lambda: answers.get("holder"))
    monkeypatch.setattr(claim_file, "read", lambda: answers.get("claim"))
    return answers


def test_all_is_well(host):
    answer = policy.policy(None, 7)
    assert (answer["enabled"], answer["stalled"], answer["warnings"]) == (True, [], [])
    assert (answer["security_covered"], answer["would_install"]) == (True, [{"name": "web"}])
    assert answer["security_archives"] == [{"name": "Debian:security/main", "allowed": True}]
    assert answer["options"]["APT::Periodic::Enable"] == "1"
    assert answer["timers"]["held"] is None and answer["timers"]["apt-daily"]["active"] == "active"
    assert answer["reboot_policy"] == {"automatic": False, "with_users": True, "time": "now"}


def test_without_the_program_nothing_else_is_asked(host):
    host.update(version=None, dump=None)
    answer = policy.policy(None, 7)
    assert [each["kind"] for each in answer["stalled"]] == ["not installed"]
    assert not answer["security_covered"]


@pytest.mark.parametrize(
    ("more", "kind"),
    [
        ({"dpkg_journal": True, "complaint": "it follows from that"}, "dpkg"),
        ({"complaint": "web : Depends: db"}, "apt-get check"),
        ({"holder": {"pid": 71, "command": "apt-get", "seconds": 7200.0}}, "lock"),
        ({"dump": DUMP.replace('Enable "1"', 'Enable "0"')}, "disabled"),
    ],
)
def test_what_stalls_it(host, more, kind):
    host.update(more, unfinished_packages=["web"])
    answer = policy.policy(None, 7)
    # What stops the next run is told once.
    assert ([each["kind"] for each in answer["stalled"]], answer["warnings"]) == ([kind], [])


def test_a_lock_of_a_moment_stalls_nothing(host):
    host["holder"] = {"pid": 71, "command": "apt-get", "seconds": 60.0}
    assert policy.policy(None, 7)["stalled"] == []


def test_what_is_only_worth_knowing(host):
    host["unfinished_packages"] = ["web"]
    assert "dpkg has not finished web" in policy.policy(None, 7)["warnings"][0]["cause"]


@pytest.mark.parametrize(("claim", "held"), [({"run": "r", "expires": 1}, None), ({"run": "r", "expires": 4e9}, "r")])
def test_a_run_that_holds_it_back_is_named(host, claim, held):
    host["claim"] = claim
    found = policy.policy(None, 7)["timers"]["held"]
    assert (found and found["run"]) == held


@pytest.mark.parametrize(
    ("name", "value", "kind"), [("allowed", False, "origins"), ("archives_known", False, "no lists")]
)
def test_what_is_not_covered(host, monkeypatch, name, value, kind):
    monkeypatch.setattr(Program, name, value)
    answer = policy.policy(None, 7)
    assert [each["kind"] for each in answer["uncovered"]] == [kind]
    assert not answer["security_covered"]


def test_a_program_that_stumbles_stalls_it_and_keeps_what_is_known(host, monkeypatch):
    monkeypatch.setattr(Program, "error", PatchingError("it fails", "look"))
    answer = policy.policy(None, 7)
    assert [each["kind"] for each in answer["stalled"]] == ["configuration"]
    assert (answer["security_covered"], answer["would_install"]) == (True, [])
