"""Is a host fit to be patched, and what is said beforehand."""

import pytest
from ansible_collections.homelab.patching.plugins.module_utils.core.change import change
from ansible_collections.homelab.patching.plugins.module_utils.core.problem import problem
from ansible_collections.homelab.patching.plugins.module_utils.host import fitness

FIT = {"hypervisor": False, "lost_disks": [], "clock_difference": 0.0, "shutdown": None}


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"hypervisor": True}, "this is a Proxmox VE host, not a guest"),
        ({"lost_disks": ["/dev/sdx"]}, "grub-pc would be installed on /dev/sdx, which is not there"),
        ({"clock_difference": -301.2}, "its clock is -301 s away from the control node's"),
        ({"shutdown": "reboot"}, "a reboot is scheduled on the host"),
    ],
)
def test_what_speaks_against_any_work(more, says):
    assert fitness.host_problems(**FIT) == []
    (found,) = fitness.host_problems(**{**FIT, **more})
    assert says in found["cause"] and (found["remedy"] or found["commands"])


def test_a_dpkg_that_was_interrupted():
    assert fitness.interrupted("") == []
    (found,) = fitness.interrupted("The following packages are only half configured:\n web")
    assert "only half configured:" in found["cause"] and found["commands"][0]["argv"] == ["dpkg", "--configure", "-a"]


def test_a_clock_may_be_some_minutes_off():
    assert fitness.host_problems(**{**FIT, "clock_difference": 299.0}) == []


@pytest.mark.parametrize(
    ("refresh", "says"),
    [
        ({"rc": 100, "stderr": "W: slow\nE: no route", "msg": "non-zero"}, "refreshed: E: no route"),
        ({"rc": 1, "msg": "timed out"}, "refreshed: timed out"),
    ],
)
def test_lists_that_cannot_be_refreshed_are_told_with_their_cause(refresh, says):
    assert fitness.list_problems({}) == fitness.list_problems({"rc": 0}) == []
    assert fitness.list_problems(refresh)[0]["cause"].endswith(says)


def test_an_upgrade_that_removes_or_has_no_room_is_none():
    assert fitness.upgrade_problems([], []) == []
    problems = fitness.upgrade_problems(["web", "db"], [{"path": "/boot", "free": 1_500_000, "needed": 80_000_000}])
    assert [each["cause"] for each in problems] == [
        "the upgrade would remove db, web",
        "only 1 MB free in /boot, the upgrade needs 80 MB",
    ]


def test_a_node_must_not_reboot_by_itself():
    k3s = {"problems": [problem("it has no certificate", "look")]}
    assert fitness.node_problems(None, True) == []
    assert [each["cause"] for each in fitness.node_problems(k3s, False)] == ["it has no certificate"]
    assert "it would go undrained" in fitness.node_problems(k3s, True)[1]["cause"]


def conffile(package, **more):
    return {"package": package, "path": f"/etc/{package}", "missing": False, **more}


@pytest.mark.parametrize(
    ("conffiles", "changes", "warned"),
    [
        ([conffile("web")], [change("web", "1", "2")], True),
        ([conffile("libc6:amd64")], [change("libc6", "1", "2")], True),
        ([conffile("web")], [change("db", "1", "2")], False),
        ([conffile("web", missing=True)], [change("web", "1", "2")], False),
        # A new package has nothing that could have been changed.
        ([conffile("web")], [change("web", None, "2")], False),
    ],
)
def test_a_changed_configuration_file_of_what_is_upgraded_is_told(conffiles, changes, warned):
    assert bool(fitness.warnings(conffiles, changes, None, False)) is warned


def test_what_else_is_told_beforehand():
    holder = {"pid": 71, "command": "apt-get", "seconds": 3.0}
    texts = fitness.warnings([], [], holder, True)
    assert texts[0] == "dpkg is locked by apt-get (process 71): the run waits for it"
    assert "may reboot it on any day" in texts[1]
