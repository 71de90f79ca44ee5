"""How far until the answer changes, computed again from the Parquet files by slow obvious code."""

import json
import math
from collections import Counter
from pathlib import Path
from statistics import median_low

import numpy as np
import pytest
from scipy.stats import binom, kruskal
from tests.analysis import perturbation_runs as made
from tests.analysis.plain_rows import rows_of, same

from demur.analysis.robustness.censored_quantiles import censored_quantile, ecdf, finite
from demur.analysis.robustness.minimal_perturbation import perturbation_tables
from demur.analysis.run_folder import Run
from demur.metrics import Estimate

NAMES = (made.RAY, made.L2, made.FMN)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return made.run(tmp_path_factory.mktemp("epsilon") / "run")


@pytest.fixture(scope="module")
def found(folder):
    return {search.condition: search for search in perturbation_tables(Run(folder))}


def changes_of(folder, name):
    return [math.inf if row["epsilon.censored"] else row["epsilon.minimal"] for row in rows_of(folder, name)]


def slow_reach(changes, share, cap):
    """Value and ends by counting, and what of them is above the cap."""
    changes, n = sorted(changes), len(changes)
    value = next(c for c in changes if sum(d <= c for d in changes) >= share * n)
    low = max((k for k in range(1, n + 1) if binom.cdf(k - 1, n, share) <= 0.025), default=None)
    high = min((k for k in range(1, n + 1) if binom.sf(k - 1, n, share) <= 0.025), default=None)
    if low is None or high is None:
        return value, None, None
    return value, changes[low - 1], changes[high - 1]


def is_reach(found, changes, share, cap):
    for name, end in zip(("value", "low", "high"), slow_reach(changes, share, cap), strict=True):
        if end is None:
            continue
        assert (name in found.above) is math.isinf(end)
        assert same(getattr(found, name), end if math.isfinite(end) else math.nan if cap is None else cap)
    assert found.n == len(changes)


def test_every_search_of_whole_images_has_its_table(found):
    assert tuple(found) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_search(folder, found, name):
    search, changes = found[name], changes_of(folder, name)
    cap = next(e for e in made.facts_of(folder)["conditions"] if e["name"] == name)["cap"]
    flipped = [c for c in changes if 0 < c < math.inf]
    assert same(search.cap, math.nan if cap is None else cap)
    assert (search.n, search.wrong, search.censored) == (160, changes.count(0), changes.count(math.inf))
    assert search.censored > 0
    assert search.wrong > 10
    for share, quartile in ((0.25, search.lower), (0.5, search.median), (0.75, search.upper)):
        is_reach(quartile, changes, share, cap)
    is_reach(search.right_median, [c for c in changes if c > 0], 0.5, cap)
    assert (search.minimum, search.maximum) == (min(flipped), max(flipped))
    rows = [row for row in rows_of(folder, name) if (row["epsilon.minimal"] or 0) > 0]
    for column, number in (("spent.scan", search.scan), ("spent.refine", search.refinement)):
        slow = math.nan if name == made.FMN else sum(row[column] for row in rows) / len(rows)
        assert same(number, slow)


@pytest.mark.parametrize("name", NAMES)
def test_its_classes(folder, found, name):
    rows, changes = rows_of(folder, name), changes_of(folder, name)
    cap = found[name].cap if math.isfinite(found[name].cap) else None
    medians = {}
    for k, row in enumerate(found[name].per_class):
        own = [c for r, c in zip(rows, changes, strict=True) if r["label"] == k]
        assert (row.name, row.n, row.wrong) == (made.CLASSES[k], len(own), own.count(0))
        assert row.censored == own.count(math.inf)
        for share, quartile in ((0.25, row.lower), (0.5, row.median), (0.75, row.upper)):
            is_reach(quartile, own, share, cap)
        is_reach(row.right_median, [c for c in own if c > 0], 0.5, cap)
        medians[row.name] = median_low(own) if len(own) >= 6 else None
    for row in found[name].per_class:
        smaller = [m for m in medians.values() if m is not None and m < (medians[row.name] or 0)]
        assert row.rank == (None if medians[row.name] is None else 1 + len(smaller))
    few = found[name].per_class[-1]
    assert (few.n, few.rank) == (3, None)
    assert math.isnan(few.median.low)
    assert few.median.reason == "no 95 % interval from 3 images, only from 6"


