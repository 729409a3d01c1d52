"""Lets the tests import the collection by its name, wherever the checkout lies; gives each worker a lab."""

import ctypes
import os
import signal
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]
COLLECTIONS = CHECKOUT / ".build" / "collections"
LINK = COLLECTIONS / "ansible_collections" / "homelab" / "patching"

if not LINK.exists():
    LINK.parent.mkdir(parents=True, exist_ok=True)
    LINK.symlink_to(CHECKOUT)
sys.path[:0] = [str(COLLECTIONS), str(CHECKOUT)]

# Lab 0 is for people. Workers of pytest-xdist are called gw0, gw1 and so on.
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")
if WORKER:
    os.environ["LAB_NUMBER"] = str(1 + int(WORKER.removeprefix("gw")))
    # A worker goes with the suite, also when that is killed.
    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
else:
    os.environ.setdefault("LAB_NUMBER", "1")
ON_MACHINES = {CHECKOUT / "tests" / name for name in ("faults", "lab")}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    """What a failed test and its hosts said is kept: the next test makes the hosts new."""
    report = yield
    if report.failed and item.path.parent in ON_MACHINES:
        from tests.support import keep_logs  # noqa: PLC0415 - other levels need not have what it imports

        folder = keep_logs(item.name, report.longreprtext + "".join(text for _title, text in report.sections))
        report.sections.append(("logs", f"the run and the hosts: {folder}"))
    return report
