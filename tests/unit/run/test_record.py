"""The record of one host's transaction."""

from .assessments import record


def test_a_record_adds_its_seconds_up():
    assert record("patched")["seconds"] == {"claim": 2.0, "upgrade": 8.0}
