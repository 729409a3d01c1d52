"""Pictures of the page of a good and of a stopped run: python -m tests.page.screenshots FOLDER"""

import sys
import tempfile
from datetime import timezone
from pathlib import Path

from ansible_collections.homelab.patching.plugins.plugin_utils import pages

from tests import reports
from tests.page.browser import NoBrowser, chromium

# Name, report, width and height of the part that is shown, colours.
PICTURES = [
    ("page-good", reports.good, 1000, 1400, "light"),
    ("page-stopped", reports.stopped, 1000, 1860, "dark"),
    ("page-phone", reports.stopped, 390, 844, "light"),
]


def main() -> None:
    """Write them all."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    with chromium() as browser, tempfile.TemporaryDirectory() as beside:
        for name, made, width, height, colours in PICTURES:
            shown = Path(beside) / f"{name}.html"
            shown.write_text(pages.page(made(), timezone.utc), encoding="utf-8")
            page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=colours)
            page.goto(shown.as_uri())
            path = folder / f"{name}.png"
            page.screenshot(path=path)
            print(f"{path}: {path.stat().st_size // 1000} kB")


if __name__ == "__main__":
    try:
        main()
    except NoBrowser as error:
        sys.exit(f"No pictures were made: {error}")
