"""Changelogs out of real packages, built here with dpkg-deb."""

import gzip
import subprocess

import pytest
from ansible_collections.homelab.patching.plugins.module_utils.host import debs, system

ENTRY = """{source} ({version}) stable-security; urgency=high

  * {text}

 -- Somebody <somebody@example.org>  {day}

"""


def changelog(source, *entries):
    days = "Tue, 30 Sep 2025 20:10:00 +0000", "Mon, 05 May 2025 10:00:00 +0000"
    return "".join(
        ENTRY.format(source=source, version=version, text=text, day=day)
        for (version, text), day in zip(entries, days, strict=True)
    )


FIXES = changelog("tool", ("2.0-1", "CVE-2025-0001"), ("1.0-1", "first"))


@pytest.fixture
def archives(tmp_path, monkeypatch):
    """A folder of downloaded packages; of each of them version 1.0-1 is installed."""

    def run(command, **more):
        if command[0] == "dpkg-query":
            return subprocess.CompletedProcess(command, 0, "1.0-1\n1.0-1\n", "")
        return real(command, **more)

    real = system.run
    monkeypatch.setattr(system, "run", run)
    return tmp_path / "archives"


def build(archives, name, version="2.0-1", files=None, links=None, **fields):
    root = archives.parent / "roots" / name
    (root / "DEBIAN").mkdir(parents=True)
    control = {"Package": name, "Version": version, "Architecture": "all", "Maintainer": "x <x@y>", **fields}
    lines = [f"{key}: {value}\n" for key, value in control.items()]
    (root / "DEBIAN" / "control").write_text("".join([*lines, "Description: x\n"]))
    doc = root / "usr/share/doc"
    doc.mkdir(parents=True)
    for path, text in (files or {}).items():
        (doc / path).parent.mkdir(exist_ok=True)
        (doc / path).write_bytes(gzip.compress(text.encode()) if isinstance(text, str) else text)
    for link, target in (links or {}).items():
        (doc / link).symlink_to(target)
    archives.mkdir(exist_ok=True)
    path = archives / f"{name}_{version.replace(':', '%3a')}_all.deb"
    subprocess.run(["dpkg-deb", "--build", "--root-owner-group", root, path], check=True, capture_output=True)
    return path


FIXED = {"cves": ["CVE-2025-0001"], "fixed": "2025-09-30"}


def test_the_changelog_of_debian_goes_before_that_of_upstream(archives):
    build(archives, "tool", files={"tool/changelog.gz": "Changes in 2.0", "tool/changelog.Debian.gz": FIXES})
    assert debs.fixes(["tool"], 60, archives) == {"tool": {"source": "tool", **FIXED}}
    # dpkg lists a foreign architecture with the name.
    assert debs.fixes(["tool:i386"], 60, archives)["tool:i386"]["cves"] == FIXED["cves"]


def test_the_changelog_of_upstream_is_none(archives):
    build(archives, "tool", files={"tool/changelog.gz": "tool 2.0: CVE-2025-9999"})
    assert debs.fixes(["tool"], 60, archives) == {"tool": {"source": "tool", **debs.UNKNOWN}}


def test_a_native_package(archives):
    build(archives, "tool", "2.0", {"tool/changelog.gz": changelog("tool", ("2.0", "CVE-2025-0001"), ("1.0", "x"))})
    assert debs.fixes(["tool"], 60, archives)["tool"]["cves"] == FIXED["cves"]


def test_a_link_leads_to_the_package_that_has_it_and_sources_have_versions_of_their_own(archives):
    text = changelog("tool-signed", ("7.0+1", "CVE-2025-0001"), ("1.0-1", "x"))
    build(archives, "tool-meta", "3:2.0-1", links={"tool-meta": "tool-2"}, Source="tool-signed (7.0+1)")
    assert debs.fixes(["tool-meta"], 60, archives)["tool-meta"] == {"source": "tool-signed", **debs.UNKNOWN}
    build(archives, "tool-2", files={"tool-2/changelog.gz": text}, Source="tool-signed (7.0+1)")
    assert debs.fixes(["tool-meta"], 60, archives)["tool-meta"] == {"source": "tool-signed", **FIXED}


def test_packages_of_one_source_share_it(archives):
    build(archives, "libtool", Source="tool")
    build(archives, "tool", files={"tool/changelog.Debian.gz": FIXES, "tool/filler.gz": b"x" * 100_000})
    found = debs.fixes(["libtool", "tool"], 60, archives)
    assert found == {"libtool": {"source": "tool", **FIXED}, "tool": {"source": "tool", **FIXED}}


@pytest.mark.parametrize("packed", [b"", b"no gzip", gzip.compress(FIXES.encode(), mtime=0)[:60]])
def test_a_broken_changelog_is_unknown(archives, packed):
    build(archives, "tool", files={"tool/changelog.Debian.gz": packed})
    assert debs.fixes(["tool"], 60, archives)["tool"] == {"source": "tool", **debs.UNKNOWN}


def test_a_broken_package_is_left_out_and_so_is_one_that_is_not_there(archives):
    path = build(archives, "tool", files={"tool/changelog.Debian.gz": FIXES})
    path.write_bytes(path.read_bytes()[:300])
    assert debs.fixes(["tool", "other"], 60, archives) == {}


def test_without_time_it_is_unknown(archives):
    build(archives, "tool", files={"tool/changelog.Debian.gz": FIXES, "a/noise.gz": b"x" * 100})
    assert debs.fixes(["tool"], -1, archives)["tool"] == {"source": "tool", **debs.UNKNOWN}
