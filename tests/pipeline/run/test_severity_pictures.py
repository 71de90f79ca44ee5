"""What an audit leaves for the first screen: names of conditions, and one image at every severity."""

import io

import pytest
from PIL import Image
from tests import tiny
from tests.report.parsed_page import Page

from demur.analysis import analyse
from demur.files import read_json
from demur.report import render

PLAN = (
    "clean", "fgsm(eps=0.05)", "rotation(value=10)", "low_light(severity=[1, 5])", "fog(severity=3)",
    "gaussian_noise(severity=[2, 4])", "gaussian_blur(severity=1)", "contrast(severity=1)",
)  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return tiny.run(tmp_path_factory.mktemp("severities") / "run", conditions=PLAN, attacked=20)


@pytest.fixture(scope="module")
def results(run):
    return analyse(run)


def test_the_first_four_kinds_with_severities_are_pictured(run):
    facts = read_json(run / "facts" / "severities.json")
    assert set(facts) == {
        "low_light(severity=1)", "low_light(severity=5)", "fog(severity=3)", "gaussian_noise(severity=2)",
        "gaussian_noise(severity=4)", "gaussian_blur(severity=1)",
    }  # fmt: skip
    light = {}
    for condition, name in facts.items():
        content = (run / "thumbs" / name).read_bytes()
        assert len(content) <= 6_000
        light[condition] = sum(Image.open(io.BytesIO(content)).convert("L").tobytes())
    assert light["low_light(severity=5)"] < light["low_light(severity=1)"]


def test_the_tiles_of_the_first_screen_show_them(results):
    images = [attrs["src"] for attrs in Page(render(results)).all("img")]
    assert len(results.severity_thumbs) == 6
    assert all(thumb.startswith("data:image/webp;base64,") for thumb in results.severity_thumbs.values())
    assert set(results.severity_thumbs.values()) <= set(images)


def test_names_come_from_the_run(results):
    assert results.titles["fgsm(eps=0.05)"].title == "FGSM, eps 0.05 (5 %)"
    assert results.titles["low_light(severity=5)"].level == "severity 5"
    assert {row.condition for row in results.conditions} <= set(results.titles)
