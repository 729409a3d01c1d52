"""The daily policy and the monthly run do not work against each other."""


def test_a_node_of_a_cluster_is_not_told_to_reboot_by_itself(world):
    """The monthly run would refuse it, with the advice to play this playbook."""
    world.variables["unattended_upgrades_automatic_reboot"] = True
    world.add("web1")
    node = world.add("s1")
    there = {"exists": True, "isdir": True}
    node.lie("stat", lambda told, args: {"stat": there} if args["path"].startswith("/var/lib/rancher") else told)
    played = world.play("policy")
    assert played.status == 2
    assert "s1 is a K3s node: it would go undrained" in played.output
    assert [call.host for call in world.calls(module="copy")].count("s1") == 0
    assert world.calls("web1", "unattended_upgrades_info")
