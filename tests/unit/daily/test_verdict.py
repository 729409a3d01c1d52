"""What stops a host's daily updates."""

from __future__ import annotations

import pytest
from ansible_collections.homelab.patching.plugins.module_utils.daily import verdict

from .confs import ORIGINS, OWN, read

ARCHIVE = {"name": "Debian:stable-security/main", "allowed": False}


def test_covered():
    assert verdict.uncovered([{**ARCHIVE, "allowed": True}], [], ["x"], "Debian") == []


def test_one_of_two_security_archives_is_not_enough():
    esm = {"name": "UbuntuESM:noble-infra-security/main", "allowed": False}
    (problem,) = verdict.uncovered([{**ARCHIVE, "allowed": True}, esm], [], ["x"], "Ubuntu")
    assert "UbuntuESM:noble-infra-security/main" in problem["cause"]
    assert "Debian:stable-security" not in problem["cause"]


def test_no_security_archive_among_the_sources():
    (problem,) = verdict.uncovered([], [], ["x"], "Debian")
    assert "none of the package sources" in problem["cause"]


def test_the_missing_semicolon_is_named_with_its_line():
    settings = read((OWN, f'{ORIGINS}:: "good";'), ("/e/99", f'#clear {ORIGINS};\n{ORIGINS} {{\n "one"\n "two"; }};'))
    (problem,) = verdict.uncovered([ARCHIVE], settings, ["two"], "Debian")
    assert '/e/99:3 "one" is lost: a ; is missing after it in /e/99:3' in problem["cause"]
    assert "in force: two" in problem["cause"]


def test_the_file_that_clears_is_named_with_its_line():
    settings = read((OWN, f'{ORIGINS}:: "good";'), ("/e/99", f"\n#clear {ORIGINS};"))
    (problem,) = verdict.uncovered([ARCHIVE], settings, [], "Debian")
    assert f'{OWN}:1 "good" is lost: /e/99:2 clears {ORIGINS}' in problem["cause"]
    assert "none is in force" in problem["cause"]


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
    problems = verdict.disabled(options, read(*files))
    assert said in problems[0]["cause"]
    assert verdict.disabled(good, []) == []


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
    problems = verdict.unit_problems({name: {**UNIT, **change}})
    assert [each["kind"] for each in problems] == ([cause] if cause else [])


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
    run = verdict.last_run(first + LOG.format(rest=rest))
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
    assert verdict.last_run(dry) is None
    assert verdict.last_run(f"{real}\n{dry}") == verdict.last_run(real)
    assert verdict.last_run(f"{dry}{real}") == verdict.last_run(real)
    assert verdict.last_run(real)["result"] == "failed"


def test_a_log_without_a_run():
    assert verdict.last_run("") is None
    assert verdict.last_run("2026-11-20 06:10:01,100 INFO Checking if system is running on battery is skipped") is None


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
    assert bool(verdict.stale(age, since, powered, 7 * DAY, None)) is stale


def test_stale_says_how_the_last_run_ended():
    run = {"began": "2026-11-20 06:10:01", "result": "interrupted", "said": "SIGTERM received, will stop"}
    (problem,) = verdict.stale(9 * DAY, 9 * DAY, 9 * DAY, 7 * DAY, run)
    assert "9 days ago" in problem["cause"]
    assert "SIGTERM received" in problem["cause"]


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
    assert verdict.reason(text)[0] == key
    assert verdict.reason(text)[1]


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("System is on battery power, stopping", "ac power"),
        ("Something new, stopping", "stopped"),
        ("System is on metered connection, stopping", "metered"),
    ],
)
def test_why_unattended_upgrades_ends_at_once(line, kind):
    (problem,) = verdict.stopped_by_itself([line])
    assert problem["kind"] == kind and line in problem["cause"]
