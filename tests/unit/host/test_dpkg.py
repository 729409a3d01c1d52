"""What dpkg knows of a host, from made-up files and commands."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.homelab.patching.plugins.module_utils.host import dpkg, system


def test_configuration_files_that_somebody_has_changed(tmp_path, monkeypatch):
    kept, changed, gone, obsolete = (tmp_path / name for name in ("kept", "changed", "gone", "obsolete"))
    for path in (kept, changed, obsolete):
        path.write_text("as shipped")
    shipped = hashlib.md5(b"as shipped").hexdigest()
    changed.write_text("mine")
    obsolete.write_text("mine")
    listing = f"one installed\n\n {kept} {shipped}\n {changed} {shipped}\ntwo:amd64 installed\n\n"
    listing += f"three unpacked\n\n {gone} {shipped}\n {obsolete} {shipped} obsolete\n {changed} newconffile\n"
    # Removed, and its configuration left: nothing that an upgrade or a rebuild is about.
    listing += f"four config-files\n\n {changed} {shipped}\n"
    monkeypatch.setattr(system, "run", lambda argv, **_more: subprocess.CompletedProcess(argv, 0, listing, ""))
    assert dpkg.modified_conffiles() == [
        {"package": "one", "path": str(changed), "missing": False},
        {"package": "three", "path": str(gone), "missing": True},
    ]


LISTING = """\
libc6	amd64	2.41-12	installed
libc6	i386	2.41-12	installed
tzdata	all	2026b-0	unpacked
gone	amd64	1.0	config-files
"""


def test_packages_have_the_names_that_apt_gives_them(monkeypatch):
    said = {"dpkg-query": LISTING, "dpkg": "amd64\n"}
    monkeypatch.setattr(system, "run", lambda argv, **_more: subprocess.CompletedProcess(argv, 0, said[argv[0]], ""))
    assert dpkg.installed_packages() == {"libc6": "2.41-12", "libc6:i386": "2.41-12", "tzdata": "2026b-0"}


@pytest.mark.parametrize("number", [0, 1])
def test_who_holds_the_lock(tmp_path, monkeypatch, number):
    """apt takes the first one, dpkg alone only the second."""
    locks = [str(tmp_path / name) for name in ("lock-frontend", "lock")]
    for lock in locks:
        Path(lock).touch()
    monkeypatch.setattr(dpkg, "LOCKS", ("/none/there", *locks))
    assert dpkg.lock_holder() is None
    hold = f"import fcntl; f = open({locks[number]!r}, 'w'); fcntl.lockf(f, fcntl.LOCK_EX); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        holder.stdout.readline()
        found = dpkg.lock_holder()
        assert found["pid"] == holder.pid and found["command"].startswith("python")
        assert found["seconds"] < system.process_age(os.getpid()) + 1
        holder.communicate(b"\n")
    assert dpkg.lock_holder() is None


@pytest.mark.parametrize(("stamp", "age"), [(400.0, 100.0), (900.0, 0.0)])
def test_age_of_the_lists(tmp_path, monkeypatch, stamp, age):
    lists = tmp_path / "lists"
    lists.mkdir()
    os.utime(lists, (stamp, stamp))
    monkeypatch.setattr(dpkg, "LISTS", (lists, tmp_path / "never"))
    assert dpkg.lists_age(500.0) == age
    monkeypatch.setattr(dpkg, "LISTS", (tmp_path / "never",))
    assert dpkg.lists_age(500.0) is None
