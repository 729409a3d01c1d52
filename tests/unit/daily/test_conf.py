"""apt.conf line by line, and what stops the daily updates: tables of cases."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

import pytest
from ansible_collections.homelab.patching.plugins.module_utils.daily import conf as uu

ORIGINS = "Unattended-Upgrade::Origins-Pattern"
OWN = uu.OWN_FILE


def read(*files: tuple[str, str]) -> list:
    """The settings of several files, given as (path, text)."""
    return [setting for path, text in files for setting in uu.parse_conf(text, path)]


def brief(text: str) -> list:
    return [(s["op"], s["key"], s["value"], s["line"]) for s in uu.parse_conf(text, "f")]


CASES = [
    ('A::B "c";', [("set", "A::B", "c", 1)]),
    ("A::B c;", [("set", "A::B", "c", 1)]),
    ('\n// no\nA { B { C "d"; };\n  E "f"; };', [("set", "A::B::C", "d", 3), ("set", "A::E", "f", 4)]),
    ('A::L { "one";\n "two"; };', [("append", "A::L", "one", 1), ("append", "A::L", "two", 2)]),
    # The `;` before a closing brace may be missing, one between two elements may not.
    ('A::L { "one" };', [("append", "A::L", "one", 1)]),
    ('A::L {\n "one"\n "two";\n "three"; };', [("set", "A::L::one", "two", 2), ("append", "A::L", "three", 4)]),
    ('A::L:: "x";', [("append", "A::L", "x", 1)]),
    ("#clear A::L;", [("clear", "A::L", "", 1)]),
    ('# A::B "c";\n#clear A;\n', [("clear", "A", "", 2)]),
    ('A::B "http://x"; // A::C "d";', [("set", "A::B", "http://x", 1)]),
    ('/* A::B "c";\n A::C "d"; */ A::D "e";', [("set", "A::D", "e", 2)]),
    ('A::B "{;}#clear//";', [("set", "A::B", "{;}#clear//", 1)]),
    ('A::B\n  "c"\n;', [("set", "A::B", "c", 1)]),
    ("", []),
    ("}; }", []),
]


@pytest.mark.parametrize(("text", "found"), CASES)
def test_a_file_is_read(text, found):
    assert brief(text) == found


@pytest.mark.skipif(not shutil.which("apt-config"), reason="there is no apt on this machine to compare with")
@pytest.mark.parametrize("text", [text for text, _found in CASES])
def test_apt_itself_reads_the_same(tmp_path, text):
    """What is left of the settings in the end is what `apt-config dump` says of the same file."""
    text = re.sub(r"\bA(?=::|;| )", "Lab-A", text)
    file = tmp_path / "conf"
    file.write_text(text)
    env = {**os.environ, "APT_CONFIG": str(file)}
    dump = subprocess.run(["apt-config", "dump"], env=env, capture_output=True, text=True, check=True).stdout
    options = {key: value for key, value in uu.parse_dump(dump).items() if key.startswith("Lab-A")}
    settings = uu.parse_conf(text, "f")
    for key, value in options.items():
        if isinstance(value, list):
            assert [each["value"] for each in uu.elements_of(settings, key)] == value
        elif value:
            assert uu.setting_of(settings, key)["value"] == value
    told = {s["key"] for s in settings if s["op"] != "clear"}
    assert told <= set(options)


def test_files_that_apt_reads_in_its_order():
    names = ["99-b", "20auto-upgrades", "a.conf", "52x.dpkg-dist", "a.b.conf", "x~", ".hidden", "with space", "B_c"]
    assert uu.conf_files(names) == ["20auto-upgrades", "99-b", "B_c", "a.b.conf", "a.conf"]


def test_dump():
    options = uu.parse_dump('A "";\nA::B "1";\nA::L "";\nA::L:: "x";\nA::L:: "y \\"";\nA::L::one "two";\nrubbish\n')
    assert uu.option(options, "a::b") == "1"
    assert uu.option(options, "A::C", "default") == "default"
    assert uu.elements(options, "a::l") == ["x", 'y \\"']
    assert options["A::L::one"] == "two"


@pytest.mark.parametrize(
    ("value", "default", "result"),
    [("true", False, True), ("0", True, False), ("", True, True), ("maybe", False, False), ("On", False, True)],
)
def test_truth(value, default, result):
    assert uu.is_true(value, default) is result


def test_the_last_setting_wins_and_a_clear_takes_away():
    settings = read(("10", 'A::B "1";'), ("20", 'a::b "2";'), ("30", "#clear A;"))
    assert uu.setting_of(settings[:2], "A::B")["file"] == "20"
    assert uu.setting_of(settings, "A::B") is None
    settings = read(("10", f'{ORIGINS} {{ "a"; }};'), ("20", f'#clear {ORIGINS};\n{ORIGINS}:: "b";'))
    assert [each["value"] for each in uu.elements_of(settings, ORIGINS)] == ["b"]


# --- why the origins do not cover ---

ARCHIVE = {"name": "Debian:stable-security/main", "allowed": False}


def test_covered():
    assert uu.uncovered([{**ARCHIVE, "allowed": True}], [], ["x"], "Debian") == []


def test_one_of_two_security_archives_is_not_enough():
    esm = {"name": "UbuntuESM:noble-infra-security/main", "allowed": False}
    (problem,) = uu.uncovered([{**ARCHIVE, "allowed": True}, esm], [], ["x"], "Ubuntu")
    assert "UbuntuESM:noble-infra-security/main" in problem["message"]
    assert "Debian:stable-security" not in problem["message"]


def test_no_security_archive_among_the_sources():
    (problem,) = uu.uncovered([], [], ["x"], "Debian")
    assert "none of the package sources" in problem["message"]


def test_the_missing_semicolon_is_named_with_its_line():
    settings = read((OWN, f'{ORIGINS}:: "good";'), ("/e/99", f'#clear {ORIGINS};\n{ORIGINS} {{\n "one"\n "two"; }};'))
    (problem,) = uu.uncovered([ARCHIVE], settings, ["two"], "Debian")
    assert '/e/99:3 "one" is lost: a ; is missing after it in /e/99:3' in problem["message"]
    assert "in force: two" in problem["message"]


def test_the_file_that_clears_is_named_with_its_line():
    settings = read((OWN, f'{ORIGINS}:: "good";'), ("/e/99", f"\n#clear {ORIGINS};"))
    (problem,) = uu.uncovered([ARCHIVE], settings, [], "Debian")
    assert f'{OWN}:1 "good" is lost: /e/99:2 clears {ORIGINS}' in problem["message"]
    assert "none is in force" in problem["message"]


# --- what switches it off ---


@pytest.mark.parametrize(
    ("dump", "files", "said"),
    [
        ({}, [], "is not set, and apt's default"),
        (
            {"APT::Periodic::Enable": "0"},
            [("/e/10", 'APT::Periodic::Enable "1";'), ("/e/99", '\nAPT::Periodic { enable "0"; };')],
            'APT::Periodic::Enable is "0" by /e/99:2, which overrides "1" in /e/10:1',
        ),
        ({"apt::periodic::unattended-upgrade": "0"}, [("/e/9", "apt::periodic::unattended-upgrade 0;")], "by /e/9:1"),
    ],
)
def test_what_switches_it_off(dump, files, said):
    good = {"APT::Periodic::Update-Package-Lists": "1", "APT::Periodic::Unattended-Upgrade": "always"}
    options = dump if not files else {**{k: v for k, v in good.items() if k.lower() not in dump}, **dump}
    problems = uu.disabled(options, read(*files))
    assert said in problems[0]["message"]
    assert uu.disabled(good, []) == []


UNIT = {"load": "loaded", "active": "active", "enabled": "enabled"}


@pytest.mark.parametrize(
    ("name", "change", "cause"),
    [
        ("apt-daily.timer", {}, None),
        ("apt-daily.service", {"active": "inactive", "enabled": "static"}, None),
        ("apt-daily.timer", {"load": "masked", "active": "inactive"}, "masked"),
        ("apt-daily.service", {"load": "masked", "active": "inactive"}, "masked"),
        ("apt-daily.timer", {"load": "not-found", "active": "inactive"}, "missing"),
        ("apt-daily.timer", {"active": "inactive"}, "timer"),
        ("apt-daily.timer", {"enabled": "disabled"}, "timer"),
    ],
)
def test_units(name, change, cause):
    problems = uu.unit_problems({name: {**UNIT, **change}})
    assert [each["cause"] for each in problems] == ([cause] if cause else [])


# --- overridden ---


def test_nothing_is_overridden_by_files_that_sort_before():
    own = f'A::B "1";\n#clear {ORIGINS};\n{ORIGINS}:: "x";\n'
    assert uu.overridden(read(("/e/50", f'A::B "2"; {ORIGINS} {{ "y"; }};'), (OWN, own))) == []
    assert uu.overridden(read(("/e/50", 'A::B "2";'))) == []


@pytest.mark.parametrize(
    ("later", "option", "wanted", "effective"),
    [
        ('A::B "2";', "A::B", "1", "2"),
        ("#clear A;", "A::B", "1", ""),
        (f'{ORIGINS}:: "y";', ORIGINS, "", "y"),
        (f"#clear {ORIGINS};", ORIGINS, "x", ""),
        ('A::B "1";', None, None, None),
        ('A::C "1";', None, None, None),
    ],
)
def test_what_a_later_file_changes(later, option, wanted, effective):
    own = f'A::B "1";\n#clear {ORIGINS};\n{ORIGINS}:: "x";\n'
    found = uu.overridden(read((OWN, own), ("/e/99", f"\n{later}")))
    if option is None:
        assert found == []
    else:
        (told,) = found
        assert (told["option"], told["wanted"], told["effective"]) == (option, wanted, effective)
        assert told["by"] == "/e/99:2"


# --- the log, and how old all is ---

LOG = """\
2026-11-20 06:10:01,100 INFO Starting unattended upgrades script
2026-11-20 06:10:02,100 INFO Allowed origins are: x
{rest}
"""


@pytest.mark.parametrize(
    ("rest", "result", "said"),
    [
        ("2026-11-20 06:11:00,1 INFO All upgrades installed", "ok", ""),
        ("2026-11-20 06:11:00,1 INFO No packages found that can be upgraded unattended and no pending", "ok", ""),
        ("2026-11-20 06:11:00,1 WARNING SIGTERM received, will stop", "interrupted", "SIGTERM received, will stop"),
        ("2026-11-20 06:11:00,1 ERROR Cache has broken packages, exiting", "failed", "Cache has broken"),
        ("2026-11-20 06:11:00,1 WARNING Package x has conffile prompt and needs", "conffile", "Package x has"),
        (
            "2026-11-20 06:11:00,1 WARNING Package x has conffile prompt\n"
            "2026-11-20 06:11:01,1 INFO No packages found that can be upgraded unattended",
            "conffile",
            "Package x has",
        ),
        ("Traceback (most recent call last):", "failed", ""),
    ],
)
def test_the_last_run_of_the_log(rest, result, said):
    first = (
        "2026-11-19 06:00:00,1 INFO Starting unattended upgrades script\n2026-11-19 06:00:01,1 ERROR dpkg returned\n"
    )
    run = uu.last_run(first + LOG.format(rest=rest))
    assert (run["began"], run["result"]) == ("2026-11-20 06:10:01", result)
    assert run["said"].startswith(said)
    assert bool(run["said"]) == bool(said)


def test_a_dry_run_is_none():
    dry = (
        "2026-11-21 09:00:00,1 INFO Starting unattended upgrades script\n"
        "2026-11-21 09:00:01,1 INFO Option --dry-run given, *not* performing real actions\n"
        "2026-11-21 09:00:02,1 INFO All upgrades installed\n"
    )
    real = LOG.format(rest="2026-11-20 06:11:00,1 ERROR dpkg returned")
    assert uu.last_run(dry) is None
    assert uu.last_run(f"{real}\n{dry}") == uu.last_run(real)
    assert uu.last_run(f"{dry}{real}") == uu.last_run(real)
    assert uu.last_run(real)["result"] == "failed"


def test_a_log_without_a_run():
    assert uu.last_run("") is None
    assert uu.last_run("2026-11-20 06:10:01,100 INFO Checking if system is running on battery is skipped") is None


DAY = 86400


@pytest.mark.parametrize(
    ("age", "since", "powered", "stale"),
    [
        (DAY, 100 * DAY, 50 * DAY, False),
        (8 * DAY, 100 * DAY, 50 * DAY, True),
        # It was off: the missed run starts soon after boot.
        (8 * DAY, 100 * DAY, DAY / 2, False),
        # The policy came yesterday, and nothing has run yet.
        (None, DAY, 50 * DAY, False),
        (None, 8 * DAY, 50 * DAY, True),
    ],
)
def test_stale(age, since, powered, stale):
    assert bool(uu.stale(age, since, powered, 7 * DAY, None)) is stale


def test_stale_says_how_the_last_run_ended():
    run = {"began": "2026-11-20 06:10:01", "result": "interrupted", "said": "SIGTERM received, will stop"}
    (problem,) = uu.stale(9 * DAY, 9 * DAY, 9 * DAY, 7 * DAY, run)
    assert "9 days ago" in problem["message"]
    assert "SIGTERM received" in problem["message"]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("pkg x is marked to be deleted", "removal"),
        ("pkg x is not from a trusted origin", "untrusted"),
        ("pkg x is not in an allowed origin", "dependency"),
        ("there are broken packages in the cache", "dependency"),
        (None, "dependency"),
    ],
)
def test_reasons(text, key):
    assert uu.reason(text)[0] == key
    assert uu.reason(text)[1]
