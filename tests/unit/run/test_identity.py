"""Is a run still alive?"""

import json
import os
import subprocess
import sys

import pytest
from ansible_collections.homelab.patching.plugins.module_utils.run import identity

IMPOSSIBLE = 2**22 + 1
# What a user sees who is not root where /proc hides the processes of others: the pids are asked of a root's process.
HIDDEN = """
import ctypes, json, os, sys
from ansible_collections.homelab.patching.plugins.module_utils.run import identity
owner = json.loads(sys.argv[1])
os.setgroups([]); os.setgid(65534); os.setuid(65534)
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE: or it could not read what is its own
print(json.dumps([os.path.exists(f"/proc/{owner['pid']}"), *(identity.is_dead({**owner, "pid": pid})
                  for pid in (owner["pid"], int(sys.argv[2])))]))
"""


def test_this_process_is_alive_and_an_impossible_one_is_dead():
    mine = identity.identity()
    assert not identity.is_dead(mine)
    assert identity.is_dead({**mine, "started": "0"})
    assert identity.is_dead({**mine, "pid": IMPOSSIBLE})
    assert not identity.is_dead({**mine, "started": "0", "boot_id": "of another machine", "machine": "another"})
    assert not identity.is_dead({**mine, "started": "0", "pid_namespace": "of another container"})


def test_a_zombie_is_dead():
    with subprocess.Popen(["sh", "-c", "exit 0"]) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        with open(f"/proc/{child.pid}/stat", encoding="utf-8") as stream:
            started = stream.read().rpartition(")")[2].split()[19]
        assert identity.is_dead({**identity.identity(), "pid": child.pid, "started": started})


def test_an_earlier_boot_of_this_machine_is_dead():
    mine = identity.identity()
    if not mine["machine"]:
        pytest.skip("this machine has no machine-id")
    before = {**mine, "boot_id": "the one before"}
    assert identity.is_dead(before)
    # What an older release wrote does not say of which machine it is.
    assert not identity.is_dead({**before, "machine": ""})
    assert not identity.is_dead({key: value for key, value in before.items() if key != "machine"})


def test_the_machine_id_itself_goes_nowhere():
    with open("/etc/machine-id", encoding="utf-8") as stream:
        machine_id = stream.read().strip()
    assert machine_id
    assert machine_id not in json.dumps(identity.identity())


def test_a_process_that_proc_hides_is_alive():
    """hidepid=2 on the real /proc, as another user."""
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode:
        pytest.skip("only root may mount")
    mount = 'mount -t proc -o hidepid=2 proc /proc && exec "$@"'
    command = ["unshare", "-m", "sh", "-c", mount, "sh", sys.executable, "-c", HIDDEN]
    done = subprocess.run(
        [*command, json.dumps(identity.identity()), str(IMPOSSIBLE)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert json.loads(done.stdout) == [False, False, True]


@pytest.mark.parametrize("owner", [{}, {"pid": "soon"}, {"pid": -1}, {"pid": 2**80}, {"pid": [7]}, {"pid": 0}])
def test_an_owner_that_is_none_is_alive(owner):
    mine = identity.identity()
    assert not identity.is_dead({**mine, **owner} if owner else {})


def test_all_hosts_of_a_run_have_to_agree_that_it_is_over():
    mine = identity.identity()
    over = {**mine, "started": "0"}
    claims = [
        {"run": "dead", "owner": over},
        {"run": "dead", "owner": over},
        # One host says of a live run that it is over.
        {"run": "live", "owner": over},
        {"run": "live", "owner": mine},
        {"run": "half told", "owner": over},
        {"run": "half told"},
        {"run": "odd", "owner": "somebody"},
        {"run": ["no", "id"], "owner": over},
        "no claim",
        None,
    ]
    assert identity.dead_runs(claims) == {"dead"}
