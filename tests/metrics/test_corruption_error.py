"""Corruption errors against their definition, and against what is known of AlexNet."""

import math

import numpy as np
import pytest

from demur.errors import InputError
from demur.metrics.corruption_error import ALEXNET, ALEXNET_CLEAN, mean_corruption_error, relative_corruption_error


def measured(seed):
    draw = np.random.default_rng(seed)
    return {name: draw.uniform(0.2, 0.9, 5).tolist() for name in (*ALEXNET, "spatter")}


@pytest.mark.parametrize("seed", range(3))
def test_corruption_errors_are_their_definitions(seed):
    errors, clean = measured(seed), 0.1 * (seed + 1)
    plain, relative = 0.0, 0.0
    for name, reference in ALEXNET.items():
        plain += sum(errors[name]) / (5 * reference) / 15
        relative += sum(error - clean for error in errors[name]) / (5 * (reference - ALEXNET_CLEAN)) / 15
    assert mean_corruption_error(errors) == pytest.approx(100 * plain)
    assert relative_corruption_error(errors, clean) == pytest.approx(100 * relative)


def test_alexnet_is_one_hundred():
    own = {name: [error] * 5 for name, error in ALEXNET.items()}
    assert mean_corruption_error(own) == pytest.approx(100)
    assert relative_corruption_error(own, ALEXNET_CLEAN) == pytest.approx(100)


def test_the_published_mean_error_of_alexnet_is_kept():
    printed = [88.6, 89.4, 92.3, 82.0, 82.6, 78.6, 79.8, 86.7, 82.7, 81.9, 56.5, 85.3, 64.6, 71.8, 60.7]
    names = ("gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "glass_blur", "motion_blur", "zoom_blur")
    names += ("snow", "frost", "fog", "brightness", "contrast", "elastic_transform", "pixelate", "jpeg_compression")
    assert {name: round(100 * error, 1) for name, error in ALEXNET.items()} == dict(zip(names, printed, strict=True))
    assert np.mean(list(ALEXNET.values())) == pytest.approx(0.789, abs=0.0005)
    assert ALEXNET_CLEAN == 0.435


def test_an_unknown_error_is_not_averaged_away():
    errors = measured(0)
    errors["fog"][2] = math.nan
    assert math.isnan(mean_corruption_error(errors))
    assert math.isnan(relative_corruption_error(errors, 0.1))


def test_fewer_corruptions_or_severities_are_refused():
    errors = measured(0)
    with pytest.raises(InputError, match=r"takes five errors.*fog has 4"):
        mean_corruption_error({**errors, "fog": errors["fog"][:4]})
    del errors["fog"]
    with pytest.raises(InputError, match="there are no errors for fog"):
        relative_corruption_error(errors, 0.1)
