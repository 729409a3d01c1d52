"""apt's configuration files, line by line."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

import pytest
from ansible_collections.homelab.patching.plugins.module_utils.daily import conf as uu

from .confs import ORIGINS, OWN, read


def brief(text: str) -> list:
    return [(s["op"], s["key"], s["value"], s["line"]) for s in uu.parse_conf(text, "f")]


CASES = [
    ('A::B "c";', [("set", "A::B", "c", 1)]),
    ("A::B c;", [("set", "A::B", "c", 1)]),
    ('\n// no\nA { B { C "d"; };\n  E "f"; };', [("set", "A::B::C", "d", 3), ("set", "A::E", "f", 4)]),
    ('A::L { "one";\n "two"; };', [("append", "A::L", "one", 1), ("append", "A::L", "two", 2)]),
    # The `;` before a closing brace may be missing, one between two elements may not.
    ('A::L { "one" };', [("append", "A::L", "one", 1)]),
    ('A::L {\n "one"\n "two";\n "three"; };', [("set", "A::L::one", "two", 2), ("append", "A::L", "three", 4)]),
    ('A::L:: "x";', [("append", "A::L", "x", 1)]),
    ("#clear A::L;", [("clear", "A::L", "", 1)]),
    ('# A::B "c";\n#clear A;\n', [("clear", "A", "", 2)]),
    ('A::B "http://x"; // A::C "d";', [("set", "A::B", "http://x", 1)]),
    ('/* A::B "c";\n A::C "d"; */ A::D "e";', [("set", "A::D", "e", 2)]),
    ('A::B "{;}#clear//";', [("set", "A::B", "{;}#clear//", 1)]),
    ('A::B\n  "c"\n;', [("set", "A::B", "c", 1)]),
    ("", []),
    ("}; }", []),
]


@pytest.mark.parametrize(("text", "found"), CASES)
def test_a_file_is_read(text, found):
    assert brief(text) == found


@pytest.mark.skipif(not shutil.which("apt-config"), reason="there is no apt on this machine to compare with")
@pytest.mark.parametrize("text", [text for text, _found in CASES])
def test_apt_itself_reads_the_same(tmp_path, text):
    """What is left of the settings in the end is what `apt-config dump` says of the same file."""
    text = re.sub(r"\bA(?=::|;| )", "Lab-A", text)
    file = tmp_path / "conf"
    file.write_text(text)
    env = {**os.environ, "APT_CONFIG": str(file)}
    dump = subprocess.run(["apt-config", "dump"], env=env, capture_output=True, text=True, check=True).stdout
    options = {key: value for key, value in uu.parse_dump(dump).items() if key.startswith("Lab-A")}
    settings = uu.parse_conf(text, "f")
    for key, value in options.items():
        if isinstance(value, list):
            assert [each["value"] for each in uu.elements_of(settings, key)] == value
        elif value:
            assert uu.setting_of(settings, key)["value"] == value
    told = {s["key"] for s in settings if s["op"] != "clear"}
    assert told <= set(options)


def test_files_that_apt_reads_in_its_order():
    names = ["99-b", "20auto-upgrades", "a.conf", "52x.dpkg-dist", "a.b.conf", "x~", ".hidden", "with space", "B_c"]
    assert uu.conf_files(names) == ["20auto-upgrades", "99-b", "B_c", "a.b.conf", "a.conf"]


def test_dump():
    options = uu.parse_dump('A "";\nA::B "1";\nA::L "";\nA::L:: "x";\nA::L:: "y \\"";\nA::L::one "two";\nrubbish\n')
    assert uu.option(options, "a::b") == "1"
    assert uu.option(options, "A::C", "default") == "default"
    assert options["A::L"] == ["x", 'y \\"']
    assert options["A::L::one"] == "two"


@pytest.mark.parametrize(
    ("value", "default", "result"),
    [("true", False, True), ("0", True, False), ("", True, True), ("maybe", False, False), ("On", False, True)],
)
def test_truth(value, default, result):
    assert uu.is_true(value, default) is result


def test_the_last_setting_wins_and_a_clear_takes_away():
    settings = read(("10", 'A::B "1";'), ("20", 'a::b "2";'), ("30", "#clear A;"))
    assert uu.setting_of(settings[:2], "A::B")["file"] == "20"
    assert uu.setting_of(settings, "A::B") is None
    settings = read(("10", f'{ORIGINS} {{ "a"; }};'), ("20", f'#clear {ORIGINS};\n{ORIGINS}:: "b";'))
    assert [each["value"] for each in uu.elements_of(settings, ORIGINS)] == ["b"]


def test_nothing_is_overridden_by_files_that_sort_before():
    own = f'A::B "1";\n#clear {ORIGINS};\n{ORIGINS}:: "x";\n'
    assert uu.overridden(read(("/e/50", f'A::B "2"; {ORIGINS} {{ "y"; }};'), (OWN, own))) == []
    assert uu.overridden(read(("/e/50", 'A::B "2";'))) == []


@pytest.mark.parametrize(
    ("later", "option", "wanted", "effective"),
    [
        ('A::B "2";', "A::B", "1", "2"),
        ("#clear A;", "A::B", "1", ""),
        (f'{ORIGINS}:: "y";', ORIGINS, "", "y"),
        (f"#clear {ORIGINS};", ORIGINS, "x", ""),
        ('A::B "1";', None, None, None),
        ('A::C "1";', None, None, None),
    ],
)
def test_what_a_later_file_changes(later, option, wanted, effective):
    own = f'A::B "1";\n#clear {ORIGINS};\n{ORIGINS}:: "x";\n'
    found = uu.overridden(read((OWN, own), ("/e/99", f"\n{later}")))
    if option is None:
        assert found == []
    else:
        (told,) = found
        assert (told["option"], told["wanted"], told["effective"]) == (option, wanted, effective)
        assert told["by"] == "/e/99:2"
