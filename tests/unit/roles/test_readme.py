"""READMEs of roles are what their argument_specs say."""

import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[3]
ROLES = CHECKOUT / "roles"
ALL = sorted(path.parent.name for path in ROLES.glob("*/meta"))


@pytest.mark.parametrize("role", ALL)
def test_the_readme_is_there_and_not_stale(role):
    """Galaxy refuses a collection with a role that has none."""
    done = subprocess.run(
        [sys.executable, CHECKOUT / "tools" / "role_readme.py", "--check", role],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_stale_one_and_an_unknown_role_are_told(tmp_path):
    tool = tmp_path / "tools" / "role_readme.py"
    role = tmp_path / "roles" / "r"
    (role / "meta").mkdir(parents=True)
    tool.parent.mkdir()
    tool.write_text((CHECKOUT / "tools" / "role_readme.py").read_text())
    (role / "meta" / "argument_specs.yml").write_text("argument_specs: {main: {short_description: Do C(x|y)}}")

    def run(*words):
        return subprocess.run([sys.executable, tool, *words], capture_output=True, text=True, check=False)

    assert (run("--check", "r").returncode, run("r").returncode, run("--check", "r").returncode) == (1, 0, 0)
    assert "Do `x|y`." in (role / "README.md").read_text()
    assert run("nope").returncode == 2
