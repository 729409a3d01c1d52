"""What apt would do, asked of a made-up libapt and a made-up apt-get."""

import subprocess
from types import SimpleNamespace

import pytest
from ansible_collections.homelab.patching.plugins.module_utils.core.change import change
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

    def get_candidate_ver(self, each):
        return each.version_list[0]

    def lookup(self, _file):
        return False

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
    result = pending.pending(libapt, [])
    assert result["pending"] == [change("web", "1.0", "1.1", "1.1")]
    assert result["sizes"] == {"web": {"download": 10, "unpacked": 30, "grows": 0}}


def test_what_is_wrong_with_the_lists_is_said_in_apts_words(apt_get):
    apt_get("", "E: Malformed entry 1 in list file\n", 100)
    with pytest.raises(PatchingError, match="Malformed entry"):
        pending.pending(Libapt(error=SystemError("C++")), [])


def test_an_excluded_package_is_kept_back(apt_get):
    apt_get()
    kept = change("web", "1.0", "1.1", "1.1", "excluded by patching_exclude_packages")
    assert pending.pending(Libapt([package()], ["web"]), ["web"])["pending"] == [kept]


@pytest.mark.parametrize(
    ("out", "held", "why"),
    [
        ("The following packages have been kept back:\n  web\n", "web\n", "held"),
        ("The following packages have been kept back:\n  web\n", "", "its dependencies do not allow it"),
        ("The following upgrades have been deferred due to phasing:\n  web\n", "", "phased: not this host's turn yet"),
    ],
)
def test_what_an_upgrade_leaves_is_pending_with_its_reason(apt_get, monkeypatch, out, held, why):
    apt_get(out)
    says = system.run
    monkeypatch.setattr(
        system,
        "run",
        lambda argv, **more: (
            subprocess.CompletedProcess(argv, 0, held, "") if argv[0] == "apt-mark" else says(argv, **more)
        ),
    )
    assert pending.pending(Libapt([package()], ["web"]), [])["pending"] == [change("web", "1.0", "1.1", "1.1", why)]


def test_security_updates_alone_are_asked_for_in_the_versions_of_the_security_archive():
    listed = [
        change("curl", "1", "3", security="2"),
        change("libc6:i386", "1", "2", security="2"),
        change("dash", "1", "2"),
        change("vim", "1", "2", security="2", held_by="held"),
    ]
    assert pending.arguments("security", listed, []) == ["install", "--only-upgrade", "curl=2", "libc6:i386=2"]


def test_an_excluded_package_is_asked_for_as_it_is_on_every_architecture(monkeypatch):
    monkeypatch.setattr(dpkg, "installed_packages", lambda: {"libc6": "1", "libc6:i386": "1", "dash": "1"})
    assert pending.arguments("full", [], ["libc6"])[2:] == ["libc6=1", "libc6:i386=1"]
    assert pending.arguments("full", [], []) == ["dist-upgrade"]


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
