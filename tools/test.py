"""Runs the tests, level by level and side by side: tools/test.py [--check | --only WORDS] [--no-lab] [--full]

Each level writes its log and its junit file into .build/results. Its machines are lab 1 and the next ones, one lab to a
worker; they go when this process does, also when it is killed. Lab 0, which is for people, is left alone.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from ctypes.util import find_library
from dataclasses import dataclass, field
from pathlib import Path

import tally

CHECKOUT = Path(__file__).resolve().parents[1]
RESULTS = CHECKOUT / ".build" / "results"
COLLECTIONS = CHECKOUT / ".build" / "collections"
CORES = os.cpu_count() or 1
# A run on machines waits for them half of the time.
WORKERS = CORES + 1
# Begun first: a long file that begins last is waited for by everybody.
LONGEST = ("faults/test_k3s_servers.py", "faults/test_k3s.py", "faults/test_policy.py", "lab/test_molecule.py")
ENDED = re.compile(r"\[gw\d+\] \[ *\d+%\] (\w+) (\S.*)|(tests/\S.*?) (PASSED|FAILED|SKIPPED|ERROR)")

_libc = ctypes.CDLL(None)


def die_with_parent() -> None:
    """Be killed when the parent is: nobody goes on patching machines for a suite that is gone."""
    _libc.prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG


@dataclass
class Level:
    """Commands that are run one after the other, until one of them fails."""

    name: str
    title: str
    commands: list[list[str]]
    folder: Path = CHECKOUT
    env: dict[str, str] = field(default_factory=dict)
    begun: float = 0.0
    ended: float = 0.0
    status: int = 0

    @property
    def log(self) -> Path:
        """The file with all that it printed."""
        return RESULTS / f"{self.name}.log"


class Suite:
    """The levels that have begun, and the clock."""

    def __init__(self) -> None:
        self.begun = time.monotonic()
        self.levels: list[Level] = []
        self._lock = threading.Lock()
        self._env = {**os.environ, "LAB_OWNER": str(os.getpid()), "PYTHONUNBUFFERED": "1"}
        self._env["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"

    def say(self, text: str) -> None:
        """A line of progress, with minutes and seconds."""
        minutes, seconds = divmod(int(time.monotonic() - self.begun), 60)
        with self._lock:
            print(f"{minutes:3}:{seconds:02}  {text}", flush=True)

    def run(self, level: Level) -> bool:
        """Run a level; did it pass?"""
        self.levels.append(level)
        self.say(f"==> {level.title}")
        level.begun = time.monotonic()
        with level.log.open("w") as log:
            for command in level.commands:
                log.write(f"$ {shlex.join(command)}\n")
                level.status = self._follow(command, level, log)
                if level.status:
                    break
        level.ended = time.monotonic()
        self.say(f"    {level.title}: {'passed' if level.status == 0 else f'FAILED, see {tally.relative(level.log)}'}")
        return level.status == 0

    def _follow(self, command: list[str], level: Level, log) -> int:
        """Run a command into the log; each test of pytest -v is said when it ends. Its status."""
        process = subprocess.Popen(
            command, cwd=level.folder, env={**self._env, **level.env}, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", bufsize=1,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - no state of Python's is touched
        )  # fmt: skip
        for line in process.stdout:
            log.write(line)
            log.flush()
            if ended := ENDED.match(line):
                self.say(f"      {(ended[1] or ended[4]).lower()} {ended[2] or ended[3]}")
        return process.wait()

    def together(self, *lanes: Sequence[Level]) -> bool:
        """Run lanes side by side, and the levels of a lane one after the other; did all pass?"""
        passed: list[bool] = []

        def lane(levels: Sequence[Level]) -> None:
            # All of them: one red level is no reason to know nothing of the next.
            passed.extend([self.run(level) for level in levels])

        threads = [threading.Thread(target=lane, args=(levels,)) for levels in lanes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return all(passed)


# --- the levels ---


def pytest(name: str, *words: str) -> list[str]:
    """The command line of pytest with a junit file."""
    return [sys.executable, "-m", "pytest", f"--junitxml={RESULTS}/{name}.xml", *words]


def pure() -> list[str]:
    """The modules whose first line says that they are pure: what they take and return has a type of its own."""
    found = sorted((CHECKOUT / "plugins" / "module_utils").glob("*/*.py"))
    heads = {path: path.read_text().partition('"""')[2].partition("\n")[0].removesuffix('"""') for path in found}
    return [f"module_utils.{path.parent.name}.{path.stem}" for path, head in heads.items() if head.endswith(" Pure.")]


def conventions() -> list[Level]:
    """What takes seconds and runs nothing of the collection."""
    collection = COLLECTIONS / "ansible_collections" / "homelab" / "patching"
    quick = ["ruff check .", "ruff format --check .", "yamllint --strict .", "antsibull-changelog lint"]
    # Plugins import each other by the name of the collection. One run: the standard library is read once.
    plugins = "ansible_collections.homelab.patching.plugins"
    mypy = f"mypy --config-file {CHECKOUT}/pyproject.toml"
    decisions = " ".join(f"-m {plugins}.{name}" for name in pure())
    types = [f"{mypy} -p lab -p {plugins}", f"{mypy} --strict {decisions}"]
    # The pages themselves are antsibull's, and rstcheck takes half of the time.
    docs = "antsibull-docs lint-collection-docs --plugin-docs --skip-rstcheck ."
    paths = {"MYPYPATH": f"{COLLECTIONS}:{CHECKOUT}"}
    return [
        Level("style", "Conventions: ruff, yamllint, changelog", [line.split() for line in quick]),
        Level("types", "Conventions: mypy", [line.split() for line in types], COLLECTIONS, paths),
        Level("docs", "Conventions: docs", [docs.split()], collection, {"ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS)}),
        Level("lint", "Conventions: ansible-lint", [["ansible-lint", "--offline", "--strict"]]),
    ]


def unit() -> Level:
    """Decisions, clients, and playbooks that are refused before they reach a machine."""
    # By file: what the tests of a file share is made once.
    words = pytest("unit", "-q", "-n", str(CORES), "--dist=loadfile", "tests/unit", "tests/play")
    return Level("unit", "Pure functions, clients, playbooks without machines", [words])


def beside(lab: bool) -> list[Level]:
    """What needs no worker's lab."""
    # Last: the longest files on machines begin with clusters, too.
    k3s = "K3s: modules and role on a real API server and kubelet"
    return [
        Level("lies", "Playbooks on machines that lie", [pytest("lies", "-q", "tests/lies")]),
        Level("page", "The page in a browser", [pytest("page", "-q", "tests/page")]),
        Level("sanity", "Conventions: ansible-test sanity", [["tools/sanity"]]),
        Level("matrix", "Other Pythons", [["tools/matrix", str(RESULTS), *(["--roll"] if lab else [])]]),
        Level("galaxy", "Galaxy's importer, and ansible-builder", [["tools/galaxy"]]),
        *([Level("k3s", k3s, [pytest("k3s", "-v", "tests/k3s")])] if lab else []),
    ]


