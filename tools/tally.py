"""Adds up what the levels of the tests reported, and what was left out: tools/tally.py FOLDER"""

import sys
import xml.etree.ElementTree as ET
from pathlib import Path


def main() -> None:
    """Print a line a level, every skipped test or level with its reason, and the sum."""
    total = {"passed": 0, "failed": 0, "skipped": 0}
    for path in sorted(Path(sys.argv[1]).glob("*.xml"), key=lambda found: found.stat().st_mtime):
        suite = ET.parse(path).getroot().find("testsuite")
        skipped = int(suite.get("skipped"))
        failed = int(suite.get("failures")) + int(suite.get("errors"))
        passed = int(suite.get("tests")) - skipped - failed
        for name, count in {"passed": passed, "failed": failed, "skipped": skipped}.items():
            total[name] += count
        print(f"{path.stem:<8} {passed} passed, {failed} failed, {skipped} skipped, {float(suite.get('time')):.0f} s")
        for case in suite.iter("testcase"):
            for reason in case.iter("skipped"):
                print(f"  skipped: {case.get('classname')}.{case.get('name')}: {reason.get('message')}")
    for path in sorted(Path(sys.argv[1]).glob("*.skipped")):
        print(path.read_text().strip())
    print(f"{total['passed']} passed, {total['failed']} failed, {total['skipped']} skipped")


if __name__ == "__main__":
    main()
