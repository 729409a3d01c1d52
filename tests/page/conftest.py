"""A headless Chromium for the tests of the page; without one they are skipped, and say what to install."""

from datetime import timezone

import pytest
from ansible_collections.homelab.patching.plugins.plugin_utils import pages

from tests.page.browser import NoBrowser, chromium


@pytest.fixture(scope="session")
def browser():
    try:
        with chromium() as found:
            yield found
    except NoBrowser as error:
        pytest.skip(str(error))


@pytest.fixture
def show(browser, tmp_path):
    """Show the page of a report; fails at the end where it asked for something, or said something on the console."""
    said, asked, contexts = [], [], []

    def shown(report, width=1100, text=None, **options):
        path = tmp_path / f"{report['run'] if report else 'index'}.html"
        path.write_text(pages.page(report, timezone.utc) if report else text)
        contexts.append(browser.new_context(viewport={"width": width, "height": 900}, **options))
        page = contexts[-1].new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: said.append(dialog.message) or dialog.dismiss())
        page.on("request", lambda request: asked.append(request.url))
        page.goto(path.as_uri())
        return page

    yield shown
    for context in contexts:
        context.close()
    assert said == []
    assert [url for url in asked if not url.startswith((tmp_path.as_uri(), "data:"))] == []
    assert len(asked) <= len(contexts) * 2
