"""The conventions that no linter checks: who may import whom, licence headers, one source of truth for every input."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest
import yaml
from ansible_collections.homelab.patching.plugins.module_utils.run.policy import NAMES
from jinja2 import ChainableUndefined
from jinja2.nativetypes import NativeEnvironment

CHECKOUT = Path(__file__).parents[2]
PACKAGES = CHECKOUT / "plugins" / "module_utils"
UTILS = sorted(path for path in PACKAGES.glob("*/*.py") if path.name != "__init__.py")
ADAPTERS = sorted(path for path in (CHECKOUT / "plugins").glob("*/*.py") if path.parent != PACKAGES)
EXPRESSIONS = [path for path in ADAPTERS if path.parent.name in ("filter", "test")]
# What a package may import besides itself: only what is below it.
BELOW: dict = {
    "core": (),
    "host": ("core",),
    "k3s": ("core", "host"),
    "run": ("core", "host", "k3s"),
    "report": ("core", "host", "k3s", "run"),
    "daily": ("core", "host"),
    "pve": ("core",),
}
# What a module imports travels to the VM with it.
ON_THE_VM = {"core", "host", "k3s", "daily"}
MOST_LINES = 450
ROLES = sorted(path.parent.name for path in (CHECKOUT / "roles").glob("*/meta"))
POLICY = CHECKOUT / "inventory" / "group_vars" / "all" / "patching.yml"
# What a pure module needs of Python: data and text, nothing that reads, writes, waits or asks.
HARMLESS = {
    *("__future__", "collections", "dataclasses", "datetime", "decimal", "difflib", "enum", "fnmatch", "functools"),
    *("ipaddress", "itertools", "json", "math", "operator", "re", "shlex", "string", "textwrap", "typing"),
    *("email.utils", "urllib.parse"),
}
CLOCK_AND_FILES = {"now", "utcnow", "today", "open", "read_text", "write_text"}


MOST_FILTERS = 16


def name_of(path):
    """A module of ours, such as `host.apt`; a plugin, such as `filter.plan`."""
    return f"{path.parent.name}.{path.stem}"


def is_pure(path):
    """Does the module's own first line say that it is?"""
    return ast.get_docstring(ast.parse(path.read_text())).splitlines()[0].endswith(" Pure.")


PURE = [path for path in UTILS if is_pure(path)]


@cache
def imports(path):
    """What a file imports: the modules of ours as `name_of` calls them, others by their names."""
    ours, others = set(), set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            others |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            others.add(node.module)
        elif isinstance(node, ast.ImportFrom):
            # `..host.apt` of a package, `..module_utils.host.apt` of a plugin, `.apt` of its neighbour.
            parts = (node.module or "").removeprefix("module_utils").strip(".").split(".")
            parts = [part for part in ([path.parent.name] if node.level == 1 else []) + parts if part]
            ours |= {".".join(parts)} if len(parts) > 1 else {".".join([*parts, alias.name]) for alias in node.names}
    return ours, others


def test_everything_is_in_a_package():
    assert sorted(path.name for path in PACKAGES.glob("*.py")) == ["__init__.py"]
    assert sorted(path.parent.name for path in PACKAGES.glob("*/__init__.py")) == sorted(BELOW)
    assert [path for path in PACKAGES.rglob("__init__.py") if path.read_text()] == []
    assert [name_of(path) for path in UTILS if path.stem.startswith("_")] == []


@pytest.mark.parametrize("package", sorted(BELOW))
def test_the_tests_of_a_package_run_where_the_vms_python_does(package):
    """tools/matrix runs them with Python 3.10, which has neither the lab nor what the lab needs."""
    wanted = {path: imports(path)[1] for path in (CHECKOUT / "tests" / "unit" / package).glob("*.py")}
    assert wanted
    foreign = re.compile(r"lab\b|tests\.support$")
    assert [(path.name, name) for path, names in wanted.items() for name in names if foreign.match(name)] == []


@pytest.mark.parametrize("path", UTILS + sorted((CHECKOUT / "plugins" / "plugin_utils").glob("*.py")), ids=name_of)
def test_no_file_is_about_too_much(path):
    assert len(path.read_text().splitlines()) <= MOST_LINES, "split it by subject"


@pytest.mark.parametrize("path", UTILS, ids=name_of)
def test_imports_go_only_downwards(path):
    package = path.parent.name
    assert [name for name in sorted(imports(path)[0]) if name.split(".")[0] not in (package, *BELOW[package])] == []


@pytest.mark.parametrize("path", sorted((CHECKOUT / "plugins" / "modules").glob("*.py")), ids=lambda path: path.stem)
def test_a_module_takes_nothing_of_the_control_node_along(path):
    assert {name.split(".")[0] for name in imports(path)[0]} - ON_THE_VM == set()


def test_the_modules_that_decide_are_pure():
    assert {"run.plan", "run.waves", "pve.addresses", "host.apt", "k3s.gate"} <= {name_of(path) for path in PURE}


