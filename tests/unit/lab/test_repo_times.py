"""A file of the repository that is written again at once is younger by whole seconds: http sees no fractions."""

from lab import repo


def test_two_changes_within_a_second(tmp_path):
    path = tmp_path / "InRelease"
    repo._write(path, b"first")
    before = int(path.stat().st_mtime)
    repo._write(path, b"second")
    assert int(path.stat().st_mtime) > before + 1
    assert path.read_bytes() == b"second"
