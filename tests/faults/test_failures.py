"""Hosts that go wrong in the middle of a roll, hosts that are not fit, and runs that meet: asked of the machines."""

import json
import subprocess
import time

from tests.faults.conftest import at, results, version
from tests.support import BIN, CHECKOUT, GATEWAY, ask, lab, lab_env, pending, state

HOSTS = ("app1", "db1", "web1")
ALL = {"patching_hosts": "web1:db1:app1"}


def test_a_failing_postinst_stops_the_roll_until_it_is_repaired(small, package, run):
    small(*HOSTS)
    package("lab-roll", *HOSTS, new=("--postinst", "test ! -e /etc/lab-broken"))
    ask("db1", "touch /etc/lab-broken")

    played = run("patch", policy=ALL)
    assert played.status != 0
    assert results(played) == {"app1": "patched", "db1": "failed", "web1": "not attempted"}
    assert any("lab-roll" in line for line in played.report["hosts"]["db1"]["log"])
    assert version("web1", "lab-roll") == "1.0"
    # What the page is made of says what the machines say, also of a roll that has stopped.
    for host in ("app1", "web1"):
        assert sorted(item["name"] for item in played.report["hosts"][host]["pending"]) == sorted(pending(host))
    assert state("web1").leftovers == [] and state("db1").leftovers == []
    assert json.loads(ask("db1", "cat /etc/ansible/facts.d/patching.fact"))["result"] == "failed"
    assert json.loads(ask("app1", "cat /etc/ansible/facts.d/patching.fact"))["result"] == "patched"

    # Not repaired: refused with the remedy, and the roll goes on with the others.
    played = run("patch", policy=ALL)
    assert played.status != 0
    assert results(played) == {"app1": "nothing to do", "db1": "refused", "web1": "patched"}
    assert "dpkg --configure -a" in played.report["hosts"]["db1"]["remedy"]

    ask("db1", "rm /etc/lab-broken && dpkg --configure -a")
    played = run("patch", policy=ALL)
    assert played.status == 0
    # Nothing is left to be upgraded on db1; that it is as healthy as before is still to be proved.
    assert results(played) == {"app1": "nothing to do", "db1": "patched", "web1": "nothing to do"}
    assert version("db1", "lab-roll") == "2.0"


def test_a_tolerated_failure_lets_the_roll_go_on_and_is_no_success(small, package, run):
    small(*HOSTS)
    package("lab-roll", *HOSTS, new=("--postinst", "test ! -e /etc/lab-broken"))
    ask("db1", "touch /etc/lab-broken")
    played = run("patch", policy={**ALL, "patching_max_failures": 1})
    assert played.status != 0
    assert results(played) == {"app1": "patched", "db1": "failed", "web1": "patched"}


def test_a_unit_that_the_upgrade_breaks_stays_red_until_it_is_healthy_or_accepted(small, package, run):
    small("app1", "db1")
    both = {"patching_hosts": "app1:db1", "patching_health_timeout": 5}
    unit = "/etc/systemd/system/lab-roll.service=[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/"
    script = "systemctl daemon-reload; systemctl restart lab-roll.service || true"
    package(
        "lab-roll",
        "app1",
        old=("--file", unit + "true\n", "--postinst", script),
        new=("--file", unit + "false\n", "--postinst", script),
    )
    # A unit that was failed before the run is nobody's business.
    ask("app1", "systemd-run --unit=lab-old --service-type=oneshot /bin/false || true", check=False)
    assert "lab-old" in ask("app1", "systemctl --failed --plain --no-legend")

    played = run("patch", policy=both)
    assert played.status != 0
    assert results(played)["app1"] == "failed"
    assert played.report["hosts"]["app1"]["reason"] == "prove: lab-roll.service has failed since the baseline"

    played = run("patch", policy=both)
    assert played.status != 0
    assert results(played)["app1"] == "refused"
    assert "lab-roll.service has failed since the baseline" in played.report["hosts"]["app1"]["reason"]

    accepted = run("patch", policy={**both, "patching_accept": "app1"})
    assert accepted.status == 0
    assert run("patch", policy=both).status == 0


def test_hosts_that_are_not_fit_are_refused_and_the_others_are_patched(small, package, run):
    small(*HOSTS)
    package("lab-roll", *HOSTS)
    ask("app1", "mv /usr/bin/apt-get /usr/bin/apt-get.away")
    lab("guest", "db1", "lock=backup")
    try:
        played = run("patch", policy=ALL)
    finally:
        lab("guest", "db1", "lock=")
        ask("app1", "mv /usr/bin/apt-get.away /usr/bin/apt-get")
    assert played.status != 0
    assert results(played) == {"app1": "refused", "db1": "refused", "web1": "patched"}
    assert "backup" in played.report["hosts"]["db1"]["reason"]
    assert version("db1", "lab-roll") == "1.0"