def machines() -> Level:
    """All files of tests on machines, each of them on one lab, the longest first."""
    tests = CHECKOUT / "tests"
    files = [str(path.relative_to(tests)) for path in (*tests.glob("lab/test_*.py"), *tests.glob("faults/test_*.py"))]
    ordered = sorted(files, key=lambda name: (LONGEST.index(name) if name in LONGEST else len(LONGEST), name))
    words = ["-v", "-n", str(WORKERS), "--max-worker-restart=0", "--no-loadscope-reorder", "--dist=loadfile"]
    return Level("machines", "Machines", [pytest("machines", *words, *(f"tests/{name}" for name in ordered))])


# --- before and after ---


def one_at_a_time() -> None:
    """Refuse a second suite in this checkout; the lock goes with this process."""
    handle = os.open(RESULTS.with_name("test.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit(f"make test: pid {os.pread(handle, 20, 0).decode()} is testing this checkout; wait for its end")
    os.truncate(handle, 0)
    os.pwrite(handle, str(os.getpid()).encode(), 0)


def labs(*words: str) -> str:
    """Run a command of the lab for each worker's lab; the first refusal, else an empty text."""
    for number in range(1, WORKERS + 1):
        done = subprocess.run(
            [CHECKOUT / "tools" / "lab", *words], env={**os.environ, "LAB_NUMBER": str(number)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            return done.stderr.strip()
    return ""


def install_browser() -> None:
    """As the lab installs what it needs; where a browser cannot be had, its tests are skipped and say so."""
    # Playwright's own node is linked against libatomic, which nothing else on a small machine wants.
    there = {
        "chromium": shutil.which("chromium") or shutil.which("chromium-browser"),
        "libatomic1": find_library("atomic"),
    }
    missing = [name for name, found in there.items() if not found]
    if os.geteuid() == 0 and missing:
        env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for words in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *missing]):
            subprocess.run(["apt-get", *words], env=env, capture_output=True, check=False)


def only(words: list[str]) -> None:
    """Become pytest; a word that names something below tests/ is that. The lab stays up for the next time."""
    found = [f"tests/{word}" if (CHECKOUT / "tests" / word.partition("::")[0]).exists() else word for word in words]
    os.chdir(CHECKOUT)
    os.execv(sys.executable, [sys.executable, "-m", "pytest", "-v", *found])


def quick(suite: Suite) -> bool:
    """The levels that take seconds; did they pass?"""
    return suite.together(conventions(), [unit()])


def everything(suite: Suite, lab: bool) -> bool:
    """All levels, the quick ones first; did they pass?"""
    if lab:
        # A box that cannot boot machines should hear it now. What an earlier suite left goes.
        suite.say("==> Can this box boot the lab's machines?")
        if refusal := labs("down") or labs("check"):
            sys.exit(refusal)
        install_browser()
    if not quick(suite):
        return False
    return suite.together(*([[machines()]] if lab else []), beside(lab))


def main() -> int:
    """Run what is asked for; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only the levels that take seconds")
    parser.add_argument("--only", default="", help="words of a pytest command line, below tests/")
    parser.add_argument("--no-lab", action="store_true", help="only the levels that need no machines")
    parser.add_argument("--full", action="store_true", help="kill the controller at every boundary")
    options = parser.parse_args()
    if options.full:
        os.environ["PATCHING_FULL"] = "1"
    if options.only:
        only(shlex.split(options.only))
    die_with_parent()
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    one_at_a_time()
    shutil.rmtree(RESULTS, ignore_errors=True)
    RESULTS.mkdir()
    suite = Suite()
    busy = tally.busy()
    try:
        passed = quick(suite) if options.check else everything(suite, lab=not options.no_lab)
    finally:
        if not (options.check or options.no_lab):
            labs("down")
    tally.show(suite.levels, RESULTS, (tally.busy() - busy) / (time.monotonic() - suite.begun) / CORES)
    if options.check or options.no_lab:
        print("Nothing was proved on real machines.")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
