"""`demur compare`: words, JSON, and what it refuses."""

import json
import re

import pytest
from tests.analysis import perturbation_runs as made
from tests.cli.conftest import refused
from tests.report.parsed_page import Page

from demur.analysis.paired_runs import Comparison
from demur.cli import comparison_words

OTHER = {"model": "zoo:two", "model_sha256": "m2", "plan_sha256": "p2"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    made.run(root / "one", few=10)
    made.run(root / "two", scale=1.8, seed=1, accuracy=0.95, facts=OTHER, few=10)
    return root


def test_it_says_who_resists_better(demur, runs):
    said = demur("compare", runs / "one", runs / "two")
    assert (said.status, said.err) == (0, "")
    lines = said.out.splitlines()
    assert lines[:2] == [f"A  {runs / 'one'}: zoo:one", f"B  {runs / 'two'}: zoo:two"]
    assert lines[3] == "Did hardening help? Yes: B is harder to fool than A."
    assert lines[4].startswith("  Worst case up to 0.1 (L∞): A is right on ")
    assert lines[6].startswith("B against A. B is right more often: A alone on ")
    assert "B resists better: it takes a larger change on " in lines[6]
    assert lines[7].startswith("  Clean: A ")
    assert lines[-1].startswith("  Intervals are 95 %, by image; those of differences hold for all ")
    assert sum(line.startswith("  What ") for line in lines) == 5
    text = said.out
    for words in (
        "Of those that both had right: median A ",
        "/255 (",
        "B most ahead, p for all classes at once: ",
        " points (",
    ):
        assert words in text
    assert "nan" not in text
    assert "inf" not in text


@pytest.mark.parametrize(("few", "named"), [(5, False), (12, True)])
def test_a_class_of_few_images_is_not_named(demur, tmp_path, monkeypatch, few, named):
    monkeypatch.setattr(comparison_words, "_CLASSES", 5)
    made.run(tmp_path / "a", few=few)
    made.run(tmp_path / "b", scale=20, seed=1, few=few, facts=OTHER)
    assert ("elk" in demur("compare", tmp_path / "a", tmp_path / "b").out) == named


def test_classes_that_differ_by_no_more_than_noise_are_not_named(demur, tmp_path):
    made.run(tmp_path / "a", few=10)
    made.run(tmp_path / "b", seed=1, few=10, facts=OTHER)
    text = demur("compare", tmp_path / "a", tmp_path / "b").out
    assert "No class by itself differs by more than noise." in text
    assert "most ahead" not in text


def test_a_verdict_is_said_once(demur, runs):
    found = Comparison.model_validate_json(demur("compare", runs / "one", runs / "two", "--json").out)
    verdict = found.pairs[0].searches[0].verdict.removesuffix(".")
    assert demur("compare", runs / "one", runs / "two").out.count(verdict) == 1


def test_as_json_it_says_everything(demur, runs):
    said = demur("compare", runs / "one", runs / "two", "--json")
    assert said.status == 0
    found = Comparison.model_validate(json.loads(said.out))
    assert [run.model for run in found.runs] == ["zoo:one", "zoo:two"]
    assert len(found.pairs[0].searches[0].per_class) == 5


def test_every_comparison_is_counted_as_an_opening(demur, tmp_path):
    folders = [made.run(tmp_path / "runs" / name, seed=at) for at, name in enumerate(("one", "two"))]
    demur("compare", *folders)
    lines = [json.loads(line) for line in (tmp_path / "runs" / "opened.jsonl").read_text().splitlines()]
    assert [(line["run"], line["split"], line["by"]) for line in lines] == [
        ("one", "test", "compare"),
        ("two", "test", "compare"),
    ]


def test_nothing_flipped_and_nothing_in_common_are_said(demur, tmp_path):
    made.run(tmp_path / "one", accuracy=1.0, scale=1e4)
    made.run(tmp_path / "two", accuracy=1.0, scale=1e4, facts=OTHER)
    said = demur("compare", tmp_path / "one", tmp_path / "two")
    assert said.status == 0
    assert "> 63.8/255" in said.out
    assert "nan" not in said.out


def test_what_cannot_be_compared_is_refused(demur, runs, tmp_path):
    refused(demur("compare", runs / "one"), "at least two run folders")
    refused(demur("compare", runs / "one", tmp_path), "no run.json", str(tmp_path))
    other = made.run(tmp_path / "other", facts={"data_sha256": "d2"})
    refused(demur("compare", runs / "one", other), "different images or labels", "--limit")


@pytest.mark.parametrize("place", ["last", "first", "among"])
def test_a_page_without_a_name_has_one(demur, runs, tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    one, two = runs / "one", runs / "two"
    words = {"last": (one, two, "--html"), "first": ("--html", one, two), "among": (one, "--html", two)}[place]
    said = demur("compare", *words)
    assert said.status == 0
    assert said.out.splitlines()[-1] == "Page: comparison.html"
    assert [path.name for path in tmp_path.glob("*.html")] == ["comparison.html"]


def test_a_page_is_written_where_it_is_asked_for_and_agrees_with_the_words(demur, runs, tmp_path):
    target = tmp_path / "both.html"
    said = demur("compare", runs / "one", runs / "two", "--html", target)
    assert said.out.splitlines()[-1] == f"Page: {target}"
    text = Page(target.read_text("utf-8")).text
    answer = said.out.splitlines()[3].removeprefix("Did hardening help? ")
    assert answer in text
    phases = re.findall(r"(p [=<] [0-9.]*[0-9]): ([▲▼≈] (?:better|worse|noise))\.", said.out)
    assert len(phases) == 2
    assert all(f"{chance}{outcome}" in text for chance, outcome in phases)


def test_json_and_a_page_go_together(demur, runs, tmp_path):
    said = demur("compare", runs / "one", runs / "two", "--html", tmp_path / "p.html", "--json")
    assert Comparison.model_validate_json(said.out).tested > 1
    assert (tmp_path / "p.html").exists()


def test_a_page_that_cannot_be_written_is_refused(demur, runs, tmp_path):
    (tmp_path / "file").write_text("in the way")
    refused(demur("compare", runs / "one", runs / "two", "--html", tmp_path / "file" / "p.html"), "file")
