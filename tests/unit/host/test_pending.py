"""What apt would do, asked of a made-up libapt and a made-up apt-get."""

import subprocess
from types import SimpleNamespace

import pytest
from ansible_collections.homelab.patching.plugins.module_utils.core.problem import PatchingError
from ansible_collections.homelab.patching.plugins.module_utils.host import dpkg, pending, system

UPGRADE = "Inst web [1.0] (1.1 Debian-Security:12/oldstable-security [amd64])\n"


def version(number, archive):
    source = SimpleNamespace(archive=archive)
    return SimpleNamespace(ver_str=number, size=10, installed_size=30, file_list=[(source, 0)])


def package(name="web", installed="1.0", **more):
    versions = [version("1.1", "oldstable-security"), version("1.0", "oldstable")]
    current = next((each for each in versions if each.ver_str == installed), None)
    return SimpleNamespace(
        name=name, current_ver=current, version_list=versions, get_fullname=lambda _short: name, **more
    )


class Libapt:
    """apt_pkg, as far as it is used."""

    def __init__(self, packages=(), upgradable=(), broken=0, installs=0, error=None):
        self.packages, self.upgradable, self.error = list(packages), upgradable, error
        self.broken_count, self.inst_count, self.del_count = broken, installs, 0

    def init(self):
        if self.error:
            raise self.error

    def Cache(self, _progress):
        return self

    def DepCache(self, _cache):
        return self

    PackageRecords = DepCache

    def __getitem__(self, name):
        return next(each for each in self.packages if each.name == name)

    def upgrade(self, _dist):
        return True

    def is_upgradable(self, each):
        return each.name in self.upgradable

    def version_compare(self, one, other):
        return (one > other) - (one < other)


@pytest.fixture
def apt_get(monkeypatch):
    """apt-get says this; and what it was called with."""
    calls = []

    def say(out="", err="", status=0):
        def run(argv, **_more):
            calls.append(argv)
            return subprocess.CompletedProcess(argv, status, out, err)

        monkeypatch.setattr(system, "run", run)
        return calls

    return say


def test_where_libapt_finds_nothing_apt_get_is_not_asked(apt_get):
    calls = apt_get(UPGRADE)
    assert pending.pending(Libapt([package()]), []) == pending.NOTHING
    # Known to apt, and not installed.
    assert pending.pending(Libapt([package(installed=None)], ["web"]), []) == pending.NOTHING
    assert calls == []


@pytest.mark.parametrize(
    "libapt",
    [
        Libapt([package()], ["web"]),
        Libapt([package()], installs=1),
        Libapt([package()], broken=1),
    ],
)
def test_whatever_there_is_apt_get_says(apt_get, libapt):
    apt_get(UPGRADE)
    (found,) = pending.pending(libapt, [])["upgrades"]
    assert (found["old"], found["new"], found["security"], found["grows"]) == ("1.0", "1.1", "1.1", 0)


def test_what_is_wrong_with_the_lists_is_said_in_apts_words(apt_get):
    apt_get("", "E: Malformed entry 1 in list file\n", 100)
    with pytest.raises(PatchingError, match="Malformed entry"):
        pending.pending(Libapt(error=SystemError("C++")), [])


def test_an_excluded_package_is_kept_back(apt_get):
    apt_get()
    assert pending.pending(Libapt([package()], ["web"]), ["web"])["kept_back"] == ["web"]


@pytest.mark.parametrize(
    ("out", "err", "status", "says"),
    [
        ("", "", 0, ""),
        (" web : Depends: db but it is not installed\n", "E: Unmet dependencies.\n", 100, "web : Depends: db"),
        ("", "W: slow\nE: one\nE: two\n", 100, "one; two"),
        ("", "", 7, "status 7"),
    ],
)
def test_what_apt_get_check_complains_of(apt_get, out, err, status, says):
    apt_get(out, err, status)
    text = dpkg.complaint()
    assert text.startswith(says) and bool(text) is bool(says)
    if says:
        with pytest.raises(PatchingError, match="apt-get check fails"):
            pending.check()
