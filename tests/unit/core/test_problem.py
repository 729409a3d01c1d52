"""What went wrong as data, and the one way in which it is told."""

import shlex

import pytest
from ansible_collections.homelab.patching.plugins.module_utils.core.problem import (
    PatchingError,
    causes,
    in_words,
    of_host,
    on_host,
    on_server,
    playbook,
    problem,
    remedies,
    told,
    typed,
)

AUDIT, FIX = on_host("dpkg", "--audit"), on_host("apt-get", "--fix-broken", "install")
LOCK = 'weave.works/kured-node-lock={"nodeID":"manual"}'


@pytest.mark.parametrize(
    ("remedy", "commands", "words"),
    [
        ("run again", (), "run again"),
        ("", (AUDIT,), "on the host: dpkg --audit"),
        ("mend it", (AUDIT, FIX), "mend it; on the host: dpkg --audit; apt-get --fix-broken install"),
        (
            "reboot it",
            (on_host("last", "-x", host="web1"), playbook("reboot", patching_hosts="web1")),
            "reboot it; on web1: last -x; on the control node: ansible-playbook homelab.patching.reboot "
            "-e patching_hosts=web1",
        ),
        ("", (on_server("k3s", "kubectl", "get", "nodes"),), "on a server: k3s kubectl get nodes"),
    ],
)
def test_what_to_do_and_to_type_in_one_line(remedy, commands, words):
    assert in_words(remedy, commands) == words
    raised = PatchingError("It is broken.", remedy, *commands)
    assert str(raised) == f"It is broken. {words}"
    assert raised.problem == problem("It is broken", remedy, *commands)


@pytest.mark.parametrize("argv", [("systemctl", "status", "k3s*"), ("k3s", LOCK), ("ansible", "-m", "ping", "a b")])
def test_a_command_can_be_typed(argv):
    assert shlex.split(typed(on_host(*argv))) == list(argv)


def test_who_finds_a_problem_on_a_host_need_not_know_its_name():
    found = problem("x", "", AUDIT, on_host("ps", host="db1"), on_server("ps"), playbook("patch"))
    assert [each["host"] for each in of_host(found, "web1")["commands"]] == ["web1", "db1", "", ""]
    assert found["commands"][0]["host"] == ""


def test_problems_are_told_together_and_the_same_remedy_once():
    problems = [problem("one", "run again"), problem("two", "run again"), problem("three", "", AUDIT)]
    assert causes(problems) == "one; two; three"
    assert remedies(problems) == "run again; on the host: dpkg --audit"
    assert told(problems[1:]) == "two. run again. three. on the host: dpkg --audit."
