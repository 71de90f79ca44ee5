"""Two thresholds: the second placed by right tune rows, every count by hand, the guarantee of both kept."""

from dataclasses import replace

import numpy as np
import pytest

from demur.errors import InputError, UnknownNameError
from demur.metrics import p_value
from demur.metrics.binomial import risk_lower_bound
from demur.policies import (
    ACCEPT_ALL,
    Calibration,
    Capacity,
    Certificate,
    Certified,
    Look,
    PairRows,
    Refusal,
    SecondThreshold,
    Tolerance,
    certify_pair,
)
from demur.registry import build, parse

LEVEL = Look().risk_level(0.05)


def fit(scores, wrong=None, **fields):
    flags = np.zeros(len(scores), bool) if wrong is None else wrong
    return SecondThreshold.fit(scores, flags, **{"signal": "knn", "budget": 0.1} | fields)


def draw(rng, rows, groups=None, **tolerance):
    """Confidence tells errors; a tenth of the rows is attacked, always wrong and mostly strange."""
    first, strange, attacked = rng.random(rows), rng.normal(0, 1, rows), rng.random(rows) < 0.1
    wrong = np.where(attacked, True, rng.random(rows) < 0.3 * first**2)
    return PairRows(Calibration(first, wrong, groups, **tolerance), strange + 3.0 * attacked)


def answered(rows, first, second):
    return (rows.first.scores <= first) & (rows.second <= second)


class TestPlacing:
    @pytest.mark.parametrize("budget", [0.0, 0.05, 0.1, 0.29, 0.9])
    def test_it_is_the_strictest_that_keeps_to_the_budget_on_right_rows(self, budget):
        rng = np.random.default_rng(0)
        scores, wrong = rng.normal(size=100), np.arange(100) % 3 == 0
        found = fit(scores, wrong, budget=budget)
        right = np.sort(scores[~wrong])
        assert found.spent == np.mean(right > found.uncertainty) <= budget
        most = int(budget * len(right) + 1e-9)
        if most:
            assert found.uncertainty == (right[-most - 1] + right[-most]) / 2
        else:
            assert found.uncertainty == ACCEPT_ALL
        stricter = right[right <= found.uncertainty].max()
        assert np.mean(right >= stricter) > budget

    def test_the_whole_budget_is_spent_whatever_rounding_makes_of_it(self):
        assert 0.29 * 100 < 29
        assert fit(np.arange(100.0), budget=0.29).spent == 0.29

    def test_it_passes_its_own_score_where_no_number_lies_between(self):
        scores = np.append(np.ones(9), np.nextafter(1, 2))
        assert (fit(scores).uncertainty, fit(scores).spent) == (1.0, 0.1)

    def test_wrong_rows_do_not_move_it(self):
        scores, wrong = np.arange(20.0), np.arange(20) >= 10
        moved = np.where(wrong, -5.0, scores)
        assert fit(scores, wrong) == fit(moved, wrong)
        assert fit(scores, wrong).uncertainty == 8.5

    def test_an_undefined_score_is_withheld_and_takes_of_the_budget(self):
        scores = np.append(np.arange(19.0), np.nan)
        assert fit(scores).uncertainty == 17.5
        assert fit(scores).spent == 0.1
        assert fit(scores, budget=0.05).uncertainty == ACCEPT_ALL
        assert fit(scores).accepts({"knn": np.array([np.nan, np.inf, 17.0, 18.0])}).tolist() == [
            False, False, True, False,
        ]  # fmt: skip

    def test_more_undefined_scores_than_the_budget_are_refused(self):
        with pytest.raises(InputError, match=r"may withhold 0\.1 .* 3 of 20 have no finite score"):
            fit(np.append(np.arange(17.0), [np.nan, np.inf, np.nan]))

    def test_scores_that_are_all_alike_let_everything_pass(self):
        assert fit(np.zeros(10)).uncertainty == ACCEPT_ALL
        assert fit(np.zeros(0)).spent == 0.0


