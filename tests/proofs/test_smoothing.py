"""Smoothing of a plane, of which everything is known: shares of noise, answers, exact radii, the worst points."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm

from demur.errors import InputError
from demur.proofs import ABSTAINED, Smoothing
from demur.randomness import Keys

NORMAL = torch.tensor([[0.6, -0.8], [0.0, 0.0]]).view(1, 2, 2)
SIGMA = 0.3


def plane(x):
    """Class 1 on the side that a unit vector points to, from the middle of the cube; the distance is the logit."""
    distance = ((x - 0.5) * NORMAL).flatten(1).sum(dim=1)
    return torch.stack([-distance, distance], dim=1)


def at(distances):
    """Images so far from the plane, on the side of class 1 where positive, and their keys."""
    far = torch.as_tensor(distances, dtype=torch.float32).view(-1, 1, 1, 1)
    return 0.5 + far * NORMAL, Keys.of(3, [str(row) for row in range(len(far))], "smoothing")


def exact_radii(distances, share):
    """Of class 1: the change that moves its share of noise, Φ(distance / σ), down to a share."""
    return np.maximum(0, np.asarray(distances) - SIGMA * norm.ppf(share))


DISTANCES = (0.02, 0.1, 0.2, 0.35, 0.5, -0.1)


@pytest.fixture(scope="module")
def votes():
    """By how many draws: what a plane's noisy images are called."""
    return {n: Smoothing(sigma=SIGMA, samples=n).certify(plane, *at(DISTANCES)) for n in (300, 12_000)}


@pytest.mark.parametrize("n", [300, 12_000])
def test_radii_of_a_plane_are_at_most_the_distance_and_come_near_it_with_more_draws(votes, n):
    label, radii = torch.ones(6, dtype=torch.int64), {}
    for share in (0.5, 0.9):
        found = votes[n]
        radii[share] = found.right_radii(label, share).numpy()
        exact = exact_radii(DISTANCES, share) * (np.asarray(DISTANCES) > 0)
        assert (radii[share] <= exact + 1e-12).all()
        safe = found.right_or_declined_radii(label, share).numpy()
        assert (safe <= exact_radii(DISTANCES, 1 - share) + 1e-12).all()
        assert (safe >= radii[share]).all()
        if n > 300:
            assert safe[1:5] == pytest.approx(exact_radii(DISTANCES, 1 - share)[1:5], abs=0.03)
            assert radii[share][1:5] == pytest.approx(exact[1:5], abs=0.03)
            fewer = votes[300].right_or_declined_radii(label, share).numpy()
            assert (safe - fewer)[1:5].mean() > 0.02
    assert (radii[0.9] < radii[0.5] + 1e-12).all()


def test_an_image_that_is_wrong_may_still_be_safe_behind_a_threshold_on_votes(votes):
    """On the wrong side by .1, the wrong class has Φ(.1/.3) = .63 of the noise: no answer where .9 must agree."""
    label, found = torch.ones(6, dtype=torch.int64), votes[12_000]
    assert found.right_radii(label)[5] == found.right_or_declined_radii(label)[5] == 0
    exact = -0.1 + SIGMA * norm.ppf(0.9)
    assert found.right_or_declined_radii(label, 0.9)[5] == pytest.approx(exact, abs=0.02)
    assert found.answers()[5] == 0
    assert found.answers(0.9)[5] == ABSTAINED
    assert found.answers(0.9)[4] == 1


def test_beyond_the_exact_radius_the_guard_does_answer_wrongly_and_within_the_proven_one_never():
    """The worst change runs along the normal; there the shares of noise are counted anew."""
    how, share, label = Smoothing(sigma=SIGMA, samples=12_000), 0.8, torch.ones(3, dtype=torch.int64)
    distances = np.array([0.1, 0.25, -0.05])
    proven = how.certify(plane, *at(distances)).right_or_declined_radii(label, share).numpy()
    within = how.votes(plane, *at(distances - proven), "elsewhere", 12_000)[:, 0] / 12_000
    assert (within < share).all()
    beyond = how.certify(plane, *at(distances - exact_radii(distances, 1 - share) - 0.03))
    assert beyond.answers(share).tolist() == [0, 0, 0]


def test_the_share_is_bounded_wrongly_about_as_often_as_alpha_says():
    """400 images of one distance, alpha 10 %: a simulation of the whole, draws, votes and bound."""
    how = Smoothing(sigma=SIGMA, samples=100, alpha=0.1, selection=1)
    found = how.certify(plane, *at([0.25] * 400))
    missed = (how_far := found.right_or_declined_radii(torch.ones(400, dtype=torch.int64)).numpy()) > 0.25
    assert 0.03 < missed.mean() < 0.1 + 3 * math.sqrt(0.09 / 400)
    assert how_far.std() > 0


