"""Recipes that learn from perturbed images: each against its formula, written out slowly."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from demur.attacks.core.driving import driven
from demur.attacks.core.losses import cross_entropy
from demur.attacks.core.objective import Objective
from demur.attacks.gradient_sign import BIM
from demur.attacks.pgd import PGD
from demur.classifier import BoundClassifier
from demur.errors import InputError
from demur.randomness import Keys
from demur.training import fresh
from demur.training.adversarial import NFGSM, TRADES, EntropyGuided, FastFGSM, PGDTraining
from demur.training.recipe import Lesson

IMAGES = 0.1 + 0.8 * torch.rand(12, 1, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(12) % 3
ADVERSARIAL = [NFGSM, EntropyGuided, FastFGSM, PGDTraining, TRADES]


def network(seed=0):
    return fresh(
        lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)), seed
    )


def lesson(seed=1, images=IMAGES):
    return Lesson(images, LABELS, torch.bincount(LABELS), torch.Generator().manual_seed(seed))


def gradient_at(student, images):
    x = images.clone().requires_grad_()
    (found,) = torch.autograd.grad(functional.cross_entropy(student(x), LABELS, reduction="sum"), x)
    return found


def noise(most, seed=1):
    return most * (2 * torch.rand(IMAGES.shape, generator=torch.Generator().manual_seed(seed)) - 1)


def test_n_fgsm_is_noise_of_twice_eps_and_a_step_that_nothing_cuts_back():
    student, eps = network().train(), 0.03
    start = IMAGES + noise(2 * eps)
    wanted = start + eps * gradient_at(student, start).sign()
    found = NFGSM(eps=eps).perturbed(student, lesson())
    torch.testing.assert_close(found, wanted)
    assert (found - IMAGES).abs().max() > 1.5 * eps


def test_images_stay_images():
    bright = torch.ones_like(IMAGES)
    for recipe in ADVERSARIAL:
        found = recipe(eps=0.2).perturbed(network().train(), lesson(images=bright))
        assert found.min() >= 0
        assert found.max() <= 1


@pytest.mark.parametrize("recipe", [FastFGSM, PGDTraining, TRADES])
def test_points_stay_in_the_ball_where_the_method_says_so(recipe):
    found = recipe(eps=0.05).perturbed(network().train(), lesson())
    assert (found - IMAGES).abs().max() <= 0.05 + 1e-6
    assert (found - IMAGES).abs().max() > 0.04


def test_the_budget_follows_the_entropy():
    recipe = EntropyGuided(eps=0.1, guide=0.5)
    logits = torch.tensor([[100.0, 0.0, 0.0], [0.0, 0.0, 0.0], [math.log(2), 0.0, -torch.inf]])
    logits[2, 2] = -1e4  # two thirds, one third, nothing
    entropy = -(2 / 3 * math.log(2 / 3) + 1 / 3 * math.log(1 / 3))
    wanted = [0.15, 0.05, 0.1 * (1 + 0.5 * (1 - 2 * entropy / math.log(3)))]
    assert recipe.budgets(logits).tolist() == pytest.approx(wanted, rel=1e-5)


def test_entropy_guided_steps_as_far_as_the_budget():
    student, recipe = network().train(), EntropyGuided(eps=0.03, guide=0.8)
    start = IMAGES + noise(0.06)
    budget = recipe.budgets(student(start).detach())
    wanted = start + budget.view(-1, 1, 1, 1) * gradient_at(student, start).sign()
    torch.testing.assert_close(recipe.perturbed(student, lesson()), wanted)
    assert budget.max() / budget.min() > 1.01


def test_pgd_in_training_is_the_attack_outside():
    """The same points as the harness finds, which asks the same steps of the same class."""
    student = network().eval()
    keys = Keys.of(0, [str(row) for row in range(12)], "test")
    attack = PGD(eps=0.05, steps=4)
    classifier = BoundClassifier(student, classes=("a", "b", "c"), input_shape=(1, 8, 8))
    outside = attack.execute(Objective(classifier), IMAGES, LABELS, keys, keep="worst", trace=True)
    inside = driven(attack, classifier.logits, IMAGES, LABELS, keys.seeds("attack"), cross_entropy)
    loss = functional.cross_entropy(classifier.logits(inside), LABELS, reduction="none")
    worst = torch.maximum(outside.trace.nan_to_num(-torch.inf).amax(dim=1), loss)
    torch.testing.assert_close(outside.loss_kept.float(), worst.float(), rtol=1e-5, atol=1e-6)


def test_driven_follows_each_row_s_own_radius_and_any_loss():
    eps = torch.linspace(0.01, 0.12, 12)
    weights = torch.ones(64)
    found = driven(
        BIM(eps=1.0, steps=5),
        lambda x: x.flatten(1) @ weights[:, None],
        IMAGES,
        LABELS,
        torch.zeros(12, dtype=torch.int64),
        lambda logits, _y: logits[:, 0],
        eps=eps,
    )
    torch.testing.assert_close(found, (IMAGES + eps.view(-1, 1, 1, 1)).clamp(0, 1))


def test_trades_is_its_formula_and_leaves_the_mode_as_it_was():
    student, recipe = network().train(), TRADES(eps=0.05, beta=3.0, steps=2)
    shifted = recipe.perturbed(student, lesson())
    assert student.training
    clean, other = student(IMAGES), student(shifted)
    divergence = functional.kl_div(other.log_softmax(1), clean.softmax(1), reduction="batchmean")
    wanted = functional.cross_entropy(clean, LABELS) + 3.0 * divergence
    found = recipe.loss(network().train(), lesson())
    assert found.item() == pytest.approx(wanted.item(), rel=1e-5)


def test_trades_climbs_the_divergence_not_the_loss_of_the_label():
    student = network().eval()
    found = TRADES(eps=0.05, steps=5).perturbed(student, lesson())
    clean = student(IMAGES).log_softmax(1)

    def mean(x):
        return functional.kl_div(student(x).log_softmax(1), clean.exp(), reduction="batchmean").item()

    start = TRADES(eps=0.05, steps=1, step=1e-9).perturbed(student.eval(), lesson())
    assert mean(found) > 1.5 * mean(start)


@pytest.mark.parametrize("recipe", ADVERSARIAL)
def test_one_seed_one_loss(recipe):
    first, again, other = (recipe(eps=0.05).loss(network().train(), lesson(seed)).item() for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize("recipe", ADVERSARIAL)
def test_a_size_that_cannot_be_is_refused(recipe):
    with pytest.raises(InputError, match="8/255"):
        recipe(eps=8.0)
