"""Who beats the baseline, on simulated scores whose truth is known."""

import numpy as np
import polars as pl
import pytest
import torch

from demur.analysis.quantity import Quantity
from demur.analysis.run_folder import Run, score
from demur.analysis.signals.ranking_targets import Gain, Target, contest, simultaneous_gains
from demur.analysis.signals.signal_ranking import _alike, _is_usable
from demur.evidence import Evidence
from demur.metrics import Estimate
from demur.metrics.delong import auroc_gain, auroc_interval
from demur.metrics.ranking_intervals import fpr95_interval, ranking_intervals
from demur.records import groups, wrong
from demur.registry import build

ROWS = 800


def target(scores, positive, groups=None):
    rows = pl.DataFrame(
        {
            "sample_id": [str(row) for row in range(len(positive))],
            "split": ["test" if row % 2 else "tune" for row in range(len(positive))],
            "group": pl.Series(groups, dtype=pl.String)
            if groups
            else pl.Series([None] * len(positive), dtype=pl.String),
            **{f"signal.{name}": values for name, values in scores.items()},
        }
    )
    return Target("error", rows, positive, None if groups is None else np.array(groups))


def drawn(seed, others, strength=1.0, own=0.6):
    """A baseline of some strength, and others that share part of their noise with it."""
    rng = np.random.default_rng(seed)
    positive = rng.random(ROWS) < 0.2
    shared = rng.normal(size=ROWS)
    scores = {"msp": strength * positive + shared}
    for name, lead in others.items():
        scores[name] = (strength + lead) * positive + own * rng.normal(size=ROWS) + np.sqrt(1 - own**2) * shared
    return scores, positive


def judged(scores, positive, fitted=(), groups=None, useless=()):
    of = target(scores, positive, groups)
    gains = {name: Gain.of(of, name, "msp", fitted=name in fitted) for name in scores if name != "msp"}
    corrected = simultaneous_gains(gains)
    areas = {name: auroc_interval(values, positive, of.units) for name, values in scores.items()}
    usable = dict.fromkeys(scores, True) | dict.fromkeys(useless, False)
    return gains, corrected, contest(of, corrected, areas, usable)


def test_of_many_signals_as_good_as_the_baseline_one_seldom_wins():
    alone = together = 0
    for seed in range(60):
        gains, corrected, _ = judged(*drawn(seed, {f"copy {k}": 0.0 for k in range(10)}))
        alone += any(gain.estimate.low > 0 for gain in gains.values())
        together += any(estimate.low > 0 for estimate in corrected.values())
    assert together <= 5, "2.5 % of 60 on one side, give or take"
    assert alone >= 6, "without the correction one of ten often looks better"


def test_one_that_is_better_wins_and_is_named():
    _, _, found = judged(*drawn(1, {"good": 0.8, "best": 1.6, "same": 0.0, "bad": -0.8}))
    assert found.better == ("best", "good")
    assert (found.worse, found.blind, found.candidates) == (("bad",), (), 4)
    assert found.sentence == "best and good beat the baseline here."


def test_a_winner_that_refuses_most_of_what_is_right_is_called_not_usable():
    scores, positive = drawn(1, {"good": 0.8, "best": 1.6})
    _, _, found = judged(scores, positive, useless={"good", "msp"})
    assert (found.better, found.unusable) == (("best", "good"), ("good",))
    assert found.sentence.startswith("best and good beat the baseline here; good is not usable all the same: to catch")
    _, _, every = judged(scores, positive, useless=set(scores))
    assert every.unusable == ("best", "good")
    assert every.sentence.startswith("best and good beat the baseline here and are not usable: to catch 95 %")


@pytest.mark.parametrize(
    ("low", "high", "usable"), [(0.1, 0.5, True), (0.4, 0.6, None), (0.51, 0.9, False), (np.nan, np.nan, None)]
)
def test_a_signal_is_usable_where_its_whole_interval_refuses_at_most_half(low, high, usable):
    assert _is_usable(Estimate(value=0.5, low=low, high=high, n=9)) is usable


