"""Every module can be imported with nothing but Python; tools/matrix asks that of the oldest VMs."""

import importlib
import pkgutil

import pytest
from ansible_collections.homelab.patching.plugins import module_utils as packages

NAMES = [found.name for found in pkgutil.walk_packages(packages.__path__, f"{packages.__name__}.")]


@pytest.mark.parametrize("name", NAMES, ids=lambda name: name.removeprefix(f"{packages.__name__}."))
def test_it_can_be_imported(name):
    assert importlib.import_module(name)
