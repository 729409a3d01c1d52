"""The daily policy on hosts where something keeps it from working: the proof names it. Asked of the machines.

What stops security updates makes the playbook fail on that host, with the file and line to blame. What only keeps
single packages back is shown. The lab's own repository plays Debian's security archive; one test asks the real one.
"""

import contextlib
import json
import subprocess
from dataclasses import dataclass

import pytest

from lab.config import NUMBER
from tests.support import BIN, CHECKOUT, SECURITY_SUITES, ask, lab, lab_env, play_security_archive

LOCAL = "/etc/apt/apt.conf.d/99-local"
PERIODIC = "/etc/apt/apt.conf.d/99-periodic"
OWN = "/etc/apt/apt.conf.d/52unattended-upgrades-homelab"
SECURITY = "origin=Debian,codename=${distro_codename}-security,label=Debian-Security"
# Far from now: no daily run of its own begins in the middle of a test.
QUIET = {"unattended_upgrades_upgrade_time": "*-01-01 00:00", "unattended_upgrades_download_time": "*-01-01 00:00"}

# The security archive of Debian 12, and what is pending from it. The last package needs exactly its own version of the
# one before.
ARCHIVE = SECURITY_SUITES["bookworm"]
ONE, TWO, BASE, NEEDS = "lab-daily-one", "lab-daily-two", "lab-daily-3.1-base", "lab-daily-3.1"
PENDING = (ONE, TWO, BASE, NEEDS)
# Stays in the middle of its installation while a file is there.
WAITS = (
    "if [ -e /run/lab-daily-wait ]; then touch /run/lab-daily-begun;"
    " while [ -e /run/lab-daily-wait ]; do sleep 0.1; done; fi"
)


def publish(version):
    """Offer all that the played security archive has in one version."""
    for name in PENDING:
        depends = f"{BASE} (= {version})" if name == NEEDS else ""
        lab("publish", name, version, "--suite", ARCHIVE, "--postinst", WAITS, "--depends", depends)


def fresh(host):
    """A host as after its first boot that knows the played security archive alone."""
    lab("reset", "--plain", host)
    play_security_archive(host)


@pytest.fixture(scope="module")
def host():
    """A Debian 12 host with pending security updates."""
    lab("up", "--hosts", "web2", timeout=1800)
    fresh("web2")
    publish("1.0")
    ask("web2", f"apt-get update -qq; apt-get install -qq -y {' '.join(PENDING)} >/dev/null 2>&1")
    publish("2.0")
    yield "web2"
    lab("reset", "--repo", "web2")


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


