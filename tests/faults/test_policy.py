"""The daily policy on hosts where something keeps it from working: the proof names it. Asked of the machines.

What stops security updates makes the playbook fail on that host, with the file and line to blame. What only keeps
single packages back is shown. Most tests run the proof with which the playbook ends; those about what the role does
with a host run all of it.
"""

import contextlib
import json
import subprocess

import pytest

from tests.support import BIN, CHECKOUT, ask, lab, lab_env

LOCAL = "/etc/apt/apt.conf.d/99-local"
OWN = "/etc/apt/apt.conf.d/52unattended-upgrades-homelab"
SECURITY = "origin=Debian,codename=${distro_codename}-security,label=Debian-Security"
# Far from now: no daily run of its own begins in the middle of a test.
QUIET = {"unattended_upgrades_upgrade_time": "*-01-01 00:00", "unattended_upgrades_download_time": "*-01-01 00:00"}


@pytest.fixture(scope="module")
def host(machines):
    """A Debian 12 host with pending security updates, on which the policy is in force."""
    lab("up", "--hosts", "web2", timeout=1800)
    lab("reset", "web2")
    yield "web2"
    for package in ("lab-daily-conf", "lab-daily-other"):
        lab("unpublish", package, check=False)
    lab("reset", "web2")


@pytest.fixture(scope="module")
def policed(host):
    """The host after the role, without a test's own inventory of failures."""
    done = _playbook(host)
    assert done.returncode == 0, done.stdout + done.stderr
    return host


