"""The page in headless Chromium: it renders, small and big, wide and narrow, light and dark, and loads nothing.

The fixture `show` fails a test whose page says something on the console or asks for anything but itself.
"""

import pytest
from ansible_collections.homelab.patching.plugins.plugin_utils import pages

from tests import reports

PHONE = 360
RUNS = {
    "good": reports.good,
    "stopped": reports.stopped,
    "hostile": reports.hostile,
    "early": lambda: reports.early(reports.stopped()),
    "none": lambda: reports.report({}, [], 3),
}


def overflows(page):
    return page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")


def contrast(page, selector):
    """The contrast of a text with the paper, as WCAG counts it."""
    return page.evaluate(
        """(selector) => {
          const light = (text) => {
            const parts = text.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255);
            const linear = parts.map((part) => part <= .03928 ? part / 12.92 : ((part + .055) / 1.055) ** 2.4);
            return .2126 * linear[0] + .7152 * linear[1] + .0722 * linear[2];
          };
          const paper = light(getComputedStyle(document.body).backgroundColor);
          const ink = light(getComputedStyle(document.querySelector(selector)).color);
          return (Math.max(paper, ink) + .05) / (Math.min(paper, ink) + .05);
        }""",
        selector,
    )


@pytest.mark.parametrize("size", [3, 1000])
def test_a_fleet_is_shown_and_a_host_opens_on_demand(show, size):
    page = show(reports.fleet(size))
    assert page.locator("details.host").count() == size
    last = page.locator("details.host").last
    name = f"host{size - 1:05}"
    assert last.locator("summary strong").text_content() == name
    assert not last.locator("dl").is_visible()
    last.locator("summary").click()
    assert last.locator("dl").is_visible() and "package19" in last.inner_text()


def test_the_tile_of_a_host_leads_to_what_is_known_of_it(show):
    page = show(reports.stopped())
    said = page.get_by_text("dpkg: error processing package postgresql-17")
    assert not said.is_visible()
    page.locator(".fleet a", has_text="db1").click()
    assert said.is_visible()


def test_the_bars_of_a_host_lie_in_its_track_one_after_the_other(show):
    page = show(reports.good())
    row = page.locator(".timeline .row", has_text="k3s-server1")
    track = row.locator(".track").bounding_box()
    bars = [bar.bounding_box() for bar in row.locator(".track i").all()]
    assert len(bars) == len(reports.NODE)
    # A step too short to be seen has two pixels all the same.
    assert [bar["x"] for bar in bars[1:]] == pytest.approx([bar["x"] + bar["width"] for bar in bars[:-1]], abs=3)
    assert bars[0]["x"] > track["x"] + track["width"] * 0.7
    assert bars[-1]["x"] + bars[-1]["width"] <= track["x"] + track["width"] + 1


@pytest.mark.parametrize("width", [PHONE, 1100])
@pytest.mark.parametrize("name", RUNS)
def test_nothing_scrolls_sideways(show, name, width):
    page = show(RUNS[name](), width)
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    assert not overflows(page)
    assert page.locator("h1").is_visible()


def test_a_name_with_html_in_it_stays_text(show):
    page = show(reports.hostile())
    assert page.locator("img").count() == 0 and page.locator("script").count() == 1
    assert page.title() != "owned"
    assert page.locator("h1").inner_text() == f"✕ Stopped: {reports.HOSTILE}"
    assert page.locator("details.host summary strong", has_text=reports.HOSTILE).count() == 1


def test_even_a_script_that_got_into_the_page_would_not_run(browser, tmp_path):
    text = pages.page(reports.good()).replace("<main>", "<main><script>document.title = 'owned'</script>")
    (tmp_path / "page.html").write_text(text)
    page = browser.new_page()
    page.goto((tmp_path / "page.html").as_uri())
    assert page.title().startswith("All is well")
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read_by_day_and_by_night(show, scheme):
    page = show(reports.stopped(), color_scheme=scheme)
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") == (scheme == "light")
    for selector in ("body", ".soft", ".bad", ".good", ".warn", ".quiet", "a"):
        assert contrast(page, selector) >= 4.5, selector


def test_a_command_is_copied(show):
    page = show(reports.stopped(), permissions=["clipboard-read", "clipboard-write"])
    page.locator(".command", has_text="dpkg --audit").get_by_role("button", name="Copy").click()
    page.get_by_role("button", name="Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == "dpkg --audit"


def test_without_scripts_it_lacks_but_the_buttons(show):
    page = show(reports.stopped(), java_script_enabled=False)
    assert page.locator("button").count() == 0
    assert page.locator("code", has_text="dpkg --audit").is_visible()


def test_on_paper_it_is_black_on_white_with_its_bars(show):
    page = show(reports.stopped(), color_scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.get_by_role("button", name="Copy").first.is_visible()
    assert page.locator(".track i.upgrade").first.evaluate("each => getComputedStyle(each).printColorAdjust") == "exact"
    assert page.pdf().startswith(b"%PDF")


def test_the_index_leads_to_the_pages(show):
    made = [
        pages.entry(reports.RUN, reports.good(), True),
        pages.unreadable("20260801T030000Z-0001", "it ends in the middle"),
    ]
    page = show(reports.good())
    index = show(None, PHONE, text=pages.index(made))
    assert not overflows(index)
    index.get_by_role("link").first.click()
    assert index.title() == page.title()