def installed(host):
    """Name -> version of all packages."""
    return dict(line.split() for line in ask(host, "dpkg-query -W -f '${Package} ${Version}\\n'").splitlines())


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
    "printf '#!/bin/sh\\n[ -e /tmp/go-on ] || { touch /tmp/begun; sleep 600; }\\n' > /tmp/endless/DEBIAN/postinst && "
    "chmod 755 /tmp/endless/DEBIAN/postinst && dpkg-deb --build /tmp/endless /tmp/endless.deb && "
    "(dpkg --install /tmp/endless.deb >/dev/null 2>&1 & until [ -e /tmp/begun ]; do sleep 0.1; done; kill -9 $!;"
    " pkill -9 -f [l]ab-daily-endless.postinst; true)"
)
STOPPED = {
    "a ; is missing": (
        write(LOCAL, '#clear Unattended-Upgrade::Origins-Pattern;\nUnattended-Upgrade::Origins-Pattern {\n'
              f'  "{SECURITY}"\n  "origin=Debian,codename=${{distro_codename}},label=Debian";\n}};'),
        f"rm {LOCAL}",
        [f"no allowed origin matches Debian:{ARCHIVE}/main", f"a ; is missing after it in {LOCAL}:3"],
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
        write(PERIODIC, '\nAPT::Periodic { Enable "0"; };'),
        f"rm {PERIODIC}",
        [f'APT::Periodic::Enable is "0" by {PERIODIC}:2', f'overrides "1" in {OWN}:'],
    ),
    "interval 0 by a later file": (
        write(PERIODIC, 'apt::periodic::unattended-upgrade "0";'),
        f"rm {PERIODIC}",
        [f'APT::Periodic::Unattended-Upgrade is "0" by {PERIODIC}:1'],
    ),
    "a broken dependency": (
        NEEDY,
        "dpkg --purge lab-daily-needy",
        ["apt-get check fails", "lab-daily-needy : Depends: lab-daily-missing"],
    ),
    "an interrupted dpkg": (
        ENDLESS,
        "touch /tmp/go-on; dpkg --configure -a; dpkg --purge lab-daily-endless; rm /tmp/go-on /tmp/begun",
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


# Those that do not hide each other share a run; together these are all of STOPPED.
AT_ONCE = ("a ; is missing", "timer masked", "switched off by a later file", "a broken dependency", "on battery")
THE_OTHERS = (
    ("origins cleared", "service masked", "interval 0 by a later file", "an interrupted dpkg",
     "on a metered connection"),
    ("origins by suite of another release",),
    ("a pattern that the program cannot read",),
)  # fmt: skip


def stopped(host, names, run):
    """Break a host in these ways, and run something that has to name each of them, and nothing else."""
    breaking = "\n".join(STOPPED[name][0] for name in names)
    with broken(host, breaking, "; ".join(STOPPED[name][1] for name in names)):
        done = run(host)
    assert done.returncode == 2
    assert "DOES NOT take its security updates" in done.stdout
    told = [line for line in done.stdout.replace("\\", "").splitlines() if line.strip().startswith("stops them:")]
    assert len(told) == len(names)
    for name in names:
        assert any(all(text in line for text in STOPPED[name][2]) for line in told), name


def test_no_case_is_left_out():
    assert sorted([*AT_ONCE, *(name for names in THE_OTHERS for name in names)]) == sorted(STOPPED)


@pytest.mark.parametrize("names", THE_OTHERS, ids=", ".join)
def test_what_stops_security_updates_is_named_and_red(policed, names):
    stopped(policed, names, prove)


def test_the_role_hides_none_of_it(policed):
    """The whole playbook on a host on which much is wrong at once."""
    stopped(policed, AT_ONCE, _playbook)


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
        "touch /run/lab-daily-wait; unattended-upgrade -v >/tmp/said 2>&1 &"
        " until [ -e /run/lab-daily-begun ]; do sleep 0.1; done;"
        " kill -TERM $!; rm /run/lab-daily-wait /run/lab-daily-begun; wait; cat /tmp/said"
    )
    ask(policed, run, check=False)
    policy = info(policed)
    assert policy["last_run"]["result"] == "interrupted"
    assert policy["would_install"]
    assert [each["kind"] for each in policy["warnings"]] == ["interrupted"]
    assert policy["stalled"] == []
    breaking, mending = older(2 * 86400)
    with broken(policed, f"touch -d '9 days ago' {STAMP}; {breaking}", f"{mending}; touch {STAMP}"):
        done = prove(policed)
        assert done.returncode == 2
        assert "9 days ago; the last one, at " in done.stdout
        assert ", interrupted: SIGNAL received, stopping" in done.stdout
    # The tests below want all of it pending.
    old = " ".join(f"{name}=1.0" for name in PENDING)
    ask(policed, f"apt-get install -qq -y --allow-downgrades {old} >/dev/null 2>&1; rm {LOG}")


def test_apt_itself_cannot_read_its_configuration(policed):
    with broken(policed, write(LOCAL, '\n{ Enable "1"; };'), f"rm {LOCAL}"):
        done = _playbook(policed)
        assert done.returncode == 2
        assert f"{LOCAL}:2" in done.stdout


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


def test_all_is_well_again(policed):
    """Otherwise one of the tests above has not put back what it broke, and those below prove nothing."""
    policy = info(policed)
    assert (policy["stalled"], policy["uncovered"], policy["security_covered"]) == ([], [], True)
    assert policy["timers"]["held"] is None
    assert [each["name"] for each in policy["would_install"]] == sorted(PENDING)
    assert agrees(policed, policy)


# --- what keeps single packages back: shown, and green ---


def holds(policy):
    return {each["name"]: each["reason"] for each in policy["would_hold"]}


def agrees(host, policy):
    """Would unattended-upgrades itself install just what the module says?"""
    return sorted(each["name"] for each in policy["would_install"]) == sorted(would_upgrade(host))


def green(policy):
    """What the proof asks of it."""
    return policy["security_covered"] and not policy["stalled"]


def test_a_package_that_is_not_on_the_strict_whitelist(policed):
    strict = f'Unattended-Upgrade {{ Package-Whitelist {{ "{TWO}$"; }}; Package-Whitelist-Strict "true"; }};'
    with broken(policed, write(LOCAL, strict), f"rm {LOCAL}"):
        policy = info(policed)
        assert green(policy)
        assert [each["name"] for each in policy["would_install"]] == [TWO]
        assert holds(policy) == dict.fromkeys((ONE, BASE, NEEDS), "whitelist")
        assert agrees(policed, policy)


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
            f"echo 'Unattended-Upgrade::Package-Blacklist {{ \"{TWO}\"; }};' >> 50unattended-upgrades",
            "echo 'APT::Periodic::Unattended-Upgrade \"0\";' > 20auto-upgrades",
        ]
    )
    late = write(
        LOCAL,
        '// by hand\nUnattended-Upgrade {\n  Automatic-Reboot "true"; Automatic-Reboot-Time "02:00";\n'
        f'  Package-Blacklist {{ "{ONE}$"; }};\n}};',
    )
    with broken(policed, by_hand, "rm -rf /etc/apt/apt.conf.d; mv /tmp/apt.conf.d /etc/apt/apt.conf.d"):
        # What sorts before the policy's file has lost, and is no matter.
        done = _playbook(policed)
        assert done.returncode == 0
        assert "overridden" not in done.stdout
        assert TWO in would_upgrade(policed)

        ask(policed, late)
        policy = info(policed)
        assert green(policy)
        told = {each["option"]: each for each in policy["overridden"]}
        reboot = told["Unattended-Upgrade::Automatic-Reboot"]
        assert (reboot["wanted"], reboot["effective"], reboot["by"]) == ("false", "true", f"{LOCAL}:3")
        assert reboot["at"].startswith(f"{OWN}:")
        assert told["Unattended-Upgrade::Package-Blacklist"]["effective"] == f"{ONE}$"
        assert told["Unattended-Upgrade::Package-Blacklist"]["by"] == f"{LOCAL}:4"
        assert policy["reboot_policy"] == {"automatic": True, "with_users": True, "time": "02:00"}
        assert holds(policy)[ONE] == "blacklisted"
        assert ONE not in would_upgrade(policed)


