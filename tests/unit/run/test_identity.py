"""Is a run still alive?"""

from ansible_collections.homelab.patching.plugins.module_utils.run import identity


def test_this_process_is_alive_and_an_impossible_one_is_dead():
    mine = identity.identity()
    assert not identity.is_dead(mine)
    assert identity.is_dead({**mine, "started": "0"})
    assert not identity.is_dead({**mine, "started": "0", "boot_id": "of another machine"})
    assert not identity.is_dead({**mine, "started": "0", "pid_namespace": "of another container"})
