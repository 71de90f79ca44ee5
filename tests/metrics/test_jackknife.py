"""The jackknife against a loop that leaves out one unit after the other, and against laws that are skewed or rare."""

import math

import numpy as np
import pytest
from scipy.stats import norm, skew, t

from demur.errors import InputError
from demur.metrics import augrc, mean
from demur.metrics.binomial import weighted_share, wilson
from demur.metrics.jackknife import Jackknife, mean_interval
from demur.metrics.paired import kappa, kappa_interval
from demur.metrics.quantiles import median, quantile
from demur.metrics.rank_correlation import spearman


def sides(truth, draws, interval):
    """How often an interval holds the truth, and how often the truth lies below and above it."""
    found = [interval(np.random.default_rng([3, seed])) for seed in range(draws)]
    held = np.mean([each.low <= truth <= each.high for each in found])
    return held, np.mean([truth < each.low for each in found]), np.mean([truth > each.high for each in found])


def fine(truth, draws, interval):
    """Within three standard errors of .93 held and .045 on either side."""
    held, below, above = sides(truth, draws, interval)
    slack = [3 * math.sqrt(p * (1 - p) / draws) for p in (0.93, 0.045)]
    return held >= 0.93 - slack[0] and max(below, above) <= 0.045 + slack[1]


def by_hand(values, groups):
    """Tukey's pseudo-values, Hall's cubic and Satterthwaite's degrees of freedom, one line each."""
    names, n = sorted(set(groups)), len(set(groups))
    left = [np.mean([v for v, g in zip(values, groups, strict=True) if g != name]) for name in names]
    pseudo = n * np.mean(values) - (n - 1) * np.array(left)
    off = pseudo - pseudo.mean()
    freedom = min(n - 1, 2 * n / max(2, np.mean(off**4) / np.mean(off**2) ** 2 - 1))
    reach, gamma = t.ppf(0.975, max(1, freedom)) / math.sqrt(n), float(skew(pseudo, bias=False))
    ends = [3 / gamma * (np.cbrt(1 + gamma * (end - gamma / (6 * n))) - 1) for end in (reach, -reach)]
    return [np.mean(values) - pseudo.std(ddof=1) * end for end in ends]


@pytest.mark.parametrize("size", [1, 3])
def test_a_mean_by_hand(size):
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(14), size)
    values = rng.exponential(size=len(groups)) + groups % 3 + 9 * (groups == 5)  # few degrees of freedom
    found = mean_interval(values, None if size == 1 else groups)
    assert (found.low, found.high) == pytest.approx(by_hand(values, groups))
    assert (found.n, found.unit) == (14, "image" if size == 1 else "group")


def test_on_other_scales_by_hand():
    rng = np.random.default_rng(1)
    values = rng.beta(2, 5, 40)
    n, value, spread = len(values), values.mean(), values.std(ddof=1)
    off = values - value
    reach = t.ppf(0.975, min(n - 1, 2 * n / max(2, np.mean(off**4) / np.mean(off**2) ** 2 - 1))) * spread / math.sqrt(n)
    weighted = lambda rows, weights=None: mean(rows, weights)  # noqa: E731 - one line
    found = Jackknife(n).estimate(weighted, values, scale="log")
    assert (found.low, found.high) == pytest.approx((value * math.exp(-reach / value), value * math.exp(reach / value)))
    found = Jackknife(n).estimate(weighted, values, scale="logit")
    odds, half = math.log(value / (1 - value)), reach / (value * (1 - value))
    assert (found.low, found.high) == pytest.approx([1 / (1 + math.exp(-end)) for end in (odds - half, odds + half)])


def test_many_units_are_left_out_in_blocks():
    seen = []

    def counted(values, weights=None):
        if weights is not None:
            seen.append(weights)
        return mean(values, weights)

    groups = np.repeat(np.arange(1000), 3)
    values = np.random.default_rng(0).normal(size=3000)
    found = Jackknife(3000, groups).estimate(counted, values)
    weights = np.concatenate(seen)
    assert weights.shape == (200, 3000)
    assert (weights == 0).sum(axis=0).tolist() == [1] * 3000, "every row is left out once"
    assert (weights[:, ::3] == weights[:, 1::3]).all(), "a group whole"
    assert found.high - found.low == pytest.approx(2 * 1.96 / math.sqrt(3000), rel=0.15)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([], "no images"),
        ([1.0, 2.0] * 4, "no 95 % interval from 8 images, only from 10"),
        ([2.0] * 12, "nothing varies"),
    ],
)
def test_without_ground_there_is_no_interval(values, words):
    found = mean_interval(np.array(values))
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    assert words in found.reason


def test_a_metric_that_some_images_alone_define_has_none():
    def rare(flags, weights=None):
        own = np.ones(len(flags)) if weights is None else weights
        total = own @ flags
        return np.where(total > 0, 1.0, np.nan)

    assert "without some of the images" in Jackknife(20).estimate(rare, np.arange(20.0) == 3).reason
    assert "undefined here" in Jackknife(20).estimate(rare, np.zeros(20)).reason
    wrong = np.zeros(20)
    edge = Jackknife(20).estimate(
        lambda rows, weights=None: augrc(np.arange(20), rows > 0, weights), wrong, scale="log"
    )
    assert math.isnan(edge.low)


