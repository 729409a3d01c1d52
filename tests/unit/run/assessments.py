"""Made-up assessments, plans and records."""

from datetime import datetime, timezone

from ansible_collections.homelab.patching.plugins.module_utils.core.change import change
from ansible_collections.homelab.patching.plugins.module_utils.run import assessment as assessing
from ansible_collections.homelab.patching.plugins.module_utils.run import plan as planning
from ansible_collections.homelab.patching.plugins.module_utils.run import record as recording

OWNER = {"who": "me@control", "pid": 1, "started": "1", "boot_id": "boot-control", "machine_id": "machine-control"}
POLICY = {
    **{"upgrade": "full", "reboot": "if_required", "ring": 50, "apart": [], "exclude_packages": []},
    **{"before": "", "after": "", "wave_size": 1, "max_failures": 0, "per_node": 0, "until": None},
    **{"k3s_kured": "refuse", "k3s_api_outage": "announce", "k3s_foreign_nodes": "refuse"},
    **{"rebuild_image_days": 365, "rebuild_support_days": 90},
}
NOW = datetime(2026, 11, 23, 3, 0, tzinfo=timezone.utc)
UPDATE = change("curl", "1", "2", security="2")
MACHINES = iter(range(10_000))


def host(**changes):
    base = {
        "os": {"pretty": "Debian"},
        "boot_id": "boot-1",
        "machine_id": f"machine-{next(MACHINES)}",
        "kernel": {"running": {"release": "6.1", "version": "1"}, "newest": None},
        "pending": [],
        "warnings": [],
        "starting": [],
        "reboot": {"required": False, "reasons": [], "expected": []},
        "unfit": [],
        "baseline": {"failed_units": [], "listeners": [22]},
        "claim": None,
        "kept_baseline": None,
        "clock": 500,
    }
    return {**base, **changes}


def known(policy=None, **changes):
    return assessing.assessment({**POLICY, **(policy or {})}, {}, {}, {"host": host(**changes)})


def plan(assessments, dead=(), mode="patch", accepted=()):
    return planning.make_plan("run-1", OWNER, assessments, set(dead), NOW, mode, accepted)


WANTS_REBOOT = {"required": True, "reasons": ["asked for by dbus"], "expected": []}
MAY_REBOOT = {"required": False, "reasons": [], "expected": ["libc6 will be upgraded"]}
PLANNED = plan({name: known(pending=[UPDATE]) for name in "abc"})


def record(result, **fields):
    begun = recording.step(recording.step({}, "claim", 10.0), "upgrade", 12.0)
    return recording.finish(begun, result, 20.0, **fields)
