"""How long the page, the index and the textfile of 1,000 simulated hosts take, and the browser until one can use it."""

import json
import statistics
import tempfile
import time
from pathlib import Path

from ansible_collections.homelab.patching.plugins.action import keep_report
from ansible_collections.homelab.patching.plugins.module_utils.report import metrics
from ansible_collections.homelab.patching.plugins.plugin_utils import pages

from tests import reports
from tests.page.browser import NoBrowser, chromium

SIZES = (3, 1_000)
ROUNDS = 5
INTERACTIVE = "performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd / 1000"
# Two frames after the tap the host is open and painted.
TAP = """() => new Promise((done) => {
  const began = performance.now();
  document.querySelector("details.host:last-of-type > summary").click();
  requestAnimationFrame(() => requestAnimationFrame(() => done((performance.now() - began) / 1000)));
})"""


def keep(folder: Path, report: dict) -> dict:
    """Make what keep_report makes, in a folder full of reports of that size; seconds by file."""
    text = json.dumps(report, indent=2, sort_keys=True)
    for number in range(keep_report.LAST):
        (folder / f"20260101T0300{number:02}Z-0000.json").write_text(text)
    taken = {}
    for name, make in (
        ("page.html", lambda: pages.page(report)),
        ("index.html", lambda: pages.index(keep_report._last(folder))),
        ("patching.prom", lambda: metrics.metrics(report, 0.0, 0.0)),
    ):
        begun = time.monotonic()
        (folder / name).write_text(make())
        taken[name] = time.monotonic() - begun
    return taken


def main() -> None:
    """Measure each size."""
    with tempfile.TemporaryDirectory() as beside:
        for size in SIZES:
            folder = Path(beside) / str(size)
            folder.mkdir()
            taken = keep(folder, reports.fleet(size))
            parts = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in taken.items())
            weight = (folder / "page.html").stat().st_size / 1e6
            goal = "     the goal is under 5 s" if size == SIZES[-1] else ""
            print(f"{size:>6} hosts: {sum(taken.values()):5.2f} s ({parts}), {weight:.1f} MB{goal}")
        try:
            with chromium() as browser:
                for size in SIZES:
                    loaded, tapped = [], []
                    for _round in range(ROUNDS):
                        page = browser.new_page()
                        page.goto((Path(beside) / str(size) / "page.html").as_uri())
                        loaded.append(page.evaluate(INTERACTIVE))
                        tapped.append(page.evaluate(TAP))
                        page.close()
                    goal = "     the goal is under 2 s" if size == SIZES[-1] else ""
                    print(
                        f"{size:>6} hosts in Chromium: interactive after {statistics.median(loaded):.2f} s "
                        f"(at most {max(loaded):.2f}), a tap on a host takes {statistics.median(tapped):.2f} s{goal}"
                    )
        except NoBrowser as error:
            print(f"Not measured in a browser: {error}")


if __name__ == "__main__":
    main()