def test_every_pure_module_is_held_to_strict_types(monkeypatch):
    """A plain `dict` in a signature says nothing of what is in it, and mypy refuses it there."""
    monkeypatch.syspath_prepend(CHECKOUT / "tools")
    from tools.test import conventions  # noqa: PLC0415 - it finds its neighbours by that path

    checked = " ".join(conventions()[1].commands[1])
    assert "--strict" in checked
    assert {name.partition("module_utils.")[2] for name in checked.split() if "module_utils." in name} == {
        name_of(path) for path in PURE
    }


def asks(path):
    """What a file imports and calls that is not pure."""
    ours, others = imports(path)
    foreign = {name for name in others if name not in HARMLESS and name.split(".")[0] not in HARMLESS}
    calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    called = {getattr(call, "attr", getattr(call, "id", None)) for call in calls}
    return (ours - {name_of(pure) for pure in PURE}) | foreign | (called & CLOCK_AND_FILES)


@pytest.mark.parametrize("path", PURE, ids=name_of)
def test_a_pure_module_asks_nothing(path):
    assert asks(path) == set()


@pytest.mark.parametrize("path", EXPRESSIONS, ids=name_of)
def test_a_filter_asks_nothing(path):
    """Nor does a test: an action may, once, where a template may be evaluated again and again."""
    assert asks(path) - {"ansible.errors"} == set()
    names = {getattr(node, "id", getattr(node, "arg", None)) for node in ast.walk(ast.parse(path.read_text()))}
    assert "hostvars" not in names


def test_filters_are_few():
    """Each is public by its name. Who needs hostvars, the clock or a file writes an action."""
    folder = CHECKOUT / "plugins" / "filter"
    trees = [node for path in folder.glob("*.py") for node in ast.walk(ast.parse(path.read_text()))]
    named = [node.value for node in trees if isinstance(node, ast.Return) and isinstance(node.value, ast.Dict)]
    assert {key.value for each in named for key in each.keys} == {path.stem for path in folder.glob("*.yml")}
    assert sum(len(each.keys) for each in named) <= MOST_FILTERS


@pytest.mark.parametrize("path", UTILS, ids=name_of)
def test_only_adapters_know_ansible(path):
    assert [name for name in imports(path)[1] if name.startswith("ansible")] == []
    assert "exit_json" not in path.read_text() and "fail_json" not in path.read_text()


@pytest.mark.parametrize("path", UTILS + ADAPTERS, ids=name_of)
def test_what_ships_has_its_licence_header(path):
    head = "\n".join(path.read_text().splitlines()[:5])
    assert "GNU General Public License v3.0+" in head
    assert "SPDX-License-Identifier: GPL-3.0-or-later" in head


@pytest.mark.parametrize("role", ROLES)
def test_defaults_and_argument_specs_have_the_same_keys_and_values(role):
    role = CHECKOUT / "roles" / role
    path = role / "defaults" / "main.yml"
    defaults = (yaml.safe_load(path.read_text()) or {}) if path.exists() else {}
    entries = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text())["argument_specs"].values()
    options = [item for entry in entries for item in entry.get("options", {}).items()]
    needed = {name for name, option in options if option.get("required")}
    assert {name for name, _ in options} - needed == set(defaults) - needed
    jinja = NativeEnvironment(undefined=ChainableUndefined)
    for name, option in options:
        if "default" in option:
            value = defaults[name]
            assert (jinja.from_string(value).render() if "{{" in str(value) else value) == option["default"], name
        elif name in defaults:
            # No default in the specs: then there is no value, or one that only the run can tell.
            assert re.search(r"lookup\(|query\(|default\(none\)", str(defaults[name])) or defaults[name] is None, name


def test_the_example_policy_names_each_variable_once_and_only_real_ones():
    assert yaml.safe_load(POLICY.read_text())
    named = re.findall(r"^(?:# ?)?(patching_\w+):", POLICY.read_text(), re.MULTILINE)
    assert [name for name in sorted(set(named)) if named.count(name) > 1] == []
    assert set(named) - set(NAMES) == set()


def test_every_variable_of_the_policy_is_documented():
    """In the policy file; or, what belongs on one command line and not into a file, in the README or a page."""
    pages = [POLICY, CHECKOUT / "README.md", *(CHECKOUT / "docs").glob("*.md"), *CHECKOUT.glob("roles/*/README.md")]
    text = "\n".join(page.read_text() for page in pages)
    assert [name for name in sorted(NAMES) if not re.search(rf"\b{name}\b", text)] == []


def test_every_package_of_the_control_node_is_pinned_by_its_hashes():
    folder = CHECKOUT / "requirements"
    text = (folder / "control-hashes.txt").read_text()
    pinned = {}
    for entry in re.split(r"\n(?=\S)", text.partition("\n")[2].strip()):
        first, *hashes = (line.strip().removesuffix("\\").strip() for line in entry.splitlines())
        pinned.setdefault(first.partition(" ;")[0], []).extend(hashes)
    for name, hashes in pinned.items():
        assert hashes and all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", each) for each in hashes), name
    wanted = [line.partition(";")[0].strip() for line in (folder / "control.txt").read_text().splitlines()]
    missing = [each for each in wanted if not each.startswith("#") and each not in pinned]
    assert not missing, "run tools/hashes"
    # Where packages come from is everybody's own business.
    assert "://" not in text
