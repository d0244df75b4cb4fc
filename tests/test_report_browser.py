"""The page of a report in a real browser: it draws, answers, keeps to itself, and lets no text become anything else."""

from pathlib import Path

import pytest
from browser import Watched, file_url
from reports import HOSTILE, NAME, SOURCE, SUMS, hostile_index

from nait_index.report import ReportRequest, write_report

pytest.importorskip("plotly")
pytest.importorskip("sklearn")
pytest.importorskip("py3langid")

WIDTHS = (1440, 390)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a report of a hostile index."""
    folder = tmp_path_factory.mktemp("browser")
    request = ReportRequest(top="40%", by=("meta.lang",), bootstrap=2, command=f"nait-index report {HOSTILE}")
    return write_report(hostile_index(folder), folder / "report.html", request).path


@pytest.fixture
def shown(page: Watched, report: Path) -> Watched:
    """Open it, and wait for the map."""
    page.page.goto(file_url(report))
    page.page.wait_for_selector("#map-figure .scatterlayer .points path")
    return page


def _lit(shown: Watched) -> int:
    """Count the points of the map that are lit."""
    return int(shown.page.evaluate("document.getElementById('map-figure').data[1].x.length"))


def _check_clean(shown: Watched) -> None:
    assert shown.errors == []
    assert shown.failed == []
    assert shown.outside == []
    assert shown.page.evaluate("window.hacked") is None


def test_every_figure_draws_something(shown: Watched) -> None:
    page = shown.page
    for capability in page.query_selector_all('[data-tabs="capability"] [role="tab"]'):
        capability.click()
        for field in page.query_selector_all('.capability:not([hidden]) [data-tabs="field"] [role="tab"]'):
            field.click()
    empty = page.evaluate(
        """() => [...document.querySelectorAll('.figure[data-figure]')].filter((one) =>
            !one.querySelector('.bars path, .points path, .heatmaplayer image, .heatmaplayer path, .hm image'))
            .map((one) => one.dataset.figure)"""
    )
    assert empty == []
    assert len(page.query_selector_all(".figure svg.main-svg")) > 12
    _check_clean(shown)


def test_pointing_at_a_row_shows_what_it_says(shown: Watched) -> None:
    page = shown.page
    page.evaluate("document.getElementById('map').scrollIntoView({behavior: 'instant'})")
    points = page.query_selector_all("#map-figure .scatterlayer .trace:last-child .points path")
    box = points[0].bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x - 40, y)
    page.mouse.move(x, y)
    page.wait_for_selector("#tip:not([hidden])")
    shown_text = page.inner_text("#tip")
    assert "tokens" in shown_text
    assert len(shown_text.splitlines()) > 1
    page.mouse.click(x, y)
    page.wait_for_selector("#map-sample .text")
    kept = page.inner_text("#map-sample .text")
    assert kept.split()[0] in shown_text
    assert "chosen for" in page.inner_text("#map-sample")
    _check_clean(shown)


def test_another_capability_lights_other_rows(shown: Watched) -> None:
    page = shown.page
    before = page.evaluate("document.getElementById('map-figure').data[1].customdata")
    page.select_option("#map-capability", label=SUMS)
    after = page.evaluate("document.getElementById('map-figure').data[1].customdata")
    assert set(before) != set(after)
    assert f"chosen for {SUMS}" in page.inner_text("#map-lit")
    assert page.inner_text('[data-tabs="capability"] [aria-selected="true"]') == SUMS
    assert page.inner_text(".capability:not([hidden]) .lead").startswith("32 of 80 rows")
    for colour, traces in (("score", 1), ("source", 3), ("selection", 2)):
        page.check(f'input[value="{colour}"]', force=True)
        assert page.evaluate("document.getElementById('map-figure').data.length") == traces
    _check_clean(shown)


def test_rows_can_be_stepped_through_by_keyboard(shown: Watched) -> None:
    page = shown.page
    page.select_option("#map-capability", label=SUMS)
    page.focus("#map-next")
    page.keyboard.press("Enter")
    first = page.inner_text("#map-sample .text")
    page.keyboard.press("Enter")
    assert page.inner_text("#map-sample .text") != first
    assert page.inner_text("#map-place") == f"2 of {_lit(shown)}"
    page.focus('[data-tabs="capability"] [aria-selected="true"]')
    page.keyboard.press("ArrowRight")
    assert page.inner_text('[data-tabs="capability"] [aria-selected="true"]') == NAME
    page.focus(".capability:not([hidden]) .row summary")
    page.keyboard.press("Enter")
    assert page.is_visible(".capability:not([hidden]) .row .text")


def test_hostile_text_is_shown_as_text(shown: Watched) -> None:
    page = shown.page
    assert page.query_selector("img[src='x'], img[src^='http'], svg[onload], b[onmouseover]") is None
    assert page.inner_text('[data-tabs="capability"] [aria-selected="true"]') in (NAME, SUMS)
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    text = page.evaluate("document.body.textContent")
    for hostile in (HOSTILE, SOURCE, NAME):
        assert hostile in text
    labels = page.evaluate("[...document.querySelectorAll('.ytick text, .xtick text')].map((one) => one.textContent)")
    assert any(label.startswith("<img src=") for label in labels)
    page.check('input[value="source"]', force=True)
    legend = page.text_content("#map-figure .legend") or ""
    assert '<img src="http' in legend
    _check_clean(shown)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_it_fits_at_every_width_light_and_dark(page: Watched, report: Path, width: int, scheme: str) -> None:
    opened = page.page
    opened.set_viewport_size({"width": width, "height": 840})
    opened.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    opened.goto(file_url(report))
    opened.wait_for_selector("#map-figure .scatterlayer .points path")
    opened.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert not page.is_wide()
    wide = opened.evaluate(
        """() => [...document.querySelectorAll('.figure svg.main-svg')].filter((one) =>
            one.getBoundingClientRect().right > document.documentElement.clientWidth + 1).length"""
    )
    assert wide == 0
    _check_clean(page)


def test_figures_keep_their_size_when_the_window_changes(shown: Watched) -> None:
    page = shown.page
    sizes = "[...document.querySelectorAll('.figure svg.main-svg')].map((one) => one.getBoundingClientRect().height)"
    heights = "[...document.querySelectorAll('.figure')].map((one) => one.getBoundingClientRect().height)"
    before = page.evaluate(sizes), page.evaluate(heights)
    page.set_viewport_size({"width": 1440, "height": 500})
    page.wait_for_timeout(300)
    assert (page.evaluate(sizes), page.evaluate(heights)) == before
    page.set_viewport_size({"width": 700, "height": 500})
    page.wait_for_timeout(500)
    assert not shown.is_wide()
    assert min(height for height in page.evaluate(heights) if height) > 50


def test_colours_follow_the_scheme_while_it_is_open(shown: Watched) -> None:
    page = shown.page
    shade = "document.getElementById('map-figure').data[1].marker.color"
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(shade), page.evaluate(ground)
    page.emulate_media(color_scheme="dark")
    page.wait_for_timeout(200)
    dark = page.evaluate(shade), page.evaluate(ground)
    assert dark[0] != light[0]
    assert dark[1] != light[1]
    page.emulate_media(color_scheme="light")
    page.wait_for_timeout(200)
    assert (page.evaluate(shade), page.evaluate(ground)) == light


def test_print_shows_every_capability(shown: Watched) -> None:
    page = shown.page
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    assert all(one.is_visible() for one in page.query_selector_all(".capability"))
    drawn = page.evaluate(
        "[...document.querySelectorAll('.figure[data-figure]')].every((one) => one.querySelector('svg.main-svg'))"
    )
    assert drawn
    page.emulate_media(media="screen")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert sum(one.is_visible() for one in page.query_selector_all(".capability")) == 1
    _check_clean(shown)


def test_it_says_what_it_is_to_those_who_cannot_see(shown: Watched) -> None:
    page = shown.page
    assert page.get_attribute("html", "lang") == "en"
    assert page.title()
    assert page.evaluate(
        "[...document.querySelectorAll('.figure')].every((one) => one.getAttribute('aria-label')"
        " && one.getAttribute('role') === 'img')"
    )
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map((one) => one.id)")
    ours = [
        element for element in ids if not element.startswith(("clip", "defs", "modebar", "topdefs", "g", "cb", "l"))
    ]
    assert len(ours) == len(set(ours))
