"""Room on the disks of a host."""

import os

from ansible_collections.homelab.patching.plugins.module_utils.host import disk


def test_paths_of_one_file_system_are_added_up_and_absent_ones_are_none(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    free = os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize
    assert disk.short_of_space({str(first): free // 2, str(second): 0, "/nowhere": 10**18}) == []
    (short,) = disk.short_of_space({str(first): 10**18, str(second): 5})
    assert (short["path"], short["needed"]) == (str(first), 10**18 + 5)
