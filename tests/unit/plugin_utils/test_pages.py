"""What the page and the index of the runs say, from reports of this schema and of the earlier ones."""

import re
from datetime import timezone
from html.parser import HTMLParser

import pytest
from ansible_collections.homelab.patching.plugins.plugin_utils import pages

from tests import reports
from tests.reports import check_report

ZONE = timezone.utc


class Read(HTMLParser):
    """The words of a page, and its elements with their attributes."""

    def __init__(self, text):
        super().__init__()
        self.text, self.elements, self.open = [], [], []
        self.feed(text)
        self.words = re.sub(r"\s+", " ", " ".join(self.text))

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "br", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.text.append(data)


def read(report):
    page = Read(pages.page(report, ZONE))
    assert page.open == []
    return page


def between(page, first, last):
    """The words from a heading to another."""
    return page.words.partition(first)[2].partition(last)[0]


def test_a_good_run_says_so_first():
    page = read(reports.good())
    assert page.words.split("All runs")[1].startswith(" Mon 23 Nov 2026, 02:00 UTC took 16 min 46 s 2026")
    assert "✓ All is well 8 hosts patched, none of 10 in trouble. 1 host upgraded" in page.words
    assert "Then run again" not in page.words


def test_a_stopped_run_names_the_host_the_cause_and_the_commands():
    page = read(reports.stopped())
    assert "✕ Stopped: db1 Wave 2 of 5 had a failed host: db1. 3 hosts were not attempted." in page.words
    todo = between(page, "What to do next", "The fleet")
    assert todo.split("refused: mail1")[0].endswith("on db1 dpkg --audit apt-get --fix-broken install ⊘ ")
    assert "not attempted: 3 hosts k3s-agent1, k3s-agent2, k3s-server1" in todo
    # What can wait comes after what cannot.
    assert "homelab.patching.patch ↻ reboot pending: nas1" in todo
    assert "■ Stopped here: wave 2 of 5 had a failed host: db1 Never opened: waves 3 to 5 of 5." in page.words
    assert "E: Sub-process /usr/bin/dpkg returned an error code (1)" in page.words


def test_figures_are_counted_from_the_report():
    assert dict((what, number) for number, what in pages._figures(reports.good(), SECURITY)) == {
        **{"hosts": 10, "packages changed": 80, "rebooted": 7, "CVEs closed": 47, "CVEs open": 2},
        "days the oldest is open": 12,
    }


SECURITY = [item for host in reports.good()["hosts"].values() for item in host["security"] or []]


def test_an_update_of_several_hosts_is_one_row_with_all_of_them():
    page = read(reports.stopped())
    still = between(page, "Security updates still open", "Security updates closed")
    assert re.search(r"sudo 1\.9\.16p2-3\+deb13u1 would fix it ?CVE-2026-32462 ?db1, k3s-agent1", still)
    assert "33 days since 2026-10-21" in still
    # What could not be asked is not known, and does not count as nothing.
    assert "Not known of mail1, lab1." in still


def test_what_is_installed_and_waits_for_a_reboot_is_said():
    page = read(reports.good())
    assert "On nas1 in force only after its reboot." in between(page, "closed by this run", "Patch or rebuild")
    assert "in force only" not in read(reports.fleet(3)).words


def test_cves_that_are_unknown_are_not_none():
    rows = pages._cves([{**pages._change(item), "host": "a"} for item in reports.security(closed=True)])
    unknown = next(row for row in rows["rows"] if row["source"] == "tzdata")
    assert (unknown["cves"], unknown["days"], rows["unknown"], rows["cves"]) == (None, 0, 1, 47)
    named = [{**each, "cves": []} for each in rows["rows"] if each["cves"] is None]
    assert pages._cves(named)["unknown"] == 0
    page = read(reports.good())
    assert "CVEs unknown" in between(page, "closed by this run", "Patch or rebuild")


def test_the_hosts_of_a_big_fleet_lie_in_closed_waves_but_those_with_trouble():
    made = reports.fleet(200)
    page = read(made)
    waves = [attrs for tag, attrs in page.elements if tag == "details" and attrs.get("class") == "wave"]
    assert len(waves) == 20 and [number for number, each in enumerate(waves) if "open" in each] == [10]
    assert sum(attrs.get("class") == "host" for _tag, attrs in page.elements) == 200
    assert "! Not well: host00100" in page.words


