"""What apt's output means: tables of cases."""

import pytest
from ansible_collections.homelab.patching.plugins.module_utils.core.change import change
from ansible_collections.homelab.patching.plugins.module_utils.host.apt import (
    changed_versions,
    parse_simulation,
    security_version,
    space_needed,
)

SIMULATION = """\
Reading package lists...
The following packages have been kept back:
  held-one held-two
The following upgrades have been deferred due to phasing:
  phased
The following packages will be upgraded:
  libssl3
Remv old-mta [1.0]
Remv replaced [1.0] [other:amd64 ]
Inst libssl3 [3.0.15-1] (3.0.17-1 Debian-Security:12/oldstable-security [amd64])
Inst libssl3:i386 [3.0.15-1] (3.0.17-1 Debian-Security:12/oldstable-security [i386])
Inst replaced [1.0] (2.0 Lab:1/lab [all]) [dep:amd64 ]
Inst linux-image-6.1.0-40-amd64 (6.1.153-1 Debian-Security:12/oldstable-security, Debian:12.12/oldstable [amd64])
Conf libssl3 (3.0.17-1 Debian-Security:12/oldstable-security [amd64])
"""


def test_simulation_is_read():
    found = parse_simulation(SIMULATION)
    assert found["pending"] == [
        change("libssl3", "3.0.15-1", "3.0.17-1"),
        change("libssl3:i386", "3.0.15-1", "3.0.17-1"),
        change("replaced", "1.0", "2.0"),
        change("linux-image-6.1.0-40-amd64", None, "6.1.153-1"),
    ]
    assert found["kept_back"] == ["held-one", "held-two"]
    assert found["phased"] == ["phased"]


def test_a_replaced_package_is_no_removal():
    assert parse_simulation(SIMULATION)["removals"] == ["old-mta"]


def test_nothing_pending():
    assert parse_simulation("0 upgraded, 0 newly installed, 0 to remove and 0 not upgraded.\n") == {
        "pending": [],
        "removals": [],
        "kept_back": [],
        "phased": [],
    }


def update(name, old, grows, unpacked, download):
    return change(name, old, "2"), {"grows": grows, "unpacked": unpacked, "download": download}


@pytest.mark.parametrize(
    ("updates", "usr", "boot", "cache"),
    [
        ([update("a", "1", 5, 20, 3)], 25, 7, 3),
        # Unpacked one after the other: only the largest is there twice.
        ([update("a", "1", 5, 20, 3), update("b", "1", 0, 90, 4)], 95, 7, 7),
        # A new kernel comes beside the old one; its meta package brings none.
        ([update("linux-image-6.1.0-40-amd64", None, 80, 80, 60)], 160, 57, 60),
        ([update("linux-image-amd64", "1", 0, 1, 1)], 1, 7, 1),
        ([update("linux-image-6.1.0-39-amd64", "1", 0, 80, 60)], 80, 7, 60),
    ],
)
def test_space_that_an_upgrade_needs(updates, usr, boot, cache):
    sizes = {each["name"]: size for each, size in updates}
    needed = space_needed([each for each, _size in updates], sizes, kernel_bytes=50, initrd_bytes=7)
    own = needed["/"]
    assert needed == {"/": own, "/usr": usr, "/boot": boot, "/var/cache/apt": own + cache}


def test_nothing_to_do_needs_no_space():
    assert space_needed([], {}, 50, 7) == {}


def compare(left: str, right: str) -> int:
    return (left > right) - (left < right)


@pytest.mark.parametrize(
    ("offered", "expected"),
    [
        ([("3", ["stable-security"])], "3"),
        ([("3", ["stable-updates"])], None),
        # The candidate came through -updates, the fix below it through -security.
        ([("3", ["noble-updates"]), ("2", ["noble-security"])], "2"),
        # A security version that is already installed, or newer than the candidate, is not pending.
        ([("3", ["stable"]), ("1", ["stable-security"])], None),
        ([("3", ["stable"]), ("4", ["stable-security"])], None),
        ([("3", ["stable-security"]), ("2", ["stable-security"])], "3"),
        ([("3", [])], None),
    ],
)
def test_security_version(offered, expected):
    assert security_version("1", "3", offered, compare) == expected


def test_changed_versions():
    before = {"kept": "1", "upgraded": "1", "removed": "1"}
    after = {"kept": "1", "upgraded": "2", "added": "1"}
    assert changed_versions(before, after) == [
        change("added", None, "1"),
        change("removed", "1", None),
        change("upgraded", "1", "2"),
    ]
