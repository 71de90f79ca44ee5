"""The page in a real browser: both themes, wide and narrow, and the slider."""

import pytest

from demur.report import render
from tests.report.example_results import run
from tests.report.perturbation_results import MANY, far

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [380, 768, 1280, 1600])
def test_no_console_message_and_no_sideways_scroll(opened, width, scheme):
    browser = opened(width, 900, scheme)
    assert browser.script("return document.documentElement.scrollWidth") <= width
    assert browser.script("return document.querySelectorAll('.canvas svg.marks').length") == 7
    assert browser.log() == []


@pytest.mark.parametrize("size", [(1280, 900), (1440, 900)])
def test_the_first_screen_needs_no_scrolling(opened, size):
    browser = opened(*size)
    assert browser.script("return document.querySelector('.first .next').getBoundingClientRect().bottom") <= 900


def test_the_button_changes_the_theme_of_page_and_charts(opened):
    browser = opened()
    colours = (
        "return [getComputedStyle(document.body).backgroundColor,"
        " getComputedStyle(document.querySelector('#chart-risk-coverage .mark-text text')).fill]"
    )
    before = browser.script(colours)
    browser.script("document.getElementById('theme').click()")
    after = browser.script(colours)
    assert before[0] != after[0]
    assert before[1] != after[1]
    assert browser.script("return document.getElementById('theme').textContent") == "Light"


def move(browser, at):
    browser.script(
        "const s = document.getElementById('slider'); s.value = arguments[0]; s.dispatchEvent(new Event('input'))", at
    )
    return browser.script("return document.getElementById('readout').textContent")


def test_the_slider_reads_out_every_threshold(opened):
    browser = opened()
    start = browser.script("return document.getElementById('readout').textContent")
    assert "70.1 % of images answered, 98.8 % of the answers right, 1.21 % wrong" in start
    last = browser.script("return Number(document.getElementById('slider').max)")
    assert "100.0 % of images answered, 92.1 % of the answers right" in move(browser, last)
    assert move(browser, 0) != start
    assert "images answered" in browser.script(
        "return document.getElementById('slider').getAttribute('aria-valuetext')"
    )
    browser.script("document.getElementById('certified').click()")
    assert browser.script("return document.getElementById('readout').textContent") == start
    assert browser.log() == []


def test_choosing_a_signal_moves_the_readout(opened):
    browser = opened()
    start = browser.script("return document.getElementById('readout').textContent")
    choose = "const s = document.getElementById(arguments[0]); s.value = 'energy'; s.dispatchEvent(new Event('change'))"
    browser.script(choose, "signal")
    browser.script(choose, "histogram-signal")
    assert browser.script("return document.getElementById('readout').textContent") != start
    assert browser.log() == []


def test_the_numbers_can_be_downloaded(opened):
    browser = opened()
    assert browser.script("return document.getElementById('download').href").startswith("blob:")
    assert (
        browser.script("return fetch === undefined ? 0 : document.getElementById('numbers').textContent.length") > 1000
    )


def test_nothing_is_fetched(opened):
    browser = opened()
    assert (
        browser.script("return performance.getEntriesByType('resource').filter(e => !/^(data|blob):/.test(e.name))")
        == []
    )


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    path = tmp_path_factory.mktemp("far") / "report.html"
    path.write_text(render(run("issued").model_copy(update=far(MANY))), encoding="utf-8")
    return path


@pytest.mark.parametrize("width", [400, 1280])
def test_how_far_and_where_fit_any_width(browser, large, width):
    browser.screen(width, 900)
    browser.open(large)
    assert browser.script("return document.documentElement.scrollWidth") <= width
    assert browser.script("return document.querySelectorAll('.canvas svg.marks').length") == 7 + 8
    assert browser.log() == []


def column(browser, place):
    rows = "[...[...document.querySelector('#trust table').tBodies].at(-1).rows]"
    return browser.script(f"return {rows}.map(row => row.cells[arguments[0]].innerText.trim())", place)


def press(browser, place):
    browser.script("document.querySelectorAll('#trust thead button')[arguments[0]].click()", place)
    heads = "return [...document.querySelectorAll('#trust thead th')].map(h => h.getAttribute('aria-sort'))"
    return browser.script(heads)[place]


def test_a_press_on_a_head_sorts_the_table_and_another_turns_it(browser, large):
    browser.screen(1280, 900)
    browser.open(large)
    before = column(browser, 0)
    assert press(browser, 3) == "ascending"
    ranks = column(browser, 3)
    assert ranks == [*map(str, range(1, 200)), "—"]
    assert press(browser, 3) == "descending"
    assert column(browser, 3) == [*map(str, range(199, 0, -1)), "—"]
    assert press(browser, 0) == "ascending"
    names = column(browser, 0)
    assert names == sorted(before)
    assert browser.script("return document.querySelector('#trust tbody').innerText").startswith("all classes")
    assert press(browser, 2) == "ascending"
    sizes = [float(size.split("/")[0].removeprefix("> ")) for size in column(browser, 2)]
    assert sizes == sorted(sizes)
    assert browser.log() == []