def test_what_is_shared_between_metrics_is_what_each_gives_alone(results, folder):
    clean = Run(folder).rows("clean")
    units = groups(clean)
    for signal in results.signals:
        row, (uncertainty, errors) = signal.targets[0], (score(clean, signal.name), wrong(clean))
        assert row.auroc == Quantity.of(auroc_interval(uncertainty, errors, units))
        alone = {
            name: ranking_intervals([name], uncertainty, errors, units)[name] for name in ("augrc", "aurc", "aupr")
        }
        for name, estimate in alone.items():
            assert getattr(row, name) == Quantity.of(estimate)
        assert row.usable is _is_usable(fpr95_interval(uncertainty, errors, units))
        if row.gain is not None:
            assert row.gain == Quantity.of(auroc_gain(uncertainty, score(clean, "msp"), errors, units))


def test_none_wins_in_words():
    _, _, found = judged(*drawn(1, {"same": 0.0, "bad": -0.8}))
    assert found.sentence == "No signal beats the baseline here."
    assert judged(*drawn(1, {}))[2].sentence == "No other signal was compared with the baseline here."


def test_one_above_a_fooled_baseline_may_still_know_nothing():
    scores, positive = drawn(3, {"blind": 2.0, "seeing": 4.0}, strength=-2.0)
    _, _, found = judged(scores, positive)
    assert (found.better, found.blind) == (("seeing", "blind"), ("blind",))
    assert found.sentence.startswith("seeing beats the baseline here. 1 more rank")
    scores.pop("seeing")
    assert "no better than a coin" in judged(scores, positive)[2].sentence


@pytest.mark.parametrize(("lead", "low", "value", "blind"), [(2.15, 0.485, 0.535, ("it",)), (2.3, 0.527, 0.576, ())])
def test_what_ranks_above_a_coin_within_the_noise_alone_is_blind(lead, low, value, blind):
    scores, positive = drawn(3, {"it": lead, "seeing": 4.0}, strength=-2.0)
    area = auroc_interval(scores["it"], positive)
    assert (area.low, area.value) == pytest.approx((low, value), abs=1e-3)
    assert judged(scores, positive)[2].blind == blind


def test_too_few_failures_say_so():
    scores, positive = drawn(1, {"good": 2.0})
    positive = positive & (np.cumsum(positive) <= 5)
    _, corrected, found = judged(scores, positive)
    assert np.isnan(corrected["good"].low)
    assert found.sentence.startswith("Too few failures")


def test_corrected_intervals_are_wider_about_the_same_gain():
    gains, corrected, _ = judged(*drawn(1, {"one": 0.1, "other": 0.2}))
    for name, gain in gains.items():
        assert corrected[name].value == gain.estimate.value
        assert corrected[name].low < gain.estimate.low < gain.estimate.high < corrected[name].high


@pytest.mark.parametrize("grouped", [False, True])
def test_a_fitted_signal_is_compared_on_test_rows_only(grouped):
    scores, positive = drawn(1, {"learned": 0.5})
    groups = [f"g{row // 2 * 2 + row % 2}" for row in range(ROWS)] if grouped else None
    scores["learned"] = np.where(np.arange(ROWS) % 2, scores["learned"], 100.0 * positive)
    gains, _, _ = judged(scores, positive, fitted={"learned"}, groups=groups)
    odd = np.arange(ROWS) % 2 == 1
    expected, _, _ = judged({name: values[odd] for name, values in scores.items()}, positive[odd])
    assert gains["learned"].estimate.value == expected["learned"].estimate.value
    assert len(gains["learned"].influence) == ROWS
    assert not gains["learned"].influence[~odd].any() or grouped
    assert np.square(gains["learned"].influence).sum() == pytest.approx(
        np.square(expected["learned"].influence).sum(), rel=1e-9
    )


@pytest.mark.parametrize(
    ("classes", "same"),
    [(2, {"entropy", "margin", "doctor", "doctor(variant='beta')"}), (3, {"doctor(variant='beta')"})],
)
def test_signals_that_rank_alike_are_found_by_their_ranking(classes, same):
    logits = 4 * torch.randn(300, classes, generator=torch.Generator().manual_seed(0))
    seen = Evidence(None, torch.zeros(300, 1, 2, 2), logits=logits, check=False)
    names = ("msp", "entropy", "margin", "max_logit", "doctor", "doctor(variant='beta')")
    scores = {name: build("signal", name)(seen).numpy() for name in names}
    assert _alike(names, [target(scores, np.zeros(300, bool))]) == dict.fromkeys(same, "msp")
