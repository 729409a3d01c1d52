"""Writes down how the machines are before a scenario, for its proof: python -m tests.before FILE"""

import json
import sys
from dataclasses import asdict
from pathlib import Path

from tests.support import pending, state

HOSTS = ("web1", "db1", "app1")


def main() -> None:
    """State and pending packages of each machine, as JSON."""
    found = {host: {**asdict(state(host)), "pending": pending(host)} for host in HOSTS}
    Path(sys.argv[1]).write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
