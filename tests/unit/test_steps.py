"""The one table of steps: task files use its names, and everything that speaks of steps is made of it."""

from pathlib import Path

import pytest
from ansible_collections.homelab.patching.plugins.module_utils.report import summary, text
from ansible_collections.homelab.patching.plugins.module_utils.run import record as recording
from ansible_collections.homelab.patching.plugins.module_utils.run import steps
from ansible_collections.homelab.patching.plugins.plugin_utils import pages

from tests.unit.run.assessments import UPDATE, known, plan

CHECKOUT = Path(__file__).parents[2]
FILES = sorted((CHECKOUT / "roles" / "patch_host" / "tasks" / "steps").glob("*.yml"))
KEYS = [row.key for row in steps.STEPS]


def test_every_step_has_one_file_of_tasks_and_no_file_is_of_another():
    assert sorted(path.stem for path in FILES) == sorted(key.replace(" ", "_") for key in KEYS)


def test_every_step_has_a_row_of_its_own_and_a_pattern_on_the_page():
    assert len(set(KEYS)) == len(KEYS) == len({row.title for row in steps.STEPS})
    style = (CHECKOUT / "plugins" / "plugin_utils" / "page.css").read_text()
    for row in steps.STEPS:
        assert row.kind == "other" or f"i.{row.kind} " in style
        assert "run again" in row.remedy or row.commands("h")


@pytest.fixture
def hello(monkeypatch):
    """What a stranger adds: one row."""
    row = steps.Step(
        "hello", "say hello", "a greeting", 1000, "mend the voice, then run again", "greeting", always=True
    )
    monkeypatch.setattr(steps, "STEPS", (*steps.STEPS[:1], row, *steps.STEPS[1:]))
    return row


def test_a_stranger_adds_a_step_with_one_row(hello):
    before = plan({"a": known(pending=[UPDATE])}, mode="patch")
    assert [step["step"] for step in before["hosts"]["a"]["steps"]][:3] == ["claim", "hello", "upgrade"]
    assert "claim, say hello, upgrade (" in " ".join(" ".join(text.plan_lines(before)).split())
    assert before["totals"]["seconds"] > 1000
    begun = recording.step(recording.step({}, "claim", 10.0), "hello", 12.0)
    report = summary.summarize(before, {"a": recording.finish(begun, "failed", 20.0, reason="hello: hoarse")})
    assert report["hosts"]["a"]["remedy"] == "mend the voice, then run again"
    page = pages.page({**report, "run": "20261123T030000Z-1f2e", "ended": before["began"] + 60})
    assert '<i class="greeting"></i>say hello' in page and 'title="say hello 8 s"' in page
    assert (
        "| `hello`, say hello | a greeting | all hosts | 1000 s | mend the voice, then run again |" in steps.markdown()
    )


def test_a_step_that_is_none_any_more_is_still_shown():
    old = steps.step("snapshot")
    assert (old.title, old.kind, old.remedy) == ("snapshot", "other", "run again")
