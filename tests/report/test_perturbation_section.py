"""How far, where, trust, Lipschitz: sections come and go, their numbers stand as a reader says them."""

import html
import re

import pytest

from demur.analysis.attribution.region_tables import Control
from demur.analysis.robustness.lipschitz_tables import LayerNorm
from demur.report import render, words
from tests.report.attribution_results import map_row, picture, region, where
from tests.report.example_results import run
from tests.report.parsed_page import Page
from tests.report.perturbation_results import (
    MANY,
    NAMES,
    far,
    lipschitz,
    no_end,
    no_reach,
    ranking,
    search,
    trust,
)
from tests.report.simulated_scores import near, undefined

SECTIONS = {"epsilon": (), "attribution": None, "trust": None, "lipschitz": None}


def report(**changes):
    return render(run("issued").model_copy(update=changes))


def section(text, name):
    """The words of one section."""
    found = re.search(rf'<section id="{name}".*?</section>', text, re.DOTALL)[0]
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", found)).replace("\u00a0", " ").split())


@pytest.fixture(scope="module")
def rich():
    return report(**far())


@pytest.fixture(scope="module")
def large():
    return report(**far(MANY, "group"))


@pytest.mark.parametrize("state", ["issued", "model_too_weak", "measurement_failed"])
def test_the_page_is_whole_in_every_state(state):
    page = Page(render(run(state).model_copy(update=far())))
    assert page.faults == []
    assert len(page.all("caption")) == len(page.all("table"))
    assert all(head.get("scope") in {"col", "row", "rowgroup"} for head in page.all("th"))
    assert all(image["alt"] for image in page.all("img"))
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("name", SECTIONS)
def test_a_section_with_nothing_to_show_is_left_out(name, rich):
    assert f'<section id="{name}"' in rich
    assert f"#{name}" in Page(rich).links
    without = report(**(far() | {name: SECTIONS[name]}))
    assert f'<section id="{name}"' not in without
    assert f"#{name}" not in Page(without).links
    assert f'id="chart-{name}-' not in without


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (
            "epsilon",
            "Half of the answers flip under 1.7/255 (1.36–2.26), 0.67 % of full brightness. 274 images: 19 wrong",
        ),
        ("epsilon", "flipped up to 32/255. Changes found: 0.047/255 to 31.8/255."),
        ("epsilon", "The scan: 16 geometric steps to the cap: a first flip between two steps that flips back is not"),
        ("epsilon", "the direction's change is 1.9 times as large 274 0.894/255 0.714–1.19 no larger than the"),
        (
            "epsilon",
            "The order of the classes is more than noise. p < 0.001 (9 classes, 274 images); two halves of the",
        ),
        ("epsilon", "— trouser 4 0 1 5.05/255 no interval 5.05/255 no interval 4.79/255 > 32/255"),
        ("epsilon", "14.6 9.4 to see it, 5.2 to place it"),
        ("epsilon", "t-shirt trouser 24 0.51/255"),
        ("epsilon", "Half of the answers flip under 0.483 (0.37–0.673)."),
        (
            "attribution",
            "a blob in the middle was not tried. The object is what the data marks;",
        ),
        ("attribution", "The object is where Grad-CAM looks; 460 images, p < 0.001."),
        ("attribution", "Grad-CAM 8 × 8 500 12 0.170 0.150 to 0.190 0.310 · 0.34 top fifths share 28 %"),
        ("attribution", "✔ 0.08 of 32 images"),
        (
            "attribution",
            "Area of half its mass share of the map that holds half of its mass 0.170 0.150 to 0.190 0.500 0.310 0.170",
        ),
        ("attribution", "Pointing the brightest cell lies in the mark 71.0 % 67.0–75.0 31.0 % 29.0–33.0 48.0 %"),
        ("attribution", "0.82 0.77–0.88 0.95 0.9–1.02 1.41 1.3–1.52 +0.41 +0.35 to +0.47 object"),
        (
            "attribution",
            "smaller one on 330 images, the background's on 118, 12 tied (p < 0.001, sign test; effect 0.460",
        ),
        ("attribution", "— pullover 4 — fewer than 6 images 27 13 — undecided"),
        ("attribution", "object blurred 30.0 % 26.0–34.3 0.550 0.520 to 0.580 60.0 %"),
        ("attribution", "Grad-CAM 460 52.0 % 49.0–55.0 31.0 % 29.0–33.0 81.0 %"),
        ("trust", "all classes 274 1.7/255 1.36–2.26 — +0.41 +0.35 to +0.47 — 0.170 0.150 to 0.190 —"),
        ("trust", "trouser 4 5.05/255 no interval — — fewer than 6 images — 0.1"),
        ("trust", "There is no single score on purpose"),
        ("lipschitz", "41.2 steepest slope seen, of 64 images"),
        ("lipschitz", "183,000 upper bound, usually vacuous 4,440× bound ÷ steepest seen"),
        (
            "lipschitz",
            "every change of L2 2.1 × 10⁻⁵; attacks (fmn(norm='l2') first among them) flip half of them at L2 0.31.",
        ),
        ("lipschitz", "block.3 block.3.conv, block.3.norm convolution 2.3 43 ▲ not converged"),
    ],
)
def test_the_numbers_are_on_the_page(rich, name, shown):
    assert shown in section(rich, name)