def test_a_class_is_selected_by_other_draws_than_those_that_bound_its_share():
    """Were they the same, of even classes the one ahead would be selected, and shown ahead twice as often."""
    how = Smoothing(sigma=SIGMA, samples=100, selection=100, alpha=0.1)
    answered = how.certify(plane, *at([0.0] * 400)).answers() != ABSTAINED
    assert 0.03 < answered.double().mean() < 0.1 + 3 * math.sqrt(0.09 / 400)


def test_an_image_is_not_right_where_another_class_was_selected():
    found = Smoothing(sigma=SIGMA, samples=300, selection=1).certify(plane, *at([0.1] * 40))
    right = found.right_radii(torch.ones(40, dtype=torch.int64)) > 0
    assert right.sum() > 10
    assert (found.selected == 0).sum() > 3
    assert not (right & (found.selected == 0)).any()
    assert (found.answers() == 0).sum() == 0


def test_a_prediction_abstains_where_two_classes_are_even_and_is_hardly_ever_wrong():
    how = Smoothing(sigma=SIGMA, samples=100, alpha=0.1)
    even = how.predict(plane, *at([0.0] * 300)) != ABSTAINED
    assert 0.01 < even.double().mean() < 0.1 + 3 * math.sqrt(0.09 / 300)
    assert how.predict(plane, *at([0.4, -0.4])).tolist() == [1, 0]


def test_votes_do_not_depend_on_the_batch_and_more_draws_begin_with_the_fewer():
    how = Smoothing(sigma=SIGMA, samples=50)
    x, keys = at(DISTANCES)
    whole = how.votes(plane, x, keys, "estimation", 50)
    assert how.votes(plane, x, keys, "estimation", 50, batch=5).equal(whole)
    assert how.votes(plane, x[2:4], keys.rows([2, 3]), "estimation", 50, batch=33).equal(whole[2:4])
    assert whole.sum(dim=1).tolist() == [50] * 6
    more = how.votes(plane, x, keys, "estimation", 60) - whole
    assert more.min() >= 0
    assert not how.votes(plane, x, keys, "selection", 50).equal(whole)
    assert how.votes(plane, x[:0], keys.rows([]), "estimation", 50).shape[0] == 0


def test_noise_is_normal_in_units_of_the_pixel_range_and_is_not_clipped():
    taken = []

    def model(images):
        taken.append(images)
        return plane(images)

    x, keys = at([0.0] * 40)
    Smoothing(sigma=0.5).votes(model, x, keys, "estimation", 100, batch=64)
    assert max(map(len, taken)) <= 64
    drawn = len(taken)
    Smoothing(sigma=0.5).votes(model, x[:1], keys.rows([0]), "estimation", 40, batch=7)
    assert max(map(len, taken[drawn:])) <= 7
    noise = torch.cat(taken[:drawn]) - 0.5
    assert noise.std().item() == pytest.approx(0.5, rel=0.03)
    assert noise.mean().item() == pytest.approx(0, abs=0.02)
    assert (noise.abs() > 0.5).double().mean().item() == pytest.approx(2 * norm.sf(1), abs=0.02)
    assert torch.corrcoef(noise.flatten(1).T).fill_diagonal_(0).abs().max() < 0.06
    assert len(noise.flatten().unique()) > 0.99 * noise.numel()


def test_answers_that_are_not_finite_are_votes_for_nobody():
    def broken(images):
        return plane(images).masked_fill(images.flatten(1)[:, :1] < 0.5, math.nan)

    how = Smoothing(sigma=SIGMA, samples=200)
    found = how.certify(broken, *at([0.5]))
    assert 100 < found.counts.sum() < 200
    label = torch.tensor([1])
    assert found.right_or_declined_radii(label) < how.certify(plane, *at([0.5])).right_or_declined_radii(label)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"sigma": 0.0}, "`sigma` of a smoothing must be above 0"),
        ({"sigma": math.inf}, "`sigma` of a smoothing must be above 0"),
        ({"sigma": 0.25, "alpha": 1.0}, "`alpha` of a smoothing must lie in"),
        ({"sigma": 0.25, "selection": 0}, "`selection` of a smoothing counts draws"),
        ({"sigma": 0.25, "samples": 9}, "9 can show none though all agree"),
    ],
)
def test_a_smoothing_that_can_prove_nothing_is_refused(given, words):
    with pytest.raises(InputError, match=words):
        Smoothing(**given)
    assert Smoothing(sigma=0.25, samples=10).reach() > 0
