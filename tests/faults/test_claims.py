"""Whose a host is: runs that meet, that sleep, that die without coming back, or that come too late."""

import json
import subprocess
import time

from tests.faults.conftest import WAITS, await_on, awake, results, told, version
from tests.support import BIN, CHECKOUT, ask, lab_env, pending, state


def test_a_second_run_is_refused_by_the_name_of_the_first(small, package, run, tmp_path):
    small("app1", "db1")
    package("lab-roll", "app1", "db1", new=("--postinst", "test ! -e /etc/lab-waits || {\n" + WAITS + "\n}"))
    ask("app1", "touch /etc/lab-waits")
    first = subprocess.Popen(
        [
            *[str(BIN / "ansible-playbook"), "-i", "inventory/", "homelab.patching.patch", "-e"],
            json.dumps({"patching_hosts": "app1", "patching_report_dir": str(tmp_path / "first")}),
        ],
        cwd=CHECKOUT,
        env=lab_env() | {"PATH": "/usr/bin:/bin"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    await_on("app1", "test -e /run/lab-began")
    name = json.loads(ask("app1", "cat /var/lib/homelab-patching/claim.json"))["run"]
    played = run("patch", policy={"patching_hosts": "app1:db1"})
    ask("app1", "touch /run/lab-go-on")
    assert played.status != 0
    assert results(played) == {"app1": "refused", "db1": "patched"}
    assert f"claimed by run {name}" in told(played, "app1")["reason"]
    assert first.wait(timeout=300) == 0
    assert version("app1", "lab-roll") == "2.0"
    assert state("app1").leftovers == []


def test_a_run_that_slept_past_its_claim_touches_nothing_more(small, package, run, asleep):
    small("app1")
    package("lab-roll", "app1", new=("--postinst", "touch /run/reboot-required"))
    first = asleep("app1", "patch_reboot : Reboot", {"patching_hosts": "app1"})
    # As if it had slept for hours.
    ask(
        "app1",
        "python3 -c \"import json; path = '/var/lib/homelab-patching/claim.json'; claim = json.load(open(path));"
        " json.dump({**claim, 'expires': 0}, open(path, 'w'))\"",
    )
    second = run("patch", policy={"patching_hosts": "app1"})
    assert second.status == 0
    once = state("app1").boot_id
    assert "Reboot command failed" in awake(first)
    assert first.returncode != 0
    assert ask("app1", "systemctl is-system-running", check=False) != "stopping"
    assert state("app1").boot_id == once
    assert state("app1").leftovers == []


def test_an_orphan_of_a_run_that_lost_its_host_reboots_nothing(small):
    small("app1")
    script = (CHECKOUT / "roles" / "patch_reboot" / "files" / "fenced_reboot.py").read_text()
    ask("app1", f"cat > /root/fenced.py <<'END'\n{script}\nEND\nmkdir -p /var/lib/homelab-patching")
    before = state("app1").boot_id

    def reboot(claim, boot_id=before):
        ask("app1", f"echo '{json.dumps(claim)}' > /var/lib/homelab-patching/claim.json")
        return ask("app1", f"python3 /root/fenced.py mine {boot_id} 2>&1; echo status $?")

    assert "belongs to run other" in reboot({"run": "other", "expires": time.time() + 600})
    assert "has expired" in reboot({"run": "mine", "expires": time.time() - 1})
    assert "rebooted already" in reboot({"run": "mine", "expires": time.time() + 600}, "another-boot")
    ask("app1", "systemd-run --unit=homelab-patching-upgrade --service-type=oneshot --no-block sleep 600")
    assert "an upgrade is at work" in reboot({"run": "mine", "expires": time.time() + 600})
    ask("app1", "systemctl stop homelab-patching-upgrade")
    assert state("app1").boot_id == before


def test_a_claim_that_nobody_comes_back_for_means_nothing_after_its_expiry(small, run):
    small("app1")
    ask("app1", "touch /run/reboot-required")
    killed = {"host": "app1", "task": "Reboot", "run": ["sh", "-c", "kill -9 $PPID"]}
    policy = {"patching_hosts": "app1", "patching_claim_seconds": 3600}
    assert run("patch", policy=policy, moments=[killed]).status == -9
    skipped = "journalctl --unit apt-daily.service --output cat | grep -c 'Skipped due to' || true"
    ask("app1", "systemctl start apt-daily.service")
    # Its timer may have started another one.
    times = int(ask("app1", skipped))
    assert times >= 1
    # Two hours later, as the shell of the unit is told.
    later = '#!/bin/sh\nexec /usr/bin/date --date=2hours "$@"\n'
    ask("app1", f"printf '{later}' > /usr/local/bin/date && chmod 755 /usr/local/bin/date")
    ask("app1", "systemctl start apt-daily.service")
    assert int(ask("app1", skipped)) == times


def test_no_wave_opens_after_the_deadline(small, package, run):
    small("app1", "db1")
    package("lab-roll", "app1", "db1")
    past = time.strftime("%H:%M", time.localtime(time.time() - 120))
    played = run("patch", policy={"patching_hosts": "app1:db1", "patching_until": past})
    assert played.status != 0
    assert results(played) == {"app1": "not attempted", "db1": "not attempted"}
    assert "patching_until" in told(played, "db1")["reason"]
    assert state("app1").leftovers == []
    assert pending("app1") == ["lab-roll"]
