"""The section on attacks and the curve of accuracy against eps, for plans of all sorts."""

import html
import re

import pytest

from demur.analysis import analyse
from demur.report import render
from demur.report.attack_lines import stage_lines
from demur.report.charts.perturbation_charts import against_eps
from demur.report.perturbation_words import curve_words
from tests import tiny

PLAN = (
    "clean",
    "pgd(eps=[0.05, 0.1], steps=4)",
    "pgd(eps=0.05, steps=4, target='bar')",
    "pgd(eps=0.3, norm='l2', steps=4)",
    "fmn(steps=10)",
    "ensemble(eps=[0.05, 0.1], preset='quick')",
    "ensemble(curve=false, eps=0.07, preset='quick')",
    "spatial(steps=3)",
)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return analyse(tiny.run(tmp_path_factory.mktemp("attacks") / "run", conditions=PLAN, attacked=60))


@pytest.fixture(scope="module")
def section(results):
    text = render(results)
    begins = text.index("What someone can do to it on purpose")
    plain = re.sub(r"<[^>]+>", " ", text[begins : text.index("</section>", begins)])
    return re.sub(r"\s+", " ", html.unescape(plain))


def rows_of(results):
    return against_eps(results).spec["datasets"]["rows"]


def test_every_attack_has_its_line_by_its_short_name(results, section):
    for row in results.attacks:
        assert f" {results.titles[row.condition].title} " in section
    (aimed,) = (row for row in results.attacks if row.target)
    assert f"PGD, eps 0.05 (5 %), towards bar, 4 steps {aimed.target_success.value * 100:.1f} % reached it" in section
    assert "such changes have no size" in section


def test_points_of_a_size_and_nearest_ones_are_not_one_ranking(results, section):
    sized, nearest = section.partition(" Every attack")[2].split(" Nearest points: ")[:2]
    assert "PGD, eps 0.05 (5 %), 4 steps" in sized
    assert "Ensemble" not in sized
    assert "FMN, 10 steps, minimal points" in nearest


def test_what_was_searched_is_told_and_what_was_not_is_not(results, section):
    parts = re.split(r"(?=Ensemble, eps [\d.]+ \(\d+ %\)[a-z, ]*: screen)", section)[1:]
    assert [part.partition(": screen, ")[2].split()[0] for part in parts] == [
        "curve,",
        "curve,",
        "verdict",
    ]
    for at, (found, part) in enumerate(zip(results.robustness, parts, strict=True)):
        assert ("Half of the answers flip under" in part) is bool(found.curve)
        assert ("Median change" in part) is (bool(found.curve) and not at)  # the same for all sizes: said once
        assert "searched for" not in part
        assert ("stand against changes of" in part) is (found.eps is not None)
        assert ("the search for minimal perturbations runs on all" in part) is found.unlimited
        for row in found.per_class:
            assert f" {row.name} {row.n} " in part


def test_the_stages_of_an_ensemble_add_up(results, section):
    for found in results.robustness:
        before, *lines = stage_lines(found)
        assert before.fooled == round(found.n * (1 - found.accuracy.value))
        standing = before.standing
        for line, stage in zip(lines, found.stages, strict=True):
            assert (line.n, line.fooled, line.passes) == (stage.n, stage.successes, stage.passes)
            assert line.standing == standing - line.fooled >= 0
            standing = line.standing
            assert f" {line.name} {line.n} " in section
        assert before.fooled + sum(line.fooled for line in lines) + standing == found.n


def test_attacks_that_made_no_pass_are_not_credited_and_each_says_what_it_knew(results):
    said = results.manipulation.sentence
    passes = {}
    for found in results.robustness:
        for stage in found.stages:
            name = stage.name.upper().replace("_", "-")
            passes[name] = passes.get(name, 0) + stage.passes
    assert passes["NOISE"] > 0
    assert "NOISE drew at random" in said
    alone = {"PGD", "FMN", "SPATIAL"}
    assert {name for name in passes if name in said.replace(",", " ").replace(";", " ").split()} - alone == {
        name for name, count in passes.items() if count
    } - alone
    assert "knew the whole model" in said
    assert said.endswith("none knew the guard. 60 test images, chosen by hash; a stronger search can only find more.")


def test_the_curve_is_one_of_all_attacks_and_marks_the_sizes_of_ensembles(results):
    rows = rows_of(results)
    curve = [row for row in rows if row["curve"]]
    assert {row["family"] for row in curve} == {"all attacks together"}
    assert len(curve) == len(results.robustness[0].curve)
    assert [row["severity"] for row in rows if row["ensemble"]] == pytest.approx([0.05, 0.07, 0.1])
    marked = [(row["family"], row["severity"]) for row in rows if not row["curve"]]
    assert marked == [("pgd", 0), ("pgd", 0.05), ("pgd", 0.1)]
    for row in rows:
        assert 0 <= row["low"] <= row["accuracy"] <= row["high"] <= 1
    right = [row["accuracy"] for row in curve]
    assert right == sorted(right, reverse=True)
    at = {row["severity"]: row["accuracy"] for row in curve}
    assert all(at[row["severity"]] <= row["accuracy"] for row in rows)


def test_at_which_sizes_an_ensemble_stood_behind_the_curve_is_said_once_in_its_section(results, section):
    words = "At 5 %, 7 % and 10 % an ensemble of attacks stood behind it; elsewhere it rests on the search"
    assert section.count(words) == 1
    assert words in curve_words(results, "linf")
    assert curve_words(results, "l2") == ""
    bare = results.robustness[0].model_copy(
        update={"curve": tuple(point.model_copy(update={"ensemble": False}) for point in results.robustness[0].curve)}
    )
    without = results.model_copy(update={"robustness": (bare,)})
    assert "No ensemble of attacks stood behind any size" in curve_words(without, "linf")


def test_no_attack_no_chart(results):
    assert against_eps(results.model_copy(update={"robustness": (), "attacks": (), "conditions": ()})) is None