def _ansible(*command):
    env = {**lab_env(), "PATH": f"{BIN}:/usr/bin:/bin", "ANSIBLE_NOCOLOR": "1", "COLUMNS": "200"}
    done = subprocess.run(
        [BIN / command[0], "-i", "inventory/", *command[1:]],
        cwd=CHECKOUT,
        env={**env, "ANSIBLE_CALLBACK_RESULT_FORMAT": "json"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    print(done.stdout, done.stderr)
    return done


def _playbook(host, *arguments, **variables):
    given = json.dumps({**QUIET, "patching_hosts": host, **variables})
    return _ansible("ansible-playbook", "homelab.patching.policy", "-e", given, *arguments)


def prove(host, *arguments):
    """The proof alone."""
    given = json.dumps({"patching_hosts": host})
    return _ansible("ansible-playbook", "tests/faults/prove.yml", "-e", given, *arguments)


def info(host, *arguments):
    """What the module says of a host."""
    done = _ansible("ansible", host, "-b", "-m", "homelab.patching.unattended_upgrades_info", *arguments)
    assert done.returncode == 0
    return json.loads(done.stdout.partition("=>")[2])["policy"]


@contextlib.contextmanager
def broken(host, breaking, mending):
    """A host while something is wrong with it."""
    ask(host, breaking)
    try:
        yield
    finally:
        ask(host, mending)


def write(path, text):
    """The command that writes a file on a host."""
    return f"cat > {path} <<'END'\n{text}\nEND"


def would_upgrade(host):
    """What unattended-upgrades itself says that it would upgrade."""
    text = ask(host, "unattended-upgrade --dry-run -v --no-minimal-upgrade-steps 2>&1", check=False)
    line = next((line for line in text.splitlines() if line.startswith("Packages that will be upgraded:")), "")
    return line.partition(":")[2].split()


def older(seconds):
    """Breaking and mending that make a host believe that it, and all its processes, have run for so much longer."""
    moved = f"awk '{{print $1 + {seconds}, $2}}' /proc/uptime > /run/uptime; mount --bind /run/uptime /proc/uptime"
    return moved, "umount /proc/uptime; rm /run/uptime"


# What is built on the host itself: a package whose dependency does not exist, and one whose script never ends.
NEEDY = (
    "mkdir -p /tmp/needy/DEBIAN && printf 'Package: lab-daily-needy\\nVersion: 1\\nArchitecture: all\\n"
    "Maintainer: lab\\nDescription: lab\\nDepends: lab-daily-missing\\n' > /tmp/needy/DEBIAN/control && "
    "dpkg-deb --build /tmp/needy /tmp/needy.deb && dpkg --force-depends --install /tmp/needy.deb"
)
ENDLESS = (
    "mkdir -p /tmp/endless/DEBIAN && printf 'Package: lab-daily-endless\\nVersion: 1\\nArchitecture: all\\n"
    "Maintainer: lab\\nDescription: lab\\n' > /tmp/endless/DEBIAN/control && "
    "printf '#!/bin/sh\\n[ -e /tmp/go-on ] || sleep 30\\n' > /tmp/endless/DEBIAN/postinst && "
    "chmod 755 /tmp/endless/DEBIAN/postinst && dpkg-deb --build /tmp/endless /tmp/endless.deb && "
    "(dpkg --install /tmp/endless.deb >/dev/null 2>&1 & sleep 2; kill -9 $!;"
    " pkill -9 -f [l]ab-daily-endless.postinst; true)"
)
STOPPED = {
    "a ; is missing": (
        write(LOCAL, '#clear Unattended-Upgrade::Origins-Pattern;\nUnattended-Upgrade::Origins-Pattern {\n'
              f'  "{SECURITY}"\n  "origin=Debian,codename=${{distro_codename}},label=Debian";\n}};'),
        f"rm {LOCAL}",
        ["no allowed origin matches Debian:oldstable-security/main", f"a ; is missing after it in {LOCAL}:3"],
    ),
    "origins cleared": (
        write(LOCAL, "// nothing\n#clear Unattended-Upgrade::Origins-Pattern;"),
        f"rm {LOCAL}",
        ["no allowed origin matches", "none is in force", f"{LOCAL}:2 clears Unattended-Upgrade::Origins-Pattern", OWN],
    ),
    "origins by suite of another release": (
        write(LOCAL, '#clear Unattended-Upgrade::Origins-Pattern;\n'
              'Unattended-Upgrade::Origins-Pattern { "origin=Debian,suite=stable-security"; };'),
        f"rm {LOCAL}",
        ["no allowed origin matches", "in force: origin=Debian,suite=stable-security"],
    ),
    "a pattern that the program cannot read": (
        write(LOCAL, 'Unattended-Upgrade::Origins-Pattern:: "Debian stable";'),
        f"rm {LOCAL}",
        [f'unattended-upgrade itself cannot match its allowed origin "Debian stable" of {LOCAL}:1'],
    ),
    "timer masked": (
        "systemctl mask --now apt-daily-upgrade.timer 2>&1",
        "systemctl unmask apt-daily-upgrade.timer 2>&1; systemctl start apt-daily-upgrade.timer",
        ["apt-daily-upgrade.timer is masked", "systemctl unmask apt-daily-upgrade.timer"],
    ),
    "service masked": (
        "systemctl mask apt-daily-upgrade.service 2>&1",
        "systemctl unmask apt-daily-upgrade.service 2>&1; systemctl start apt-daily-upgrade.timer",
        ["apt-daily-upgrade.service is masked"],
    ),
    "switched off by a later file": (
        write(LOCAL, '\nAPT::Periodic { Enable "0"; };'),
        f"rm {LOCAL}",
        [f'APT::Periodic::Enable is "0" by {LOCAL}:2', f'overrides "1" in {OWN}:'],
    ),
    "interval 0 by a later file": (
        write(LOCAL, 'apt::periodic::unattended-upgrade "0";'),
        f"rm {LOCAL}",
        [f'APT::Periodic::Unattended-Upgrade is "0" by {LOCAL}:1'],
    ),
    "a broken dependency": (
        NEEDY,
        "dpkg --purge lab-daily-needy",
        ["apt-get check fails", "lab-daily-needy : Depends: lab-daily-missing"],
    ),
    "an interrupted dpkg": (
        ENDLESS,
        "touch /tmp/go-on; dpkg --configure -a; dpkg --purge lab-daily-endless; rm /tmp/go-on",
        ["dpkg was interrupted", "dpkg --configure -a"],
    ),
    "on battery": (
        write("/usr/local/sbin/on_ac_power", "#!/bin/sh\nexit 1") + "\nchmod 755 /usr/local/sbin/on_ac_power",
        "rm /usr/local/sbin/on_ac_power",
        ["System is on battery power", "OnlyOnACPower"],
    ),
    "on a metered connection": (
        # What NetworkManager's library, which the hosts lack, tells python3-gi.
        "mkdir -p /usr/local/lib/python3.11/dist-packages/gi/repository; cd /usr/local/lib/python3.11/dist-packages/gi;"
        " touch __init__.py repository/__init__.py; "
        + write("repository/Gio.py", "class NetworkMonitor:\n    get_default = staticmethod(lambda: None)\n"
                "    get_network_metered = staticmethod(lambda monitor: True)"),
        "rm -r /usr/local/lib/python3.11/dist-packages/gi",
        ["System is on metered connection", "::Skip-Updates-On-Metered-Connections"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STOPPED)
def test_what_stops_security_updates_is_named_and_red(policed, name):
    breaking, mending, says = STOPPED[name]
    with broken(policed, breaking, mending):
        done = prove(policed)
        assert done.returncode == 2
        for text in says:
            assert text in done.stdout.replace("\\", "")
        assert "DOES NOT take its security updates" in done.stdout
        told = [line for line in done.stdout.splitlines() if line.strip().startswith("stops them:")]
        assert len(told) == 1


def test_the_role_hides_none_of_it(policed):
    """The whole playbook on a host on which much is wrong at once."""
    together = ("a ; is missing", "timer masked", "switched off by a later file", "a broken dependency", "on battery")
    # Two of them write the same file.
    mending = "; ".join(STOPPED[name][1] for name in together)
    breaking = "\n".join(STOPPED[name][0].replace(f"cat > {LOCAL}", f"cat >> {LOCAL}") for name in together)
    with broken(policed, breaking, mending):
        done = _playbook(policed)
        assert done.returncode == 2
        for name in together:
            assert STOPPED[name][2][0].partition(f"{LOCAL}:")[0] in done.stdout.replace("\\", "")


def test_dpkgs_lock_is_held_for_more_than_an_hour(policed):
    hold = "import apt_pkg, time; apt_pkg.init(); apt_pkg.pkgsystem_lock(); time.sleep(600)"
    with broken(policed, f'systemd-run --quiet --unit=lab-holder python3 -c "{hold}"', "systemctl stop lab-holder"):
        ask(policed, "until apt-get check 2>&1 -o DPkg::Lock::Timeout=0 | grep -q lock; do sleep 0.2; done")
        assert info(policed)["stalled"] == []
        with broken(policed, *older(2 * 3600)):
            done = prove(policed)
    assert done.returncode == 2
    assert "has had dpkg's lock for up to 2 hours" in done.stdout
    assert "python3 (pid " in done.stdout


STAMP = "/var/lib/apt/periodic/upgrade-stamp"
LOG = "/var/log/unattended-upgrades/unattended-upgrades.log"


def test_no_run_has_ended_well_for_too_long(policed):
    breaking, mending = older(2 * 86400)
    stale = f"rm -f {LOG}; touch -d '9 days ago' {STAMP}; {breaking}"
    with broken(policed, stale, f"{mending}; touch {STAMP}"):
        done = prove(policed)
        assert done.returncode == 2
        assert "the last daily run that ended well was 9 days ago" in done.stdout
        assert prove(policed, "-e", "unattended_upgrades_max_age=10").returncode == 0


def test_a_run_that_was_interrupted_between_its_steps(policed):
    """By a shutdown. The next run goes on; only if none comes to its end are the updates stalled."""
    run = (
        "count() { cat /var/log/dpkg.log 2>/dev/null | grep -c ' status installed '; }; before=$(count);"
        " unattended-upgrade -v >/tmp/said 2>&1 & until [ $(count) -gt $before ]; do sleep 0.1; done;"
        " kill -TERM $!; wait; cat /tmp/said"
    )
    ask(policed, run, check=False)
    policy = info(policed)
    assert policy["last_run"]["result"] == "interrupted"
    assert policy["would_install"]
    assert [each["cause"] for each in policy["warnings"]] == ["interrupted"]
    assert policy["stalled"] == []
    breaking, mending = older(2 * 86400)
    with broken(policed, f"touch -d '9 days ago' {STAMP}; {breaking}", f"{mending}; touch {STAMP}"):
        done = prove(policed)
        assert done.returncode == 2
        assert "9 days ago; the last one, at " in done.stdout
        assert ", interrupted: SIGNAL received, stopping" in done.stdout
    # What its first step installed is the archive's business; the tests below want all of it pending.
    lab("reset", policed)
    done = _playbook(policed)
    assert done.returncode == 0, done.stdout + done.stderr


def test_apt_itself_cannot_read_its_configuration(policed):
    with broken(policed, write(LOCAL, '\n{ Enable "1"; };'), f"rm {LOCAL}"):
        done = _playbook(policed)
        assert done.returncode == 2
        assert f"{LOCAL}:2" in done.stdout


def test_all_is_well_again(policed):
    """Otherwise one of the tests above has not put back what it broke, and those below prove nothing."""
    policy = info(policed)
    assert (policy["stalled"], policy["uncovered"], policy["security_covered"]) == ([], [], True)


def test_a_monthly_run_holds_the_daily_one_off(policed):
    def claim(state):
        return _ansible(
            "ansible", policed, "-b", "-m", "homelab.patching.host_claim", "-a", f"run=r1 seconds=3600 state={state}"
        )

    assert claim("claimed").returncode == 0
    done = prove(policed)
    assert claim("released").returncode == 0
    assert done.returncode == 0
    assert "held off until 2" in done.stdout
    assert "by run r1" in done.stdout
    assert info(policed)["timers"]["held"] is None


# --- what keeps single packages back: shown, and green ---


@pytest.fixture
def offered(policed):
    """Two packages of an archive that the tests may allow: installed, changed on the host, and pending."""
    for name in ("lab-daily-conf", "lab-daily-other"):
        lab("publish", name, "1.0", "--conffile", f"/etc/{name}=one")
    ask(policed, "apt-get update -qq; apt-get install -qq -y lab-daily-conf lab-daily-other >/dev/null 2>&1")
    for name in ("lab-daily-conf", "lab-daily-other"):
        lab("publish", name, "2.0", "--conffile", f"/etc/{name}=two")
    ask(policed, "echo mine > /etc/lab-daily-conf; apt-get update -qq; apt-get clean")
    yield policed
    ask(policed, "dpkg --purge lab-daily-conf lab-daily-other; apt-get clean")
    for name in ("lab-daily-conf", "lab-daily-other"):
        lab("unpublish", name)


def installed(host):
    """Name -> version of all packages."""
    return dict(line.split() for line in ask(host, "dpkg-query -W -f '${Package} ${Version}\\n'").splitlines())


def holds(policy):
    return {each["name"]: each["reason"] for each in policy["would_hold"]}


# Allows the archive that the tests may fill.
ALLOWED = (write(LOCAL, 'Unattended-Upgrade::Origins-Pattern:: "origin=Lab,codename=lab";'), f"rm {LOCAL}")


def agrees(host, policy):
    """Would unattended-upgrades itself install just what the module says?"""
    return sorted(each["name"] for each in policy["would_install"]) == sorted(would_upgrade(host))


def test_a_held_package(policed):
    with broken(policed, "apt-mark hold openssl", "apt-mark unhold openssl"):
        done = prove(policed)
        assert done.returncode == 0
        line = next(line for line in done.stdout.splitlines() if "leave openssl at" in line)
        assert "SECURITY" in line and "held back by its mark" in line
        policy = info(policed)
        assert holds(policy) == {"openssl": "held"}
        assert agrees(policed, policy)


def test_a_blacklisted_package_an_excluded_one_and_what_needs_it(policed):
    ours = f"cp -p {OWN} /tmp/own", f"mv /tmp/own {OWN}"
    wanted = {"unattended_upgrades_package_blacklist": ["openss"], "patching_exclude_packages": ["python3.11-minimal"]}
    with broken(policed, *ours):
        done = _playbook(policed, **wanted)
        assert done.returncode == 0
        policy = info(policed)
        held = holds(policy)
        assert held["openssl"] == held["python3.11-minimal"] == "blacklisted"
        # The rest of that source needs exactly its version.
        assert held["python3.11"] == "dependency"
        assert "blacklisted by openss" in done.stdout
        assert "blacklisted by python3\\.11-minimal(:|$)" in done.stdout.replace("\\\\", "\\")
        assert agrees(policed, policy)
    assert holds(info(policed)) == {}


def test_a_package_that_is_not_on_the_strict_whitelist(policed):
    strict = 'Unattended-Upgrade { Package-Whitelist { "libexpat1$"; }; Package-Whitelist-Strict "true"; };'
    with broken(policed, write(LOCAL, strict), f"rm {LOCAL}"):
        assert prove(policed).returncode == 0
        policy = info(policed)
        assert [each["name"] for each in policy["would_install"]] == ["libexpat1"]
        assert set(holds(policy).values()) == {"whitelist"}
        assert holds(policy)["openssl"] == "whitelist"
        assert agrees(policed, policy)


def test_an_origin_that_is_not_allowed(offered):
    policy = info(offered)
    assert holds(policy) == {"lab-daily-conf": "origin", "lab-daily-other": "origin"}
    assert not any(each["security"] for each in policy["would_hold"])
    assert agrees(offered, policy)


def test_an_origin_that_is_not_trusted(offered):
    """Whose signature apt was told to leave aside."""
    source = "/etc/apt/sources.list.d/lab.list"
    untrusted = f"{ALLOWED[0]}\nsed -i.kept 's/ .signed-by/ [trusted=no signed-by/' {source}; apt-get update -qq"
    with broken(offered, untrusted, f"{ALLOWED[1]}; mv {source}.kept {source}; apt-get update -qq"):
        assert prove(offered).returncode == 0
        policy = info(offered)
        assert holds(policy)["lab-daily-other"] == "untrusted"
        assert agrees(offered, policy)


def test_an_update_for_which_another_package_would_have_to_go(offered):
    lab("publish", "lab-daily-other", "3.0", "--field", "Conflicts=lab-daily-conf")
    with broken(offered, f"{ALLOWED[0]}\napt-get update -qq", ALLOWED[1]):
        assert prove(offered).returncode == 0
        policy = info(offered)
        why = {each["name"]: (each["reason"], each["new"], each["why"]) for each in policy["would_hold"]}
        assert why["lab-daily-other"] == ("removal", "3.0", "pkg lab-daily-conf is marked to be deleted")
        assert "lab-daily-other" not in would_upgrade(offered)


def test_a_phased_update_is_installed_although_apt_would_wait(policed):
    """apt gives such an update to a part of the hosts first; unattended-upgrades does not know that."""
    lab("publish", "lab-daily-other", "1.0")
    ask(policed, "apt-get update -qq; apt-get install -qq -y lab-daily-other >/dev/null 2>&1")
    lab("publish", "lab-daily-other", "2.0", "--index-field", "Phased-Update-Percentage=0")
    try:
        with broken(policed, f"{ALLOWED[0]}\napt-get update -qq", ALLOWED[1]):
            assert "phased 0%" in ask(policed, "apt-cache policy lab-daily-other")
            policy = info(policed)
            assert "lab-daily-other" in [each["name"] for each in policy["would_install"]]
            assert agrees(policed, policy)
    finally:
        ask(policed, "dpkg --purge lab-daily-other")
        lab("unpublish", "lab-daily-other")


# --- what the module and the role leave alone ---

# The login itself is written down by sshd, sudo and systemd.
LISTING = (
    "find /var/lib/apt /var/lib/dpkg /var/lib/unattended-upgrades /var/cache/apt /var/log /etc/apt /etc/systemd"
    " /run/lock /var/run/unattended-upgrades* /usr/bin -xdev -not -path '*/journal/*' -not -name 'wtmp*'"
    " -not -name 'lastlog*' -not -name 'btmp*' -printf '%p %T@ %C@ %s %m\\n' 2>/dev/null | sort"
)


@pytest.mark.parametrize("arguments", [[], ["--check"]])
def test_the_module_writes_nothing(policed, arguments):
    ask(policed, "apt-get clean; rm -f /var/cache/apt/*.bin")
    before = ask(policed, LISTING, check=False)
    assert "/var/lib/apt/extended_states" in before or "/var/lib/apt/lists" in before
    policy = info(policed, *arguments)
    assert policy["would_install"]
    assert ask(policed, LISTING, check=False) == before


def test_the_dry_run_that_the_module_does_without_writes(policed):
    """Otherwise the test above would not notice it."""
    before = ask(policed, LISTING, check=False)
    assert would_upgrade(policed)
    assert ask(policed, LISTING, check=False) != before


def test_a_host_configured_by_hand(policed):
    """An edited 50-file and other 20- and 99-files: what overrides the policy is told, and nothing is pretended."""
    by_hand = "; ".join(
        [
            "cp -a /etc/apt/apt.conf.d /tmp/apt.conf.d; cd /etc/apt/apt.conf.d",
            "sed -i 's/codename=..distro_codename.-security/codename=nonsense/' 50unattended-upgrades",
            "echo 'Unattended-Upgrade::Package-Blacklist { \"libssl3\"; };' >> 50unattended-upgrades",
            "echo 'APT::Periodic::Unattended-Upgrade \"0\";' > 20auto-upgrades",
        ]
    )
    late = write(
        LOCAL,
        '// by hand\nUnattended-Upgrade {\n  Automatic-Reboot "true"; Automatic-Reboot-Time "02:00";\n'
        '  Package-Blacklist { "openssl$"; };\n};',
    )
    with broken(policed, by_hand, "rm -rf /etc/apt/apt.conf.d; mv /tmp/apt.conf.d /etc/apt/apt.conf.d"):
        # What sorts before the policy's file has lost, and is no matter.
        done = _playbook(policed)
        assert done.returncode == 0
        assert "overridden" not in done.stdout
        assert "libssl3" in would_upgrade(policed)

        ask(policed, late)
        done = prove(policed)
        assert done.returncode == 0
        policy = info(policed)
        told = {each["option"]: each for each in policy["overridden"]}
        reboot = told["Unattended-Upgrade::Automatic-Reboot"]
        assert (reboot["wanted"], reboot["effective"], reboot["by"]) == ("false", "true", f"{LOCAL}:3")
        assert told["Unattended-Upgrade::Package-Blacklist"]["effective"] == "openssl$"
        assert told["Unattended-Upgrade::Package-Blacklist"]["by"] == f"{LOCAL}:4"
        assert policy["reboot_policy"] == {"automatic": True, "with_users": True, "time": "02:00"}
        assert f'should be "false" by {OWN}:' in done.stdout
        assert holds(policy)["openssl"] == "blacklisted"
        assert "openssl" not in would_upgrade(policed)


# --- bad input, check mode, absent ---


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"unattended_upgrades_options": {"Mail": 'a"b'}}, "apt.conf has no way to write that"),
        ({"unattended_upgrades_options": {"A b": "c"}}, "is no name of an option"),
        ({"unattended_upgrades_upgrade_time": "25:00"}, "unattended_upgrades_upgrade_time: 25:00"),
        ({"unattended_upgrades_random_delay": "soon"}, "unattended_upgrades_random_delay: soon"),
        ({"unattended_upgrades_state": "gone"}, "value of unattended_upgrades_state must be one of: present, absent"),
        ({"unattended_upgrades_package_blacklist": "nginx"}, "blacklist is 'nginx'. Use a list, such as ['nginx']."),
        ({"patching_exclude_packages": ["linux-*"]}, "'linux-*' is no name of a package."),
        ({"unattended_upgrades_max_age": 0}, "max_age is 0. Use a number of days, at least 1."),
    ],
)
def test_bad_input_changes_nothing(policed, variables, says):
    before = ask(policed, "cd /etc; find apt systemd needrestart -type f | xargs md5sum")
    done = _playbook(policed, **variables)
    assert done.returncode == 2
    assert says in done.stdout.replace("\n", " ")
    assert ask(policed, "cd /etc; find apt systemd needrestart -type f | xargs md5sum") == before


