from shutil import which

import pytest

from demur.report import render
from tests.report.example_results import run
from tests.report.webdriver import chromium


@pytest.fixture(scope="package")
def page():
    """The rich report: a guarantee issued and kept."""
    return render(run("issued"))


@pytest.fixture(scope="package")
def browser():
    if not (which("chromedriver") and (which("chromium") or which("google-chrome"))):
        pytest.skip("no chromium and chromedriver on PATH")
    with chromium() as started:
        yield started


@pytest.fixture
def opened(browser, page, tmp_path):
    """A function that shows the rich report at a size and in a theme."""
    path = tmp_path / "report.html"
    path.write_text(page, encoding="utf-8")

    def show(width=1280, height=900, scheme="light"):
        browser.screen(width, height, scheme)
        browser.open(path)
        return browser

    return show