def test_a_host_that_is_off_is_listed_and_not_red(small, package, run):
    small("app1", "db1")
    package("lab-roll", "app1")
    lab("stop", "db1")
    try:
        played = run("patch", policy={"patching_hosts": "app1:db1"})
    finally:
        lab("start", "db1")
    assert played.status == 0
    assert results(played) == {"app1": "patched", "db1": "powered off"}


def test_a_host_that_does_not_answer_is_refused_and_the_others_are_patched(small, package, run):
    small("app1", "db1")
    package("lab-roll", "app1", "db1")
    lab("cut", "db1")
    try:
        played = run("patch", policy={"patching_hosts": "app1:db1"})
    finally:
        lab("heal", "db1")
    assert played.status != 0
    assert results(played) == {"app1": "patched", "db1": "refused"}
    assert version("db1", "lab-roll") == "1.0"


def test_a_second_run_is_refused_by_the_name_of_the_first(small, package, run, tmp_path):
    small("app1", "db1")
    package("lab-roll", "app1", "db1", new=("--postinst", "sleep 20"))
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
    deadline = time.monotonic() + 60
    while not ask("app1", "cat /var/lib/homelab-patching/upgrade.json 2>/dev/null", check=False):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    name = json.loads(ask("app1", "cat /var/lib/homelab-patching/claim.json"))["run"]
    played = run("patch", policy={"patching_hosts": "app1:db1"})
    assert played.status != 0
    assert results(played) == {"app1": "refused", "db1": "patched"}
    assert f"claimed by run {name}" in played.report["hosts"]["app1"]["reason"]
    assert first.wait(timeout=120) == 0
    assert version("app1", "lab-roll") == "2.0"
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
    ask("app1", "systemd-run --unit=homelab-patching-upgrade --service-type=oneshot --no-block sleep 30")
    assert "an upgrade is at work" in reboot({"run": "mine", "expires": time.time() + 600})
    ask("app1", "systemctl stop homelab-patching-upgrade")
    assert state("app1").boot_id == before


def test_the_daily_updates_are_off_while_a_host_is_claimed_and_on_again_after_it(small, run):
    small("app1")
    ask("app1", "touch /run/reboot-required")
    skipped = "journalctl --unit apt-daily.service --output cat | grep -c 'Skipped due to' || true"
    daily = at("app1", "Reboot", "shell", "app1", "systemctl", "start", "apt-daily.service")
    played = run("patch", policy={"patching_hosts": "app1"}, moments=[daily])
    assert played.status == 0
    assert ask("app1", skipped) == "1"
    ask("app1", "systemctl start apt-daily.service")
    assert ask("app1", skipped) == "1"


def test_nothing_is_rebooted_in_the_middle_of_a_backup(small, run):
    small("app1")
    ask("app1", "touch /run/reboot-required")
    before = state("app1").boot_id
    policy = {"patching_hosts": "app1", "patching_lock_timeout": 1}
    locked = at("app1", "Ask what the host needs now", "guest", "app1", "lock=backup")
    try:
        played = run("patch", policy=policy, moments=[locked])
    finally:
        lab("guest", "app1", "lock=")
    assert played.status != 0
    assert results(played) == {"app1": "failed"}
    told = played.report["hosts"]["app1"]
    assert "not rebooted: locked by Proxmox VE (backup)" in told["reason"]
    assert state("app1").boot_id == before
    assert state("app1").leftovers == []
    # What it says to type next; and who only reboots needs no mirror.
    assert told["remedy"].endswith("ansible-playbook homelab.patching.reboot -e patching_hosts=app1")
    ask("app1", f"mv /etc/apt/sources.list.d /etc/apt/away; echo 'deb http://{GATEWAY}:9/ a b' > /etc/apt/sources.list")
    assert run("reboot", policy=policy).status == 0
    assert state("app1").boot_id != before


def test_a_claim_that_nobody_comes_back_for_means_nothing_after_its_expiry(small, run):
    small("app1")
    ask("app1", "touch /run/reboot-required")
    killed = {"host": "app1", "task": "Reboot", "run": ["sh", "-c", "kill -9 $PPID"]}
    policy = {"patching_hosts": "app1", "patching_claim_seconds": 20}
    assert run("patch", policy=policy, moments=[killed]).status == -9
    skipped = "journalctl --unit apt-daily.service --output cat | grep -c 'Skipped due to' || true"
    ask("app1", "systemctl start apt-daily.service")
    assert ask("app1", skipped) == "1"
    time.sleep(21)
    ask("app1", "systemctl start apt-daily.service")
    assert ask("app1", skipped) == "1"


