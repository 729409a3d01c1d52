"""The Chromium of the distribution, headless; none is downloaded."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser


class NoBrowser(Exception):
    """There is none; the text says what to install."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser, closed at the end.

    :raises NoBrowser: there is none here.
    """
    try:
        from playwright.sync_api import sync_playwright  # noqa: PLC0415 - who has none is told how to get it
    except ImportError as error:
        raise NoBrowser("there is no playwright: pip install -r requirements/test.txt") from error
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if not program:
        raise NoBrowser("there is no chromium: apt-get install chromium")
    # Chromium has no sandbox for root; what it shows here is our own.
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=options)
        try:
            yield browser
        finally:
            browser.close()
