"""Honest machines: a whole run goes well on them, and they say what the modules document."""

import pytest
import yaml
from ansible_collections.homelab.patching.plugins.modules import host_info, unattended_upgrades_info

from tests.lies.world import Silent


@pytest.mark.parametrize(("module", "key"), [(host_info, "host"), (unattended_upgrades_info, "policy")])
def test_they_say_what_the_module_documents(world, module, key):
    name = module.__name__.rpartition(".")[2]
    told = getattr(world.add("web1"), name)({})[key]
    assert set(told) == set(yaml.safe_load(module.RETURN)[key]["contains"])


def test_hosts_and_a_cluster_are_patched(world):
    world.add("web1", updates=["curl"])
    cluster = world.cluster(servers=3, agents=1)
    for name in ("s1", "a1"):
        world.hosts[name].updates, world.hosts[name].reboots = ["linux-image-amd64"], True
    played = world.play("patch")
    assert played.status == 0, played.output
    results = {host: entry["result"] for host, entry in played.report["hosts"].items()}
    assert results == dict.fromkeys(("web1", "s1", "a1"), "patched") | dict.fromkeys(("s2", "s3"), "nothing to do")
    # Each node was drained by another server before its reboot, and given back by the end.
    assert world.reboots() == ["a1", "s1"]
    for node in ("a1", "s1"):
        (drain,) = world.calls(module="k3s_node", state="drained", node=node)
        assert drain.host not in (node, "a1")
    assert (cluster.marks, cluster.cordoned) == ({}, set())
    assert not [host.name for host in world.hosts.values() if host.claim]


def test_the_daily_policy_is_put_and_proved(world):
    world.add("web1")
    played = world.play("policy")
    assert played.status == 0, played.output
    assert world.calls("web1", "unattended_upgrades_info")


def test_a_machine_that_says_nothing_is_refused_alone(world):
    def silent(_told, _args):
        raise Silent

    world.add("web1", updates=["curl"])
    world.add("web2").lie("host_info", silent)
    played = world.play("patch")
    assert played.status != 0
    results = {host: entry["result"] for host, entry in played.report["hosts"].items()}
    assert results == {"web1": "patched", "web2": "refused"}
