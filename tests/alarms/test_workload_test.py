"""The workload's e-process: exact expectations over reference and stream, a slow infimum, validity, delays."""

import itertools
import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import binom

from demur.alarms.betting_process import Wealth
from demur.alarms.detectable_rise import chance_at_most, detection, share_beyond, smallest_share
from demur.alarms.workload_test import WorkloadTest, lower_ends, power_calibrator
from demur.policies.certified import Certified
from demur.policies.fixed_sequence import Calibration

REFERENCE = (4065, 805)


def test_the_calibrator_is_the_mean_of_powers_and_integrates_to_one():
    for p in (1e-6, 0.01, 0.3, 0.999, 0.99995, 1.0):
        assert power_calibrator(p) == pytest.approx(quad(lambda k, p=p: k * p ** (k - 1), 0, 1)[0], rel=1e-6)
    assert quad(lambda s: float(power_calibrator(math.exp(-s))) * math.exp(-s), 0, 2000, limit=500)[0] <= 1


def evidence(test, outcome):
    for x in outcome:
        test = test.after(x)
    return float(test.evidence)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.6])
@pytest.mark.parametrize("tolerance", [0.0, 0.2])
def test_at_the_boundary_the_exact_expectation_over_reference_and_stream_is_at_most_one(share, tolerance):
    n, length, p = 12, 6, share + tolerance
    found = 0.0
    for k in range(n + 1):
        start = WorkloadTest.of(n, k, 1, tolerance)
        found += binom.pmf(k, n, share) * sum(
            evidence(start, outcome) * p ** sum(outcome) * (1 - p) ** (length - sum(outcome))
            for outcome in itertools.product((0, 1), repeat=length)
        )
    assert 0.05 < found <= 1


@pytest.mark.parametrize("rise", [0.1, 0.25])
@pytest.mark.parametrize(("n", "k", "several"), [(500, 100, 1), (4065, 805, 1), (500, 100, 40), (50, 0, 1)])
def test_it_is_close_to_the_smallest_product_over_all_shares(n, k, several, rise):
    draw, test, tolerance = np.random.default_rng(1), WorkloadTest.of(n, k, several, 0.03), 0.03
    shares = np.linspace(1e-6, 1 - tolerance - 1e-6, 4001)
    factors = power_calibrator(np.minimum(1, several * binom.cdf(k, n, shares)))
    wealth = Wealth.start(shares + tolerance)
    for _ in range(200):
        x = float(draw.random() < k / n + rise)
        test, wealth = test.after(x), wealth.after(x)
        slow = float((factors * wealth.total).min())
        assert 0.5 * min(slow, 1e6) <= test.evidence <= 1.02 * slow  # the last cells are a ceiling
    assert slow > (10 if rise == 0.25 else 0.1)


def test_without_an_answer_in_the_reference_nothing_can_be_concluded():
    assert evidence(WorkloadTest.of(50, 50, 1, 0.03), [1.0] * 300) <= 0.5


def test_cells_hold_every_share():
    ends = lower_ends(100, np.array([[20.0], [100.0], [0.0]]), 1)
    assert (np.diff(ends, axis=-1) >= 0).all()
    assert ends.min() == 0
    assert ends.max() <= 1


def stream(n, share, tolerance, after, quiet, length, runs, seed=0):
    """First times at which streams with references of their own reach 100, counted from the change."""
    draw = np.random.default_rng(seed)
    test = WorkloadTest.of(n, draw.binomial(n, share, runs), 1, tolerance)
    found = np.full(runs, np.inf)
    for t in range(quiet + length):
        test = test.after((draw.random(runs) < (share if t < quiet else after)).astype(float))
        found[(test.evidence >= 100) & np.isinf(found)] = t + 1 - quiet
        if t >= quiet and np.isfinite(found).mean() > 0.55:
            break
    return found


def test_a_rise_from_20_to_30_in_100_is_found_after_ten_thousand_quiet_images():
    found = stream(4065, 0.2, 0.03, 0.3, 10_000, 2500, 25)
    assert np.median(found) <= 1500
    assert (found > 0).all()


def test_at_the_boundary_of_the_null_false_alarms_keep_to_alpha():
    """Small references, so that what is not known of them matters: were it ignored, one stream in ten would alarm."""
    runs, n, share, tolerance = 400, 400, 0.2, 0.03
    assert np.isfinite(stream(n, share, tolerance, share + tolerance, 0, 1500, runs)).sum() <= binom.ppf(
        0.999, runs, 0.01
    )
    draw = np.random.default_rng(0)
    naive = Wealth.start(draw.binomial(n, share, runs)[:, None] / n + tolerance)
    alarms = np.zeros(runs, bool)
    for _ in range(1500):
        naive = naive.after((draw.random(runs) < share + tolerance).astype(float))
        alarms |= naive.total[:, 0] >= 100
    assert alarms.mean() > 0.04, "a test that takes the reference for the truth is noticed here"


