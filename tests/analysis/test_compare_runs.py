"""Models compared image by image, computed again from the Parquet files by slow obvious code."""

import math
from statistics import median_low

import numpy as np
import pytest
from scipy.stats import binomtest
from tests.analysis import perturbation_runs as made
from tests.analysis.plain_rows import rows_of, same, share, wrong

from demur.analysis.compare_runs import compare
from demur.errors import InputError, RunError

OTHER = {"model": "zoo:two", "model_sha256": "m2", "plan_sha256": "p2"}
SEARCHES = (made.DDN, made.ENSEMBLE, made.RAY, made.L2, made.FMN)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("compare")
    stronger = made.run(root / "two", scale=1.8, seed=1, accuracy=0.93, facts=OTHER)
    return (
        made.run(root / "one", few=4),
        made.run(root / "two", scale=1.8, seed=1, accuracy=0.93, facts=OTHER, few=4),
        stronger,
    )


@pytest.fixture(scope="module")
def found(folders):
    return compare(folders[:2])


@pytest.fixture(scope="module")
def pair(found):
    (pair,) = found.pairs
    return pair


def changes_of(folder, name):
    return {
        row["sample_id"]: (row["label"], math.inf if row["epsilon.censored"] else row["epsilon.minimal"])
        for row in rows_of(folder, name)
    }


def sign_test(one, other):
    return binomtest(one, one + other).pvalue if one + other else 1.0


def difference(one, other):
    return 0.0 if one == other else other - one


def is_pair(found, both):
    """Two changes of each image."""
    first, second = sum(a > b for a, b in both), sum(a < b for a, b in both)
    assert (found.n, found.first_larger, found.second_larger) == (len(both), first, second)
    assert found.ties == len(both) - first - second
    assert found.p_value == pytest.approx(sign_test(first, second), rel=1e-9)
    middle = median_low([difference(a, b) for a, b in both])
    assert same(found.difference.value, middle if math.isfinite(middle) else math.nan)
    assert same(found.effect.value, (second - first) / len(both))
    for side, reach in enumerate((found.first, found.second)):
        middle = median_low([pair[side] for pair in both])
        assert ("value" in reach.above) is math.isinf(middle)
        assert math.isinf(middle) or reach.value == middle


def test_the_runs_are_named(found, folders):
    assert [(run.letter, run.path, run.model) for run in found.runs] == [
        ("A", str(folders[0]), "zoo:one"),
        ("B", str(folders[1]), "zoo:two"),
    ]
    assert (found.data_sha256, found.classes) == ("d1", made.CLASSES)


def test_right_answers_by_mcnemar(folders, pair):
    one, two = ({row["sample_id"]: not wrong(row) for row in rows_of(folder, "clean")} for folder in folders[:2])
    first, second = sum(one[i] and not two[i] for i in one), sum(two[i] and not one[i] for i in one)
    assert (pair.accuracy.n, pair.accuracy.only_first, pair.accuracy.only_second) == (160, first, second)
    assert same(pair.accuracy.first.value, share(one.values()))
    assert same(pair.accuracy.second.value, share(two.values()))
    assert same(pair.accuracy.difference.value, share(two.values()) - share(one.values()))
    assert pair.accuracy.p_value == pytest.approx(sign_test(first, second))
    assert pair.accuracy.difference.low <= pair.accuracy.difference.value <= pair.accuracy.difference.high


def least_of(folder):
    """The least L∞ change of each image of the ensemble, of all points that fool, whatever made them."""
    conditions = made.facts_of(folder)["conditions"]
    found = {row["sample_id"]: 0.0 if wrong(row) else math.inf for row in rows_of(folder, "clean")}
    for entry in conditions:
        for row in rows_of(folder, entry["name"]) if entry["kind"] in {"attack", "epsilon"} else ():
            distances = [row["distance.linf"]] if wrong(row) and row["distance.linf"] is not None else []
            if entry["norm"] == "linf" and not row["epsilon.censored"]:
                distances.append(row["epsilon.minimal"])
            found[row["sample_id"]] = min([found[row["sample_id"]], *distances])
    return {row["sample_id"]: found[row["sample_id"]] for row in rows_of(folder, made.ENSEMBLE)}


