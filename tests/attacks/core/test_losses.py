"""Losses against their definitions, and where single precision ends."""

import mpmath
import pytest
import torch
from torch.nn import functional

from demur.attacks.core.losses import LOSSES, TARGETED, cross_entropy, margin, softmax, targeted_softmax

Y = torch.tensor([0, 2, 1])
Z = torch.tensor([[2.0, -1, 0.5], [0, 3, 1], [4, 4, -2]])


def gradient(loss, logits):
    leaf = logits.clone().requires_grad_()
    (found,) = torch.autograd.grad(loss(leaf, Y[: len(leaf)]).sum(), leaf)
    return found


def test_every_loss_has_one_towards_a_target():
    assert set(LOSSES) == set(TARGETED)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_through_the_softmax_it_is_cross_entropy_in_single_precision(dtype):
    found = softmax(Z.to(dtype), Y)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), cross_entropy(Z, Y), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(targeted_softmax(Z, Y, 1 - Y.clamp(max=1)), -softmax(Z, 1 - Y.clamp(max=1)))


def test_its_gradient_ends_where_an_answer_leads_by_more_than_a_hundred():
    near, far = torch.tensor([[50.0, 0, 1]]), torch.tensor([[150.0, 0, 1]])
    assert gradient(softmax, near).abs().max() > 0
    assert gradient(softmax, far).abs().max() == 0
    assert gradient(margin, far).abs().max() == 1


def test_an_answer_that_is_as_wrong_as_can_be_stays_finite():
    logits = torch.tensor([[-300.0, 0, 1]])
    assert softmax(logits, Y[:1]).isfinite().all()
    assert gradient(softmax, logits).isfinite().all()


LEADS = (-30, -1, 0.5, 10, 20, 25, 40, 60)
FAR = (90, 150, 800, 3000, 40000)


def exactly(lead):
    """Logits whose right class leads by about so much; the loss and its gradient, in 100 digits."""
    logits = torch.tensor([[lead, 0.25, 0, -1.5]], dtype=torch.float64)
    with mpmath.workdps(100):
        z = [mpmath.mpf(value) for value in logits[0].tolist()]
        others = sum(mpmath.exp(value - z[0]) for value in z[1:])
        gradient = [-others / (1 + others), *(mpmath.exp(value - z[0]) / (1 + others) for value in z[1:])]
        direction = [float(value / max(map(abs, gradient))) for value in gradient]
        return logits, float(mpmath.log(1 + others)), [float(value) for value in gradient], direction


@pytest.mark.parametrize("lead", LEADS)
def test_cross_entropy_is_that_of_exact_arithmetic(lead):
    logits, loss, wanted, direction = exactly(lead)
    assert cross_entropy(logits, Y[:1]).item() == pytest.approx(loss, rel=1e-6, abs=0)
    found = gradient(cross_entropy, logits)[0]
    assert (found / found.abs().max()).tolist() == pytest.approx(direction, rel=1e-6, abs=0)
    if lead < 22:
        assert found.tolist() == pytest.approx(wanted, rel=1e-6, abs=0)
    else:
        assert found[0].item() == -(2.0**-32)


@pytest.mark.parametrize("lead", FAR)
def test_however_sure_an_answer_the_gradient_has_its_direction_and_a_size_that_single_precision_holds(lead):
    logits, _, _, direction = exactly(lead)
    found = gradient(cross_entropy, logits.float())[0]
    assert found.dtype == torch.float32
    assert (found / found.abs().max()).tolist() == pytest.approx(direction, rel=1e-6, abs=0)
    assert found.abs().max().item() == 2.0**-32


def test_a_surer_answer_has_a_smaller_loss_in_single_precision_too():
    leads = torch.tensor([*LEADS, 64, 65, *FAR])
    losses = cross_entropy(torch.stack([leads, 0 * leads, 0 * leads - 1], dim=1), 0 * leads.long()).float()
    assert (losses.diff() < 0).all()
    assert 0 < losses[-1] < losses[leads == 64].item() < 3e-28


def test_an_ordinary_answer_has_the_loss_and_gradient_of_torch_to_the_bit():
    logits = 20 * torch.randn(500, 10, generator=torch.Generator().manual_seed(0))
    labels = logits.argmax(dim=1).where(torch.arange(500) % 2 == 0, torch.arange(500) % 10)

    def plain(z, y):
        return functional.cross_entropy(z.double(), y, reduction="none")

    below = plain(logits, labels) > 2.0**-31
    assert 300 < below.sum() < 500
    assert torch.equal(cross_entropy(logits, labels)[below], plain(logits, labels)[below])
    leaves = [logits.clone().requires_grad_() for _ in range(2)]
    ours, theirs = (
        torch.autograd.grad(loss(leaf, labels).sum(), leaf)[0]
        for loss, leaf in zip((cross_entropy, plain), leaves, strict=True)
    )
    assert torch.equal(ours[below], theirs[below])


def test_one_sure_row_leaves_the_others_as_they_are():
    many, one = torch.tensor([[900.0, 0, 1], [0, 1, 0.5]]), torch.tensor([[0, 1, 0.5]])
    leaf = many.clone().requires_grad_()
    (found,) = torch.autograd.grad(cross_entropy(leaf, torch.tensor([0, 0])).sum(), leaf)
    assert torch.equal(found[1:], gradient(cross_entropy, one))
