"""Who is patched and by which steps: tables of cases."""

import pytest
from ansible_collections.homelab.patching.plugins.module_utils.core.problem import on_host, problem, remedies
from ansible_collections.homelab.patching.plugins.module_utils.run import assessment as assessing
from ansible_collections.homelab.patching.plugins.module_utils.run import plan as planning

from .assessments import MAY_REBOOT, OWNER, POLICY, UPDATE, WANTS_REBOOT, host, known, plan

CLAIM = {"run": "other", "owner": OWNER, "expires": 1000}


@pytest.mark.parametrize(
    ("assessment", "mode", "steps"),
    [
        (known(), "patch", []),
        (known(pending=[UPDATE]), "patch", ["upgrade"]),
        (known(pending=[UPDATE], reboot=MAY_REBOOT), "patch", ["upgrade", "reboot"]),
        (known(pending=[UPDATE], reboot=WANTS_REBOOT), "patch", ["upgrade", "reboot"]),
        (known(reboot=WANTS_REBOOT), "patch", ["reboot"]),
        (known({"reboot": "never"}, reboot=WANTS_REBOOT), "patch", []),
        (known({"reboot": "never"}, pending=[UPDATE], reboot=MAY_REBOOT), "patch", ["upgrade"]),
        (known({"reboot": "always"}, pending=[UPDATE]), "patch", ["upgrade", "reboot"]),
        # "always" means with every upgrade: a second run must not reboot again.
        (known({"reboot": "always"}), "patch", []),
        (known(pending=[UPDATE]), "reboot", []),
        (known({"reboot": "never"}, reboot=WANTS_REBOOT), "reboot", ["reboot"]),
        (known(claim=CLAIM, clock=2000), "patch", ["recover"]),
        (known(claim=CLAIM, clock=2000, pending=[UPDATE]), "patch", ["recover", "upgrade"]),
        (known(claim={**CLAIM, "run": "dead"}), "patch", ["recover"]),
        (known(claim={**CLAIM, "run": "dead"}, pending=[UPDATE]), "recover", ["recover"]),
        (known(claim={**CLAIM, "run": "dead"}, reboot=WANTS_REBOOT), "recover", ["recover", "reboot"]),
        (known(pending=[UPDATE], reboot=WANTS_REBOOT), "recover", []),
    ],
)
def test_steps(assessment, mode, steps):
    """What is to be done; the rest follows."""
    entry = plan({"web1": assessment}, dead=["dead"], mode=mode)["hosts"]["web1"]
    assert [step["step"] for step in entry["steps"] if step["why"]] == steps
    follows = (
        {"claim", "assess", "prove", *(["lock"] if "reboot" in steps else ["restart services"])} if steps else set()
    )
    assert {step["step"] for step in entry["steps"] if not step["why"]} == follows


def test_the_steps_are_in_their_order_with_the_users_tasks_around_them():
    policy = {"before": "/b.yml", "after": "/a.yml"}
    entry = plan({"a": known(policy, pending=[UPDATE], reboot=MAY_REBOOT)})["hosts"]["a"]
    assert [step["step"] for step in entry["steps"]] == [
        *("claim", "patching_before", "upgrade", "assess", "lock", "reboot", "prove", "patching_after")
    ]
    assert plan({"a": known(policy)})["hosts"]["a"]["steps"] == []


@pytest.mark.parametrize(
    ("assessment", "result", "reason"),
    [
        (known(), "nothing to do", ""),
        (known({"reboot": "never"}, reboot=WANTS_REBOOT), "reboot pending", "asked for by dbus"),
        (known(claim=CLAIM), "refused", "claimed by run other of me@control (pid 1)"),
        (known(boot_id="boot-control"), "refused", "this run works from this machine"),
        (known(unfit=[problem("/ is full", "make room")]), "refused", "/ is full"),
        (None, "refused", "it was not assessed"),
        (assessing.assessment(POLICY, {"status": "stopped"}, {}, {}), "powered off", "Proxmox VE says stopped"),
        (assessing.assessment(POLICY, {"lock": "backup"}, {}, {}), "refused", "locked by Proxmox VE (backup)"),
        (assessing.assessment(POLICY, {"address_reason": "no agent"}, {}, {}), "refused", "no address: no agent"),
        (
            assessing.assessment(POLICY, {}, {"unreachable": True, "msg": "timed\nout"}, {"skipped": True}),
            "refused",
            "unreachable: timed out",
        ),
        (assessing.assessment(POLICY, {}, {}, {"failed": True, "msg": "no apt"}), "refused", "no apt"),
    ],
)
def test_hosts_that_are_in_no_wave(assessment, result, reason):
    made = plan({"web1": assessment})
    assert made["waves"] == []
    assert made["hosts"]["web1"]["result"] == result
    assert made["hosts"]["web1"]["reason"] == reason