def test_what_stands_under_an_ensemble(folders, pair):
    (found,) = pair.robust_accuracy
    one, two = (least_of(folder) for folder in folders[:2])
    ids = [row["sample_id"] for row in rows_of(folders[0], made.ENSEMBLE)]
    stands = [(one[i] > 0.1 + 1e-6, two[i] > 0.1 + 1e-6) for i in ids if i in two]
    alone = [changes_of(folders[0], made.ENSEMBLE)[i][1] > 0.1 + 1e-6 for i in ids]
    assert sum(alone) > sum(a for a, _ in stands), "or the test shows nothing of the other attacks"
    assert (found.condition, found.eps, found.shares.n) == (made.ENSEMBLE, 0.1, 80)
    assert same(found.shares.first.value, share(a for a, _ in stands))
    assert same(found.shares.second.value, share(b for _, b in stands))
    assert found.shares.p_value == pytest.approx(
        sign_test(sum(a > b for a, b in stands), sum(b > a for a, b in stands))
    )


def test_every_search_of_both_is_compared_and_no_region(pair):
    assert tuple(search.condition for search in pair.searches) == SEARCHES


@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_image_by_image(folders, pair, name):
    (search,) = (each for each in pair.searches if each.condition == name)
    one, two = (changes_of(folder, name) for folder in folders[:2])
    both = {i: (one[i][1], two[i][1]) for i in one if i in two}
    is_pair(search.all_images, list(both.values()))
    is_pair(search.correct_images, [(a, b) for a, b in both.values() if a > 0 and b > 0])
    assert search.correct_images.n < search.all_images.n
    p_values = []
    for row in search.per_class:
        own = [pair for i, pair in both.items() if made.CLASSES[one[i][0]] == row.name]
        is_pair(row.changes, own)
        if len(own) >= 6:
            p_values.append(row.changes.p_value)
        else:
            assert math.isnan(row.p_value)
    assert [row.name for row in search.per_class] == list(made.CLASSES)
    ordered = sorted(p_values)
    for row in search.per_class[:4]:
        place = ordered.index(row.changes.p_value)
        slow = min(1, max((len(ordered) - k) * ordered[k] for k in range(place + 1)))
        assert row.p_value == pytest.approx(slow)


def test_the_verdict_says_which_resists_better_and_how_sure_that_is(pair):
    search = pair.searches[0]
    assert search.better == "second"
    larger, smaller = search.all_images.second_larger, search.all_images.first_larger
    assert search.verdict.startswith(
        f"B resists better: it takes a larger change on {larger} of 80 images, a smaller one on {smaller}, p "
    )
    assert pair.verdict.startswith("B is right more often: A alone on ")
    assert made.DDN in pair.verdict


def test_the_other_way_round_is_the_mirror_image(folders, pair):
    (mirrored,) = compare((folders[1], folders[0])).pairs
    assert mirrored.accuracy.difference.value == -pair.accuracy.difference.value
    for one, other in zip(pair.searches, mirrored.searches, strict=True):
        assert (one.better, other.better) == ("second", "first")
        assert one.all_images.p_value == other.all_images.p_value
        assert same(one.all_images.effect.value, -other.all_images.effect.value)
        assert same(one.all_images.effect.low, -other.all_images.effect.high)
        assert other.verdict.startswith("A resists better")


def test_a_model_is_not_better_than_itself(folders):
    (pair,) = compare((folders[0], folders[0])).pairs
    assert all(search.better is None for search in pair.searches)
    assert all(search.all_images.ties == search.all_images.n for search in pair.searches)
    assert pair.accuracy.p_value == 1
    assert pair.verdict.startswith("Neither is right more often by more than noise")
    assert "A and B are the same model, to the last weight." in pair.notes


def test_three_runs_are_each_compared_with_the_first(folders):
    found = compare((folders[0], folders[1], folders[0]))
    assert [(pair.first, pair.second) for pair in found.pairs] == [("A", "B"), ("A", "C")]


