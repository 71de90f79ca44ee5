"""Robust accuracy is the lowest of all that was run, at every size: made records whose truth is plain."""

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demur.analysis.robustness.attack_tables import is_fooled
from demur.analysis.robustness.least_distances import edge, least_distances, search_distances
from demur.analysis.robustness.manipulation import manipulation
from demur.analysis.robustness.robust_accuracy import robustness
from demur.analysis.verdict.attack_checks import attack_checks

STANDS = math.inf


class Made:
    """As much of a run as these tables read: images in order, attacks in the order they were added."""

    def __init__(self, wrong_already):
        self.ids = [f"image {k}" for k in range(len(wrong_already))]
        self.facts, self.classes, self.guard = {"flags": []}, ("a", "b"), None
        self.entries, self.tables = [], {}
        self._add("clean", {"kind": "clean"}, np.where(wrong_already, 0.0, STANDS))

    def optional_facts(self, name):
        return None

    @property
    def every_clean(self):
        return self.rows("clean")

    def _add(self, name, entry, distances, order=None, **columns):
        fooled = np.isfinite(distances)
        labels = np.arange(len(self.ids)) % 2
        table = pl.DataFrame(
            {
                "sample_id": self.ids,
                "group": pl.Series([None] * len(self.ids), dtype=pl.String),
                "label": labels,
                "predicted": np.where(fooled, 1 - labels, labels),
                "condition": name,
                "distance.linf": pl.Series(np.where(fooled, distances, 0.0), dtype=pl.Float32),
                "epsilon.minimal": pl.Series(np.where(fooled, distances, np.nan), dtype=pl.Float32),
                "epsilon.censored": ~fooled,
                "step": np.where(fooled, 1, -1),
                "forwards": 1,
                "backwards": 1,
                "flags": 0,
                "loss.start": 0.0,
                "loss.kept": 1.0,
                **columns,
            }
        )
        self.tables[name] = table if order is None else table[order]
        facts = {"external": False, "ascent": None, "series": None, "stages": [], "blind": False}
        usual = {"norm": "linf", "severity": 0.0, "keep": "first", "target": None, "unlimited": False, "attack": facts}
        self.entries.append(usual | {"name": name, "family": name.partition(" ")[0], "sentence": name} | entry)

    def attack(self, name, distances, eps, **entry):
        self._add(name, {"kind": "attack", "severity": eps} | entry, np.asarray(distances, float))
        return self

    def search(self, name, distances, kind="attack", order=None):
        entry = {"kind": kind, "keep": "nearest", "unlimited": True}
        self._add(name, entry, np.asarray(distances, float), order)
        return self

    def ensemble(self, name, distances, eps, search):
        stages = [{"name": "fmn", "blind": False}, {"name": "apgd", "blind": False}]
        facts = self.entries[0]["attack"] | {"stages": stages}
        entry = {"kind": "attack", "keep": "nearest", "severity": eps, "unlimited": search is not None, "attack": facts}
        columns = {"stage": pl.Series([None] * len(self.ids), dtype=pl.String), "passes.apgd": 1}
        if search is not None:
            alone = np.asarray(search, float)
            values = pl.Series(np.where(np.isfinite(alone), alone, np.nan), dtype=pl.Float32).fill_nan(None)
            columns |= {"epsilon.search": values}
        self._add(name, entry, np.asarray(distances, float), **columns)
        return self

    def conditions(self, kind, keep=None):
        return [each for each in self.entries if each["kind"] == kind and keep in {None, each["keep"]}]

    def rows(self, name):
        return self.tables[name]

    drawn = rows


FIRST = [True, False, False, False]


def disagreeing():
    """The second image falls to the attack at less than the search found; the last stands."""
    made = Made(FIRST).search("fmn", [0, 0.3, 0.1, STANDS])
    return made.attack("pgd", [0, 0.18, 0.2, STANDS], 0.2).attack("pgd l2", [0, 0.25, 0.05, 0.7], 1.0, norm="l2")


def test_the_least_of_all_counts_image_by_image():
    made = disagreeing()
    found = least_distances(made, "linf", made.rows("fmn"))
    assert found == pytest.approx([0, 0.18, 0.05, 0.7])
    assert search_distances(made, "linf", made.rows("fmn")) == pytest.approx([0, 0.3, 0.1, STANDS])


