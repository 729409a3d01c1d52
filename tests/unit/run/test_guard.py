"""What must not get into a run."""

import pytest
from ansible_collections.homelab.patching.plugins.module_utils.run.guard import refusal


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("", ["all"], [], ""), ""),
        (("web1", ["all"], [], ""), "-e 'patching_hosts=web1'"),
        (("", ["upgrade"], [], ""), "--tags"),
        (("", ["all"], ["reboot"], ""), "--skip-tags"),
        (("", ["all"], ["notest", "reboot"], ""), "--skip-tags"),
        (("", ["all"], ["molecule-notest", "notest"], ""), ""),
        (("", ("all",), (), "pve.yml: 401"), "pve.yml: 401"),
        (("", ("all",), (), "", True), "Two runs in one playbook"),
    ],
)
def test_guard(arguments, says):
    found = refusal(*arguments[:4], {"web1": ["patching_upgrade"]}, again=arguments[4:] == (True,))
    assert says in found if says else found == ""


@pytest.mark.parametrize(
    ("names", "typed", "says"),
    [
        (["patching_hosts"], [], "patching_hosts is set in the variables of web1"),
        (["patching_hosts"], ["patching_hosts"], ""),
        (["patching_exclude_package"], [], "Did you mean patching_exclude_packages?"),
    ],
)
def test_variables_that_nothing_would_read(names, typed, says):
    found = refusal("", ["all"], [], "", {"db1": [], "web1": names}, typed)
    assert says in found if says else found == ""


def test_what_limit_wanted_is_said_also_where_hosts_were_named():
    names = {"web1": ["patching_hosts"]}
    assert "-e 'patching_hosts=web1'" in refusal("web1", ["all"], [], "", names, ["patching_hosts"])
