"""The page of a comparison: its numbers, its words for charts, and that it asks the network for nothing."""

import json
import re

import pytest

from demur.analysis.compare_runs import compare
from demur.report.comparison_lines import answer_tone
from demur.report.comparison_page import CONTENTS, comparison_page, write_comparison
from tests.analysis import hardened_runs as made
from tests.report.parsed_page import Page

HOSTILE = "<img src=x onerror=alert(1)>"
STRONG = {"strength": 3.0, "seed": 1}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("page")
    return [
        made.run(root / "plain"),
        made.run(root / "hard", **STRONG),
        made.run(root / "masked", **STRONG | {"seed": 2}, failed=[made.FAILED], without=(made.PGD,)),
    ]


@pytest.fixture(scope="module")
def found(folders):
    return compare(folders)


@pytest.fixture(scope="module")
def page(found):
    return Page(comparison_page(found))


def test_it_is_well_formed_and_asks_the_network_for_nothing(page):
    assert page.faults == []
    assert [link for link in page.links if not link.startswith("#")] == []
    styles = "".join(re.findall(r"<style>(.*?)</style>", page.html, re.DOTALL))
    assert "url(" not in styles
    assert "@import" not in styles
    policy = page.all("meta")[3]["content"]
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-")


def test_the_answer_stands_at_the_top(page, found):
    assert "B: yes; C: looks robust, is masked." in page.text
    for each in found.hardening:
        assert f"{each.headline}. {each.sentence}" in page.text


def test_of_two_runs_the_answer_is_one_sentence(folders):
    html = comparison_page(compare(folders[:2]))
    assert "Did hardening help?every run against A Yes: B is harder to fool than A." in Page(html).text.replace(
        "? ", "?"
    )
    assert 'class="first tone-good"' in html
    assert 'class="first tone-stop"' in comparison_page(compare([folders[0], folders[2]]))


def test_of_different_answers_a_mask_colours_the_page_and_nothing_else_does(found):
    plain = found.hardening[0]
    no = plain.model_copy(update={"answer": "no"})
    assert answer_tone(found) == "stop"
    assert answer_tone(found.model_copy(update={"hardening": (plain, no)})) == "open"
    assert answer_tone(found.model_copy(update={"hardening": (no, no)})) == "stop"


def test_every_phase_is_a_row_with_every_number(page, found):
    for phase in found.phases:
        assert phase.title in page.text
        for each in phase.differences:
            assert each.outcome in {"better", "worse", "noise", "void"}
    clean = next(each for each in found.phases if each.kind == "clean")
    one, other = (cell.value for cell in clean.cells[:2])
    difference = clean.difference("B").difference
    shown = f"Clean 240 {100 * one.value:.1f} % {100 * one.low:.1f}–{100 * one.high:.1f} {100 * other.value:.1f} %"
    assert shown in page.text
    assert f"{100 * difference.value:+.1f}".replace("-", "−") in page.text
    assert page.html.count('<span class="outcome void">✖ void</span>') >= 2
    assert "— not measured" in page.text


def test_what_is_noise_is_listed_for_every_run(page, found):
    for second in ("B", "C"):
        told = [phase.difference(second) for phase in found.phases if phase.difference(second)]
        noise = [
            phase.title for phase in found.phases if (each := phase.difference(second)) and each.outcome == "noise"
        ]
        name = {run.letter: run.path.rpartition("/")[2] for run in found.runs}[second]
        assert f"{second} {name} against A plain: {len(told)} differences" in page.text
        assert f"No more than noise: {len(noise)} {'; '.join(noise)}" in page.text


def test_failed_checks_and_missing_conditions_are_said(page):
    assert "C masked: 1 of " in page.text
    assert "gradients are blunt (bears on attacks): Images whose gradient was of no use, 70 of 90." in page.text
    assert f"C did not measure {made.PGD}." in page.text


def test_every_chart_has_words_and_its_numbers(page, found):
    drawn = [attrs for attrs in page.all("div") if attrs.get("class") == "canvas"]
    assert [attrs["id"] for attrs in drawn] == ["chart-standing-linf", "chart-risks"]
    for attrs in drawn:
        assert attrs["role"] == "img"
        assert "A plain, B hard, C masked" in attrs["aria-label"]
    specs = [json.loads(text) for text in re.findall(r'class="spec"[^>]*>(.*?)</script>', page.html, re.DOTALL)]
    rows = specs[0]["datasets"]["rows"]
    assert {row["run"] for row in rows} == {"A plain", "B hard", "C masked"}
    curve = found.standing[0].curves[1]
    own = [row["standing"] for row in rows if row["run"] == "B hard"]
    assert own == [pytest.approx(point.standing.value, abs=1e-5) for point in curve.points]


def test_every_table_has_a_caption_scoped_heads_and_ids_are_unique(page):
    assert len(page.all("caption")) == len(page.all("table")) >= 6
    assert all(head.get("scope") in {"col", "row", "rowgroup"} for head in page.all("th"))
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))


def test_sections_are_those_there_is_something_in(page, tmp_path):
    every = [attrs["id"] for attrs in page.all("section") if "id" in attrs]
    assert every == [name for name, _ in CONTENTS]
    bare = (made.FGSM, made.PGD, made.ENSEMBLE)
    runs = [made.run(tmp_path / str(k), seed=k, without=bare) for k in (0, 1)]
    parts = Page(comparison_page(compare(runs)))
    assert "searches" not in [attrs.get("id") for attrs in parts.all("section")]
    assert "It cannot be told whether B is harder to fool." in parts.text


def test_the_page_has_the_numbers_of_the_json(page, found):
    raw = re.search(r'<pre id="numbers"[^>]*>(.*?)</pre>', page.html, re.DOTALL)[1]
    assert json.loads(raw.replace("&#34;", '"').replace("&lt;", "<").replace("&#39;", "'").replace("&gt;", ">")) == (
        json.loads(found.model_dump_json())
    )


def test_hostile_names_stay_text(found):
    runs = tuple(run.model_copy(update={"model": HOSTILE, "path": HOSTILE}) for run in found.runs)
    html = comparison_page(found.model_copy(update={"runs": runs, "data": HOSTILE}))
    assert "<img src=x" not in html
    assert Page(html).faults == []


def test_it_is_written_whole(found, tmp_path):
    target = write_comparison(tmp_path / "c.html", found)
    assert target.read_text("utf-8") == comparison_page(found)
    assert [path.name for path in tmp_path.iterdir()] == ["c.html"]