# --- bad input ---

BAD = [
    ({"unattended_upgrades_options": {"Mail": 'a"b'}}, "apt.conf has no way to write that"),
    ({"unattended_upgrades_options": {"A b": "c"}}, "is no name of an option"),
    ({"unattended_upgrades_upgrade_time": "25:00"}, "unattended_upgrades_upgrade_time: 25:00"),
    ({"unattended_upgrades_random_delay": "soon"}, "unattended_upgrades_random_delay: soon"),
    ({"unattended_upgrades_state": "gone"}, "value of unattended_upgrades_state must be one of: present, absent"),
    ({"unattended_upgrades_package_blacklist": "nginx"}, "blacklist is 'nginx'. Use a list, such as ['nginx']."),
    ({"patching_exclude_packages": ["linux-*"]}, "'linux-*' is no name of a package."),
    ({"unattended_upgrades_max_age": 0}, "max_age is 0. Use a number of days, at least 1."),
]


def test_bad_input_changes_nothing(policed, tmp_path):
    """Each case is the same host under a name of its own, with a variable of its own."""
    hosts = {
        f"bad{number}": {**QUIET, "ansible_host": f"198.18.{NUMBER}.14", **variables}
        for number, (variables, _says) in enumerate(BAD)
    }
    source = tmp_path / "bad.json"
    source.write_text(json.dumps({"all": {"hosts": hosts}}))
    given = ("-i", str(source), "-e", "patching_hosts=bad*")
    files = "cd /etc; find apt systemd needrestart -type f | xargs md5sum"
    before = ask(policed, files)
    done = _ansible("ansible-playbook", "homelab.patching.policy", *given)
    assert done.returncode == 2
    for name, (_variables, says) in zip(hosts, BAD, strict=True):
        assert says in done.stdout.replace("\n", " ")
        recap = next(line for line in done.stdout.splitlines() if line.startswith(f"{name} "))
        assert "changed=0" in recap and "failed=1" in recap
    assert ask(policed, files) == before


# --- packages that are kept back ---


@dataclass
class Told:
    """What playbook, module and unattended-upgrades itself say of one host."""

    host: str
    output: str
    policy: dict
    itself: list


