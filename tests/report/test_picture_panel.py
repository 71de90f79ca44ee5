"""The panel of pictures in a real browser: from a number to its images, with a pointer and without."""

import json
import re

import pytest

from demur.analysis import analyse
from demur.report import render
from tests import tiny

pytestmark = pytest.mark.browser
SHOWN = "return document.getElementById('pictures').open"
TITLE = "return document.getElementById('pictures-title').textContent"
NOTE = "return document.getElementById('pictures-note').textContent"
SURE = "return [...document.querySelectorAll('#pictures-list .small')].map(p => parseFloat(p.textContent))"


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return analyse(tiny.run(tmp_path_factory.mktemp("pictures") / "run"))


@pytest.fixture(scope="module")
def place(results):
    path = results.folder / "page.html"
    path.write_text(render(results), encoding="utf-8")
    return path


@pytest.fixture
def panel(browser, place):
    browser.screen(1280, 900)
    browser.open(place)
    return browser


def key(browser, text):
    """Press one key, as a keyboard does."""
    action = {"type": "key", "id": "keys", "actions": [{"type": kind, "value": text} for kind in ("keyDown", "keyUp")]}
    browser.call("POST", "/actions", actions=[action])


def test_one_press_on_the_first_screen_shows_the_surest_errors_of_the_worst_class(panel, results):
    panel.script("document.querySelector('.first .see').click()")
    assert panel.script(SHOWN)
    worst = results.worst_class.row.name
    assert panel.script(TITLE).startswith(worst)
    label = results.classes.index(worst)
    clean = results.figures.pictures.clean
    own = [
        sure
        for sure, truth, answer in zip(clean.confidence, clean.labels, clean.predicted, strict=True)
        if truth == label != answer
    ]
    expected = [round(100 * sure, 1) for sure in sorted(own, reverse=True)]
    assert panel.script(SURE) == pytest.approx(expected[:48], abs=0.11)
    assert str(results.figures.pictures.errors[label]) in panel.script(NOTE)
    assert panel.log() == []


def test_the_panel_needs_no_pointer(panel):
    panel.script("document.querySelector('#confusion td:not(.diagonal) .see').focus()")
    key(panel, "\ue007")
    assert panel.script(SHOWN)
    assert panel.script("return document.activeElement.id") == "pictures-title"
    assert " taken for " in panel.script(TITLE)
    key(panel, "\ue00c")
    assert not panel.script(SHOWN)
    assert panel.script("return document.activeElement.closest('#confusion td') !== null")


def test_a_condition_shows_each_image_before_and_now(panel, results):
    panel.script("document.querySelector('[data-pictures=\"condition:low_light(severity=3)\"] .see').click()")
    changed = next(row for row in results.figures.pictures.changed if row.condition == "low_light(severity=3)")
    assert panel.script("return document.querySelectorAll('#pictures-list li').length") == len(
        changed.images.sample_ids
    )
    assert panel.script("return document.querySelectorAll('#pictures-list .tile').length") == 2 * len(
        changed.images.sample_ids
    )
    assert f"of {changed.flips} answers" in panel.script(NOTE)


def test_every_bar_of_the_histograms_can_be_reached_in_a_table(panel, results):
    panel.script("document.querySelector('#bars').closest('details').open = true")
    panel.wait("return document.querySelectorAll('#bars tbody tr').length > 0")
    shown = panel.script("return document.getElementById('histogram-signal').value")
    histogram = next(row for row in results.histograms if row.signal == shown)
    cells = "[...document.querySelectorAll('#bars tbody td:nth-child(3)')]"
    cells = panel.script(f"return {cells}.map(c => Number(c.textContent.replace(',', '')))")
    assert sum(cells) == sum(histogram.right)
    panel.script("document.querySelector('#bars .see').click()")
    assert panel.script("return document.querySelectorAll('#pictures-list .tile').length") > 0


def test_a_press_on_a_bar_of_a_chart_opens_its_images(panel):
    bar = "document.querySelector('#chart-accuracy-conditions .mark-rect path:nth-of-type(4)')"
    panel.script(f"{bar}.scrollIntoView({{block: 'center', behavior: 'instant'}})")
    x, y = panel.script(
        f"const r = {bar}.getBoundingClientRect(); return [r.x + 4, r.y + r.height / 2].map(Math.round)"
    )
    moves = [
        {"type": "pointerMove", "x": x, "y": y, "duration": 0},
        {"type": "pointerDown", "button": 0},
        {"type": "pointerUp", "button": 0},
    ]
    panel.call("POST", "/actions", actions=[{"type": "pointer", "id": "mouse", "actions": moves}])
    panel.wait(SHOWN)


def test_what_has_no_pictures_is_no_button(panel):
    assert panel.script("return document.querySelectorAll('#confusion td.zero .see').length") == 0
    assert panel.script(
        "return [...document.querySelectorAll('.see')].every(b => b.type === 'button' && b.textContent)"
    )
    assert panel.script("return document.querySelectorAll('#picture-choice option').length") > 3


def test_each_sheet_is_in_the_page_once(place, results):
    text = place.read_text("utf-8")
    sheets = json.loads(re.search(r'id="picture-data">(.*?)</script>', text)[1])["sheets"]
    assert len(results.figures.pictures.sheets) == len(sheets)
    assert [text.count(sheet) for sheet in sheets] == [1] * len(sheets)


def test_a_sheet_that_was_changed_shows_nothing(results, tmp_path):
    folder = tiny.run(tmp_path / "run")
    found = analyse(folder)
    (folder / "thumbs" / "sheet-0.webp").write_bytes(b"other")
    assert 'id="picture-data"' not in render(found)
    assert 'id="picture-data"' in render(results)


@pytest.mark.parametrize("width", [360, 400])
def test_tables_that_scroll_say_so_and_keep_their_first_column(browser, place, width):
    browser.screen(width, 900)
    browser.open(place)
    sideways = "s.checkVisibility({contentVisibilityAuto: true}) && s.scrollWidth > s.clientWidth + 4"
    wide = f"[...document.querySelectorAll('.scroller')].filter(s => {sideways})"
    assert browser.script(f"return {wide}.every(s => s.dataset.more.includes('right'))")
    assert browser.script(f"return {wide}.length") > 0
    moved = browser.script(
        f"const s = {wide}.find(s => s.querySelector('tbody th')); s.scrollLeft = 80;"
        "return s.querySelector('tbody th').getBoundingClientRect().left - s.getBoundingClientRect().left"
    )
    assert abs(moved) < 1
    browser.wait(f"return {wide}.some(s => s.dataset.more.includes('left'))")
