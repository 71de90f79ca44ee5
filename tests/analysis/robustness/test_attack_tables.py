"""What is said of attacks, computed again from the Parquet files by slow obvious code."""

import json
import math
from statistics import median_low

import pytest
from tests import tiny
from tests.analysis.plain_rows import rows_of, same, share, wrong

from demur.analysis import analyse

ENSEMBLE = "ensemble(eps=0.05, preset='quick')"
VERDICT = "ensemble(curve=False, eps=0.3, norm='l2', preset='quick')"
NEAREST = "pgd(eps=0.05, keep='nearest', steps=4)"
LENT = "callable(eps=0.05, path='tests.analysis.callable_attacks:ascent')"
BY_L1 = "callable(eps=2.0, norm='l1', path='tests.analysis.callable_attacks:brightened')"
BLIND = "noise(eps=0.05, keep='worst', steps=2)"
SEARCHES = ("fmn(steps=10)", "ddn(steps=20)")
TARGETED = (
    "pgd(eps=0.05, steps=4, target='next')",
    "pgd(eps=0.05, steps=4, target='random')",
    "pgd(eps=0.05, keep='worst', steps=4, target='bar')",
    "fmn(steps=10, target='bar')",
)
PLAN = (NEAREST, TARGETED[-1], ENSEMBLE, VERDICT, *TARGETED[:-1], *SEARCHES, LENT, BY_L1, BLIND, "spatial(steps=3)")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.run(tmp_path_factory.mktemp("robustness") / "run", conditions=("clean", *PLAN), attacked=90)


@pytest.fixture(scope="module")
def results(folder):
    return analyse(folder)


def entry_of(folder, name):
    (entry,) = (each for each in json.loads((folder / "run.json").read_text())["conditions"] if each["name"] == name)
    return entry


def smallest(row):
    return math.inf if row["epsilon.censored"] else row["epsilon.minimal"]


def beaten(row, entry):
    """An attack that keeps smallest changes has won only where one is no larger than its size."""
    sized = entry["keep"] == "nearest" and entry["severity"]
    return wrong(row) and (not sized or smallest(row) <= entry["severity"] + 1e-6)


def wilson(hits, n, z=1.959964):
    middle, half = (hits + z * z / 2) / (n + z * z), z * math.sqrt(hits * (n - hits) / n + z * z / 4) / (n + z * z)
    return middle - half, middle + half


def is_share(found, flags):
    flags = list(flags)
    low, high = wilson(sum(flags), len(flags)) if flags else (math.nan, math.nan)
    return (
        found.n == len(flags)
        and same(found.value, share(flags))
        and (not flags or (math.isclose(found.low, low, abs_tol=1e-3) and math.isclose(found.high, high, abs_tol=1e-3)))
    )


def right_before(folder):
    return {row["sample_id"]: not wrong(row) for row in rows_of(folder, "clean")}


def test_every_attack_of_the_plan_has_its_row_in_the_canonical_words(results):
    assert [row.condition for row in results.attacks] == list(PLAN)


@pytest.mark.parametrize("name", PLAN)
def test_an_attack(folder, results, name):
    (found,) = (row for row in results.attacks if row.condition == name)
    entry, rows, right = entry_of(folder, name), rows_of(folder, name), right_before(folder)
    aimed = [row for row in rows if entry["target"] is None or row["target"] is not None]
    had = [row for row in aimed if right[row["sample_id"]]]
    assert (found.norm, found.eps, found.target) == (entry["norm"], entry["severity"] or None, entry["target"])
    assert found.n == len(rows) == 90
    assert is_share(found.robust_accuracy, [not beaten(row, entry) for row in rows])
    assert is_share(found.success, [beaten(row, entry) for row in had])
    if entry["target"]:
        assert is_share(found.target_success, [row["predicted"] == row["target"] for row in aimed])
        assert len(aimed) > 0
        assert (len(aimed) < 90) is (entry["target"] == "bar")
    else:
        assert found.target_success is None
    if entry["norm"] == "none":
        changes = [math.nan]
    elif entry["keep"] == "nearest":
        changes = [smallest(row) for row in aimed]
    else:
        changes = [row[f"distance.{entry['norm']}"] for row in had if wrong(row)]
    middle = median_low(changes) if changes else math.nan
    assert same(found.median_distance.value, middle if math.isfinite(middle) else math.nan)
    assert found.faults == sum(row["flags"] > 0 for row in rows)
    assert found.forwards == sum(row["forwards"] for row in rows)
    assert found.backwards == sum(row["backwards"] for row in rows)


