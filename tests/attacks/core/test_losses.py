"""Losses against their definitions, and where single precision ends."""

import pytest
import torch

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
