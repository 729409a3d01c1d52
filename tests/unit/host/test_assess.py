"""The assessment of a host, from a made-up apt and commands that say nothing."""

import subprocess
from types import SimpleNamespace

import pytest
from ansible_collections.homelab.patching.plugins.module_utils.core.change import change
from ansible_collections.homelab.patching.plugins.module_utils.core.problem import PatchingError, problem
from ansible_collections.homelab.patching.plugins.module_utils.host import assess, claim_file, dpkg, system

PARAMS = {"upgrade": "full", "exclude": [], "controller_clock": None, "lists": None}
SIZE = {"download": 1, "unpacked": 1, "grows": 0}
WEB, TOOL = change("web", "1.0", "1.2", "1.1"), change("tool", "1.0", "1.1")
HELD = change("kept", "1.0", "1.1", "1.1", "held")
PENDING = {"pending": [WEB, TOOL, HELD], "removals": ["old"], "sizes": {"web": SIZE, "tool": SIZE}}


@pytest.fixture
def host(monkeypatch, tmp_path):
    """Assess this host, with these parameters of host_info; what of it was asked is in `commands`."""
    answers = {"reboots": False}

    def run(argv, **_more):
        host.commands.append(argv[0])
        return subprocess.CompletedProcess(argv, 0, answers.get(argv[0], ""), "")

    def pending(_apt_pkg, _exclude):
        host.commands.append("pending")
        if "error" in answers:
            raise answers["error"]
        return PENDING

    monkeypatch.setattr(system, "run", run)
    monkeypatch.setattr(assess, "pending", pending)
    monkeypatch.setattr(assess.shutil, "which", lambda name: name if name in answers else None)
    monkeypatch.setattr(dpkg, "grub_devices", list)
    for name in ("CLAIM", "BASELINE"):
        monkeypatch.setattr(claim_file, name, tmp_path / name)
    apt_pkg = SimpleNamespace(
        init_config=lambda: None,
        config=SimpleNamespace(find_b=lambda _name, _default: answers["reboots"]),
        version_compare=lambda one, other: (one > other) - (one < other),
    )

    def host(k3s=None, **more):
        host.commands = []
        return assess.assess(apt_pkg, {**PARAMS, **more}, k3s)

    host.answers = answers
    return host


def causes(assessment):
    return " ".join(each["cause"] for each in assessment["unfit"])


def test_what_a_full_upgrade_would_do(host):
    found = host()
    assert found["pending"] == [WEB, TOOL, HELD]
    assert causes(found) == "the upgrade would remove old"
    assert set(found["rebuild"]) == {"end_of_support", "manual", "conffiles", "volumes"}


def test_only_security_updates_remove_nothing(host):
    found = host(upgrade="security")
    assert found["pending"] == [{**WEB, "new": "1.1"}, HELD]
    assert found["unfit"] == []


def test_who_asks_for_no_upgrade_waits_for_none(host):
    found = host(upgrade="none")
    assert (found["pending"], found["unfit"], found["rebuild"]) == ([], [], {})
    assert "pending" not in host.commands and "apt-get" in host.commands


def test_on_an_unfit_host_nothing_is_worked_out_and_apt_is_still_checked(host):
    found = host(lists={"rc": 100, "stderr": "E: no route"})
    assert "cannot be refreshed: E: no route" in causes(found)
    assert "pending" not in host.commands and "apt-get" in host.commands


def test_an_upgrade_that_apt_cannot_work_out_makes_it_unfit(host):
    host.answers["error"] = PatchingError("broken", "mend it")
    assert host()["unfit"] == [{**problem("broken", "mend it"), "mendable": False}]


@pytest.mark.parametrize(("k3s", "unfit"), [(None, False), ({"problems": []}, True)])
def test_a_node_that_may_reboot_by_itself_is_unfit_and_a_plain_host_is_warned(host, k3s, unfit):
    host.answers["reboots"] = True
    found = host(k3s, upgrade="security")
    assert ("it would go undrained" in causes(found)) is unfit
    assert "may reboot it on any day" in found["warnings"][0]


def test_needrestart_is_asked_where_it_is(host):
    assert (host()["needrestart"], "needrestart" in host.commands) == (False, False)
    host.answers["needrestart"] = "NEEDRESTART-KSTA: 3\nNEEDRESTART-KEXP: 6.2\n"
    found = host()
    assert found["needrestart"] and "needrestart expects kernel 6.2" in found["reboot"]["reasons"]


def test_what_a_dead_run_left_in_the_middle_of_dpkg_may_be_mended(host):
    host.answers["dpkg"] = "The following packages are only half configured:\n web\n"
    (half,) = host()["unfit"]
    assert half["mendable"] and "only half configured" in half["cause"]
    assert [each["argv"] for each in half["commands"]] == [["dpkg", "--configure", "-a"]]
    assert "pending" not in host.commands
