"""What the documentation shows is what the plugin takes."""

from __future__ import annotations

import re

import pytest
import yaml
from ansible_collections.homelab.patching.plugins.inventory import proxmox
from ansible_collections.homelab.patching.plugins.module_utils.pve import addresses, guests
from ansible_collections.homelab.patching.plugins.module_utils.pve.settings import Settings, parse_settings

from .conftest import CHECKOUT, TOKEN

OPTIONS = yaml.safe_load(proxmox.DOCUMENTATION)["options"]
INHERITED = {"compose", "groups", "keyed_groups", "strict"} | {
    f"cache{end}" for end in ("", "_plugin", "_connection", "_timeout")
}
EXAMPLES = list(yaml.safe_load_all(proxmox.EXAMPLES))
PAGES = sorted(CHECKOUT.glob("docs/inventory*.md")) + [
    CHECKOUT / "docs" / name for name in ("ad-hoc.md", "proxmox-access.md")
]


def test_there_are_five_examples():
    assert len(EXAMPLES) == 5


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_an_example_is_understood(example, tmp_path):
    assert set(example) <= set(OPTIONS) | INHERITED
    (tmp_path / "ca.pem").touch()
    given = {**example, "token_secret": TOKEN["token_secret"]}  # a template there, or from the environment
    settings = parse_settings({**given, "ca_path": str(tmp_path / "ca.pem") if "ca_path" in given else None})
    assert all(endpoint.startswith("https://pve") for endpoint in settings.endpoints)
    guests.parse_selection(example.get("include"), example.get("exclude"))
    addresses.parse_policy(example.get("address") or {})


def test_the_defaults_that_are_documented_are_those_that_hold():
    settings = Settings(("https://pve1.lan:8006",))
    for name in ("api_timeout", "agent_timeout", "concurrency", "retries"):
        assert OPTIONS[name]["default"] == getattr(settings, name), name
    assert tuple(OPTIONS["address"]["suboptions"]["order"]["default"]) == addresses.SOURCES
    assert tuple(OPTIONS["address"]["suboptions"]["family"]["choices"]) == addresses.FAMILIES
    assert set(OPTIONS["include"]["suboptions"]) == set(OPTIONS["exclude"]["suboptions"]) == set(guests.RULES)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_names_in_the_pages_exist(page):
    text = page.read_text()
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        assert (page.parent / link).exists(), link
    for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL):
        for name in yaml.safe_load(block):
            assert name in OPTIONS or name in INHERITED, name