def test_the_ranking_is_tested_on_the_numbers_that_are_ranked(folder, found):
    rows, changes = rows_of(folder, made.RAY), changes_of(folder, made.RAY)
    assert 0 in changes
    by_class = [[min(c, 9) for r, c in zip(rows, changes, strict=True) if r["label"] == k] for k in range(5)]
    ranking = found[made.RAY].ranking
    assert (ranking.classes, ranking.n) == (5, sum(map(len, by_class)))
    assert ranking.statistic == pytest.approx(kruskal(*by_class).statistic)
    assert ranking.p_value == 1 / 2000
    assert ranking.halves.value > 0.5
    assert ranking.sentence.startswith("The classes differ by more than noise")


def test_a_ranking_that_is_noise_is_called_so(folder, tmp_path):
    labels = np.arange(60) % 5
    ids, rng = [f"i{k}" for k in range(60)], np.random.default_rng(8)
    changes = rng.exponential(size=60)
    tables = {
        "clean": made.clean(ids, labels, np.ones(60, bool)),
        made.RAY: made.rows(ids, labels, changes, made.RAY),
    }
    entries = [
        made.entry("clean", "clean", 60),
        made.entry(made.RAY, "epsilon", 60, norm="linf", cap=99.0, resolution="fine"),
    ]
    (search,) = perturbation_tables(Run(made.written(tmp_path / "run", tables, entries)))
    assert search.ranking.p_value > 0.05
    assert search.ranking.sentence.startswith("The order of the classes may be noise")
    assert search.curve == ()
    assert search.comparisons == ()


def test_what_images_turn_into(folder, found):
    rows, changes = rows_of(folder, made.RAY), changes_of(folder, made.RAY)
    turned = [(r["label"], r["predicted"], c) for r, c in zip(rows, changes, strict=True) if 0 < c < math.inf]
    counts = Counter((label, becomes) for label, becomes, _ in turned)
    flips = found[made.RAY].confusions
    assert [flip.n for flip in flips] == sorted(counts.values(), reverse=True)
    for flip in flips:
        pair = made.CLASSES.index(flip.label), made.CLASSES.index(flip.prediction)
        assert flip.n == counts[pair]
        assert flip.median == median_low([c for label, becomes, c in turned if (label, becomes) == pair])


def test_at_most_twenty_turns_are_listed(tmp_path):
    labels, n = np.repeat(np.arange(5), 50), 250
    ids, turned = [f"i{k}" for k in range(n)], (labels + 1 + np.arange(n) % 5) % 5
    tables = {
        "clean": made.clean(ids, labels, np.ones(n, bool)),
        made.RAY: made.rows(ids, labels, np.full(n, 0.1), made.RAY, predicted=turned),
    }
    entries = [
        made.entry("clean", "clean", n),
        made.entry(made.RAY, "epsilon", n, norm="linf", cap=0.2, resolution="fine"),
    ]
    (search,) = perturbation_tables(Run(made.written(tmp_path / "run", tables, entries)))
    assert len(search.confusions) == 20
    assert search.ranking.p_value == 1, "all changes are alike"


@pytest.mark.parametrize(
    ("name", "attacks"), [(made.RAY, [made.ENSEMBLE]), (made.L2, [made.DDN, made.FMN]), (made.FMN, [])]
)
def test_attacks_stand_beside_directions(folder, found, name, attacks):
    along = dict(zip((row["sample_id"] for row in rows_of(folder, name)), changes_of(folder, name), strict=True))
    assert [row.condition for row in found[name].comparisons] == attacks
    for row in found[name].comparisons:
        other = {
            r["sample_id"]: c
            for r, c in zip(rows_of(folder, row.condition), changes_of(folder, row.condition), strict=True)
        }
        both = [(along[i], other[i]) for i in other if along[i] > 0 and other[i] > 0]
        assert row.n == len(other)
        is_reach(row.median, list(other.values()), 0.5, None)
        assert same(row.ratio.value, median_low([a / o for a, o in both if min(a, o) < math.inf]))
        assert same(row.share_not_larger.value, sum(o <= a + 1e-6 for a, o in both) / len(both))
        assert row.share_not_larger.n == len(both)
        assert 0 < row.share_not_larger.value < 1


