"""What a screen reader meets: rules of axe-core where it is at hand, and the one that failed once, always."""

import os
from pathlib import Path

import pytest

pytestmark = pytest.mark.browser
PLACES = (
    Path(os.environ.get("AXE_CORE", "axe.min.js")),
    Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js",
)
"""Where axe-core may be: `npm install axe-core` in the repository, or the variable AXE_CORE."""

RUN = """
window.found = null;
axe.run(document, { resultTypes: ["violations"] }).then((result) => {
  window.found = result.violations.filter((each) => ["serious", "critical"].includes(each.impact))
    .map((each) => `${each.id}: ${each.nodes[0].html.slice(0, 200)}`);
});
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1280])
def test_axe_finds_nothing_serious(opened, width, scheme):
    axe = next((path for path in PLACES if path.is_file()), None)
    if axe is None:
        pytest.skip("axe-core is not installed")
    browser = opened(width, 900, scheme)
    browser.script(f"{axe.read_text('utf-8')}\nwindow.axe = axe;{RUN}")
    browser.wait("return window.found !== null", 60)
    assert browser.script("return window.found") == []


def test_every_drawing_has_words_once(opened):
    browser = opened()
    words = "e.getAttribute('aria-label') || e.querySelector(':scope > title') || e.closest('[aria-hidden=true]')"
    drawings = "[...document.querySelectorAll('svg, [role^=graphics]')]"
    assert browser.script(f"return {drawings}.filter(e => !({words})).map(e => e.outerHTML.slice(0, 200))") == []
    pair = "[e.getAttribute('role'), e.getAttribute('aria-label')]"
    places = browser.script(f"return [...document.querySelectorAll('.canvas')].map(e => {pair})")
    assert len(places) > 5
    assert all(role == "img" and len(words) > 20 for role, words in places)