def test_a_conffile_prompt_before_and_after_the_download(offered):
    with broken(offered, *ALLOWED):
        done = prove(offered)
        assert done.returncode == 0
        assert "dpkg may ask about /etc/lab-daily-conf" in done.stdout
        before = info(offered)
        assert holds(before) == {"lab-daily-conf": "conffile"}
        assert "lab-daily-other" in [each["name"] for each in before["would_install"]]

        ask(offered, "apt-get -qq -y --download-only dist-upgrade >/dev/null")
        after = info(offered)
        assert [each["why"] for each in after["would_hold"]] == [
            "dpkg would ask about /etc/lab-daily-conf, which was modified here"
        ]

        # The program's own list is no witness here, so it is let run.
        said = ask(offered, "unattended-upgrade -v 2>&1", check=False)
        assert "Package lab-daily-conf has conffile prompt and needs to be upgraded manually" in said
        versions = installed(offered)
        assert (versions["lab-daily-conf"], versions["lab-daily-other"]) == ("1.0", "2.0")
        for each in after["would_install"]:
            assert versions[each["name"]] == each["new"]
        told = info(offered)
        assert (told["would_install"], holds(told)) == ([], {"lab-daily-conf": "conffile"})
        # Such a run ends with 1, and the daily script writes no stamp; it is no reason to call the updates stalled.
        assert told["last_success"] is not None
        assert told["last_run"]["result"] == "conffile"
        assert "lab-daily-conf has conffile prompt" in told["warnings"][0]["message"]

        # A new version whose file is as it was asks nothing.
        lab("publish", "lab-daily-conf", "3.0", "--conffile", "/etc/lab-daily-conf=one")
        ask(offered, "apt-get update -qq; apt-get -qq -y --download-only dist-upgrade >/dev/null")
        assert [each["name"] for each in info(offered)["would_install"]] == ["lab-daily-conf"]
        ask(offered, "unattended-upgrade -v 2>&1")
        assert installed(offered)["lab-daily-conf"] == "3.0"
        assert ask(offered, "cat /etc/lab-daily-conf") == "mine"


