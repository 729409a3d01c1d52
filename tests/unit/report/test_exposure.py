"""Security updates that a run closed or left open, and since when a host could have had them."""

import json
from datetime import date

import pytest
from ansible_collections.homelab.patching.plugins.module_utils.core.change import change
from ansible_collections.homelab.patching.plugins.module_utils.report import exposure

TODAY = date(2026, 11, 23)


def pending(name, security="2", held_by=""):
    return change(name, "1", "2", security, held_by)


@pytest.mark.parametrize(
    ("fixed", "first", "since", "days"),
    [
        ("2026-11-01", None, "2026-11-01", 22),
        # It was seen before the fix that is pending now was made: an earlier one was open then.
        ("2026-11-01", "2026-10-23", "2026-10-23", 31),
        ("2026-10-01", "2026-10-23", "2026-10-01", 53),
        (None, "2026-10-23", "2026-10-23", 31),
        (None, None, "2026-11-23", 0),
        ("2026-12-24", None, "2026-12-24", 0),  # A clock is wrong somewhere.
    ],
)
def test_since_when(fixed, first, since, days):
    fixes = {"ssl": {"source": "openssl", "cves": ["CVE-2026-0001"], "fixed": fixed}}
    seen = {"ssl": first} if first else {}
    (found,) = exposure.security([pending("ssl"), pending("vim", security=None)], [], fixes, seen, TODAY)
    assert (found["source"], found["since"], found["days"], found["closed"]) == ("openssl", since, days, False)


def test_what_the_run_installed_is_closed_and_what_nobody_read_is_unknown():
    changed = [change("ssl:i386", "1", "2.1"), change("curl", "1", None)]
    found = exposure.security([pending("ssl:i386"), pending("curl")], changed, None, {}, TODAY)
    assert [(item["closed"], item["new"], item["cves"]) for item in found] == [(True, "2.1", None), (False, "2", None)]
    assert found[0]["source"] == "ssl"


def test_a_package_of_another_architecture_is_another_one():
    changed = [change("libc6", "1", "2"), change("libc6:i386", "1", "2")]
    found = exposure.security([pending("libc6"), pending("libc6:i386"), pending("libc6:arm64")], changed, {}, {}, TODAY)
    assert [item["closed"] for item in found] == [True, True, False]


def test_what_is_held_is_left_to_who_holds_it():
    assert exposure.security([pending("ssl", held_by="held")], [], None, {}, TODAY) == []


def report(open_ones, closed=(), assessed=True, host="web"):
    security = [
        {**change(name, "1", "2", security="2"), "since": since, "closed": closed_now}
        for items, closed_now in ((open_ones, False), (closed, True))
        for name, since in items
    ]
    hosts = {host: {"security": security if assessed else None}}
    return {"run": "r", "ended": 1.0, "ok": True, "counts": {}, "hosts": hosts}


def test_the_history_tells_what_was_open_when_somebody_last_looked():
    lines = [
        exposure.line(report([("ssl", "2026-09-01"), ("curl", "2026-09-02")])),
        exposure.line(report([("curl", "2026-09-02")], closed=[("ssl", "2026-09-01")])),
        exposure.line(report([("vim", "2026-09-03")], host="db")),
        # Not asked: what was open before is still.
        exposure.line(report([], assessed=False)),
    ]
    assert all("\n" not in line for line in lines)
    assert exposure.sightings(lines) == {"web": {"curl": "2026-09-02"}, "db": {"vim": "2026-09-03"}}


@pytest.mark.parametrize(
    "line", ["", "{", "[]", "7", '{"open": 7}', '{"open": {"web": 7}}', '{"open": {"web": {"a": "soon"}}}', "\x00"]
)
def test_a_line_that_is_none_of_ours_is_passed_over(line):
    good = exposure.line(report([("ssl", "2026-09-01")]))
    assert exposure.sightings([good, line]) == {"web": {"ssl": "2026-09-01"}}
    assert json.loads(good)["run"] == "r"
