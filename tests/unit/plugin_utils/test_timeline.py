"""The timeline of a run: bars that lie in it, in order."""

import pytest
from ansible_collections.homelab.patching.plugins.plugin_utils import pages, timeline

from tests import reports


def test_the_timeline_lies_in_the_run_and_in_order():
    hosts = {name: pages._host(name, name, known) for name, known in reports.good()["hosts"].items()}
    made = timeline.timeline(reports.good(), hosts, reports.good()["ended"])
    assert [[row["host"]["name"] for row in wave["rows"]] for wave in made["waves"]] == reports.good()["waves"]
    for row in (row for wave in made["waves"] for row in wave["rows"]):
        ends = [(at, at + width) for _step, _seconds, _kind, at, width in row["bars"]]
        assert ends[0][0] >= made["lead"] > 0 and ends[-1][1] == pytest.approx(row["end"], abs=0.01)
        assert row["end"] <= 100
        assert [end for _at, end in ends[:-1]] == pytest.approx([at for at, _end in ends[1:]], abs=0.01)
    assert made["ticks"][:2] == [(0.0, "0"), (29.821, "5 min")]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((None, ""), (0, "0 s"), (0.34, "0.3 s"), (9.96, "10 s"), (59.6, "1 min"), (245, "4 min 05 s")),
        *((3599, "59 min 59 s"), (3600, "1 h"), (3725, "1 h 02 min"), (30060, "8 h 21 min")),
    ],
)
def test_durations(seconds, text):
    assert timeline.span(seconds) == text