def test_what_only_the_direction_flips_counts_against_the_attack(tmp_path):
    ids, labels, along = [f"i{k}" for k in range(20)], np.zeros(20, int), np.full(20, 2.0)
    attack = np.where(np.arange(20) < 9, 1.0, np.inf)
    along[-1] = np.inf
    tables = {
        "clean": made.clean(ids, labels, np.ones(20, bool)),
        made.L2: made.rows(ids, labels, along, made.L2),
        made.FMN: made.rows(ids, labels, attack, made.FMN),
    }
    entries = [
        made.entry("clean", "clean", 20),
        made.entry(made.L2, "epsilon", 20, norm="l2", cap=9.0, resolution="fine"),
        made.entry(made.FMN, "epsilon", 20, norm="l2"),
    ]
    row = perturbation_tables(Run(made.written(tmp_path / "run", tables, entries)))[0].comparisons[0]
    assert (row.ratio.value, row.ratio.n) == (0.0, 19), "9 images at 2, 10 at 0, and one that neither flips"


def test_the_curve_is_that_of_the_followed_images(folder, found):
    (facts,) = json.loads((folder / "facts" / "curves.json").read_text())
    for at, point in enumerate(found[made.RAY].curve):
        column = [row[at] for row in facts["confidence"]]
        assert point.eps == facts["eps"][at]
        assert same(point.mean.value, sum(column) / 12)
        assert point.mean.low <= point.mean.value <= point.mean.high
        assert (point.lower, point.upper) == (sorted(column)[2], sorted(column)[8])
        assert same(point.accuracy.value, sum(row[at] for row in facts["standing"]) / 12)
    assert len(found[made.RAY].curve) == 4
    assert found[made.L2].curve == ()


@pytest.mark.parametrize("name", NAMES)
def test_the_shares_that_stand(folder, found, name):
    changes = changes_of(folder, name)
    points = found[name].ecdf
    assert points[0][0] == 0
    assert points == tuple(sorted(points))
    assert points[-1][0] == (max(c for c in changes if c < math.inf) if name == made.FMN else found[name].cap)
    for size, share in points:
        assert same(share, sum(c > size for c in changes) / len(changes))


def test_many_images_give_few_points():
    points = ecdf(np.random.default_rng(0).random(5000), 2.0)
    assert len(points) <= 200
    assert points[-1] == (2.0, 0.0)


def test_groups_are_the_unit(tmp_path):
    folder = made.run(tmp_path / "run", groups=np.arange(160) // 4)
    search = perturbation_tables(Run(folder))[0]
    assert (search.median.unit, search.median.n) == ("group", 40)
    assert same(search.median.value, median_low(changes_of(folder, made.RAY)))
    assert search.ranking.halves.unit == "group"
    assert {row.median.unit for row in search.per_class} == {"group"}
    assert search.curve[0].mean.unit == "group"


def test_searches_of_regions_are_not_among_them(folder, found):
    asked = [entry["name"] for entry in made.facts_of(folder)["conditions"] if entry["kind"] == "epsilon"]
    assert set(asked) - set(found) == {made.OBJECT}


@pytest.mark.parametrize("run", sorted((Path(__file__).parents[2] / "golden").glob("run-v*")), ids=lambda run: run.name)
def test_a_golden_run_has_none(run):
    assert perturbation_tables(Run(run)) == ()


def test_above_the_cap_is_told():
    found = censored_quantile([0.1] * 3 + [np.inf] * 7, cap=0.5)
    assert (found.value, found.low, found.high, found.above) == (0.5, 0.1, 0.5, ("value", "high"))
    found = censored_quantile([0.1] * 3 + [np.inf] * 7)
    assert math.isnan(found.value)
    assert (found.above, found.reason) == (("value", "high"), "more images than that were never flipped")
    assert censored_quantile([]).reason == "no images"


def test_an_infinite_number_has_a_reason():
    found = finite(Estimate(value=1.0, low=-np.inf, high=2.0, n=9), "because")
    assert math.isnan(found.low)
    assert (found.value, found.high, found.reason) == (1, 2, "because")
