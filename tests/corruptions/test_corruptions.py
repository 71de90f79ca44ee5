"""Each corruption against a slow reference, and the tables of parameters against the published ones."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from demur.corruptions import parameter
from demur.corruptions.gaussian_blur import GaussianBlur
from demur.corruptions.gaussian_noise import GaussianNoise
from demur.corruptions.low_light import LowLight
from demur.errors import InputError
from demur.randomness import Keys
from demur.registry import build, names, resolve

SIDES = (28, 32, 64, 224, 299)


def slow_noise(image, key, sigma):
    noise = key.normal(torch.zeros(1, *image.shape), "gaussian_noise")[0].double().numpy()
    return np.clip(image.double().numpy() + sigma * noise, 0, 1)


def slow_blur(image, key, sigma):
    return np.stack([gaussian_filter(plane, sigma, mode="nearest", truncate=4) for plane in image.double().numpy()])


def slow_darkening(image, key, factor):
    return image.double().numpy() * factor


REFERENCES: dict[str, tuple[type, Callable, dict[int, tuple[float, ...]]]] = {
    "gaussian_blur": (
        GaussianBlur,
        slow_blur,
        {
            28: (0.4, 0.6, 0.7, 0.8, 1.0),
            32: (0.4, 0.6, 0.7, 0.8, 1.0),
            64: (0.5, 0.75, 1.0, 1.25, 1.5),
            224: (1, 2, 3, 4, 6),
            299: (1, 2, 3, 4, 6),
        },
    ),
    "gaussian_noise": (
        GaussianNoise,
        slow_noise,
        {
            28: (0.04, 0.06, 0.08, 0.09, 0.10),
            32: (0.04, 0.06, 0.08, 0.09, 0.10),
            64: (0.04, 0.08, 0.12, 0.15, 0.18),
            224: (0.08, 0.12, 0.18, 0.26, 0.38),
            299: (0.09, 0.13, 0.19, 0.27, 0.40),
        },
    ),
    "low_light": (LowLight, slow_darkening, dict.fromkeys(SIDES, (0.8, 0.6, 0.4, 0.25, 0.1))),
}
ROWS = [pytest.param(*row, id=name) for name, row in REFERENCES.items()]
KINDS = [pytest.param(row[0], id=name) for name, row in REFERENCES.items()]


def pictures(rows, shape=(3, 32, 32), seed=0):
    """Smooth shapes with sharp edges, from black to white."""
    rng = np.random.default_rng(seed)
    smooth = gaussian_filter(rng.normal(size=(rows, *shape)), (0, 0, 3, 3))
    scaled = (smooth - smooth.min()) / (smooth.max() - smooth.min())
    scaled[:, :, 8:16, 10:20] = rng.choice([0.0, 1.0], (rows, 1, 1, 1))
    return torch.from_numpy(scaled.astype(np.float32))


def keys_of(rows, condition="c"):
    return Keys.of(0, [str(row) for row in range(rows)], condition)


def test_every_registered_corruption_has_a_reference():
    assert set(REFERENCES) == set(names("corruption"))
    assert all(row[0] is resolve("corruption", name) for name, row in REFERENCES.items())


@pytest.mark.parametrize(("kind", "slow", "table"), ROWS)
@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("side", [28, 64])
def test_a_corruption_equals_its_slow_reference(kind, slow, table, severity, side):
    x, keys = pictures(3, (2, side, side + 5)), keys_of(3)
    found = kind(severity=severity)(x, keys).numpy()
    for row in range(3):
        expected = slow(x[row], keys.rows([row]), table[side][severity - 1])
        np.testing.assert_allclose(found[row], expected, atol=1e-5)


@pytest.mark.parametrize(("kind", "slow", "table"), ROWS)
@pytest.mark.parametrize("side", SIDES)
def test_the_parameters_are_the_published_ones_of_the_nearest_size(kind, slow, table, side):
    assert tuple(parameter(kind(severity=severity), side) for severity in (1, 2, 3, 4, 5)) == table[side]


@pytest.mark.parametrize("kind", KINDS)
def test_the_short_side_decides(kind):
    corruption, x = kind(severity=4), pictures(1, (1, 224, 32))
    across = corruption(x, keys_of(1))
    assert float((across - x).abs().max()) > 0
    if kind is GaussianBlur:
        expected = gaussian_filter(x[0, 0].double().numpy(), 0.8, mode="nearest", truncate=4)
        np.testing.assert_allclose(across[0, 0].numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_severity_is_monotone(kind):
    x, keys = pictures(8), keys_of(8)
    lost = [float((kind(severity=severity)(x, keys) - x).square().mean()) for severity in (1, 2, 3, 4, 5)]
    assert lost == sorted(lost)
    assert len(set(lost)) == 5


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("severity", [1, 5])
def test_pixels_stay_in_range_and_the_input_is_left_alone(kind, severity):
    x = torch.cat([torch.zeros(1, 1, 28, 28), torch.ones(1, 1, 28, 28), pictures(2, (1, 28, 28))])
    before = x.clone()
    found = kind(severity=severity)(x, keys_of(4))
    assert found.shape == x.shape
    assert found.dtype == x.dtype
    assert float(found.min()) >= 0
    assert float(found.max()) <= 1
    assert torch.equal(x, before)


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_gets_the_same_bytes_whatever_its_company(kind):
    corruption, x, keys = kind(severity=3), pictures(6), keys_of(6)
    together = corruption(x, keys)
    order = [4, 1, 5, 0]
    shuffled = corruption(x[order], keys.rows(order))
    alone = torch.cat([corruption(x[row : row + 1], keys.rows([row])) for row in order])
    assert torch.equal(shuffled, together[order])
    assert torch.equal(alone, together[order])


@pytest.mark.parametrize("severity", [1, 5])
def test_noise_on_grey_has_the_stated_deviation_and_no_drift(severity):
    corruption = GaussianNoise(severity=severity)
    x = torch.full((40, 1, 32, 32), 0.5)
    noise = corruption(x, keys_of(40)) - x
    sigma = parameter(corruption, 32)
    assert float(noise.std()) == pytest.approx(sigma, rel=0.02)
    assert abs(float(noise.mean())) < 4 * sigma / noise.numel() ** 0.5
    assert abs(float((noise[0] * noise[1]).mean())) < 4 * sigma**2 / noise[0].numel() ** 0.5, "rows share their noise"


def test_noise_differs_between_conditions():
    x = torch.full((1, 1, 32, 32), 0.5)
    first, second = (GaussianNoise(severity=1)(x, keys_of(1, condition)) for condition in ("a", "b"))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("severity", [0, 6, 2.5, -1, "3"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_severity_outside_one_to_five_is_refused(kind, severity):
    with pytest.raises(InputError, match="`severity` must be 1, 2, 3, 4 or 5; got"):
        kind(severity=severity)


@pytest.mark.parametrize("name", names("corruption"))
def test_a_corruption_is_built_by_name_and_says_its_parameter(name):
    corruption = build("corruption", f"{name}(severity=2)")
    assert corruption.severity == 2
    assert "{value" in corruption.sentence
