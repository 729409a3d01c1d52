"""Lets the tests import the collection by its name, wherever the checkout lies; gives each worker a lab."""

import os
import sys
from pathlib import Path

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
else:
    os.environ.setdefault("LAB_NUMBER", "1")
