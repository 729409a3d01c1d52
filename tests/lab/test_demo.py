"""What the README's first command does to the machines, asked from outside."""

import json
import re
import subprocess

import pytest

from tests.reports import check_report
from tests.support import CHECKOUT, ask, lab, pending, state

HOSTS = ("web1", "db1", "app1")


def demo(*words: str) -> str:
    done = subprocess.run(
        ["make", "demo", *words], cwd=CHECKOUT, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    print(done.stdout, done.stderr)
    assert done.returncode == 0
    return done.stdout


@pytest.fixture(scope="module", autouse=True)
def only_these():
    """Machines that other tests have asked for are no part of the demo."""
    lab("up", timeout=1800)
    others = [host["name"] for host in json.loads(lab("status", "--json"))["hosts"] if host["name"] not in HOSTS]
    if others:
        lab("remove", *others)


@pytest.fixture(scope="module")
def first():
    """The machines after `make demo FRESH=1`."""
    return demo("FRESH=1")


def test_the_plan_is_shown_before_anything_is_touched(first):
    assert first.index("Plan of run") < first.index("Claim the host") < first.index("Report of run")


@pytest.mark.usefixtures("first")
@pytest.mark.parametrize("host", HOSTS)
def test_every_machine_is_patched(host):
    assert pending(host) == []
    assert not state(host).wants_reboot
    assert state(host).leftovers == []


@pytest.mark.parametrize("host", HOSTS)
def test_the_report_says_what_the_machine_says(first, host):
    run = re.search(r"Report of run (\S+):", first)[1]
    report = json.loads((CHECKOUT / "reports" / f"{run}.json").read_text())
    check_report(report)
    assert "The report is kept, but" not in first
    entry = report["hosts"][host]
    installed = set(re.findall(r" status installed (\S+):\S+ (\S+)", ask(host, "cat /var/log/dpkg.log")))
    closed = [item for item in entry["security"] if item["closed"]]
    assert closed and {(item["name"], item["new"]) for item in closed} <= installed
    assert entry["pending"] == []
    # The lab's own update is there on every day; of Debian's, those that there are today.
    fix = next(item for item in closed if item["source"] == "lab-fix")
    assert fix["cves"] == ["CVE-2026-0001"]
    known = [item for item in closed if item["cves"] is not None and item is not fix]
    for item in [fix, *known[:3]]:
        # The package itself, without any of our code: its changelog, or that of another package of its source.
        text = ask(
            host,
            "cd /var/cache/apt/archives; for d in *.deb; do dpkg-deb -f $d Package Source"
            f" | grep -qE '^(Package|Source): {re.escape(item['source'])}( |$)' && dpkg-deb --fsys-tarfile $d"
            " | tar -xO --wildcards '*/changelog*.gz' 2>/dev/null | zcat; done; true",
        )
        # From the heading of the new version to that of the old one, where those are its source's.
        _before, new, rest = text.partition(f"{item['source']} ({item['new']})")
        between, old, _rest = rest.partition(f"{item['source']} ({item['old']})")
        if new and old:
            assert item["cves"] == sorted({cve.upper() for cve in re.findall(r"\bCVE-\d+-\d+", between, re.IGNORECASE)})
        assert all(cve in text for cve in item["cves"])
        assert item["fixed"] and item["since"] <= item["fixed"] and item["days"] >= 0


@pytest.mark.usefixtures("first")
def test_again_it_changes_nothing_and_reboots_nothing():
    before = {host: state(host) for host in HOSTS}
    again = demo()
    assert "3 nothing to do; all is well" in again
    assert {host: state(host) for host in HOSTS} == before
