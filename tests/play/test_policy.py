"""policy.yml is refused like the other playbooks, before any host is touched: ansible-playbook without machines."""

import pytest

from tests.play.test_guard import inventory, touched  # noqa: F401
from tests.support import play


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--limit", "web1"], "-e 'patching_hosts=web1'"),
        (["-e", "patching_hosts=web9"], "No host matches web9"),
        (["--start-at-task", "Put the daily updates in force"], "--start-at-task"),
        (["--start-at-task", "Refuse a run without hosts"], "--start-at-task"),
        (["--start-at-task", "Prove that they are"], "--start-at-task"),
    ],
)
def test_refused_before_a_host_is_touched(inventory, arguments, says):  # noqa: F811
    played = play("policy", *arguments, inventory=[inventory])
    assert played.status != 0
    assert says in played.output
    assert not touched(inventory)


def test_without_a_refusal_the_hosts_are_asked(inventory):  # noqa: F811
    """Otherwise the test above would prove nothing."""
    assert play("policy", inventory=[inventory]).status != 0
    assert touched(inventory)