class TestNames:
    @pytest.mark.parametrize(
        ("text", "error", "words"),
        [
            ("certified(second=knm)", UnknownNameError, "Did you mean 'knn'"),
            ("certified(second=knn, purpose='atack')", UnknownNameError, "Did you mean 'attack'"),
            ("certified(second=knn, budget=2)", InputError, "Write 2 in 100 as 0.02"),
            ("capacity(budget=0.1)", InputError, "none is named"),
            ("certified(second='knn')", InputError, "`second` must be a name"),
            ("certified_by_class(second=knn)", UnknownNameError, "unknown field 'second'"),
        ],
    )
    def test_what_cannot_be_is_refused_when_the_name_is_read(self, text, error, words):
        with pytest.raises(error, match=words):
            build("policy", text)

    def test_a_policy_about_two_does_not_certify_one(self):
        rows = draw(np.random.default_rng(0), 100).first
        for policy in (Certified(second=parse("knn")), Capacity(second=parse("knn"))):
            with pytest.raises(InputError, match="the second signal knn has scores of its own"):
                policy.fit(rows, rows)


class TestCertificate:
    @pytest.fixture(scope="class")
    @classmethod
    def rows(cls):
        rng = np.random.default_rng(1)
        return draw(rng, 2_000), draw(rng, 4_000), draw(rng, 3_000)

    @pytest.fixture(scope="class")
    @classmethod
    def second(cls, rows):
        tune = rows[0]
        return SecondThreshold.fit(tune.second, tune.first.wrong, signal="knn", budget=0.05)

    def test_every_count_is_of_rows_that_pass_both(self, rows, second):
        tune, certify, test = rows
        found = certify_pair(Certified(risk=0.1, second=parse("knn")), second, tune, certify, unlabelled=test)
        given = answered(certify, found.threshold, second.uncertainty)
        assert (found.answered, found.wrong, found.m) == (given.sum(), certify.first.wrong[given].sum(), 4_000)
        assert found.coverage.answered == answered(test, found.threshold, second.uncertainty).sum()
        assert p_value(found.wrong, found.answered, 0.1) <= found.level
        assert found.second == second
        assert 0.4 < found.coverage.low < found.answered / 4_000

    def test_the_threshold_is_that_of_an_obvious_climb_over_rows_that_pass(self, rows, second):
        tune, certify, _ = rows
        policy = Certified(risk=0.1)
        found = certify_pair(policy, second, tune, certify)
        blocked = Calibration(np.where(tune.second <= second.uncertainty, tune.first.scores, np.inf), tune.first.wrong)
        reached = []
        for sequence in policy.plan(blocked, len(certify.first)):
            for threshold in sequence.thresholds:
                given = answered(certify, threshold, second.uncertainty)
                if p_value(int(certify.first.wrong[given].sum()), int(given.sum()), 0.1) > sequence.level:
                    break
                reached.append(threshold)
        assert found.threshold == max(reached)

    def test_the_second_threshold_buys_answers_that_the_first_alone_cannot_give(self, rows, second):
        tune, certify, _ = rows
        single = Certified(risk=0.1).fit(tune.first, certify.first)
        assert not isinstance(single, Certificate) or single.answered < 0.1 * 4_000
        assert certify_pair(Certified(risk=0.1), second, tune, certify).answered > 0.5 * 4_000

    def test_it_says_that_it_is_of_both(self, rows, second):
        tune, certify, test = rows
        found = certify_pair(Certified(risk=0.1), second, tune, certify, unlabelled=test)
        assert f"at most {found.threshold:.4g} and that of knn, which is to keep out images changed" in found.sentence
        assert f"at most {second.uncertainty:.4g} (it withholds {100 * second.spent:.3g} % of right" in found.sentence
        assert "of both thresholds together: it is void where one of them changes" in found.sentence
        assert "of both thresholds together, the one on knn fixed on tune rows" in found.procedure
        assert found.on("msp").signals == ("msp", "knn")
        assert found.on("knn").signals == ("knn",)

    def test_a_refusal_names_the_second_threshold(self, rows, second):
        tune, certify, _ = rows
        found = certify_pair(Certified(risk=0.001), second, tune, certify)
        assert isinstance(found, Refusal)
        assert f"where the second score is that of knn, which is to keep out {'images'}" in found.sentence

    def test_a_coverage_fixed_beforehand_is_of_both(self, rows, second):
        tune, certify, _ = rows
        found = certify_pair(Capacity(coverage=0.6), second, tune, certify)
        assert answered(tune, found.threshold, second.uncertainty).mean() == pytest.approx(0.6, abs=0.001)
        most = certify_pair(Capacity(coverage=0.99), second, tune, certify)
        assert most.answered == (certify.second <= second.uncertainty).sum()


