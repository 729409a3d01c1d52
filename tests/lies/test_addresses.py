"""Who is behind an address is asked before anything is done there."""


def test_another_machine_at_the_address_of_a_guest_is_left_alone(world):
    """The agent of evil told the run an address of db1, which nobody wants patched."""
    db1 = world.add("db1", updates=["curl"])
    web1 = world.add("web1", updates=["curl"])
    web1.variables["proxmox_smbios_uuid"] = web1.system_uuid
    evil = world.add("evil", variables={"proxmox_smbios_uuid": "3d5a1f0e-0000-4000-8000-000000000001"})
    evil.lie("host_info", lambda _told, args: db1.host_info(args))
    played = world.play("patch", "-e", "patching_hosts=web1:evil")
    results = {host: entry["result"] for host, entry in played.report["hosts"].items()}
    assert results == {"web1": "patched", "evil": "refused"}
    assert "another machine answers at its address" in played.report["hosts"]["evil"]["reason"]
    assert {call.module for call in world.calls("evil")} <= {"command", "host_info"}
