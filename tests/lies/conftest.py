"""The world of a test."""

import tempfile
from pathlib import Path

import pytest

from tests.lies.world import World


@pytest.fixture
def world():
    """Machines that answer what the test lets them. The path of a socket has to be short."""
    with tempfile.TemporaryDirectory(prefix="lies") as folder:
        made = World(Path(folder))
        yield made
        made.close()
