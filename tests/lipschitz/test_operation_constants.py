import itertools
import math

import pytest
import torch
from torch.nn import functional

from demur.lipschitz.operation_constants import CONSTANTS, overlap_adaptive, window_overlap

LINE = torch.linspace(-12, 12, 1_200_001, dtype=torch.float64)
CURVES = {
    "gelu": functional.gelu,
    "silu": functional.silu,
    "mish": functional.mish,
    "selu": functional.selu,
    "hardswish": functional.hardswish,
    "hardsigmoid": functional.hardsigmoid,
    "sigmoid": torch.sigmoid,
    **{name: getattr(functional, name) for name in ("relu", "relu6", "hardtanh", "softsign", "softplus", "logsigmoid")},
    **{name: getattr(functional, name) for name in ("celu", "softshrink", "tanhshrink")},
    **{name: getattr(torch, name) for name in ("tanh", "abs", "sin", "cos", "atan")},
}
SET = [
    ("gelu", functional.gelu, {"approximate": "tanh"}),
    ("leaky_relu", functional.leaky_relu, {"negative_slope": -1.6}),
    ("leaky_relu", functional.leaky_relu, {}),
    ("elu", functional.elu, {"alpha": 2.5}),
    ("elu", functional.elu, {"alpha": 0.5}),
    ("prelu", functional.prelu, {"weight": torch.tensor([-1.3], dtype=torch.float64)}),
]

WINDOWS = list(itertools.product((1, 2, 3, 5), (1, 2, 3, 4), (1, 2, 3)))
POOLS = [{"kernel_size": 2}, {"kernel_size": 3, "stride": 2}, {"kernel_size": 3, "stride": 1}]


def steepest(function, **options):
    x = LINE.clone().requires_grad_()
    return float(torch.autograd.grad(function(x, **options).sum(), x)[0].abs().max())


@pytest.mark.parametrize(
    ("name", "function", "options"),
    [*((name, function, {}) for name, function in CURVES.items()), *SET],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_constant_is_the_steepest_slope_of_its_curve_and_no_less(name, function, options):
    steep, constant = steepest(function, **options), CONSTANTS[name](LINE, **options)
    assert steep <= constant * (1 + 1e-12)
    assert constant == pytest.approx(steep, rel=1e-4)


def jacobians(function, rows, scale):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(rows, 5, generator=generator, dtype=torch.float64) * scale
    return torch.linalg.matrix_norm(torch.func.vmap(torch.func.jacrev(function))(x), ord=2)


@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0])
def test_softmax_and_its_logarithm_and_normalisation_stay_below_their_constants(scale):
    x = torch.zeros(1, 5, dtype=torch.float64)
    weight = torch.tensor([0.5, -1.5, 1.0, 0.2, 0.1], dtype=torch.float64)
    for name, function, args in (
        ("softmax", lambda x: functional.softmax(x, dim=-1), (-1,)),
        ("log_softmax", lambda x: functional.log_softmax(x, dim=-1), (-1,)),
        ("layer_norm", lambda x: functional.layer_norm(x, (5,), weight, None, 0.01), ((5,), weight, None, 0.01)),
        ("group_norm", lambda x: functional.group_norm(x[None], 1, weight, None, 0.01)[0], (1, weight, None, 0.01)),
    ):
        assert float(jacobians(function, 500, scale).max()) <= CONSTANTS[name](x, *args) * (1 + 1e-12)


def test_the_constants_of_softmax_and_its_logarithm_are_reached():
    tie = torch.tensor([30.0, 30.0, 0, 0, 0], dtype=torch.float64)
    found = torch.func.jacrev(lambda x: functional.softmax(x, dim=-1))(tie)
    assert float(torch.linalg.matrix_norm(found, ord=2)) == pytest.approx(CONSTANTS["softmax"](tie))
    sure = torch.tensor([40.0, 0, 0, 0, 0], dtype=torch.float64)
    found = torch.func.jacrev(lambda x: functional.log_softmax(x, dim=-1))(sure)
    assert float(torch.linalg.matrix_norm(found, ord=2)) == pytest.approx(CONSTANTS["log_softmax"](sure, -1))


@pytest.mark.parametrize(("kernel", "stride", "dilation"), WINDOWS)
def test_windows_over_one_pixel_are_as_many_as_counting_finds(kernel, stride, dilation):
    counts = [0] * 200
    for start in range(0, 200 - dilation * (kernel - 1), stride):
        for place in range(kernel):
            counts[start + place * dilation] += 1
    assert window_overlap(1, kernel, stride, dilation) == max(counts[50:150])
    assert window_overlap(2, (kernel, 2), stride, dilation) == max(counts[50:150]) * window_overlap(
        1, 2, stride, dilation
    )


@pytest.mark.parametrize(("size", "outputs", "expected"), [(8, 4, 1), (8, 3, 2), (7, 1, 1), (3, 6, 2), (4, 7, 3)])
def test_adaptive_windows_overlap_where_they_do_not_divide_the_axis(size, outputs, expected):
    assert overlap_adaptive((size,), outputs) == expected
    assert overlap_adaptive((size, size), (outputs, None)) == expected


@pytest.mark.parametrize(
    "options", [{"kernel_size": 2}, {"kernel_size": 3, "stride": 2}, {"kernel_size": 3, "stride": 1}]
)
def test_a_max_pool_is_as_steep_as_the_windows_that_share_a_pixel(options):
    constant = CONSTANTS["max_pool2d"](torch.zeros(1, 1, 9, 9), **options)
    x = torch.zeros(1, 1, 9, 9)
    x[0, 0, 4, 4] = 1
    change = functional.max_pool2d(x, **options) - functional.max_pool2d(0 * x, **options)
    assert float(change.norm()) <= constant
    reached = math.sqrt(window_overlap(2, options["kernel_size"], options.get("stride", options["kernel_size"]), 1))
    assert constant == reached
    best = max(
        float(functional.max_pool2d(torch.eye(81)[place].view(1, 1, 9, 9), **options).norm()) for place in range(81)
    )
    assert best == pytest.approx(constant)