# Of archives that are no security archive; in "lab-daily" and "lab-untrusted" the policy allows them.
CONF, PHASED, REMOVES = "lab-daily-conf", "lab-daily-phased", "lab-daily-removes"
UNTRUSTED, FOREIGN = "lab-daily-untrusted", "lab-daily-foreign"
OTHERS = {
    CONF: ("lab-daily", [f"--conffile=/etc/{CONF}=one"], [f"--conffile=/etc/{CONF}=two"]),
    PHASED: ("lab-daily", [], ["--index-field=Phased-Update-Percentage=0"]),
    REMOVES: ("lab-daily", [], ["--field=Conflicts=needrestart"]),
    UNTRUSTED: ("lab-untrusted", [], []),
    FOREIGN: ("lab", [], []),
}


@pytest.fixture(scope="module")
def kept_back(policed):
    """A host on which each pending package but one is kept back for a reason of its own."""
    archives = ("lab-daily", "lab-untrusted")
    lines = "".join(lab("suite", archive) for archive in archives)
    for name, (archive, old, _new) in OTHERS.items():
        lab("publish", name, "1.0", "--suite", archive, *old)
    ask(
        policed,
        f"{write('/etc/apt/sources.list.d/others.list', lines)}\napt-get update -qq;"
        f" apt-get install -qq -y {' '.join(OTHERS)} >/dev/null 2>&1; apt-get clean;"
        f" echo mine > /etc/{CONF}; apt-mark hold {ONE} >/dev/null;"
        # Whose signature apt is told to leave aside.
        " sed -i '/lab-untrusted/s/ .signed-by/ [trusted=no signed-by/' /etc/apt/sources.list.d/others.list",
    )
    for name, (archive, _old, new) in OTHERS.items():
        lab("publish", name, "2.0", "--suite", archive, *new)
    done = _playbook(
        policed,
        unattended_upgrades_extra_origins=[f"origin=Lab,codename={archive}" for archive in archives],
        unattended_upgrades_package_blacklist=[TWO[:-1]],
        patching_exclude_packages=[BASE],
    )
    return Told(policed, done.stdout, info(policed), would_upgrade(policed))


def test_what_is_kept_back_is_shown_and_green(kept_back):
    assert green(kept_back.policy)
    assert "DOES NOT take its security updates" not in kept_back.output
    assert "failed=0" in next(line for line in kept_back.output.splitlines() if line.startswith(f"{kept_back.host} "))
    shown = [line for line in kept_back.output.splitlines() if line.strip().startswith("and leave ")]
    for name in (*PENDING, *OTHERS):
        assert any(name in line.replace(":", "").replace(",", "").split() for line in shown) is (name != PHASED)
    assert kept_back.itself == [each["name"] for each in kept_back.policy["would_install"]]


def test_a_held_package(kept_back):
    line = next(line for line in kept_back.output.splitlines() if f"leave {ONE} at" in line)
    assert "SECURITY" in line and "held back by its mark" in line
    assert holds(kept_back.policy)[ONE] == "held"


def test_a_blacklisted_package_an_excluded_one_and_what_needs_it(kept_back):
    held = holds(kept_back.policy)
    assert held[TWO] == held[BASE] == "blacklisted"
    # It needs exactly its version.
    assert held[NEEDS] == "dependency"
    assert f"blacklisted by {TWO[:-1]}" in kept_back.output
    assert "blacklisted by lab-daily-3\\.1-base(:|$)" in kept_back.output.replace("\\\\", "\\")


def test_an_origin_that_is_not_allowed(kept_back):
    assert holds(kept_back.policy)[FOREIGN] == "origin"
    assert not any(each["security"] for each in kept_back.policy["would_hold"] if each["name"] in OTHERS)


def test_an_origin_that_is_not_trusted(kept_back):
    assert holds(kept_back.policy)[UNTRUSTED] == "untrusted"


def test_an_update_for_which_another_package_would_have_to_go(kept_back):
    why = {each["name"]: (each["reason"], each["new"], each["why"]) for each in kept_back.policy["would_hold"]}
    assert why[REMOVES] == ("removal", "2.0", "pkg needrestart is marked to be deleted")


def test_a_phased_update_is_installed_although_apt_would_wait(kept_back):
    """apt gives such an update to a part of the hosts first; unattended-upgrades does not know that."""
    assert "phased 0%" in ask(kept_back.host, f"apt-cache policy {PHASED}")
    assert [each["name"] for each in kept_back.policy["would_install"]] == [PHASED]