def test_a_refusal_names_the_host_on_which_to_type():
    unfit = {**problem("dpkg was interrupted", "", on_host("dpkg", "--configure", "-a")), "mendable": True}
    told = plan({"web1": known(unfit=[unfit])})["hosts"]["web1"]["problems"]
    assert remedies(told) == "on web1: dpkg --configure -a"
    made = plan({"web1": known(claim=CLAIM), "web2": known(**BROKEN)})
    assert remedies(made["hosts"]["web1"]["problems"]).endswith("homelab.patching.patch -e patching_takeover=other")
    assert remedies(made["hosts"]["web2"]["problems"]).endswith("homelab.patching.patch -e patching_accept=web2")


def test_a_refusal_does_not_block_the_others():
    made = plan({"a": known(unfit=[problem("x", "y")]), "b": known(pending=[UPDATE])})
    assert made["waves"] == [["b"]]


def test_refusing_after_the_download_closes_the_gap():
    made = plan({name: known(pending=[UPDATE]) for name in "abc"})
    made = planning.refuse(made, {"b": problem("no packages", "", on_host("apt-get", "update"))})
    assert made["waves"] == [["a"], ["c"]]
    assert (made["hosts"]["b"]["result"], made["hosts"]["b"]["reason"]) == ("refused", "no packages")
    assert remedies(made["hosts"]["b"]["problems"]) == "on b: apt-get update"
    assert [item["name"] for item in made["roll"]] == ["a", "__patching_wave_1", "c", "__patching_wave_2"]


BROKEN = {"kept_baseline": {"run": "old", "baseline": {"failed_units": [], "listeners": [22, 80]}}}


def test_what_an_earlier_run_broke_stays_red():
    entry = plan({"a": known(pending=[UPDATE], **BROKEN)})["hosts"]["a"]
    assert entry["result"] == "refused"
    assert entry["reason"] == "nothing listens on TCP port 80 any more (run old left it so)"


def test_until_it_is_accepted():
    entry = plan({"a": known(**BROKEN)}, accepted=["a"])["hosts"]["a"]
    assert [step["why"] for step in entry["steps"] if step["why"]] == [
        "accepted as it is: nothing listens on TCP port 80 any more"
    ]
    assert entry["before"]["baseline"]["listeners"] == [22]


def test_or_healthy_again():
    healthy = {"failed_units": [], "listeners": [22, 80, 443]}
    entry = plan({"a": known(pending=[UPDATE], baseline=healthy, **BROKEN)})["hosts"]["a"]
    assert entry["result"] is None
    assert entry["before"]["baseline"]["listeners"] == [22, 80]


def test_two_hosts_with_one_machine_id_are_refused():
    twin = {"machine_id": "same", "pending": [UPDATE]}
    made = plan({"a": known(**twin), "b": known(**twin), "c": known(pending=[UPDATE])})
    assert made["waves"] == [["c"]]
    assert made["hosts"]["a"]["reason"] == "it has the machine-id of b"


def test_a_host_that_is_healthy_again_ends_the_memory_of_what_was_broken():
    entry = plan({"web1": known(kept_baseline={"run": "old", "baseline": {"failed_units": [], "listeners": [22]}})})[
        "hosts"
    ]["web1"]
    assert [step["why"] for step in entry["steps"] if step["why"]] == ["healthy again: what run old had broken"]


def test_what_proxmox_did_not_tell_is_refused():
    made = assessing.assessment(POLICY, {"status": "running", "error": "no answer"}, {}, {"host": host()})
    assert made["state"] == "refused"
    assert "no answer" in made["reason"]
    assert "--flush-cache" in made["problems"][0]["remedy"]
