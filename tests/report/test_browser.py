"""The page in a real browser: both themes, wide and narrow, and the slider."""

import pytest

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [380, 768, 1280, 1600])
def test_no_console_message_and_no_sideways_scroll(opened, width, scheme):
    browser = opened(width, 900, scheme)
    assert browser.script("return document.documentElement.scrollWidth") <= width
    assert browser.script("return document.querySelectorAll('.canvas svg.marks').length") == 5
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