class TestTolerance:
    def test_rows_near_either_threshold_count_against(self):
        """Six right and six wrong rows: surely passing, near the first, near the second, near both, over one each."""
        first = np.tile([0.1, 0.5, 0.1, 0.5, 0.9, 0.1], 2)
        second = np.tile([0.1, 0.1, 0.3, 0.3, 0.1, 0.9], 2)
        wrong = np.repeat([False, True], 6)
        made = SecondThreshold(
            signal="knn", uncertainty=0.3, budget=0.1, spent=0.1, purpose="shift", tolerance=Tolerance(widths=(0.01,))
        )
        rows = PairRows(Calibration(first, wrong, tolerance=Tolerance(widths=(0.02,))), second)
        counts = rows.screened(made).counts(0.5)
        assert (counts.answered, counts.wrong) == (1 + 4, 4)
        assert rows.near(0.5, made, one_per_group=False) == 6
        assert rows.surely_screened(made).surely_answered(0.5) == 2
        edge = replace(made, uncertainty=0.3 - 0.011)
        assert rows.screened(edge).counts(0.5).wrong == 2
        assert rows.near(0.5, edge, one_per_group=False) == 2

    def test_one_row_of_each_group_is_counted_near(self):
        groups = np.repeat(np.arange(50), 2)
        made = SecondThreshold(
            signal="knn", uncertainty=0.3, budget=0.1, spent=0.1, purpose="shift", tolerance=Tolerance(widths=(1.0,))
        )
        rows = PairRows(Calibration(np.zeros(100), np.zeros(100, bool), groups), np.full(100, 0.3))
        assert rows.near(0.5, made, one_per_group=True) == 50
        assert rows.near(0.5, made, one_per_group=False) == 100

    def test_the_certificate_counts_what_may_go_either_way(self):
        rng = np.random.default_rng(3)
        width = Tolerance(widths=(0.002,))
        tune, certify = (draw(rng, 3_000, tolerance=width) for _ in range(2))
        second = SecondThreshold.fit(
            tune.second, tune.first.wrong, signal="knn", budget=0.05, tolerance=Tolerance(widths=(0.05,))
        )
        found = certify_pair(Certified(risk=0.1), second, tune, certify)
        perhaps = answered(certify, found.threshold + 0.002, second.uncertainty + 0.05)
        surely = answered(certify, found.threshold - 0.002, second.uncertainty - 0.05)
        wrong = certify.first.wrong
        assert found.near == (perhaps & ~surely).sum() > 0
        assert found.wrong == (perhaps & wrong).sum()
        assert found.answered == (surely & ~wrong).sum() + (perhaps & wrong).sum()
        assert found.coverage.answered == surely.sum()
        assert (certify.screened(second).surely_answered(found.threshold)) > surely.sum()
        level = Look().coverage_level(0.05) / found.grid
        assert found.coverage.low == risk_lower_bound(surely.sum(), 3_000, level)
        assert f"{found.near:,} images so near a threshold that rounding decides" in found.sentence

    def test_a_nan_second_score_is_never_answered(self):
        rows = PairRows(Calibration(np.zeros(4), np.array([True, False] * 2)), np.array([np.nan, np.nan, 0.0, 0.0]))
        made = SecondThreshold(
            signal="knn", uncertainty=1.0, budget=0.1, spent=0.0, purpose="unknown", tolerance=Tolerance(widths=(9.0,))
        )
        assert rows.screened(made).scores.tolist() == [np.inf, np.inf, 0.0, np.inf]
        assert rows.near(0.5, made, one_per_group=False) == 2

    def test_one_score_per_row_is_wanted(self):
        with pytest.raises(InputError, match="got 3 for 4 rows"):
            PairRows(Calibration(np.zeros(4), np.zeros(4, bool)), np.zeros(3))


@pytest.mark.parametrize("grouped", [False, True])
def test_the_risk_of_both_is_broken_no_oftener_than_promised(grouped):
    """Every signal is blind here: each row is wrong with probability just above the risk, whatever its scores."""
    rng, broken, repeats, delta = np.random.default_rng(5), 0, 400, 0.2
    for _ in range(repeats):
        tune, certify = (
            PairRows(
                Calibration(rng.random(n), rng.random(n) < 0.21, np.arange(n) // 2 if grouped else None), rng.random(n)
            )
            for n in (200, 500)
        )
        second = SecondThreshold.fit(tune.second, tune.first.wrong, signal="knn", budget=0.2)
        broken += isinstance(certify_pair(Certified(risk=0.2, delta=delta), second, tune, certify), Certificate)
    level = Look().risk_level(delta)
    assert broken / repeats <= level + 3 * np.sqrt(level * (1 - level) / repeats)
    assert broken or grouped
