"""The textfile for Prometheus, as Prometheus' own parser and linter read it."""

import shutil
import subprocess

import pytest
from ansible_collections.homelab.patching.plugins.module_utils.report import metrics
from prometheus_client.parser import text_string_to_metric_families

from tests import reports

ENDED = 1_800_000_000.5


def read(text):
    """Samples by name and labels; every family has its help and type."""
    families = list(text_string_to_metric_families(text))
    assert all(family.documentation and family.type == "gauge" for family in families)
    samples = [sample for family in families for sample in family.samples]
    found = {(sample.name.removeprefix("patching_"), *sample.labels.values()): sample.value for sample in samples}
    assert len(found) == len(samples) == sum(not line.startswith("#") for line in text.splitlines())
    return found


def test_a_good_run_is_the_last_success():
    found = read(metrics.metrics(reports.good(), ENDED, 5.0))
    assert found["last_run_timestamp_seconds",] == found["last_success_timestamp_seconds",] == ENDED
    assert found["host_result", "k3s-server1", "patched"] == found["host_result", "nas1", "reboot pending"] == 1
    assert (found["reboot_pending", "nas1"], found["reboot_pending", "db1"]) == (1, 0)
    assert (found["exposed_seconds", "git1"], found["exposed_seconds", "nas1"]) == (12 * 86400, 0)


def test_a_run_that_stopped_keeps_the_last_success():
    made = reports.stopped()
    text = metrics.metrics(made, ENDED, 1_700_000_000.25)
    found = read(text)
    assert found["last_run_timestamp_seconds",] == ENDED
    assert found["last_success_timestamp_seconds",] == 1_700_000_000.25 == metrics.last_success(text)
    assert (found["pending_packages", "db1"], found["pending_packages", "web1"]) == (9, 0)
    assert (found["pending_security_packages", "db1"], found["pending_security_packages", "web1"]) == (6, 0)


def test_what_is_held_is_not_pending():
    found = read(metrics.metrics(reports.good(), ENDED, 0.0))
    assert (found["pending_packages", "git1"], found["pending_security_packages", "git1"]) == (1, 1)
    assert read(metrics.metrics(reports.second(reports.good()), ENDED, 0.0)) == found


def test_what_is_not_known_has_no_sample():
    made = reports.stopped()
    made["hosts"]["dns1"]["security"] = [{**item, "closed": False, "days": None} for item in reports.security(True)]
    found = read(metrics.metrics(made, ENDED, 0.0))
    assert [key for key in found if "mail1" in key] == [("host_result", "mail1", "refused")]
    assert {("exposed_seconds", "dns1"), ("reboot_pending", "db1")} & set(found) == set()
    early = read(metrics.metrics(reports.early(reports.stopped()), ENDED, 0.0))
    assert {key[0] for key in early} == {
        *("last_run_timestamp_seconds", "last_success_timestamp_seconds", "host_result", "reboot_pending")
    }


def test_no_success_ever_is_zero():
    assert read(metrics.metrics(reports.stopped(), ENDED, 0.0))["last_success_timestamp_seconds",] == 0


def test_names_are_escaped():
    name = 'a"b\\c\nd{}='
    found = read(metrics.metrics(reports.report({name: reports.host("patched")}, [], 1), ENDED, 0.0))
    assert found["host_result", name, "patched"] == 1


@pytest.mark.parametrize(
    "text",
    ["", "garbage\x00", "patching_last_success_timestamp_seconds x\n", "patching_last_success_timestamp_seconds NaN"],
)
def test_an_earlier_file_that_says_nothing(text):
    assert metrics.last_success(text) == 0


@pytest.mark.parametrize(
    "made", [reports.good(), reports.stopped(), reports.fleet(1000)], ids=["good", "stopped", "big"]
)
def test_promtool_has_nothing_to_say(made):
    promtool = shutil.which("promtool")
    if not promtool:
        pytest.skip("there is no promtool: apt-get install prometheus")
    text = metrics.metrics(made, ENDED, 0.0)
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