def test_what_is_said_to_be_detectable_is_about_what_streams_show():
    test = WorkloadTest.of(*REFERENCE, 1, 0.03)
    for after, quiet in ((0.35, 0), (0.35, 1000)):
        expected = detection(test, after, quiet=quiet, before=0.198, alpha=0.01).images
        found = np.median(stream(4065, 0.198, 0.03, after, quiet, 2000, 60))
        assert 0.6 * found <= expected <= 1.8 * found


def test_a_rise_that_is_beyond_it_is_said_to_be():
    test, said = WorkloadTest.of(4065, 813, 1, 0.03), {"quiet": 10_000, "before": 0.2, "alpha": 0.01}
    assert detection(test, 0.25, **said).images is None
    assert chance_at_most(test, 0.25, alpha=0.01) < 0.5
    assert 0.25 <= share_beyond(test, alpha=0.01) < 0.26
    assert detection(test, 0.30, **said).images <= 1500
    assert chance_at_most(test, 0.30, alpha=0.01) == 1
    assert share_beyond(test, alpha=0.01) < smallest_share(test, 1500, **said) < 0.30
    assert smallest_share(WorkloadTest.of(10, 9, 1, 0.3), 100, **{**said, "before": 0.9}) is None


def test_no_more_streams_find_a_rise_than_the_bound_allows():
    """A small reference, so that streams need not be long; the bound is of this count of the reference."""
    runs, share = 300, 0.30
    test = WorkloadTest.of(400, np.full(runs, 80), 1, 0.03)
    draw, raised = np.random.default_rng(0), np.zeros(runs, bool)
    for _ in range(3000):
        test = test.after((draw.random(runs) < share).astype(float))
        raised |= test.evidence >= 100
    bound = chance_at_most(WorkloadTest.of(400, 80, 1, 0.03), share, alpha=0.01)
    assert 0.1 < bound < 0.9
    assert raised.sum() <= binom.ppf(0.999, runs, bound)
    assert raised.mean() > bound / 20, "the bound is of use"


def test_certify_rows_that_chose_the_threshold_pay_for_their_choice():
    """The share below a threshold that the same rows chose is not binomial; with `several` it is bounded."""
    draw, levels, runs = np.random.default_rng(0), 0.1, 150
    missed = {"test": 0, "certify": 0}
    for _ in range(runs):
        scores = draw.random((3, 500))
        wrong = draw.random((3, 500)) < 0.35 * scores**2
        rows = [Calibration(score, flags) for score, flags in zip(scores, wrong, strict=True)]
        for name, bare in (("test", rows[2]), ("certify", None)):
            made = Certified(risk=0.05, delta=0.2).fit(rows[0], rows[1], unlabelled=bare)
            bound = getattr(made, "coverage", None)
            if bound is not None:
                assert bound.rows == name
                above = max(0.0, 1 - made.threshold)
                p = min(1.0, bound.several * binom.cdf(bound.n - bound.answered, bound.n, above))
                missed[name] += p <= levels
    assert 1 <= missed["test"] <= binom.ppf(0.999, runs, levels)
    assert missed["certify"] <= binom.ppf(0.999, runs, levels)


def test_where_neighbours_are_alike_sequences_keep_to_alpha_and_images_do_not():
    """Images of one sequence have a chance in common; at the boundary of the null, with references of their own."""
    runs, n, share, tolerance, alike = 300, 2000, 0.2, 0.03, 10
    draw = np.random.default_rng(9)
    start = WorkloadTest.of(n, draw.binomial(n, share, runs), 1, tolerance)
    by_sequence, by_image, raised = start, start, np.zeros((2, runs), bool)
    for _ in range(100):
        common = draw.beta(share + tolerance, 1 - share - tolerance, runs)
        images = (draw.random((alike, runs)) < common).astype(float)
        by_sequence = by_sequence.after(images.mean(axis=0))
        for image in images:
            by_image = by_image.after(image)
            raised[1] |= by_image.evidence >= 100
        raised[0] |= by_sequence.evidence >= 100
    assert raised[0].sum() <= binom.ppf(0.999, runs, 0.01)
    assert raised[1].mean() > 0.1