def test_only_what_both_can_see_counts_where_caps_differ(folders, tmp_path):
    entries = made.facts_of(folders[1])["conditions"]
    for entry in entries:
        if entry["name"] == made.RAY:
            entry["cap"] = 0.1
    lower = made.run(tmp_path / "lower", scale=1.8, seed=1, accuracy=0.93, few=4, facts=OTHER | {"conditions": entries})
    (pair,) = compare((folders[0], lower)).pairs
    (search,) = (each for each in pair.searches if each.condition == made.RAY)
    one, two = (changes_of(folder, made.RAY) for folder in (folders[0], lower))
    cut = [tuple(c if c <= 0.1 else math.inf for c in (one[i][1], two[i][1])) for i in one]
    assert search.cap == 0.1
    assert any(math.isinf(a) and math.isfinite(one[i][1]) for i, (a, _) in zip(one, cut, strict=True))
    is_pair(search.all_images, cut)


def test_images_that_only_one_run_attacked_are_left_out(folders, tmp_path):
    other = made.run(tmp_path / "other", scale=1.8, seed=1, few=4, first=30, facts=OTHER)
    (pair,) = compare((folders[0], other)).pairs
    one, two = (changes_of(folder, made.DDN) for folder in (folders[0], other))
    both = [(one[i][1], two[i][1]) for i in one if i in two]
    assert len(both) == 50 < len(one)
    is_pair(pair.searches[0].all_images, both)
    assert pair.robust_accuracy[0].shares.n == 50


def test_images_of_other_sizes_are_compared_in_linf_alone(folders, tmp_path):
    other = made.run(tmp_path / "other", seed=1, facts=OTHER | {"input_shape": [3, 16, 16]})
    (pair,) = compare((made.run(tmp_path / "one"), other)).pairs
    assert {search.norm for search in pair.searches} == {"linf"}
    assert "A takes images of 3×8×8, B of 3×16×16: only sizes in L∞ can be compared." in pair.notes


def test_groups_are_the_unit(tmp_path):
    groups = np.arange(160) // 5
    folders = [
        made.run(tmp_path / str(k), seed=k, scale=1 + k / 2, groups=groups, facts=OTHER if k else None) for k in (0, 1)
    ]
    (pair,) = compare(folders).pairs
    assert {pair.accuracy.first.unit, pair.accuracy.difference.unit} == {"group"}
    for search in pair.searches:
        assert {search.all_images.first.unit, search.all_images.effect.unit, search.all_images.difference.unit} == {
            "group"
        }


def test_without_a_search_right_answers_are_compared_all_the_same(tmp_path):
    ids, labels = [f"i{k}" for k in range(20)], np.arange(20) % 5
    for name, right in (("one", np.ones(20, bool)), ("two", np.arange(20) > 11)):
        tables, entries = {"clean": made.clean(ids, labels, right)}, [made.entry("clean", "clean", 20)]
        made.written(tmp_path / name, tables, entries, model_sha256=name)
    (pair,) = compare((tmp_path / "one", tmp_path / "two")).pairs
    assert pair.searches == pair.robust_accuracy == ()
    assert pair.verdict.startswith("A is right more often: A alone on 12 of 20 images, B alone on 0, p < 0.001.")
    assert pair.notes == (
        "No search for minimal perturbations is in both: give both plans the same [epsilon] or ensemble.",
    )


def test_what_cannot_be_compared_is_refused(folders, tmp_path):
    with pytest.raises(InputError, match="at least two run folders; got 1"):
        compare(folders[:1])
    with pytest.raises(RunError, match=r"no run\.json"):
        compare((folders[0], tmp_path))
    elsewhere = made.run(tmp_path / "data", facts={"data_sha256": "d2"})
    with pytest.raises(InputError, match=r"different images or labels \(data_sha256 d1 and d2\)"):
        compare((folders[0], elsewhere))
    named = made.run(tmp_path / "classes", facts={"classes": ["x", "y", "z", "u", "v"]})
    with pytest.raises(InputError, match=r"ant, bee, cat, … and .*x, y, z, …"):
        compare((folders[0], named))


def test_images_by_other_names_cannot_be_found(folders, tmp_path):
    ids, labels = [f"other {k}" for k in range(20)], np.arange(20) % 5
    tables, entries = {"clean": made.clean(ids, labels, labels > 0)}, [made.entry("clean", "clean", 20)]
    with pytest.raises(InputError, match="by other names"):
        compare((folders[0], made.written(tmp_path / "run", tables, entries)))
