"""What README and docs tell to type: commands that exist, with options, playbooks and variables that exist."""

import re
import shlex
from itertools import takewhile
from pathlib import Path

import pytest
import yaml
from ansible.cli.adhoc import AdHocCLI
from ansible.cli.inventory import InventoryCLI
from ansible.cli.playbook import PlaybookCLI
from ansible_collections.homelab.patching.plugins.module_utils.report import metrics
from ansible_collections.homelab.patching.plugins.module_utils.run import policy, steps

from tests import reports

CHECKOUT = Path(__file__).parents[2]
PAGES = [CHECKOUT / "README.md", *sorted(CHECKOUT.glob("docs/*.md")), *sorted(CHECKOUT.glob("examples/**/*.md"))]
CLIS = {"ansible-playbook": PlaybookCLI, "ansible": AdHocCLI, "ansible-inventory": InventoryCLI}
DEFAULTS = {
    name
    for path in CHECKOUT.glob("roles/*/defaults/main.yml")
    for name in yaml.safe_load(path.read_text())
    if not name.startswith("__")
}
KNOWN = policy.NAMES | DEFAULTS
# Names that are no variables: of roles, of modules, and of metrics.
OTHERS = {
    *(path.name for path in CHECKOUT.glob("roles/*")),
    *(path.stem for path in CHECKOUT.glob("plugins/modules/*.py")),
    *re.findall(r"^# TYPE (\S+)", metrics.metrics(reports.stopped(), 0.0, 0.0), re.MULTILINE),
}


def commands():
    """Page and words of every command after a prompt, and of those between backquotes."""
    for page in PAGES:
        text = page.read_text().replace("\\\n", " ")
        found = [line.removeprefix("$ ") for line in text.splitlines() if line.startswith("$ ")]
        found += re.findall(r"`(ansible[a-z-]* [^`]+)`", text)
        for line in found:
            if line.partition(" ")[0] in CLIS:
                yield page, list(takewhile(lambda word: word != "|", shlex.split(line, comments=True)))


@pytest.mark.parametrize(
    ("page", "words"), commands(), ids=lambda value: value.name if isinstance(value, Path) else " ".join(value)
)
def test_a_command_is_one(page, words):
    cli = CLIS[words[0]](words)
    # Ends the test where an option is unknown.
    given = cli.init_parser() or cli.parser.parse_args(words[1:])
    if words[0] == "ansible-playbook":
        for playbook in given.args:
            name = playbook.removeprefix("homelab.patching.")
            assert (CHECKOUT / "playbooks" / f"{name}.yml").is_file(), f"{page.name}: {playbook}"
    for extra in getattr(given, "extra_vars", None) or []:
        name, equals, _value = extra.partition("=")
        assert not equals or name in KNOWN, f"{page.name}: {name}"


def test_there_are_commands():
    assert len(list(commands())) > 20


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_variables_and_files_that_are_named_are_there(page):
    text = page.read_text()
    named = set(re.findall(r"\b(?:patching|patch_schedule|unattended_upgrades|k3s_maintenance)_[a-z0-9_]+", text))
    assert named - KNOWN - OTHERS == set()
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    assert [link for link in links if link and not (page.parent / link).exists()] == []


def test_the_table_of_steps_is_the_table_of_steps():
    text = (CHECKOUT / "docs" / "when-a-run-stopped.md").read_text()
    table = re.search(r"<!-- the steps, .*? -->\n\n(.*?)\n\n<!-- end", text, re.DOTALL)
    wanted = "\n".join(steps.markdown())
    assert table and table[1] == wanted, f"write it anew:\n{wanted}"
