"""What else works on a cluster: kured, Longhorn, the system-upgrade-controller."""

from datetime import datetime, timezone

import pytest
from ansible_collections.homelab.patching.plugins.module_utils.k3s.extensions import applying, kured, longhorn

from .clusters import NODES

NOW = datetime(2026, 11, 23, 3, 0, tzinfo=timezone.utc)
HELD_AT = '"created":"2026-11-23T02:59:00.123456789Z"'


@pytest.mark.parametrize(
    ("lock", "held"),
    [
        ("", False),
        ('{"nodeID":"manual"}', True),
        ('{"nodeID":"a4"}', False),  # kured itself is at work there.
        (f'{{"nodeID":"manual",{HELD_AT},"TTL":120000000000}}', True),
        (f'{{"nodeID":"manual",{HELD_AT},"TTL":30000000000}}', False),
        ('{"nodeID":"manual","TTL":30000000000}', False),
        ('{"maxOwners":2,"locks":[]}', False),
        ("[]", False),
        ("manual", False),
    ],
)
def test_the_lock_of_kured(lock, held):
    daemon = {
        "metadata": {
            "namespace": "kube-system",
            "name": "reboots",
            "annotations": {"weave.works/kured-node-lock": lock},
        },
        "spec": {"template": {"spec": {"containers": [{"image": "ghcr.io/kubereboot/kured:1.16.0"}]}}},
    }
    assert kured([daemon], NODES, NOW) == {"namespace": "kube-system", "name": "reboots", "held": held}


def test_no_kured():
    daemon = {"metadata": {"name": "lb"}, "spec": {"template": {"spec": {"containers": [{"image": "kured-like/lb"}]}}}}
    assert kured([daemon], NODES, NOW) is None


def test_plans_and_volumes():
    plans = [
        {"metadata": {"namespace": "s", "name": "server"}, "status": {"applying": ["s1"]}},
        {"metadata": {"namespace": "s", "name": "agent"}},
    ]
    assert applying(plans) == ["s/server"]
    volumes = [
        {"metadata": {"namespace": "l", "name": name}, "status": {"state": how, "robustness": robustness}}
        for name, how, robustness in (("a", "attached", "degraded"), ("b", "detached", "unknown"))
    ]
    assert longhorn(volumes) == {"l/a": "degraded"}
