"""Lets the tests import the collection by its name, wherever the checkout lies, and the lab."""

import sys
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]
COLLECTIONS = CHECKOUT / ".build" / "collections"
LINK = COLLECTIONS / "ansible_collections" / "homelab" / "patching"

if not LINK.exists():
    LINK.parent.mkdir(parents=True, exist_ok=True)
    LINK.symlink_to(CHECKOUT)
sys.path[:0] = [str(COLLECTIONS), str(CHECKOUT)]
