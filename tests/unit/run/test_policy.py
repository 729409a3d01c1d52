"""Is the policy of a run usable?"""

import re
from pathlib import Path

import pytest
from ansible_collections.homelab.patching.plugins.module_utils.core.problem import PatchingError
from ansible_collections.homelab.patching.plugins.module_utils.run.policy import NAMES, check_names, deadline

from .assessments import NOW, UPDATE, known, plan


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ({"wave_size": 0}, "patching_wave_size is 0 on a. Use a whole number of at least 1."),
        ({"wave_size": "two"}, "patching_wave_size is 'two' on a. Use a whole number of at least 1."),
        ({"max_failures": -1}, "patching_max_failures is -1 on a. Use a whole number of at least 0."),
        ({"wave_size": True}, "patching_wave_size is True on a. Use a whole number of at least 1."),
        ({"upgrade": "dist"}, "patching_upgrade is 'dist' on a. Use one of: full, security, none."),
        ({"reboot": True}, "patching_reboot is True on a. Use one of: if_required, never, always."),
        ({"k3s_kured": "ignored"}, "patching_k3s_kured is 'ignored' on a. Use one of: refuse, ignore."),
        ({"ring": "first"}, "patching_ring is 'first' on a. Use a whole number of at least 0."),
        ({"apart": "dns"}, "patching_apart is 'dns' on a. Use a list of labels, such as [dns]."),
    ],
)
def test_wrong_policies_are_refused(policy, message):
    with pytest.raises(PatchingError) as error:
        plan({"a": known(policy, pending=[UPDATE])})
    assert str(error.value) == message


def test_two_values_of_a_per_run_policy_are_refused():
    with pytest.raises(PatchingError, match="patching_wave_size has two values in one run: 1 on a, 2 on b"):
        plan({"a": known(), "b": known({"wave_size": 2})})


@pytest.mark.parametrize(
    ("until", "hours"),
    [("04:30", 1.5), ("02:30", -0.5), ("23:00", -4), ("14:59", 11 + 59 / 60), ("15:01", -11 - 59 / 60), (None, None)],
)
def test_the_deadline_is_the_nearest(until, hours):
    found = deadline(until, NOW)
    assert found is None if hours is None else found == pytest.approx(NOW.timestamp() + hours * 3600)


@pytest.mark.parametrize("until", ["24:00", "4.30", 270, "soon"])
def test_a_wrong_deadline_is_refused(until):
    with pytest.raises(PatchingError, match="Use a time of day in quotes"):
        deadline(until, NOW)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("patching_wavesize", "Did you mean patching_wave_size?"),
        ("patching_control_hots", "Did you mean patching_control_host?"),
        ("patching_xyzzy", "There are: patching_accept"),
    ],
)
def test_a_variable_that_nothing_reads_is_refused(name, says):
    with pytest.raises(PatchingError, match=f"{name} is set on a, and nothing reads it.*{re.escape(says[:-1])}"):
        check_names("a", [name, "patching_wave_size", "other"])


def test_every_variable_that_a_user_may_set_is_read_somewhere_and_the_other_way_round():
    checkout = Path(__file__).parents[3]
    files = [*checkout.glob("roles/*/defaults/main.yml"), *checkout.glob("playbooks/*.yml")]
    read = {name for path in files for name in re.findall(r"(?<![\w.])patching_[a-z0-9_]+", path.read_text())}
    assert read == set(NAMES)
