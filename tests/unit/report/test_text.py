"""The plan and the report as a person reads them."""

import pytest
from ansible_collections.homelab.patching.plugins.module_utils.core.change import change
from ansible_collections.homelab.patching.plugins.module_utils.report import summary, text

from tests.unit.run.assessments import PLANNED, UPDATE, known, plan


@pytest.mark.parametrize("width_of", [text.plan_lines(PLANNED), text.report_lines(summary.summarize(PLANNED, {}))])
def test_tables_fit_100_columns(width_of):
    assert max(len(line) for line in width_of) <= 100


def test_the_plan_says_what_is_left_as_it_is_and_what_to_know():
    kept = [
        change("a", "1", "2", held_by="held"),
        change("b:i386", "1", "2", held_by="phased, 10 %: not this host's turn yet"),
    ]
    also = change("c", "1", "2", held_by="held")
    made = plan({"web1": known(pending=[UPDATE, *kept, also], warnings=["mind it"])})
    notes = text.plan_lines(made)[-4:]
    assert [" ".join(line.split()) for line in notes] == [
        "Host Note",
        "web1 not upgraded: a, c (held)",
        "web1 not upgraded: b:i386 (phased, 10 %: not this host's turn yet)",
        "web1 mind it",
    ]
    # A host that is not in the roll has no note.
    assert text.plan_lines(plan({"web1": known(pending=kept, warnings=["mind it"])}))[-1].startswith("-")