WHOLE = (
    "cd /; find etc/apt etc/systemd etc/needrestart var/lib/homelab-patching 2>/dev/null | sort;"
    " cat etc/apt/apt.conf.d/* etc/needrestart/conf.d/* etc/systemd/system/*/*.conf 2>/dev/null | md5sum;"
    " dpkg -l unattended-upgrades | tail -1; systemctl is-enabled apt-daily.timer apt-daily-upgrade.timer;"
    " systemctl is-active apt-daily.timer apt-daily-upgrade.timer; systemctl show -p TimersCalendar apt-daily.timer"
)


def test_absent_takes_away_exactly_what_was_put_there(host):
    lab("reset", host)
    ask(
        host,
        "systemctl start apt-daily.timer; systemctl enable apt-daily.timer 2>&1; mkdir -p /var/lib/homelab-patching",
    )
    before = ask(host, WHOLE, check=False)
    assert _playbook(host, "--check").returncode == 0
    assert ask(host, WHOLE, check=False) == before
    assert _playbook(host).returncode == 0
    assert ask(host, WHOLE, check=False) != before
    assert _playbook(host, unattended_upgrades_state="absent").returncode == 0
    assert ask(host, WHOLE, check=False).replace("/..", "") == before
    again = _playbook(host, unattended_upgrades_state="absent")
    assert again.returncode == 0
    assert "changed=0" in next(line for line in again.stdout.splitlines() if line.startswith(f"{host} "))


def test_a_host_without_the_package(host):
    ask(host, "apt-get purge -qq -y unattended-upgrades >/dev/null 2>&1")
    policy = info(host)
    assert policy["installed"] is None
    assert [each["cause"] for each in policy["stalled"]] == ["not installed"]
    # In check mode it says what it would do, and does not fail.
    done = _playbook(host, "--check", "--diff")
    assert done.returncode == 0
    assert "unattended-upgrades is not installed" in done.stdout
    assert "+APT::Periodic::Enable" in done.stdout
    assert ask(host, f"test -e {OWN} || echo none") == "none"
    assert _playbook(host).returncode == 0
    assert info(host)["security_covered"]
    assert _playbook(host, unattended_upgrades_state="absent").returncode == 0
    assert "no packages found" in ask(host, "dpkg-query -l unattended-upgrades 2>&1", check=False)


def test_a_host_whose_lists_were_never_fetched(host):
    lab("reset", host)
    policy = info(host)
    assert not policy["security_covered"]
    assert [each["cause"] for each in policy["uncovered"]] == ["no lists"]
