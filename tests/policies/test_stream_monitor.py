"""A monitor of a stream against its nominal share of false alarms, a slow copy of its definition, and closed forms."""

import math

import numpy as np
import pytest
from scipy.stats import binom, norm

from demur.errors import InputError, UnknownNameError
from demur.policies import StreamMonitor
from demur.policies.stream_monitor import STATISTICS

MONITORS = [
    StreamMonitor(window=1),
    StreamMonitor(window=7, statistic="median"),
    StreamMonitor(window=20, statistic="share", budget=0.1),
    StreamMonitor(window=20, memory=50),
]


def scores(rows, seed=0, shift=0.0):
    return np.random.default_rng(seed).normal(size=rows) + shift


def slow(fitted, stream):
    """Every window by itself, the threshold moved after each: (statistic, threshold, above) at each position."""
    monitor, threshold, found = fitted.monitor, fitted.threshold, []
    for end in range(len(stream)):
        if end + 1 < monitor.window:
            found.append((math.nan, threshold, False))
            continue
        window = [float(score) for score in stream[end + 1 - monitor.window : end + 1]]
        value = {
            "mean": lambda w: sum(w) / len(w),
            "median": lambda w: (sorted(w)[(len(w) - 1) // 2] + sorted(w)[len(w) // 2]) / 2,
            "share": lambda w: sum(score > fitted.cut for score in w) / len(w),
        }[monitor.statistic](window)
        above = value > threshold
        found.append((value, threshold, above))
        if monitor.memory is not None:
            threshold += fitted.spread / monitor.memory * ((1 - monitor.budget) if above else -monitor.budget)
    return found


@pytest.mark.parametrize("monitor", MONITORS, ids=repr)
def test_it_does_what_its_definition_says(monitor):
    fitted = monitor.fit(scores(400))
    stream = np.concatenate([scores(150, 1), scores(150, 2, shift=1.5)])
    end, steps = fitted.advance(fitted.start(), stream)
    expected = slow(fitted, stream)
    np.testing.assert_allclose(steps.statistic, [each[0] for each in expected], atol=1e-12)
    np.testing.assert_allclose(steps.threshold, [each[1] for each in expected], atol=1e-12)
    above = [each[2] for each in expected]
    assert steps.above.tolist() == above
    begun = [at for at in range(len(above)) if above[at] and not (at and above[at - 1])]
    assert steps.alarms.tolist() == begun
    assert begun, "a shift of one and a half deviations is seen"
    assert (end.position, end.in_alarm) == (300, above[-1])


@pytest.mark.parametrize("monitor", MONITORS, ids=repr)
def test_one_by_one_or_many_at_a_time_is_the_same_to_the_last_bit(monitor):
    fitted = monitor.fit(scores(400))
    stream = np.concatenate([scores(90, 1), scores(60, 2, shift=2.0)])
    whole, steps = fitted.advance(fitted.start(), stream)
    for sizes in ([1] * 150, [0, 3, 0, 97, 50], [149, 1]):
        state, parts = fitted.start(), []
        for part in np.split(stream, np.cumsum(sizes)[:-1]):
            state, some = fitted.advance(state, part)
            parts.append(some)
        for name in ("statistic", "threshold", "above"):
            np.testing.assert_array_equal(np.concatenate([getattr(p, name) for p in parts]), getattr(steps, name))
        assert np.concatenate([part.alarms for part in parts]).tolist() == steps.alarms.tolist()
        assert (state.position, state.threshold, state.in_alarm) == (whole.position, whole.threshold, whole.in_alarm)


@pytest.mark.parametrize(("window", "statistic"), [(1, "mean"), (25, "mean"), (25, "median"), (40, "share")])
def test_without_a_change_the_share_of_windows_above_is_the_nominal_one(window, statistic):
    """Of windows that share no image, so that they are independent: within its binomial interval of all but 1 in 1,000.

    A share of few images comes in steps and stays below.
    """
    fitted = StreamMonitor(window=window, statistic=statistic, budget=0.05).fit(scores(200_000))
    windows = scores(4000 * window, 1).reshape(4000, window)
    above = int((STATISTICS[statistic](windows, fitted.cut) > fitted.threshold).sum())
    low, high = binom.ppf([0.0005, 0.9995], 4000, 0.05)
    assert above <= high
    if statistic == "share":
        step = binom.sf(round(fitted.threshold * window) - 1, window, 0.1)
        assert step > 0.05, "one image fewer would be too many windows"
    else:
        assert above >= low


@pytest.mark.parametrize("window", [10, 100])
def test_few_clean_scores_widen_the_threshold_so_that_the_share_is_met_on_average(window):
    """In closed form: the mean of a window and that of n clean scores differ by σ·√(1/window + 1/n)."""
    n, budget, shares, naive = 120, 0.1, [], []
    for seed in range(100):
        clean = scores(n, seed)
        threshold = StreamMonitor(window=window, budget=budget).fit(clean, seed).threshold
        shares.append(norm.sf(threshold * window**0.5))
        naive.append(norm.sf((clean.mean() + norm.isf(budget) * clean.std() / window**0.5) * window**0.5))
    spread = 3 * np.std(shares) / len(shares) ** 0.5
    assert np.mean(shares) == pytest.approx(budget, abs=spread)
    assert np.mean(shares) < np.mean(naive)
    if window == 100:
        assert np.mean(naive) > budget + spread, "as if the clean mean were the true one"


@pytest.mark.parametrize("height", [0.3, 1.0, 3.0])
def test_a_step_is_noticed_when_so_much_of_the_window_is_new(height):
    """The mean passes τ at the ⌊window·τ/height⌋ + 1st new score, never if that is more than the window."""
    clean = np.concatenate([np.full(500, -1.0), np.full(500, 1.0)])
    fitted = StreamMonitor(window=30, budget=0.01).fit(clean)
    stream = np.concatenate([np.zeros(100), np.full(100, height)])
    _, steps = fitted.advance(fitted.start(), stream)
    needed = math.floor(30 * fitted.threshold / height) + 1
    assert steps.alarms.tolist() == ([] if needed > 30 else [100 + needed - 1])
    assert (needed > 30) == (height == 0.3), "one of the three is too small to be noticed"


def test_a_threshold_that_follows_meets_its_budget_whatever_comes_and_forgets():
    """Σ(above − budget) is what it moved over its stride, to the last digit: a lasting shift is no alarm in the end."""
    fitted = StreamMonitor(window=10, memory=20, budget=0.05).fit(scores(1000))
    stream = np.concatenate([scores(2000, 1), scores(6000, 2, shift=4.0)])
    end, steps = fitted.advance(fitted.start(), stream)
    watched = len(stream) - 9
    moved = (end.threshold - fitted.threshold) * 20 / fitted.spread
    assert steps.above.sum() - 0.05 * watched == pytest.approx(moved, abs=1e-6)
    assert steps.above[2010:2100].mean() > 0.9
    assert steps.above[-3000:].mean() == pytest.approx(0.05, abs=0.02)
    stays = StreamMonitor(window=10, budget=0.05).fit(scores(1000))
    assert stays.advance(stays.start(), stream)[1].above[2010:].all()


def test_a_score_that_is_not_a_number_counts_as_high():
    for monitor in (StreamMonitor(window=1), StreamMonitor(window=3, statistic="share", level=0.5, budget=0.2)):
        fitted = monitor.fit(scores(300))
        _, steps = fitted.advance(fitted.start(), [-9.0, -9.0, *[np.nan] * 3])
        assert steps.above[-1]
        assert not steps.above[:2].any()


def test_clean_scores_that_are_no_numbers_are_left_out():
    clean = scores(300)
    spoilt = np.concatenate([clean, [np.nan, np.inf]])
    assert StreamMonitor(window=5).fit(spoilt) == StreamMonitor(window=5).fit(clean)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: StreamMonitor(window=0), "`window`"),
        (lambda: StreamMonitor(memory=0), "`memory`"),
        (lambda: StreamMonitor(budget=1.0), "`budget`"),
        (lambda: StreamMonitor(level=0.0), "`level`"),
        (lambda: StreamMonitor(statistic="max"), "statistic"),
        (lambda: StreamMonitor(window=5).fit(scores(99)), "at least 100 clean"),
        (lambda: StreamMonitor(window=150).fit(scores(149)), "at least 150 clean"),
        (lambda: StreamMonitor(budget=0.001).fit(scores(999)), "at least 1000 clean"),
    ],
)
def test_what_cannot_be_is_refused(build, words):
    with pytest.raises((InputError, UnknownNameError), match=words):
        build()
