"""A roll in which something breaks: it stops there, says so, and leaves the rest alone. Asked of the machines."""

from tests.faults.conftest import at, results
from tests.support import lab, pending, state

# Other tests may have left more of the lab's hosts running.
HOSTS = {"patching_hosts": "web1:db1:app1"}


def test_a_host_of_wave_2_is_cut_off(machines, run):
    """Waves: app1, db1, web1. db1 goes silent while it is being upgraded."""
    lab("reset", "web1", "db1", "app1")
    before = {host: state(host) for host in ("web1", "db1", "app1")}

    played = run(
        "patch", moments=[at("db1", "Upgrade", "cut", "db1")], policy={**HOSTS, "patching_reconnect_timeout": 10}
    )

    assert played.status != 0
    assert "Report of run" in played.output
    assert results(played) == {"app1": "patched", "db1": "lost", "web1": "not attempted"}
    # Wave 1 was patched and rebooted; wave 3 was not touched, and its claim was given back.
    after = {host: state(host) for host in ("web1", "db1", "app1")}
    assert after["app1"].boot_id != before["app1"].boot_id
    assert after["web1"] == before["web1"]
    assert after["db1"].boot_id == before["db1"].boot_id

    # The host answers again: the next run puts it in order and finishes the roll.
    lab("heal", "db1")
    played = run("patch", policy=HOSTS)
    assert played.status == 0
    assert results(played) == {"app1": "nothing to do", "db1": "patched", "web1": "patched"}
    for host in ("web1", "db1", "app1"):
        assert pending(host) == []
        assert state(host).leftovers == []