@pytest.mark.parametrize("made", [reports.good(), reports.stopped()], ids=["good", "stopped"])
def test_a_report_of_the_first_schema_says_what_it_knows(made):
    page = read(reports.early(made))
    assert page.words.count("Not known: this report does not say.") == 2
    assert "CVEs closed" not in page.words and "Patch or rebuild" not in page.words
    assert "This report says how long each step took, and not when." in page.words
    assert "db1" in page.words


@pytest.mark.parametrize("made", [reports.good(), reports.stopped()], ids=["good", "stopped"])
def test_a_report_of_the_second_schema_says_the_same(made):
    assert "postgresql-17: held" in read(reports.good()).words
    wordy = {name: {**host, "problems": None} for name, host in made["hosts"].items()}
    assert pages.page(reports.second(made), ZONE) == pages.page({**made, "hosts": wordy}, ZONE)
    assert pages.entry(reports.RUN, reports.second(made), True) == pages.entry(reports.RUN, made, True)


def test_a_run_without_hosts_has_a_page():
    assert "The run had no hosts." in read(reports.report({}, [], 3)).words


def test_what_comes_from_hosts_stays_text():
    plain = {(tag, *sorted(attrs)) for tag, attrs in read(reports.stopped()).elements}
    hostile = read(reports.hostile())
    assert {(tag, *sorted(attrs)) for tag, attrs in hostile.elements} - plain == set()
    assert sum(tag == "script" for tag, _attrs in hostile.elements) == 1
    assert reports.HOSTILE in hostile.words
    entry = pages.entry(reports.HOSTILE, reports.hostile(), True)
    listed = Read(pages.index([entry, pages.unreadable(reports.HOSTILE, "<b>")], ZONE))
    assert not {"img", "b"} & {tag for tag, _attrs in listed.elements}


def test_nothing_is_loaded_from_elsewhere():
    for page in (read(reports.hostile()), Read(pages.index([pages.entry(reports.RUN, reports.good(), True)]))):
        sources = [attrs.get("src") or attrs.get("href") for _tag, attrs in page.elements]
        assert {each for each in sources if each and not each.startswith("#")} <= {
            *("data:,", "index.html", f"{reports.RUN}.json", f"{reports.RUN}.html")
        }
        [policy] = [attrs["content"] for tag, attrs in page.elements if tag == "meta" and "http-equiv" in attrs]
        assert policy.startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-")


def test_hosts_with_the_same_to_do_share_a_card_and_each_has_its_commands():
    hosts = {}
    for name in ("a", "b"):
        there = reports.on_host("dpkg", "--audit", host=name), reports.on_host("shutdown", "-c", host="z")
        told = reports.troubled("look", *there)
        hosts[name] = reports.host("failed", reason="x", **told)
    told = reports.troubled("look", reports.on_host("dpkg", "--audit", host="c"), reports.playbook("patch", x="c d"))
    made = reports.report({**hosts, "c": reports.host("failed", reason="x", **told)}, [["a", "b", "c"]], 60)
    todo = between(read(made), "What to do next", "Then run again")
    assert "failed: 2 hosts a, b x Look on each of them dpkg --audit on z shutdown -c" in todo
    assert (
        "failed: c x Look on c dpkg --audit on the control node "
        "ansible-playbook -i inventory/ homelab.patching.patch -e 'x=c d'" in todo
    )


def test_the_index_lists_all_that_is_there():
    run = "20260901T030000Z-0001"
    early = pages.entry(run, {**reports.early(reports.stopped()), "run": run}, False)
    made = [
        pages.entry(reports.RUN, reports.good(), True),
        early,
        pages.unreadable("20260801T030000Z-0002", "it ends in the middle"),
    ]
    index = Read(pages.index(made, ZONE))
    assert "Mon 23 Nov 2026, 02:16 UTC All is well" in index.words
    assert "took 16 min 46 s; CVEs: 47 closed, 2 open" in index.words
    assert "Tue 01 Sep 2026, 03:00 UTC Stopped: db1" in index.words
    assert "Sat 01 Aug 2026, 03:00 UTC This report cannot be read: it ends in the middle" in index.words
    links = [attrs["href"] for tag, attrs in index.elements if tag == "a"]
    assert links == [f"{reports.RUN}.html", "20260901T030000Z-0001.json", "20260801T030000Z-0002.json"]
    assert "No run has left a report here yet." in Read(pages.index([])).words


@pytest.mark.parametrize("report", [reports.good(), reports.stopped()])
def test_the_reports_of_these_tests_are_as_real_ones(report):
    check_report(report)
