"""The page is one well-formed file that shows what the results hold and asks the network for nothing."""

import base64
import hashlib
import json
import re

import pytest

from demur.report import render
from demur.report.charts import against_eps
from tests.report.example_results import STATES, base, guarantee, provenance, run
from tests.report.parsed_page import Page
from tests.report.simulated_scores import undefined

SECTIONS = (
    "making", "accuracy", "risk-coverage", "signals", "scores", "calibration", "conditions", "classes", "confusion",
    "policies", "checks", "gallery", "glossary", "raw",
)  # fmt: skip
WORDS = {
    "issued": "Guarantee issued",
    "too_few_labels": "Refused: too few labels",
    "model_too_weak": "Refused: model too weak",
    "measurement_failed": "Measurement failed",
    "undeclared": "Criteria not declared",
}
HOSTILE = "</script><script>alert('1')</script><img src=x onerror=alert(2)>"


@pytest.mark.parametrize("state", STATES)
def test_every_state_gives_a_whole_page(state):
    html = render(run(state))
    page = Page(html)
    assert page.faults == []
    assert WORDS[state] in page.text
    assert run(state).next_step in page.text
    assert len(html.encode()) < 5_000_000


def test_the_page_says_how_pictures_came_to_the_model():
    lines = ("images: stretched to 64 × 64 px (bilinear)", "<b>said of it</b>")
    results = run("issued")
    told = results.model_copy(update={"provenance": provenance(preprocessing=lines)})
    page = Page(render(told))
    assert page.faults == []
    assert all(line in page.text for line in ("Preprocessing", *lines))
    assert "Preprocessing" not in Page(render(results)).text  # of a run that an older demur made


def test_the_page_asks_the_network_for_nothing(page):
    parts = Page(page)
    assert all(link.startswith(("#", "data:image/")) for link in parts.links)
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)[1]
    assert "url(" not in style
    assert "@import" not in style
    assert {"default-src 'none'", "img-src data:"} <= set(policy(parts).split("; "))


def policy(parts):
    return next(meta["content"] for meta in parts.all("meta") if meta.get("http-equiv"))


def test_the_policy_admits_exactly_the_scripts_of_the_page(page):
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digests = {base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts}
    assert set(re.findall(r"'sha256-([^']+)'", policy(Page(page)))) == digests
    assert len(digests) == 2


def test_sections_come_in_reading_order(page):
    found = tuple(attrs["id"] for attrs in Page(page).all("section") if "id" in attrs)
    assert found == SECTIONS


@pytest.mark.parametrize(
    "shown",
    [
        "When it answers, at most 2 in 100 answers are wrong.",
        "95 % confidence, also that it answers at least 68 of 100; 4,000 labelled images, look 1",
        "at least 68.1 % of such images are answered: by the scores of the test split, which chose nothing",
        "This was look 1 at these labels, counted in opened.jsonl beside the run folders; it spent 0.045 of the 0.050",
        "It answers where msp uncertainty ≤ 0.2188: 70 of 100 images; 30 go to a person.",
        "Check on 4,012 unseen images: 34 wrong of 2,814 answered.",
        "Without the guard: 8 in 100 answers are wrong.",
        "Of 1,500 images changed by up to ±10 % per pixel, 1,063 are answered and wrong.",
        "gaussian noise, severity 3 of 5 74.0 % 72.6–75.3 4,012 43.0 % 41.5–44.5 4,012 59 of 1,725 3.4 %",
        "energy 0.891 0.882 to 0.900 −0.030 −0.038 to −0.022",
        "oblivious",
        "812,400 forward and 240,000 backward passes",
        "intervals 95 %, by image",
    ],
)
def test_the_numbers_of_the_results_are_on_the_page(page, shown):
    assert shown in Page(page).text


def test_every_table_has_a_caption_and_scoped_heads(page):
    parts = Page(page)
    assert len(parts.all("caption")) == len(parts.all("table"))
    assert all(head.get("scope") in {"col", "row", "rowgroup"} for head in parts.all("th"))


def test_every_picture_has_words(page):
    parts = Page(page)
    assert all(image["alt"] for image in parts.all("img"))
    drawn = [attrs for attrs in parts.all("div") if attrs.get("class") == "canvas"]
    assert len(drawn) == 7
    assert all(attrs["role"] == "img" and len(attrs["aria-label"]) > 20 for attrs in drawn)


def test_ids_are_unique(page):
    ids = [attrs["id"] for _, attrs in Page(page).tags if "id" in attrs]
    assert len(ids) == len(set(ids))


def test_hostile_names_stay_text():
    results = run("issued")
    hostile = results.model_copy(
        update={
            "classes": (HOSTILE, *results.classes[1:]),
            "worst_class": results.worst_class.model_copy(
                update={"row": results.worst_class.row.model_copy(update={"name": HOSTILE})}
            ),
            "gallery": (results.gallery[0].model_copy(update={"sample_id": HOSTILE, "label": HOSTILE}),),
            "conditions": tuple(row.model_copy(update={"family": HOSTILE}) for row in results.conditions),
            "guarantee": guarantee(signal=HOSTILE),
            "curves": (results.curves[0].model_copy(update={"signal": HOSTILE}),),
            "purpose": {"intended_use": HOSTILE},
            "next_step": HOSTILE,
        }
    )
    html = render(hostile)
    parts = Page(html)
    assert parts.faults == []
    assert "<img src=x" not in html
    assert "<script>alert" not in html
    assert len(parts.all("script")) == len(Page(render(results)).all("script"))
    assert HOSTILE in parts.text


def test_an_undefined_number_is_a_dash_with_its_reason():
    results = run("issued").model_copy(update={"test_accuracy": undefined("no image was kept for testing")})
    text = Page(render(results)).text
    assert "— (no image was kept for testing)" in text
    assert "— no image was flagged" in text
    assert "nan" not in text.lower().split()


def test_a_page_of_almost_nothing_still_stands():
    empty = (
        "signals",
        "curves",
        "histograms",
        "policies",
        "gallery",
        "checks",
        "out_of_scope",
        "void_when",
        "per_class",
    )
    bare = dict.fromkeys(empty, ()) | {"oracle": None, "worst_class": None, "manipulation": None}
    conditions = {"conditions": run("undeclared").conditions[:1]}
    parts = Page(render(run("undeclared").model_copy(update=bare | conditions)))
    assert parts.faults == []
    assert "Not measured: no attack was run." in parts.text


def test_an_attack_without_a_bound_has_no_place_on_the_eps_axis():
    rows = run("issued").conditions
    unbound = rows[-1].model_copy(update={"family": "fmn", "severity": 0.0})
    drawing = against_eps(run("issued").model_copy(update={"conditions": (*rows, unbound)}))
    assert {row["family"] for row in drawing.spec["datasets"]["rows"]} == {"fgsm", "pgd"}


def test_a_guarantee_is_shown_only_when_it_was_issued():
    broken = run("measurement_failed").model_copy(
        update={"guarantee": guarantee(), "conditions": base(True)["conditions"]}
    )
    text = Page(render(broken)).text
    assert "at most 2 in 100" not in text
    assert "✔ holds" not in text
    assert "The certificate" not in text


def test_the_raw_numbers_are_the_results(page):
    raw = re.search(r'<pre id="numbers"[^>]*>(.*?)</pre>', page, re.DOTALL)[1]
    parts = Page(f"<pre>{raw}</pre>")
    kept = json.loads("".join(parts.chunks))
    expected = json.loads(run("issued").model_dump_json())
    for picture in expected["gallery"]:
        picture["thumb"] = None
    assert kept == expected