def test_no_wave_opens_after_the_deadline(small, package, run):
    small("app1", "db1")
    package("lab-roll", "app1", "db1")
    past = time.strftime("%H:%M", time.localtime(time.time() - 120))
    played = run("patch", policy={"patching_hosts": "app1:db1", "patching_until": past})
    assert played.status != 0
    assert results(played) == {"app1": "not attempted", "db1": "not attempted"}
    assert "patching_until" in played.report["hosts"]["db1"]["reason"]
    assert state("app1").leftovers == []
    assert pending("app1") == ["lab-roll"]


def test_tasks_of_the_user_run_before_and_after_and_their_failure_is_told(small, package, run, tmp_path):
    small("app1", "db1")
    package("lab-roll", "app1", "db1")
    before, after = tmp_path / "before.yml", tmp_path / "after.yml"
    before.write_text("- ansible.builtin.command: test ! -e /etc/lab-refuse\n")
    after.write_text("- ansible.builtin.command: touch /root/after\n")
    ask("app1", "touch /etc/lab-refuse")
    policy = {"patching_before": str(before), "patching_after": str(after), "patching_max_failures": 1}
    played = run("patch", policy={"patching_hosts": "app1:db1", **policy})
    assert played.status != 0
    assert results(played) == {"app1": "failed", "db1": "patched"}
    assert played.report["hosts"]["app1"]["reason"].startswith("patching_before: ")
    # A failing `before` is a failure before the upgrade; `after` runs in every outcome.
    assert version("app1", "lab-roll") == "1.0"
    assert ask("app1", "ls /root/after") and ask("db1", "ls /root/after")


def test_a_task_that_hangs_and_a_claim_that_cannot_be_given_back_are_told(small, run, tmp_path):
    small("app1", "db1")
    for host in ("app1", "db1"):
        ask(host, "touch /run/reboot-required")
    before = tmp_path / "hangs.yml"
    before.write_text("- ansible.builtin.command: sleep 120\n  timeout: 3\n  when: inventory_hostname == 'app1'\n")
    policy = {"patching_hosts": "app1:db1", "patching_max_failures": 1, "patching_before": str(before)}
    spoiled = at(
        "db1", "Give the host back", "shell", "db1", "sh", "-c", "echo x > /var/lib/homelab-patching/claim.json"
    )
    played = run("patch", policy=policy, moments=[spoiled])
    assert played.status != 0
    # The host answers: it is not lost, and it is given back.
    assert results(played) == {"app1": "failed", "db1": "patched"}
    assert played.report["hosts"]["app1"]["reason"].startswith("patching_before: ")
    assert state("app1").leftovers == []
    told = played.report["hosts"]["db1"]
    assert "still claimed" in told["reason"] and "is not JSON" in told["reason"]
    assert played.report["wrong"] == ["app1", "db1"]
    ask("db1", "rm /var/lib/homelab-patching/claim.json")


def test_an_excluded_package_is_left_alone_and_the_policy_is_read(small, package, run):
    small("app1")
    package("lab-roll", "app1")
    played = run("patch", policy={"patching_hosts": "app1", "patching_exclude_packages": ["lab-roll"]})
    assert played.status == 0
    assert version("app1", "lab-roll") == "1.0"
    assert played.report["hosts"]["app1"]["kept_back"] == [
        {"name": "lab-roll", "why": "excluded by patching_exclude_packages"}
    ]
    played = run("patch", policy={"patching_hosts": "app1", "patching_exclude_package": ["lab-roll"]})
    assert played.status != 0
    assert "Did you mean patching_exclude_packages?" in played.output
    assert version("app1", "lab-roll") == "1.0"


def test_never_ends_amber_and_reboot_yml_reboots(small, run):
    small("app1")
    ask("app1", "touch /run/reboot-required")
    before = state("app1")
    never = {"patching_hosts": "app1", "patching_reboot": "never"}
    played = run("patch", policy=never)
    assert played.status == 0
    assert results(played) == {"app1": "reboot pending"}
    assert state("app1").boot_id == before.boot_id
    played = run("reboot", policy=never)
    assert played.status == 0
    assert results(played) == {"app1": "patched"}
    assert state("app1").boot_id != before.boot_id
    again = state("app1").boot_id
    assert results(run("reboot", policy=never)) == {"app1": "nothing to do"}
    assert state("app1").boot_id == again
