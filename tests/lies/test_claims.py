"""What a machine says of the run that has it is about that machine."""

import time

from ansible_collections.homelab.patching.plugins.module_utils.run import identity


def test_one_machine_cannot_say_that_a_live_run_is_over(world):
    """This process is the live run; what web1 says of it is true, what evil says would make it a dead one."""
    claim = {"run": "20261123T030000Z-1f2e", "owner": identity.identity(), "expires": time.time() + 3600}
    over = {**claim, "owner": {**claim["owner"], "started": "1"}}
    world.add("web1", updates=["curl"], claim=claim)
    evil = world.add("evil", updates=["curl"], claim=claim)
    evil.lie("host_info", lambda told, args: {"host": {**told["host"], "claim": over}})
    played = world.play("patch")
    assert {host: entry["result"] for host, entry in played.report["hosts"].items()} == dict.fromkeys(
        ("web1", "evil"), "refused"
    )
    assert world.hosts["web1"].claim == claim
    assert not world.calls(module="host_upgrade")
