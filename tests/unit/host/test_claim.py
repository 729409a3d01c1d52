"""Whose is a host?"""

import subprocess

import pytest
from ansible_collections.homelab.patching.plugins.module_utils.core.problem import PatchingError
from ansible_collections.homelab.patching.plugins.module_utils.host import claim_file, system
from ansible_collections.homelab.patching.plugins.module_utils.host.claim import taken_over

CLAIM = {"run": "other", "owner": {"who": "me@control", "pid": 7}, "expires": 1000}


@pytest.mark.parametrize(
    ("current", "takeover", "now", "taken"),
    [
        (None, [], 0, None),
        ({**CLAIM, "run": "mine"}, [], 0, None),
        (CLAIM, [], 1000, CLAIM),
        (CLAIM, ["other"], 0, CLAIM),
    ],
)
def test_a_free_expired_or_dead_claim_is_taken(current, takeover, now, taken):
    assert taken_over(current, "mine", takeover, now) == taken


def test_a_live_claim_is_refused_by_name():
    with pytest.raises(
        PatchingError, match=r"run other of me@control \(pid 7\) for another 15 min.*patching_takeover=other"
    ):
        taken_over(CLAIM, "mine", ["third"], 100)


@pytest.fixture
def systemd(tmp_path, monkeypatch):
    """A host in a folder; the commands that it was given, and the status with which systemd answers."""
    asked: dict = {"commands": [], "status": 0}
    monkeypatch.setattr(system, "LOCK", tmp_path / "lock")
    monkeypatch.setattr(claim_file, "CLAIM", tmp_path / "claim.json")
    monkeypatch.setattr(claim_file, "_HOLD", tmp_path / "hold-until")
    monkeypatch.setattr(claim_file, "_drop_in", lambda service: tmp_path / f"{service}.d" / "drop-in.conf")

    def run(words, **_more):
        asked["commands"].append(words)
        return subprocess.CompletedProcess(words, asked["status"], "", "too many open files")

    monkeypatch.setattr(system, "run", run)
    return asked


def test_a_host_whose_daily_updates_cannot_be_kept_off_is_not_claimed(systemd, tmp_path):
    systemd["status"] = 1
    with pytest.raises(PatchingError, match="daily updates have to wait: too many open files"):
        claim_file.claim("mine", {}, 3600, [], {})
    assert claim_file.read() is None
    assert list(tmp_path.glob("*.d/*")) == []
    # The next one begins where nothing was.
    systemd["status"] = 0
    claim_file.claim("mine", {}, 3600, [], {})
    assert claim_file.read()["run"] == "mine"
    assert len(list(tmp_path.glob("*.d/*"))) == 2


def test_what_a_killed_run_may_not_have_told_systemd_is_told_by_the_next(systemd):
    claim_file.claim("dead", {}, 3600, [], {})
    claim_file.claim("dead", {}, 3600, [], {})
    assert systemd["commands"] == [["systemctl", "daemon-reload"]]
    claim_file.claim("mine", {}, 3600, ["dead"], {})
    assert systemd["commands"] == [["systemctl", "daemon-reload"]] * 2