def test_groups_must_be_of_the_rows():
    with pytest.raises(InputError, match="one group per row"):
        Jackknife(3, np.array(["a", "b"]))


@pytest.mark.parametrize("n", [10, 20, 60])
def test_a_skewed_mean_is_held_from_both_sides(n):
    """A percentile bootstrap misses ten exponential numbers' mean in 13 of 100 sets, all of them above."""
    assert fine(1.0, 1000, lambda rng: mean_interval(rng.exponential(size=n)))


def test_the_mean_of_few_groups_is_held():
    groups = np.repeat(np.arange(10), 10)

    def drawn(rng):
        return mean_interval(rng.normal(size=100) + rng.normal(size=10)[groups], groups)

    assert fine(0.0, 1000, drawn)


@pytest.mark.parametrize(("n", "share"), [(50, 0.9), (200, 0.95)])
def test_kappa_is_held(n, share):
    def labels(rng, n=n):
        first = rng.random(n) < 0.3
        return first.astype(int), np.where(rng.random(n) < share, first, ~first).astype(int)

    assert fine(kappa(*labels(np.random.default_rng(0), 400_000)), 500, lambda rng: kappa_interval(*labels(rng)))


def test_kappa_of_labellers_who_always_agree_has_no_interval():
    found = kappa_interval([0, 1] * 20, [0, 1] * 20)
    assert found.value == 1
    assert "nothing varies" in found.reason


@pytest.mark.parametrize("groups", [6, 12, 30])
@pytest.mark.parametrize("share", [0.5, 0.25])
def test_quantiles_of_groups_are_held(groups, share):
    """A bootstrap of six groups holds a median 85 times in 100."""
    units = np.repeat(np.arange(groups), 10)

    def drawn(rng):
        return quantile(rng.normal(size=10 * groups) + rng.normal(size=groups)[units], share, units)

    if groups == 6 and share != 0.5:
        assert "only from 11" in drawn(np.random.default_rng(0)).reason
    else:
        assert fine(norm.ppf(share) * math.sqrt(2), 500, drawn)


def test_the_median_of_groups_is_of_values_that_were_seen_infinite_ones_too():
    units = np.repeat(np.arange(20), 5)
    values = np.where(np.arange(100) % 3 == 0, np.inf, np.arange(100.0))
    found = median(values, units)
    assert found.low in values
    assert found.high in values
    assert found.low < found.value < found.high


def test_groups_of_one_are_hardly_told_from_images():
    values = np.random.default_rng(0).normal(size=200)
    alone, one = median(values), median(values, np.arange(200))
    assert (one.low, one.high) == pytest.approx((alone.low, alone.high), abs=0.12)


def test_rank_correlations_of_few_groups_are_held():
    """A bootstrap of ten groups holds one 86 times in 100."""
    units = np.repeat(np.arange(12), 10)

    def drawn(rng):
        common, (one, other, hidden) = rng.normal(size=12)[units], rng.normal(size=(3, 120))
        return spearman(common + one + hidden, common + other + hidden, units)

    assert fine(6 / np.pi * math.asin(1 / 3), 300, drawn)


def test_a_share_of_weight_is_wilsons_of_the_images_that_weigh_alike():
    flags = np.arange(60) % 4 > 0
    alike, plain = weighted_share(flags, np.full(60, 0.7)), wilson(45, 60)
    assert (alike.value, alike.low, alike.high) == pytest.approx((plain.value, plain.low, plain.high))
    weights = np.where(np.arange(60) < 30, 1.0, 0.1)
    found = weighted_share(flags, weights)
    size = weights.sum() ** 2 / (weights**2).sum()
    assert found.low == pytest.approx(wilson(found.value * size, size).low)
    assert weighted_share(flags, np.zeros(60)).reason == "no images"


def test_a_share_of_weight_in_groups_is_held():
    units = np.repeat(np.arange(40), 10)

    def drawn(rng):
        right = norm.cdf(math.sqrt(0.7) * rng.normal(size=400) + math.sqrt(0.3) * rng.normal(size=40)[units]) < 0.85
        return weighted_share(right, rng.choice([0.3, 1.0], 400), units)

    assert fine(0.85, 600, drawn)


@pytest.mark.parametrize("numbers", [1, 2_000, 7_001])
def test_blocks_left_out_in_parts_are_those_left_out_at_once(numbers, monkeypatch):
    rng = np.random.default_rng(0)
    scores, wrong, most = rng.random(1000), rng.random(1000) < 0.2, []

    def metric(*arrays, weights=None):
        most.append(0 if weights is None else weights.size)
        return augrc(*arrays, weights=weights)

    whole = Jackknife(1000).estimate(augrc, scores, wrong, scale="log")
    monkeypatch.setattr("demur.metrics.jackknife._NUMBERS", numbers)
    parts = Jackknife(1000).estimate(metric, scores, wrong, scale="log")
    assert (parts.low, parts.high) == pytest.approx((whole.low, whole.high), rel=1e-12)
    assert max(most) <= max(numbers, 1000)
