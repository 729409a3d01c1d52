"""Adds up what the levels of the tests reported: where the minutes went, what was left out, what failed and why."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

LAST_LINES = 15


def relative(path: Path) -> str:
    """A path as a person in the checkout would type it."""
    return os.path.relpath(path)


def busy() -> float:
    """The seconds that the machine's processors have worked since its start."""
    ticks = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    idle = ticks[3] + ticks[4]
    return (sum(ticks) - idle) / os.sysconf("SC_CLK_TCK")


def cases(path: Path) -> Iterator[tuple[str, float, str, str]]:
    """Of a junit file: each test's name, seconds, outcome (passed, failed, skipped) and reason."""
    for case in ET.parse(path).getroot().iter("testcase"):
        # A file that cannot even be collected has no class.
        file = case.get("classname", "").replace(".", "/")
        name = f"{file}.py::{case.get('name')}" if file else f"{path.stem}: {case.get('name')}"
        wrong = [*case.iter("failure"), *case.iter("error")]
        left_out = list(case.iter("skipped"))
        outcome = "failed" if wrong else "skipped" if left_out else "passed"
        reason = next((each.get("message", "") for each in [*wrong, *left_out]), "")
        yield name, float(case.get("time", 0)), outcome, reason


def show(levels: Sequence[Any], results: Path, load: float) -> None:
    """Print levels with their minutes, the slowest tests, what was skipped, what failed; last the sum.

    :param levels: with `title`, `begun`, `ended` (seconds), `status` and `log`.
    :param results: the folder of the junit files.
    :param load: the share of the processors that was busy, 0 to 1.
    """
    found = [case for path in sorted(results.glob("*.xml")) for case in cases(path)]
    begun = min((level.begun for level in levels), default=0)
    print("\n minutes  from  level")
    for level in sorted(levels, key=lambda each: each.begun):
        print(f"{(level.ended - level.begun) / 60:8.1f}{(level.begun - begun) / 60:6.1f}  {level.title}")
    minutes = (max((level.ended for level in levels), default=0) - begun) / 60
    print(f"{minutes:8.1f}        in all; the processors were busy for {load:.0%} of it")
    print("\n seconds  the ten slowest tests")
    for name, seconds, _outcome, _reason in sorted(found, key=lambda case: -case[1])[:10]:
        print(f"{seconds:8.0f}  {name}")
    left_out = [f"{name}: {reason}" for name, _seconds, outcome, reason in found if outcome == "skipped"]
    left_out += [path.read_text().strip() for path in sorted(results.glob("*.skipped"))]
    if left_out:
        print("\nSkipped")
        print("\n".join(f"  {line}" for line in left_out))
    _failures(levels, found, results)
    outcomes = [outcome for _name, _seconds, outcome, _reason in found]
    print("\n" + ", ".join(f"{outcomes.count(word)} {word}" for word in ("passed", "failed", "skipped")))


def _failures(levels: Sequence[Any], found: list[tuple[str, float, str, str]], results: Path) -> None:
    """Which test, the assertion, and where the logs of run and hosts lie; of a level without tests its last lines."""
    failed = [(name, reason) for name, _seconds, outcome, reason in found if outcome == "failed"]
    if failed:
        print("\nFailed")
    for name, reason in failed:
        print(f"  {name}")
        print("".join(f"      {line}\n" for line in reason.splitlines()[:5]), end="")
        kept = results / "failures" / slug(name.partition("::")[2])
        if kept.is_dir():
            print(f"      the run and the hosts: {relative(kept)}/")
    for level in levels:
        if level.status == 0:
            continue
        print(f"\nFailed: {level.title}; its log is {relative(level.log)}")
        told = results / f"{level.name}.xml"
        if not (told.exists() and any("::" in name and outcome == "failed" for name, _s, outcome, _r in cases(told))):
            lines = level.log.read_text(errors="replace").splitlines()[-LAST_LINES:]
            print("".join(f"      {line}\n" for line in lines), end="")


def slug(name: str) -> str:
    """A test's name as the name of a folder."""
    return "".join(char if char.isalnum() else "-" for char in name)[:120].strip("-")