def test_only_those_named_count():
    made = disagreeing()
    assert least_distances(made, "linf", made.rows("fmn"), {"pgd"}) == pytest.approx([0, 0.18, 0.2, STANDS])


def test_the_curve_the_median_and_the_first_screen_follow_the_least():
    made = Made(FIRST).search("fmn", [0, 0.3, 0.1, STANDS]).attack("pgd", [0, 0.18, 0.2, STANDS], 0.2)
    (found,) = robustness(made)
    at = {round(point.eps, 3): point.robust_accuracy.value for point in found.curve}
    assert at[0] == 0.75
    assert at[0.2] == 0.25, "half by the search alone"
    assert {value for eps, value in at.items() if eps < 0.09} == {0.75}
    assert {value for eps, value in at.items() if 0.11 < eps < 0.17} == {0.5}
    assert found.median_distance.value == pytest.approx(0.1)
    assert (found.censored, found.unlimited, found.eps) == (1, True, None)
    first = manipulation(made)
    assert (first.eps, first.robust_accuracy.value) == (0.2, 0.25)
    assert first.median_distance.value == found.median_distance.value


def test_a_stage_that_made_no_pass_is_not_credited():
    made = Made(FIRST).ensemble("ensemble", [0, 0.1, 0.2, STANDS], 0.1, None)
    made.tables["ensemble"] = made.tables["ensemble"].with_columns(pl.lit(0).alias("passes.square"))
    assert manipulation(made).sentence.startswith("APGD knew the whole model; none knew the guard. 4 test images")


def test_where_nobody_had_the_model_it_is_said_that_more_is_not_known():
    made = Made(FIRST).attack("square", [0, 0.1, 0.2, STANDS], 0.2)
    made.entries[-1]["attack"] = {**made.entries[-1]["attack"], "blind": True}
    made.tables["square"] = made.tables["square"].with_columns(pl.lit(3).alias("forwards"))
    said = manipulation(made).sentence
    assert "SQUARE saw its answers alone" in said
    assert "what one who has the model would find is not known. 4 test images" in said


def test_images_are_matched_by_their_name_whatever_the_order_and_some_may_be_missing():
    made = Made(FIRST).search("fmn", [0, 0.3, 0.1, STANDS])
    made.search("ray", [0, 0.01, 0.02, 0.03], kind="epsilon", order=[3, 1])
    assert least_distances(made, "linf", made.rows("fmn")) == pytest.approx([0, 0.01, 0.1, 0.03])
    assert least_distances(made, "linf", made.rows("ray")) == pytest.approx([0.03, 0.01])


def test_a_point_that_the_rounding_of_its_ball_lets_out_counts_at_its_edge():
    made = Made([False]).attack("pgd", [0.5 + 3e-5], 0.5)
    assert least_distances(made, "linf", made.rows("pgd"))[0] == 0.5


def test_an_attack_that_goes_on_where_the_answer_is_wrong_changes_nothing_of_it():
    made = Made([True]).attack("pgd", [0.3], 0.3, keep="worst")
    assert least_distances(made, "linf", made.rows("pgd"))[0] == 0


def test_sizes_of_ensembles_are_marked_and_bare_searches_of_their_norm_are_not_told_apart():
    made = Made(FIRST).ensemble("ensemble 1", [0, 0.1, 0.2, STANDS], 0.1, [0, 0.1, 0.2, STANDS])
    made.ensemble("ensemble 2", [0, 0.1, 0.2, 0.3], 0.3, None).search("fmn", [0, 0.4, 0.4, 0.4])
    made.attack("fgsm", [0, STANDS, 0.25, STANDS], 0.25)
    first, second = robustness(made)
    assert [found.condition for found in (first, second)] == ["ensemble 1", "ensemble 2"]
    assert (first.unlimited, second.unlimited) == (True, False)
    assert (first.robust_accuracy.value, second.robust_accuracy.value) == (0.5, 0)
    assert [point.eps for point in first.curve if point.ensemble] == [0.1, 0.3]
    assert any(point.eps == 0.25 and not point.ensemble for point in first.curve)
    assert [p.robust_accuracy.value for p in first.curve if p.eps == 0.25] == [0.25]