def test_an_image_that_was_wrong_before_is_no_success_of_a_targeted_attack(folder, results):
    right = right_before(folder)
    for name in TARGETED[:2]:
        before = [row for row in rows_of(folder, name) if not right[row["sample_id"]] and row["step"] != 0]
        assert before, "the fixture must show rows that are wrong and not at their target"
        assert any(wrong(row) for row in before)
        (found,) = (row for row in results.attacks if row.condition == name)
        assert found.success.n == sum(right[row["sample_id"]] for row in rows_of(folder, name))


def test_what_an_attack_from_elsewhere_did_is_told(folder, results):
    rows = rows_of(folder, LENT)
    crashed = [row for row in rows if row["flags"] & 32]
    silent = [row for row in rows if row["flags"] & 16]
    assert crashed
    assert silent
    assert {row["crash"] for row in crashed} == {"RuntimeError: too few"}
    assert all(row["distance.linf"] == 0 for row in crashed + silent)
    checked = {check.name: check for check in results.checks}
    assert checked["attacks do not crash"].count == len(crashed)
    assert checked["attacks return what they find"].count == len(silent)
    assert checked["attacks do not crash"].of == 2 * 90
    for row in rows_of(folder, BY_L1):
        assert row["distance.l1"] == pytest.approx(row["distance.linf"] * 64, rel=0.3, abs=1e-6)
        assert row["distance.l1"] <= 2 + 1e-4


def test_every_norm_has_the_tables_of_its_ensembles(results):
    assert [found.condition for found in results.robustness] == [ENSEMBLE, VERDICT]
    assert [found.unlimited for found in results.robustness] == [True, False]
    assert all(found.curve for found in results.robustness), "in L2 another attack searches"


def least(folder, norm):
    """What is the least change of each image, of all points that fool the model."""
    found = {row["sample_id"]: 0.0 if wrong(row) else math.inf for row in rows_of(folder, "clean")}
    for name in PLAN:
        for row in rows_of(folder, name):
            if wrong(row):
                found[row["sample_id"]] = min(found[row["sample_id"]], row[f"distance.{norm}"])
    return found


@pytest.mark.parametrize("name", [ENSEMBLE, VERDICT])
def test_robustness(folder, results, name):
    (found,) = (each for each in results.robustness if each.condition == name)
    entry, rows = entry_of(folder, name), rows_of(folder, name)
    of_image = least(folder, entry["norm"])
    eps, changes = entry["severity"] or None, [of_image[row["sample_id"]] for row in rows]
    assert changes != [smallest(row) for row in rows], "or the test shows nothing"

    def standing(some, size):
        return [change > (size + 1e-6 if size else 0) for change in some]

    assert (found.norm, found.eps, found.n) == (entry["norm"], eps, 90)
    assert is_share(found.accuracy, [change > 0 for change in changes])
    assert found.censored == sum(map(math.isinf, changes))
    assert (found.robust_accuracy is None) is (eps is None)
    if eps:
        assert is_share(found.robust_accuracy, standing(changes, eps))
    assert same(found.median_distance.value, median_low(changes))
    sizes = [point.eps for point in found.curve]
    assert sizes == sorted(set(sizes))
    assert all(is_share(point.robust_accuracy, standing(changes, point.eps)) for point in found.curve)
    if found.curve:
        assert sizes[0] == 0
        assert eps is None or eps in sizes
        assert found.curve[-1].robust_accuracy.value < 0.05
    for k, row in enumerate(found.per_class):
        own = [of_image[each["sample_id"]] for each in rows if each["label"] == k]
        assert (row.name, row.n) == (tiny.CLASSES[k], len(own))
        assert is_share(row.accuracy, [change > 0 for change in own])
        if eps:
            assert is_share(row.robust_accuracy, standing(own, eps))
        assert same(row.median_distance.value, median_low(own))


