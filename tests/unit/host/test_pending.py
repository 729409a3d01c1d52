"""What apt-get is asked for."""

from ansible_collections.homelab.patching.plugins.module_utils.core.change import change
from ansible_collections.homelab.patching.plugins.module_utils.host import dpkg, pending


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
