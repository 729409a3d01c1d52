"""Does a host have to be rebooted, and did it boot what it should: tables of cases."""

import re

import pytest
from ansible_collections.homelab.patching.plugins.module_utils.core.change import change
from ansible_collections.homelab.patching.plugins.module_utils.host.reboot import (
    flavour,
    kernel_outdated,
    newest_kernel,
    parse_needrestart,
    predicted_reasons,
    reboot_reasons,
)


def compare(left: str, right: str) -> int:
    def key(version):
        return [int(part) for part in re.findall(r"\d+", version)]

    return (key(left) > key(right)) - (key(left) < key(right))


@pytest.mark.parametrize(
    ("release", "expected"),
    [
        ("6.1.0-38-amd64", "amd64"),
        ("6.1.0-38-cloud-amd64", "cloud-amd64"),
        ("6.12.41+deb13-amd64", "amd64"),
        ("6.12.41+deb13-cloud-amd64", "cloud-amd64"),
        ("6.8.0-31-generic", "generic"),
        ("5.15.0-1057-aws", "aws"),
        ("6.18.0", ""),
    ],
)
def test_flavour(release, expected):
    assert flavour(release) == expected


def kernel(release, version="1"):
    return {"release": release, "version": version}


@pytest.mark.parametrize(
    ("running", "installed", "expected"),
    [
        ("6.1.0-38-amd64", ["6.1.0-38-amd64", "6.1.0-40-amd64"], "6.1.0-40-amd64"),
        # Numbers, not letters: 9 is older than 10.
        ("6.1.0-9-amd64", ["6.1.0-9-amd64", "6.1.0-10-amd64"], "6.1.0-10-amd64"),
        # A newer kernel of another flavour is not what this host boots.
        ("6.1.0-38-cloud-amd64", ["6.1.0-38-cloud-amd64", "6.1.0-40-amd64"], "6.1.0-38-cloud-amd64"),
        # The running flavour is gone: whatever is newest.
        ("6.1.0-38-cloud-amd64", ["6.1.0-40-amd64", "6.1.0-39-amd64"], "6.1.0-40-amd64"),
        # A container has none.
        ("6.1.0-38-amd64", [], None),
    ],
)
def test_newest_kernel(running, installed, expected):
    newest = newest_kernel(running, [kernel(release) for release in installed], compare)
    assert (newest or {}).get("release") == expected


@pytest.mark.parametrize(
    ("running", "newest", "outdated"),
    [
        (
            kernel("6.1.0-40-amd64", "#1 SMP Debian 6.1.153-1 (2025-09-20)"),
            kernel("6.1.0-40-amd64", "6.1.153-1"),
            False,
        ),
        (kernel("6.1.0-38-amd64", "#1 SMP Debian 6.1.147-1 (2025-08-02)"), kernel("6.1.0-40-amd64", "6.1.153-1"), True),
        # The same release, built anew: only `uname -v` tells.
        (kernel("6.1.0-40-amd64", "#1 SMP Debian 6.1.152-1 (2025-09-11)"), kernel("6.1.0-40-amd64", "6.1.153-1"), True),
        (kernel("6.8.0-31-generic", "#31-Ubuntu SMP"), kernel("6.8.0-31-generic", "6.8.0-31.31"), False),
        (kernel("6.18.0", "#1 SMP"), None, False),
    ],
)
def test_kernel_outdated(running, newest, outdated):
    assert bool(kernel_outdated(running, newest)) is outdated


def test_needrestart_is_read():
    lines = ["NEEDRESTART-VER: 3.6", "NEEDRESTART-KEXP: 6.2", "NEEDRESTART-KSTA: 3", "NEEDRESTART-SVC: dbus.service"]
    expected = {"kernel_status": 3, "kernel_expected": "6.2", "services": ["dbus.service"]}
    assert parse_needrestart("\n".join(lines)) == expected


QUIET = {"kernel_status": 1, "kernel_expected": "6.1", "services": []}


@pytest.mark.parametrize(
    ("flagged", "outdated", "needrestart", "expected"),
    [
        (None, None, None, []),
        (None, None, QUIET, []),
        ([], None, QUIET, ["asked for by /run/reboot-required"]),
        (["dbus", "dbus"], None, QUIET, ["asked for by dbus"]),
        (None, "kernel 2 is installed, 1 is running", QUIET, ["kernel 2 is installed, 1 is running"]),
        (None, None, {**QUIET, "kernel_status": 3, "kernel_expected": "6.2"}, ["needrestart expects kernel 6.2"]),
        # Services that a restart pass can deal with are no reason.
        (None, None, {**QUIET, "services": ["cron.service", "ssh.service"]}, []),
        (None, None, {**QUIET, "services": ["dbus.service"]}, ["dbus.service runs replaced libraries"]),
    ],
)
def test_reboot_reasons(flagged, outdated, needrestart, expected):
    assert reboot_reasons(flagged, outdated, needrestart) == expected


@pytest.mark.parametrize(
    ("upgrades", "in_memory", "expected"),
    [
        (["curl", "libcurl4"], ["libc6:amd64"], []),
        (["libc6", "curl"], ["libc6:amd64"], ["dbus runs libc6"]),
        (["libc6:i386", "dbus"], ["libc6:amd64", "dbus"], ["dbus will be upgraded", "dbus runs libc6"]),
        (["linux-image-6.1.0-40-amd64"], [], ["linux-image-6.1.0-40-amd64 will be upgraded"]),
        (["libc6-dev", "linux-libc-dev"], ["libc6:amd64"], []),
    ],
)
def test_predicted_reasons(upgrades, in_memory, expected):
    assert predicted_reasons([change(name, "1", "2") for name in upgrades], in_memory) == expected