@pytest.mark.parametrize("name", SECTIONS)
def test_no_number_is_printed_that_is_none(rich, large, name):
    for text in (rich, large):
        plain = section(text, name)
        assert not re.search(r"\b(nan|inf|None|True|False|Infinity)\b", plain)
        assert "e-0" not in plain


def test_undefined_numbers_give_their_reason():
    lost = undefined("no image was left", 0)
    bare = search(
        median=no_reach(), right_median=no_reach(), minimum=float("nan"), maximum=float("nan"), scan=float("nan"),
        ranking=ranking(2, 10, halves=lost, p_value=float("nan")), curve=(), confusions=(), comparisons=(),
        ecdf=(), resolution=None,
    )  # fmt: skip
    bare = bare.model_copy(
        update={"per_class": tuple(r.model_copy(update={"median": no_reach()}) for r in bare.per_class)}
    )
    map_ = map_row(
        "gradient",
        measures=(),
        localisations=(),
        sanity=None,
        pictures=(picture(0).model_copy(update={"image": None}),),
    )
    poor = region(
        difference=lost,
        effect=lost,
        p_value=float("nan"),
        reliance="undecided",
        whole=None,
        occlusions=(),
        per_class=(),
    )
    found = {
        "epsilon": (bare,),
        "attribution": where(maps=(map_,), regions=(poor,), agreements=()),
        "trust": trust(difference_of=None, compactness_of=None),
        "lipschitz": lipschitz(upper=float("nan"), reason="attention has no known constant",
                               certified_radius=float("nan"), minimal_perturbation=float("nan"),
                               search_name=None, median=lost),
    }  # fmt: skip
    text = report(**found)
    assert Page(text).faults == []
    for name in SECTIONS:
        assert not re.search(r"\b(nan|inf|None)\b", section(text, name)), name
    assert "The median is not defined: no images." in section(text, "epsilon")
    assert "two halves of the images were not compared (no image was left)" in section(text, "epsilon")
    assert "— no image was left" in section(text, "attribution")
    assert "Neither the object nor the background is shown to weigh more." in section(text, "attribution")
    assert "Background" not in section(text, "trust").partition("Class ")[2]
    assert "There is no upper bound: attention has no known constant." in section(text, "lipschitz")
    assert "vacuous" not in section(text, "lipschitz").partition("median slope")[2]


def test_what_lies_above_the_cap_says_so():
    capped = search(median=search().median.model_copy(update={"value": 32 / 255, "above": ("value", "high")}))
    assert "More than half of the answers stand against every change up to 32/255." in section(
        report(epsilon=(capped,)), "epsilon"
    )
    free = search(median=no_end(), right_median=no_end()).model_copy(update={"cap": float("nan")})
    plain = section(report(epsilon=(free,)), "epsilon")
    assert "stand against every change that was tried." in plain
    assert "never flipped 2.55 and more" in plain


def test_more_wrong_than_right_is_said():
    median = search().median.model_copy(update={"value": 0.0, "low": 0.0})
    assert "Half of the answers or more were wrong before" in section(
        report(epsilon=(search(median=median),)), "epsilon"
    )