def test_a_curve_ends_at_the_size_that_was_searched_or_where_the_last_image_flips():
    near = Made(FIRST).ensemble("ensemble", [0, 0.01, 0.02, STANDS], 0.1, [0, 0.01, 0.02, STANDS])
    far = Made(FIRST).ensemble("ensemble", [0, 0.01, 0.7, STANDS], 0.1, [0, 0.01, 0.7, STANDS])
    assert [robustness(made)[0].curve[-1].eps for made in (near, far)] == pytest.approx([0.1, 0.7], rel=0.03)


def test_without_a_search_there_is_no_curve():
    made = Made(FIRST).ensemble("ensemble", [0, 0.1, STANDS, STANDS], 0.1, None)
    (found,) = robustness(made)
    assert (found.curve, found.robust_accuracy.value) == ((), 0.5)
    assert math.isnan(found.median_distance.value)


def warned(made):
    return [each for each in attack_checks(made) if each.name == "the search keeps up with the attacks"]


@pytest.mark.parametrize(("behind", "state"), [(0, "pass"), (4, "pass"), (9, "warn")])
def test_a_search_that_falls_clearly_behind_is_named_with_what_it_leaves_and_what_they_do(behind, state):
    images = np.arange(200)
    made = Made(np.zeros(200, bool)).ensemble(
        "ensemble", np.where(images < 100, 0.05, 0.4), 0.1, np.where(images < 100, 0.05, 0.4)
    )
    fallen = np.where((images >= 100) & (images < 100 + behind), 0.3, STANDS)
    (found,) = warned(made.attack("fgsm", np.full(200, STANDS), 0.2).attack("pgd", fallen, 0.3))
    assert (found.state, found.count, found.of) == (state, behind, 200)
    if behind:
        assert "at 0.3 (L∞)" in found.sentence
        assert f"by it 50.0% stand, by all {0.5 - behind / 200:.1%}" in found.sentence


def test_the_search_of_an_ensemble_is_judged_by_what_it_found_itself():
    nearest, alone = np.full(100, 0.1), np.full(100, 0.2)
    (found,) = warned(Made(np.zeros(100, bool)).ensemble("ensemble", nearest, 0.1, alone))
    assert (found.state, found.count) == ("warn", 100)


def test_without_a_search_or_without_another_attack_nothing_is_compared():
    assert warned(Made(FIRST).attack("pgd", [0, 0.1, STANDS, STANDS], 0.1)) == []
    assert warned(Made(FIRST).search("fmn", [0, 0.1, 0.2, 0.3])) == []


@st.composite
def random_runs(draw):
    seed = draw(st.integers(0, 10**6))
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 30))
    already = rng.random(n) < 0.2

    def found(largest):
        distances = np.where(rng.random(n) < rng.random(), largest * rng.random(n) ** 0.3, STANDS)
        return np.where(already, 0.0, distances)

    made = Made(already)
    for k in range(int(rng.integers(1, 6))):
        eps, kind = float(rng.choice([0.05, 0.1, 2 / 255, 0.3])), rng.integers(4)
        if kind == 0:
            made.search(f"fmn {k}", found(0.5))
        elif kind == 1:
            alone = found(0.5)
            made.ensemble(f"ensemble {k}", np.fmin(found(eps), alone), eps, alone)
        else:
            keep = "worst" if kind == 2 else "first"
            made.attack(f"pgd {k}", found(eps) * (1 + 1e-6), eps, keep=keep, target=rng.choice([None, "a"]))
    return made


@settings(max_examples=60, deadline=None)
@given(made=random_runs())
def test_at_no_size_is_robust_accuracy_above_that_under_any_attack_of_at_most_this_size(made):
    attacks = made.conditions("attack")
    rows = made.rows(attacks[0]["name"])
    least = least_distances(made, "linf", rows)
    sizes = np.linspace(0, 0.6, 25)
    for entry in attacks:
        own = made.rows(entry["name"])
        distance = own["distance.linf"].to_numpy()
        for size in {*sizes, entry["severity"]}:
            if entry["unlimited"]:
                right = ~((own["predicted"] != own["label"]).to_numpy() & (distance <= edge(size)))
            elif entry["severity"] <= size:
                right = ~is_fooled(own, entry)
            else:
                continue
            assert (least > (edge(size) if size else 0)).mean() <= right.mean()
    for found in robustness(made):
        right = [point.robust_accuracy.value for point in found.curve]
        assert right == sorted(right, reverse=True)
