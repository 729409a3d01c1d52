"""How long the plan of 1,000 and of 10,000 hosts takes, from simulated assessments: the pure function and its table."""

import time
from datetime import datetime, timezone

from ansible_collections.homelab.patching.plugins.module_utils.core.change import change
from ansible_collections.homelab.patching.plugins.module_utils.report import text
from ansible_collections.homelab.patching.plugins.module_utils.run import plan
from ansible_collections.homelab.patching.plugins.module_utils.run.assessment import assessment as assessed

SIZES = (1_000, 10_000)
OWNER = {"who": "bench@here", "pid": 1, "started": "1", "boot_id": "the control node"}
NOW = datetime(2026, 11, 23, 3, 0, tzinfo=timezone.utc)


def assessment(number: int) -> dict:
    """A host like those of a fleet: 20 updates, a reboot to be expected, four rings, pairs that go apart, a node."""
    pending = [change(f"package{each}", "1", "2", security="2" if each % 2 else None) for each in range(20)]
    host = {
        "os": {"pretty": "Debian GNU/Linux 13 (trixie)"},
        "boot_id": f"boot-{number}",
        "machine_id": f"machine-{number}",
        "kernel": {"running": {"release": "6.12", "version": "1"}, "newest": None},
        "pending": pending,
        "warnings": [],
        "starting": [],
        "reboot": {"required": False, "reasons": [], "expected": ["dbus runs libexpat1"]},
        "unfit": [],
        "baseline": {"failed_units": [], "listeners": [22]},
        "claim": None,
        "kept_baseline": None,
        "clock": 0.0,
    }
    policy = {
        **{"upgrade": "full", "reboot": "if_required", "ring": 10 * (number % 4), "apart": [f"pair{number // 2}"]},
        **{"exclude_packages": [], "before": "", "after": "", "until": None},
        **{"wave_size": 10, "per_node": 3, "max_failures": 0},
        **{"k3s_kured": "refuse", "k3s_api_outage": "announce", "k3s_foreign_nodes": "refuse"},
        **{"rebuild_image_days": 365, "rebuild_support_days": 90},
    }
    return assessed(policy, {"node": f"pve{number // 4 % 8}"}, {}, {"host": host})


def main() -> None:
    """Measure each size once."""
    for size in SIZES:
        known = {f"host{number:05}": assessment(number) for number in range(size)}
        begun = time.monotonic()
        made = plan.make_plan("run", OWNER, known, set(), NOW)
        planned = time.monotonic() - begun
        shown = len(text.plan_lines(made))
        total = time.monotonic() - begun
        print(
            f"{size:>6} hosts in {len(made['waves'])} waves: {total:5.2f} s, {planned:.2f} s without its {shown} lines"
            + ("     the goal is under 2 s" if size == SIZES[0] else "")
        )


if __name__ == "__main__":
    main()
