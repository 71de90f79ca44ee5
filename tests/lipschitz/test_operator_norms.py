import math

import pytest
import torch
from tests.lipschitz.lipschitz_nets import conv, dense_norm, seeded
from torch import nn
from torch.nn import functional

from demur.lipschitz import operator_norm
from demur.lipschitz.operator_norms import bound_margin


def zeros(*shape):
    return torch.zeros(1, *shape, dtype=torch.float64)


MAPS = {
    "plain": (conv(3, 5), (3, 7, 7)),
    "no padding": (nn.Conv2d(3, 6, 3), (3, 7, 7)),
    "strided": (nn.Conv2d(4, 8, 5, stride=2, padding=2), (4, 8, 8)),
    "uneven stride": (nn.Conv2d(3, 8, (3, 2), stride=(3, 1), padding=(0, 1)), (3, 8, 7)),
    "dilated": (nn.Conv2d(3, 5, 3, dilation=2, padding=2), (3, 8, 8)),
    "grouped": (nn.Conv2d(6, 12, 3, padding=1, groups=3), (6, 6, 6)),
    "depthwise": (nn.Conv2d(6, 6, 3, padding=1, groups=6), (6, 6, 6)),
    "reflecting": (nn.Conv2d(3, 5, 3, padding=1, padding_mode="reflect"), (3, 6, 6)),
    "transposed": (nn.ConvTranspose2d(4, 3, 3, stride=2), (4, 5, 5)),
    "one dimension": (nn.Conv1d(4, 5, 3, padding=1), (4, 20)),
    "folded": (nn.Sequential(conv(4, 6), nn.BatchNorm2d(6)), (4, 6, 6)),
    "average pool": (nn.AvgPool2d(3, stride=1, padding=1), (2, 9, 9)),
    "adaptive pool": (nn.AdaptiveAvgPool2d(4), (5, 7, 7)),
    "wide": (nn.Linear(100, 120), (100,)),
    "narrow": (nn.Linear(100, 5), (100,)),
    "tall": (nn.Linear(5, 100), (5,)),
}


@pytest.mark.parametrize("name", MAPS)
def test_a_norm_is_the_largest_singular_value_of_the_explicit_matrix(name):
    layer, shape = MAPS[name]
    layer = seeded(layer).double()
    found, dense = operator_norm(layer, zeros(*shape)), dense_norm(layer, shape)
    assert found.value == pytest.approx(dense, rel=1e-9)
    assert found.converged
    assert dense <= found.above * (1 + 1e-12)
    assert found.above <= 1.02 * dense


def test_a_linear_layer_has_the_norm_of_its_weights():
    layer = seeded(nn.Linear(90, 80)).double()
    expected = float(torch.linalg.matrix_norm(layer.weight.detach(), ord=2))
    assert operator_norm(layer, zeros(90)).value == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("size", [3, 5, 16])
def test_a_circular_convolution_has_the_largest_norm_over_its_frequencies(size):
    layer = seeded(nn.Conv2d(4, 6, 3, padding=1, padding_mode="circular", bias=False)).double()
    kernel = torch.zeros(6, 4, size, size, dtype=torch.float64)
    kernel[:, :, :3, :3] = layer.weight.detach()
    symbols = torch.fft.fft2(kernel).permute(2, 3, 0, 1)
    exact = float(torch.linalg.matrix_norm(symbols, ord=2).max())
    assert operator_norm(layer, zeros(4, size, size)).value == pytest.approx(exact, rel=1e-9)


def test_the_size_of_the_input_matters_as_it_does_not_to_the_kernel_alone():
    layer = seeded(conv(4, 4)).double()
    norms = [operator_norm(layer, zeros(4, size, size)).value for size in (3, 6, 24)]
    assert norms == sorted(norms)
    alone = torch.linalg.matrix_norm(
        torch.fft.fft2(layer.weight.detach(), norm="ortho").permute(2, 3, 0, 1), ord=2
    ).max()
    assert norms[-1] > 2 * float(alone)  # the transform of the kernel, not padded to the input, is no bound


def test_batch_normalisation_folded_in_equals_the_two_one_after_the_other():
    layer, norm = seeded(nn.Sequential(conv(4, 6), nn.BatchNorm2d(6))).double()
    scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
    folded = nn.Conv2d(4, 6, 3, padding=1).double()
    folded.weight.data = layer.weight.detach() * scale.detach().view(-1, 1, 1, 1)
    both = operator_norm(lambda x: norm(layer(x)), zeros(4, 6, 6)).value
    assert both == pytest.approx(operator_norm(folded, zeros(4, 6, 6)).value, rel=1e-9)
    apart = operator_norm(layer, zeros(4, 6, 6)).value * operator_norm(norm, zeros(6, 6, 6)).value
    assert both < 0.95 * apart
    assert operator_norm(norm, zeros(6, 6, 6)).value == pytest.approx(float(scale.detach().abs().max()), rel=1e-9)


def test_a_map_of_nothing_and_one_that_does_not_listen_have_the_norm_zero():
    assert operator_norm(lambda x: 0 * x + 3, zeros(90)).value == 0
    assert operator_norm(lambda x: torch.ones(7), zeros(90)).above == 0


def test_equal_singular_values_are_found_exactly_and_at_once():
    found = operator_norm(lambda x: functional.pad(3 * x, (1, 2)), zeros(200))
    assert found.value == found.above == pytest.approx(3, rel=1e-12)
    assert found.iterations < 5


def test_singular_values_close_together_are_told_apart_where_single_iterates_stall():
    scale = 1 - torch.linspace(0, 1, 2000, dtype=torch.float64).square() * 0.2
    found = operator_norm(lambda x: x * scale, zeros(2000))
    assert found.value == pytest.approx(1, rel=1e-5)
    v = torch.ones(2000, dtype=torch.float64)
    for _ in range(found.iterations):
        v = torch.nn.functional.normalize(v * scale**2, dim=0)
    assert float((v * scale).norm()) < 0.9998


def test_the_margin_covers_what_a_search_can_miss_and_shrinks_with_its_rounds():
    assert bound_margin(1, 100) == math.inf
    assert [bound_margin(k, 10_000) for k in (50, 100, 400)] == sorted(
        (bound_margin(k, 10_000) for k in (50, 100, 400)), reverse=True
    )
    assert bound_margin(100, 16_384) == pytest.approx(1 / math.sqrt(1 - (math.log(1.648 * 128 * 1e9) / 199) ** 2))
    assert bound_margin(400, 16_384) < 1.001


def test_the_same_norm_every_time_and_in_single_precision():
    layer = seeded(conv(4, 6))
    one, again = (operator_norm(layer, torch.zeros(1, 4, 9, 9)) for _ in range(2))
    assert one == again
    assert one.converged
    assert one.value == pytest.approx(operator_norm(seeded(conv(4, 6)).double(), zeros(4, 9, 9)).value, rel=1e-4)