def test_many_classes_are_folded_and_the_page_stays_light(large):
    assert len(large.encode()) < 4_000_000
    for name in ("epsilon", "attribution"):
        text = re.search(rf'<section id="{name}".*?</section>', large, re.DOTALL)[0]
        assert "<summary>All 200 classes</summary>" in text
        assert "the 15 first and last of 200" in text
    assert "<details" not in re.search(r'<section id="trust".*?</section>', large, re.DOTALL)[0]
    assert "by group" in section(large, "epsilon")


def test_a_failed_sanity_check_is_told():
    maps = (
        map_row("grad_cam", sanity=map_row("x").sanity.model_copy(update={"state": "fail", "sentence": "It stayed."})),
    )
    assert "✖ 0.08 of 32 images It stayed." in section(report(attribution=where(maps=maps)), "attribution")


def test_pictures_of_one_image_stand_together_once(rich):
    text = re.search(r'<ul class="looks".*?</ul>', rich, re.DOTALL)[0]
    assert text.count("<li>") == 9
    assert text.count("<img") == 9 * 4
    assert 'style="--maps: 4"' in text


def test_the_raw_numbers_hold_no_pictures(rich):
    raw = re.search(r'<pre id="numbers"[^>]*>(.*?)</pre>', rich, re.DOTALL)[1]
    assert "smooth_grad" in raw
    assert "data:image" not in raw


def test_hostile_names_stay_text():
    hostile = "</script><script>alert('1')</script><img src=x onerror=alert(2)>"
    layer = LayerNorm(name=hostile, layers=(hostile,), kind=hostile, norm=1.0, iterations=3, converged=True)
    text = report(
        **(far((hostile, *NAMES[1:])) | {"lipschitz": lipschitz(layers=0).model_copy(update={"layers": (layer,)})})
    )
    assert Page(text).faults == []
    assert "<img src=x" not in text
    assert "<script>alert" not in text


def test_the_words_in_the_terminal_stay_as_they_were():
    assert words(run("issued").model_copy(update=far())) == words(run("issued"))


def test_effects_and_reversals_have_signs():
    back = region(difference=near(-0.3, 0.1, 400), reliance="background", effect=near(-0.4, 0.1, 400))
    plain = section(report(attribution=where(maps=(), regions=(back,), agreements=())), "attribution")
    assert "The answer relies on the background" in plain
    assert "−0.3 −0.4 to −0.2 background" in plain
    assert "Maps Every map" not in plain


def test_images_are_counted_row_by_row_where_hidden_parts_differ(rich):
    hidden = region().occlusions
    uneven = region(occlusions=(hidden[0].model_copy(update={"n": 400}), *hidden[1:]))
    assert "When one part is occluded, of 460 images:" in section(rich, "attribution")
    plain = section(report(attribution=where(regions=(uneven,))), "attribution")
    assert "When one part is occluded:" in plain
    assert "object blurred 400 30.0 %" in plain


def test_images_without_an_object_are_told_at_once():
    plain = section(report(attribution=where(regions=(region(without_object=40),))), "attribution")
    assert "The object is what the data marks; 460 of 500 images that were right, p < 0.001." in plain


def test_captions_begin_with_a_capital(rich):
    captions = re.findall(r"<caption><span>([^<]*)", rich)
    assert captions
    small = where(maps=(map_row("gradient", sentence="where a pixel moves the logit"),))
    captions += re.findall(r"<caption><span>([^<]*)", report(attribution=small))
    assert not [text for text in captions if text.strip()[:1].islower()]


def test_a_search_confined_to_a_region_is_named_without_it():
    found = lipschitz(search_name="ray(norm='l2', part='whole', region='grad_cam')")
    assert "; attacks (ray(norm='l2') first among them) flip half of them" in section(
        report(lipschitz=found), "lipschitz"
    )


def test_an_object_that_does_not_beat_the_blob_is_not_shown_as_leaned_on():
    for beaten, shown in ((True, False), (False, True)):
        control = Control(n=460, effect=near(0.3, 0.1, 460), p_value=0.2, is_exceeded=beaten)
        attribution = where(regions=(region("grad_cam", control=control),), agreements=())
        assert ("no more than a blob" in section(report(attribution=attribution), "attribution")) is shown
