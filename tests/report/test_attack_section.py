"""The section on attacks and the curve of accuracy against eps, for plans of all sorts."""

import html
import re

import pytest

from demur.analysis import analyse
from demur.report import render
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
    begins = text.index("What someone who knows the model can do")
    plain = re.sub(r"<[^>]+>", " ", text[begins : text.index("</section>", begins)])
    return re.sub(r"\s+", " ", html.unescape(plain))


def rows_of(results):
    return against_eps(results).spec["datasets"]["rows"]


def test_every_attack_has_its_line(results, section):
    for row in results.attacks:
        assert row.sentence in section
    (aimed,) = (row for row in results.attacks if row.target)
    assert f"towards the class bar; {aimed.target_success.value * 100:.1f} % reached it" in section
    assert "such changes have no size" in section


def test_what_was_searched_is_told_and_what_was_not_is_not(results, section):
    parts = re.split(r"(?=Screen, curve, verdict|Screen, verdict|Minimal perturbations)", section)[1:]
    assert [part.partition(" Every")[0].partition(" The smallest")[0].strip() for part in parts] == [
        "Screen, curve, verdict",
        "Screen, curve, verdict",
        "Screen, verdict",
    ]
    for found, part in zip(results.robustness, parts, strict=True):
        assert found.sentence in part
        assert ("Half of the answers flip under" in part) is bool(found.curve)
        assert ("Median change" in part) is bool(found.curve)
        assert "searched for" not in part
        assert ("stand against changes of" in part) is (found.eps is not None)
        assert ("the minimal-norm search on all" in part) is found.unlimited
        for stage in found.stages:
            assert f" {stage.name.upper().replace('_', '-')} {stage.n} {stage.successes} {stage.passes:,} " in part
        for row in found.per_class:
            assert f" {row.name} {row.n} " in part


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
    words = "At 0.05, 0.07 and 0.1 an ensemble of attacks stood behind it; elsewhere it rests on the search"
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