def test_a_conffile_prompt_before_and_after_the_download(kept_back):
    host, before = kept_back.host, kept_back.policy
    assert f"dpkg may ask about /etc/{CONF}" in kept_back.output
    assert holds(before)[CONF] == "conffile"

    ask(host, f"apt-get -qq -y --download-only install {CONF} >/dev/null")
    after = info(host)
    assert [each["why"] for each in after["would_hold"] if each["name"] == CONF] == [
        f"dpkg would ask about /etc/{CONF}, which was modified here"
    ]

    # The program's own list is no witness here, so it is let run.
    said = ask(host, "unattended-upgrade -v 2>&1", check=False)
    assert f"Package {CONF} has conffile prompt and needs to be upgraded manually" in said
    versions = installed(host)
    assert (versions[CONF], versions[PHASED]) == ("1.0", "2.0")
    told = info(host)
    assert (told["would_install"], holds(told)) == ([], holds(before))
    # Such a run ends with 1, and the daily script writes no stamp; it is no reason to call the updates stalled.
    assert told["last_success"] is not None
    assert told["last_run"]["result"] == "conffile"
    assert f"{CONF} has conffile prompt" in told["warnings"][0]["cause"]

    # A new version whose file is as it was asks nothing.
    lab("publish", CONF, "3.0", "--suite", "lab-daily", "--conffile", f"/etc/{CONF}=one")
    ask(host, f"apt-get update -qq; apt-get -qq -y --download-only install {CONF} >/dev/null")
    assert [each["name"] for each in info(host)["would_install"]] == [CONF]
    ask(host, "unattended-upgrade -v 2>&1")
    assert installed(host)[CONF] == "3.0"
    assert ask(host, f"cat /etc/{CONF}") == "mine"


# --- check mode, absent ---

WHOLE = (
    "cd /; find etc/apt etc/systemd etc/needrestart var/lib/homelab-patching 2>/dev/null | sort;"
    " cat etc/apt/apt.conf.d/* etc/needrestart/conf.d/* etc/systemd/system/*/*.conf 2>/dev/null | md5sum;"
    " dpkg -l unattended-upgrades | tail -1; systemctl is-enabled apt-daily.timer apt-daily-upgrade.timer;"
    " systemctl is-active apt-daily.timer apt-daily-upgrade.timer; systemctl show -p TimersCalendar apt-daily.timer"
)


def test_absent_takes_away_exactly_what_was_put_there(host):
    fresh(host)
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


# Packs the installed unattended-upgrades again, into an archive on the host itself.
PACKED = r"""
mkdir -p /tmp/archive/tree/DEBIAN; cd /tmp/archive
for file in $(dpkg -L unattended-upgrades); do [ -d $file ] || cp -a --parents $file tree; done
for part in conffiles config postinst postrm preinst prerm templates; do
  cp -a /var/lib/dpkg/info/unattended-upgrades.$part tree/DEBIAN/$part 2>/dev/null || true
done
dpkg -s unattended-upgrades | grep -vE '^(Status|Conffiles):|^ /' > tree/DEBIAN/control
dpkg-deb --build tree . >/dev/null && apt-ftparchive packages . > Packages
echo 'deb [trusted=yes] file:/tmp/archive ./' > /etc/apt/sources.list.d/own.list
"""


def test_a_host_without_the_package(host):
    ask(host, f"{PACKED}\napt-get purge -qq -y unattended-upgrades >/dev/null 2>&1")
    policy = info(host)
    assert policy["installed"] is None
    assert [each["kind"] for each in policy["stalled"]] == ["not installed"]
    # In check mode it says what it would do, and does not fail.
    done = _playbook(host, "--check", "--diff")
    assert done.returncode == 0
    assert "unattended-upgrades is not installed" in done.stdout
    assert "+APT::Periodic::Enable" in done.stdout
    assert ask(host, f"test -e {OWN} || echo none") == "none"
    done = _playbook(host)
    assert done.returncode == 0
    assert f"{host}: takes its security updates by itself" in done.stdout
    assert _playbook(host, unattended_upgrades_state="absent").returncode == 0
    assert "no packages found" in ask(host, "dpkg-query -l unattended-upgrades 2>&1", check=False)


def test_a_host_whose_lists_were_never_fetched(host):
    fresh(host)
    policy = info(host)
    assert not policy["security_covered"]
    assert [each["kind"] for each in policy["uncovered"]] == ["no lists"]


def test_debians_own_security_archive(host):
    """The one test of the real one: its Release file, and whatever it has today."""
    lab("reset", host)
    ask(host, "apt-get update -qq", check=False)
    policy = info(host)
    if not policy["would_install"]:
        pytest.skip("the archive has nothing")
    assert policy["security_covered"]
    assert policy["security_archives"]
    assert agrees(host, policy)
