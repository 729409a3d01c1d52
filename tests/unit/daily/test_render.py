"""Options as a file of apt's, and a host's answer as sentences."""

from __future__ import annotations

import re

import pytest
from ansible_collections.homelab.patching.plugins.module_utils.core.problem import PatchingError
from ansible_collections.homelab.patching.plugins.module_utils.daily import conf, render


def said(options):
    """The file without its comments."""
    return [line for line in render.render(options).splitlines() if not line.startswith("//")]


@pytest.mark.parametrize(
    ("options", "lines"),
    [
        ({"Mail": "root"}, ['Unattended-Upgrade::Mail "root";']),
        ({"MinimalSteps": False}, ['Unattended-Upgrade::MinimalSteps "false";']),
        ({"Acquire::http::Dl-Limit": 70}, ['Acquire::http::Dl-Limit "70";']),
        ({"Mail": ""}, []),
        ({"Mail": None}, []),
        ({"Update-Days": []}, ["#clear Unattended-Upgrade::Update-Days;"]),
        (
            {"Package-Blacklist": ["a", "b$"]},
            [
                "#clear Unattended-Upgrade::Package-Blacklist;",
                'Unattended-Upgrade::Package-Blacklist:: "a";',
                'Unattended-Upgrade::Package-Blacklist:: "b$";',
            ],
        ),
    ],
)
def test_the_file(options, lines):
    assert said(options) == lines


def test_what_is_written_is_what_is_read():
    options = {"A::B": "x // y", "A::L": ["origin=Debian,codename=${distro_codename}", r"lib\.so+$", "#clear"]}
    settings = conf.parse_conf(render.render(options), "f")
    assert conf.setting_of(settings, "A::B")["value"] == "x // y"
    assert [each["value"] for each in conf.elements_of(settings, "A::L")] == options["A::L"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"Mail": 'a"b'}, "apt.conf has no way to write that"),
        ({"Mail": "a\nb"}, "apt.conf has no way to write that"),
        ({"Package-Blacklist": [["a"]]}, "apt.conf has no way to write that"),
        ({"Package-Blacklist": ["a", " "]}, "an empty element"),
        ({"Package-Whitelist": "openssl"}, "Package-Whitelist is 'openssl'. Use a list, such as ['openssl']."),
        ({"Unattended-Upgrade::Update-Days": "1"}, "Use a list, such as ['1']."),
        ({"A b": "c"}, "is no name of an option"),
        ({"A;B": "c"}, "is no name of an option"),
        ({"Dirs": {"Plugins": "x"}}, "by its whole name, such as Unattended-Upgrade::Dirs::Name"),
    ],
)
def test_what_apt_could_not_read_is_refused(options, says):
    (problem,) = render.problems(options)
    assert says in problem
    with pytest.raises(PatchingError):
        render.render(options)


POLICY = {
    "uncovered": [],
    "stalled": [],
    "warnings": [],
    "overridden": [],
    "timers": {"apt-daily-upgrade": {"next": "2026-11-24T06:00:00Z"}, "held": None},
    "last_success": None,
    "would_install": [{"name": "openssl"}],
    "would_hold": [
        {"name": name, "old": "1", "new": "2", "security": False, "reason": "origin", "why": "not allowed: o"}
        for name in ("a", "b")
    ]
    + [{"name": "x", "old": "1", "new": "2", "security": True, "reason": "blacklisted", "why": "blacklisted by x"}],
}
UNMASK = {"where": "host", "host": "", "argv": ["systemctl", "unmask", "apt-daily.timer"]}
MASKED = {"kind": "masked", "cause": "apt-daily.timer is masked", "remedy": "", "commands": [UNMASK]}


def test_lines_of_a_good_host():
    lines = render.lines(POLICY, "web1")
    assert lines[0] == "web1: takes its security updates by itself"
    assert "  the next run would install 1: openssl" in lines
    assert lines[-2:] == [
        "  and leave x at 1 (SECURITY, 2): blacklisted by x",
        "  and leave 2, not allowed: o: a, b",
    ]


def test_lines_of_a_bad_host():
    policy = {**POLICY, "stalled": [MASKED]}
    lines = render.lines(policy, "web1")
    assert lines[0] == "web1: DOES NOT take its security updates by itself"
    assert "  stops them: apt-daily.timer is masked (on web1: systemctl unmask apt-daily.timer)" in lines
    assert render.failure(policy).endswith("apt-daily.timer is masked (on the host: systemctl unmask apt-daily.timer)")
    assert render.lines(policy, "web1", before=True)[0].endswith("as long as the changes above are not made")


def test_lines_say_who_holds_the_updates_off_and_what_is_overridden():
    overridden = {"option": "A::B", "wanted": "1", "at": "/e/52:3", "effective": "2", "by": "/e/99:1"}
    held = {"run": "r1", "until": "2026-11-23T10:00:00Z"}
    policy = {**POLICY, "overridden": [overridden], "timers": {**POLICY["timers"], "held": held}}
    lines = render.lines(policy, "web1")
    assert '  overridden: A::B should be "1" by /e/52:3, and is "2" by /e/99:1' in lines
    assert "  held off until 2026-11-23T10:00:00Z by run r1" in lines


def test_a_host_without_the_package_has_lines():
    policy = {**POLICY, "timers": {}, "would_install": [], "would_hold": [], "stalled": [MASKED]}
    assert render.lines(policy, "web1")[-1] == "  the next run would install 0"


@pytest.mark.parametrize(
    ("name", "matches", "others"),
    [
        ("docker-ce", ["docker-ce", "docker-ce:i386"], ["docker-ce-cli", "docker", "xdocker-ce"]),
        ("libstdc++6", ["libstdc++6"], ["libstdcc6", "libstdc++6-dev"]),
        ("python3.11", ["python3.11"], ["python3x11", "python3.11-minimal"]),
    ],
)
def test_an_excluded_package_is_matched_and_no_other(name, matches, others):
    (pattern,) = render.package_patterns([name])
    assert [each for each in [*matches, *others] if re.match(pattern, each)] == matches
    assert render.problems({"Package-Blacklist": [pattern]}) == []


@pytest.mark.parametrize("name", ["linux-*", "libc6:i386", "", "^x$"])
def test_what_is_no_name_of_a_package_is_refused(name):
    (told,) = render.package_problems(["docker-ce", name])
    assert told.startswith(f"{name!r} is no name of a package.")
