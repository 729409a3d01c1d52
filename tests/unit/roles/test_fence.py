"""The fence of the reboot: the last thing asked before a host goes down."""

import fcntl
import importlib.util
import os
import re
import stat
import subprocess
import time
from pathlib import Path

import pytest
from ansible_collections.homelab.patching.plugins.module_utils.core.problem import PatchingError
from ansible_collections.homelab.patching.plugins.module_utils.host import claim_file, dpkg, system
from ansible_collections.homelab.patching.plugins.module_utils.k3s import local

CHECKOUT = Path(__file__).parents[3]
FENCE = CHECKOUT / "roles" / "patch_reboot" / "files" / "fenced_reboot.py"
BOOT = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
CLAIM = {"run": "mine", "expires": 2000.0}


def _script():
    spec = importlib.util.spec_from_file_location("fenced_reboot", FENCE)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


@pytest.fixture
def fence(tmp_path, monkeypatch):
    """The script, on a host with no upgrade at work; `tmp_path/agent` is what makes it a K3s node."""
    script = _script()
    monkeypatch.setattr(script, "K3S", str(tmp_path / "agent"))
    monkeypatch.setattr(script, "at_work", lambda _name: False)
    return script


def test_a_plain_host_needs_no_gate(fence):
    fence.check(CLAIM, "mine", BOOT, 1000.0)


@pytest.mark.parametrize(("gate", "now"), [(1000.0, 1000.0), (1000.0, 1059.9), (1000.5, 1000.0)])
def test_a_node_goes_within_a_minute_of_its_gate(fence, tmp_path, gate, now):
    (tmp_path / "agent").mkdir()
    fence.check({**CLAIM, "gate": gate}, "mine", BOOT, now)


@pytest.mark.parametrize(
    ("gate", "now"),
    [({"gate": 1000.0}, 1060.0), ({}, 1000.0), ({"gate": 1500.0}, 1000.0)],  # too old, none, a clock that jumped
)
def test_a_node_does_not_go_without_a_gate_of_the_last_minute(fence, tmp_path, gate, now):
    (tmp_path / "agent").mkdir()
    with pytest.raises(SystemExit, match="the last gate of its K3s cluster is not from the last 60 s"):
        fence.check({**CLAIM, **gate}, "mine", BOOT, now)


@pytest.fixture
def claimed(tmp_path, monkeypatch):
    """A host that run `mine` has claimed."""
    monkeypatch.setattr(system, "LOCK", tmp_path / "lock")
    monkeypatch.setattr(claim_file, "CLAIM", tmp_path / "claim.json")
    monkeypatch.setattr(claim_file, "_HOLD", tmp_path / "hold-until")
    monkeypatch.setattr(claim_file, "_drop_in", lambda service: tmp_path / f"{service}.d" / "drop-in.conf")
    monkeypatch.setattr(system, "run", lambda words, **more: subprocess.CompletedProcess(words, 0, "", ""))
    claim_file.claim("mine", {}, 3600, [], {})


def test_a_gate_is_kept_when_the_claim_is_renewed_again(claimed):
    claim_file.renew("mine", 3600, 1234.5)
    claim_file.renew("mine", 3600)
    assert claim_file.read()["gate"] == 1234.5


def test_the_gate_of_another_run_means_nothing(claimed):
    claim_file.renew("mine", 3600, 1234.5)
    claim_file.claim("other", {}, 3600, ["mine"], {})
    assert "gate" not in claim_file.read()
    with pytest.raises(PatchingError):
        claim_file.renew("mine", 3600, 1300.0)


def test_nobody_else_can_read_a_claim_or_hold_its_lock(claimed, tmp_path, monkeypatch):
    """The drop-ins are for everybody, as all units are."""
    drop_ins = [path for path in tmp_path.glob("*.d/*.conf")]
    assert [stat.S_IMODE(path.stat().st_mode) for path in drop_ins] == [0o644, 0o644]
    own = [path for path in tmp_path.iterdir() if path.is_file()]
    assert {path.name for path in own} == {"lock", "claim.json", "hold-until"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in own} == {0o600}
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700


def test_what_an_earlier_release_left_open_is_closed(claimed, tmp_path):
    os.chmod(tmp_path, 0o755)
    os.chmod(tmp_path / "lock", 0o644)
    claim_file.renew("mine", 3600)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "lock").stat().st_mode) == 0o600


def test_it_does_not_wait_for_ever_for_a_lock(fence, claimed, tmp_path, monkeypatch):
    """Who waited until somebody let go would reboot a host whose run is over."""
    monkeypatch.setattr(fence, "LOCK", str(tmp_path / "lock"))
    monkeypatch.setattr(fence, "LOCK_SECONDS", 0.3)
    monkeypatch.setattr(fence.sys, "argv", ["fenced_reboot.py", "mine", BOOT])
    with open(tmp_path / "lock", encoding="utf-8") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(SystemExit, match="lock is held by another process"):
            fence.main()


def test_a_claim_that_was_given_back_meanwhile_reboots_nothing(fence, claimed, tmp_path, monkeypatch):
    monkeypatch.setattr(fence, "LOCK", str(tmp_path / "lock"))
    monkeypatch.setattr(fence, "CLAIM", str(tmp_path / "claim.json"))
    monkeypatch.setattr(fence.sys, "argv", ["fenced_reboot.py", "mine", BOOT])

    def given_back(_lock):
        (tmp_path / "claim.json").unlink()

    monkeypatch.setattr(fence, "take", given_back)
    with pytest.raises(SystemExit, match="no claim on this host"):
        fence.main()


def test_it_knows_what_the_package_knows(fence):
    """The script is alone on the host: what it has by heart is held to what the modules write and read."""
    assert (str(claim_file.CLAIM), str(system.LOCK)) == (fence.CLAIM, fence.LOCK)
    assert fence.LOCK_SECONDS == system.LOCK_SECONDS
    assert (fence.UPGRADE_UNIT, fence.DPKG_LOCKS) == (system.UPGRADE_UNIT, dpkg.LOCKS)
    assert str(local.DATA / "agent") == _script().K3S
    # An older gate is asked again before the drain ends, so that half of the time is left for the rest.
    drain = (CHECKOUT / "roles" / "k3s_maintenance" / "tasks" / "drain.yml").read_text()
    assert 2 * int(re.search(r"__k3s_maintenance_began > (\d+)", drain)[1]) == fence.GATE_SECONDS


def test_it_takes_a_claim_as_the_package_writes_it(fence, claimed, tmp_path):
    (tmp_path / "agent").mkdir()
    now = time.time()
    claim_file.renew("mine", 3600, now)
    fence.check(claim_file.read(), "mine", BOOT, now)
    with pytest.raises(SystemExit, match="the claim of run mine has expired"):
        fence.check(claim_file.read(), "mine", BOOT, now + 3601)
