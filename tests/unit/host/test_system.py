"""A host seen from itself: what is read from files and commands, on made-up ones."""

import hashlib
import os
import subprocess
import sys

import pytest
from ansible_collections.homelab.patching.plugins.module_utils.host import system


def test_paths_of_one_file_system_are_added_up_and_absent_ones_are_none(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    free = os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize
    assert system.short_of_space({str(first): free // 2, str(second): 0, "/nowhere": 10**18}) == []
    (short,) = system.short_of_space({str(first): 10**18, str(second): 5})
    assert (short["path"], short["needed"]) == (str(first), 10**18 + 5)


def test_configuration_files_that_somebody_has_changed(tmp_path, monkeypatch):
    kept, changed, gone, obsolete = (tmp_path / name for name in ("kept", "changed", "gone", "obsolete"))
    for path in (kept, changed, obsolete):
        path.write_text("as shipped")
    shipped = hashlib.md5(b"as shipped").hexdigest()
    changed.write_text("mine")
    obsolete.write_text("mine")
    listing = f"one\n {kept} {shipped}\n {changed} {shipped}\ntwo:amd64\n\nthree\n {gone} {shipped}\n"
    listing += f" {obsolete} {shipped} obsolete\n"
    monkeypatch.setattr(system, "run", lambda argv, **_more: subprocess.CompletedProcess(argv, 0, listing, ""))
    assert system.modified_conffiles(["one", "two", "three"]) == [{"package": "one", "path": str(changed)}]
    assert system.modified_conffiles([]) == []


def test_who_holds_the_lock(tmp_path, monkeypatch):
    lock = tmp_path / "lock-frontend"
    lock.touch()
    monkeypatch.setattr(system, "LOCK", str(lock))
    assert system.lock_holder() is None
    hold = f"import fcntl, sys; f = open({str(lock)!r}, 'w'); fcntl.lockf(f, fcntl.LOCK_EX); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        holder.stdout.readline()
        assert f"(process {holder.pid})" in system.lock_holder()
        holder.communicate(b"\n")
    assert system.lock_holder() is None


MOUNTINFO = r"""
22 1 0:21 / / rw - ext4 /dev/sda1 rw
30 22 8:17 / /srv/my\040data rw,noatime shared:1 - xfs /dev/sdb1 rw
31 22 0:40 / /home rw - nfs4 198.18.0.1:/home rw
32 22 0:41 / /mnt rw - autofs systemd-1 rw
33 22 0:42 / /var/lib/docker/overlay2/1/merged rw - ext4 /dev/sda1 rw
34 22 0:43 / /run/user/0 rw - tmpfs tmpfs rw
35 22 0:44 / /snap/core/1 ro - squashfs /dev/loop0 ro
"""


def test_mounts_that_hold_data_and_stay(monkeypatch):
    monkeypatch.setattr(system, "read", lambda _path: MOUNTINFO.strip())
    assert system.mounts() == ["/", "/home", "/srv/my data"]


@pytest.mark.parametrize(("stamp", "age"), [(400.0, 100.0), (900.0, 0.0)])
def test_age_of_the_lists(tmp_path, monkeypatch, stamp, age):
    lists = tmp_path / "lists"
    lists.mkdir()
    os.utime(lists, (stamp, stamp))
    monkeypatch.setattr(system, "LISTS", (lists, tmp_path / "never"))
    assert system.lists_age(500.0) == age
    monkeypatch.setattr(system, "LISTS", (tmp_path / "never",))
    assert system.lists_age(500.0) is None
