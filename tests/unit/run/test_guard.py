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
    ],
)
def test_guard(arguments, says):
    found = refusal(*arguments, {"web1": ["patching_upgrade"]})
    assert says in found if says else found == ""
