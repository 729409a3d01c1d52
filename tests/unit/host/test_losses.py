"""What a host knows that speaks for making it anew, and what that would lose."""

import gzip

import pytest
from ansible_collections.homelab.patching.plugins.module_utils.host import dpkg, losses

DEBIAN = """version,codename,series,created,release,eol,eol-lts,eol-elts
12,Bookworm,bookworm,2021-08-14,2023-06-10,2026-07-11,2028-06-30,2033-06-30
14,Forky,forky,2025-08-09
"""
UBUNTU = """version,codename,series,created,release,eol,eol-server,eol-esm,eol-legacy
24.04 LTS,Noble Numbat,noble,2023-10-12,2024-04-25,2029-05-31,2029-05-31,2034-04-25,2036-04-29
"""
OLD = "Install: tmux:amd64 (3.3a-3), libevent:amd64 (2.1, automatic)\nUpgrade: vim:amd64 (1, 2)\n"
NEW = "Install: gone:amd64 (1), jq:amd64 (1.6), now-automatic:amd64 (1)\n"


# What apt knows of who wanted a package; one that it does not name was wanted by somebody.
STATES = """Package: now-automatic
Architecture: amd64
Auto-Installed: 1

Package: jq
Architecture: amd64
Auto-Installed: 0
"""
CONFFILES = [
    {"package": "tmux", "path": "/etc/tmux.conf", "missing": False},
    {"package": "tmux", "path": "/etc/gone.conf", "missing": True},
]


@pytest.fixture
def host(tmp_path, monkeypatch):
    """A host with a table of releases and a history of apt."""
    (tmp_path / "debian.csv").write_text(DEBIAN)
    (tmp_path / "ubuntu.csv").write_text(UBUNTU)
    (tmp_path / "history.log").write_text(NEW)
    (tmp_path / "history.log.1.gz").write_bytes(gzip.compress(OLD.encode()))
    (tmp_path / "history.log.2.gz").write_bytes(b"cut off")
    (tmp_path / "pvc-1").mkdir()
    monkeypatch.setattr(losses, "_SUPPORT", tmp_path)
    monkeypatch.setattr(losses, "_HISTORY", str(tmp_path / "history.log*"))
    monkeypatch.setattr(losses, "_VOLUMES", (str(tmp_path / "pvc-*"), str(tmp_path / "none/*")))
    (tmp_path / "extended_states").write_text(STATES)
    monkeypatch.setattr(losses, "_STATES", str(tmp_path / "extended_states"))
    names = ("tmux", "jq:amd64", "vim", "now-automatic")
    monkeypatch.setattr(dpkg, "installed_packages", lambda: dict.fromkeys(names, "1"))
    return tmp_path


@pytest.mark.parametrize(
    ("release", "ends"),
    [
        ({"id": "debian", "version_id": "12"}, "2028-06-30"),
        ({"id": "ubuntu", "version_id": "24.04"}, "2029-05-31"),
        ({"id": "debian", "version_id": "14"}, ""),
        ({"id": "debian", "version_id": ""}, ""),
        ({"id": "raspbian", "version_id": "12"}, ""),
    ],
)
def test_the_end_of_support(host, release, ends):
    assert losses.facts(release, [])["end_of_support"] == ends


def test_what_a_rebuild_would_lose(host):
    told = losses.facts({"id": "debian", "version_id": "12"}, CONFFILES)
    # `gone` was removed again, `now-automatic` is no choice of anybody any more, and the image's own is no loss.
    assert told["manual"] == {"count": 2, "names": ["jq", "tmux"]}
    assert told["conffiles"] == {"count": 1, "names": ["/etc/tmux.conf"]}
    assert told["volumes"] == {"count": 1, "names": [str(host / "pvc-1")]}


def test_long_lists_are_cut_and_counted(host):
    for number in range(300):
        (host / f"pvc-n{number}").mkdir()
    volumes = losses.facts({"id": "debian", "version_id": "12"}, [])["volumes"]
    assert (volumes["count"], len(volumes["names"])) == (301, 200)
