"""What a host's health is made of."""

from ansible_collections.homelab.patching.plugins.module_utils.host import health, system

NET_TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue
   0: 00000000:0016 00000000:0000 0A 00000000:00000000
   1: 0100007F:9C40 00000000:0000 0A 00000000:00000000
   2: 0B0012C6:0016 010012C6:D431 01 00000000:00000000
"""


def test_listeners_outside_the_ephemeral_range():
    assert health.listeners(NET_TCP, (32768, 60999)) == {22}


MOUNTINFO = r"""
22 1 0:21 / / rw - ext4 /dev/sda1 rw
30 22 8:17 / /srv/my\040data rw,noatime shared:1 - xfs /dev/sdb1 rw
31 22 0:40 / /home rw - nfs4 198.18.0.1:/home rw
32 22 0:41 / /mnt rw - autofs systemd-1 rw
33 22 0:42 / /var/lib/docker/overlay2/1/merged rw - ext4 /dev/sda1 rw
34 22 0:43 / /run/user/0 rw - tmpfs tmpfs rw
35 22 0:44 / /snap/core/1 ro - squashfs /dev/loop0 ro
"""


def test_mounts_that_hold_data_and_stay(monkeypatch):
    monkeypatch.setattr(system, "read", lambda _path: MOUNTINFO.strip())
    assert health.mounts() == ["/", "/home", "/srv/my data"]
