"""schedule.yml is refused like the other playbooks, before any host is touched: ansible-playbook without machines."""

import pytest

from tests.play.test_guard import inventory, touched  # noqa: F401
from tests.support import play


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--limit", "web1"], "-e 'patching_hosts=web1'"),
        (["--start-at-task", "Let the month go round by itself"], "--start-at-task"),
        (["-e", "patching_control_host=web9"], "patching_control_host is web9, which is not one host"),
        (["-e", "patching_control_host=all"], "patching_control_host is all, which is not one host"),
    ],
)
def test_refused_before_a_host_is_touched(inventory, arguments, says):  # noqa: F811
    played = play("schedule", *arguments, inventory=[inventory])
    assert played.status != 0
    assert says in played.output
    assert not touched(inventory)


def test_without_a_refusal_the_host_is_asked(inventory):  # noqa: F811
    """Otherwise the test above would prove nothing."""
    assert play("schedule", "-e", "patching_control_host=web1", inventory=[inventory]).status != 0
    assert touched(inventory)