@pytest.mark.parametrize("name", [ENSEMBLE, VERDICT])
def test_stages(folder, results, name):
    (found,) = (each for each in results.robustness if each.condition == name)
    rows = rows_of(folder, name)
    known = [column.removeprefix("passes.") for column in rows[0] if column.startswith("passes.")]
    assert [stage.name for stage in found.stages] == known
    assert ("fmn" in known) is (name == ENSEMBLE)
    for stage in found.stages:
        spent = [row[f"passes.{stage.name}"] for row in rows if row[f"passes.{stage.name}"] is not None]
        assert (stage.n, stage.passes) == (len(spent), sum(spent))
        assert stage.successes == sum(row["stage"] == stage.name for row in rows)
    entry = entry_of(folder, name)
    already = sum(row["stage"] == "clean" for row in rows)
    assert sum(stage.successes for stage in found.stages) == sum(beaten(row, entry) for row in rows) - already
    assert already > 0


def test_a_search_within_a_ball_is_not_asked_to_flip_every_image(folder, results):
    (check,) = (each for each in results.checks if each.name == "every image can be flipped")
    searched = [row for name in (ENSEMBLE, *SEARCHES) for row in rows_of(folder, name)]
    assert (check.count, check.of) == (sum(row["epsilon.censored"] for row in searched), len(searched))
    assert any(row["epsilon.censored"] for row in rows_of(folder, NEAREST)), "or the test shows nothing"


def test_blind_draws_need_not_rise(folder, results):
    stuck = [row for row in rows_of(folder, BLIND) if row["loss.kept"] <= row["loss.start"] and row["step"] != 0]
    assert stuck, "or the test shows nothing"
    rising = [check for check in results.checks if check.name == "the loss rises"]
    assert [check.sentence for check in rising] == ["Images on which PGD did not raise its loss"]


def test_the_trials_are_paid_for_too(folder, results):
    trials, probe = (
        json.loads((folder / "facts" / f"{name}.json").read_text()) for name in ("trials", "preprocessing")
    )
    assert probe["forwards"] > 0
    assert results.provenance.trial_passes == trials["forwards"] + trials["backwards"] + probe["forwards"]


def test_the_first_screen_speaks_of_searches_without_limit(results, folder):
    of_image = least(folder, "linf")
    changes = [of_image[row["sample_id"]] for row in rows_of(folder, ENSEMBLE)]
    assert same(results.manipulation.median_distance.value, median_low(changes))
    assert "APGD-T" in results.manipulation.sentence


def test_a_plan_in_l2_is_summed_up_in_l2(tmp_path):
    conditions = ("clean", "pgd(eps=0.3, keep='worst', norm='l2', steps=4)", "ddn(steps=20)")
    folder = tiny.run(tmp_path / "run", conditions=conditions, attacked=60)
    found = analyse(folder).manipulation
    ids = {row["sample_id"] for row in rows_of(folder, conditions[1])}
    for name in conditions[1:]:
        ids -= {row["sample_id"] for row in rows_of(folder, name) if wrong(row) and row["distance.l2"] <= 0.3 + 1e-6}
    assert (found.norm, found.eps) == ("l2", pytest.approx(0.3))
    assert 0 < len(ids) < 60
    assert same(found.robust_accuracy.value, len(ids) / 60)
    points = [(smallest(row), row["sample_id"]) for row in rows_of(folder, "ddn(steps=20)")]
    fooled = {row["sample_id"]: row["distance.l2"] for row in rows_of(folder, conditions[1]) if wrong(row)}
    changes = [min(change, fooled.get(name, math.inf)) for change, name in points]
    assert same(found.median_distance.value, median_low(changes))


def test_pgd_at_several_sizes_is_compared_with_itself_alone(tmp_path):
    conditions = ("clean", "pgd(eps=0.3, steps=4)", "pgd(eps=0.35, norm='l2', steps=4)", "pgd(eps=0.4, step=0.001)")
    names = {check.name for check in analyse(tiny.run(tmp_path / "a", conditions=conditions, attacked=40)).checks}
    assert "more room never helps the model" not in names
    conditions = ("clean", "pgd(eps=[0.02, 0.3], steps=4)", "pgd(eps=[0.02, 0.3], norm='l2', steps=4)")
    (check,) = (
        each
        for each in analyse(tiny.run(tmp_path / "b", conditions=conditions, attacked=40)).checks
        if each.name == "more room never helps the model"
    )
    assert (check.state, check.count, check.of) == ("pass", 0, 80)
