"""Corruption errors: how often a classifier errs on corrupted images, in units of AlexNet's."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

from demur.errors import InputError

ALEXNET: Mapping[str, float] = MappingProxyType(
    {
        "gaussian_noise": 0.886428,
        "shot_noise": 0.894468,
        "impulse_noise": 0.922640,
        "defocus_blur": 0.819880,
        "glass_blur": 0.826268,
        "motion_blur": 0.785948,
        "zoom_blur": 0.798360,
        "snow": 0.866816,
        "frost": 0.826572,
        "fog": 0.819324,
        "brightness": 0.564592,
        "contrast": 0.853204,
        "elastic_transform": 0.646056,
        "pixelate": 0.717840,
        "jpeg_compression": 0.606500,
    }
)
"""Mean over five severities of AlexNet's error on the 15 common corruptions of ImageNet-C."""

ALEXNET_CLEAN = 0.435
"""AlexNet's error on the clean images of ImageNet, as the publication of ImageNet-C prints it."""


def mean_corruption_error(errors: Mapping[str, Sequence[float]]) -> float:
    """Mean over the 15 common corruptions of Σ errors / Σ AlexNet's errors, ×100: 100 errs as AlexNet did, high is bad.

    `errors` maps a corruption to its five shares of wrong answers, severities 1 to 5. The reference is of ImageNet-1k's
    published files: for other classes, or for corruptions generated on the fly, it is a scale and no comparison.
    Hendrycks & Dietterich (2019), arXiv:1903.12261.
    """
    return 100 * float(np.mean([np.mean(shares) / ALEXNET[name] for name, shares in _checked(errors).items()]))


def relative_corruption_error(errors: Mapping[str, Sequence[float]], clean: float) -> float:
    """As the mean corruption error, of what corruption adds to the clean error: high when corruption costs much.

    `clean` is the share of wrong answers on clean images. NaN where an error is. Hendrycks & Dietterich (2019),
    arXiv:1903.12261.
    """
    added = [(np.mean(shares) - clean) / (ALEXNET[name] - ALEXNET_CLEAN) for name, shares in _checked(errors).items()]
    return 100 * float(np.mean(added))


def _checked(errors: Mapping[str, Sequence[float]]) -> Mapping[str, Sequence[float]]:
    missing = [name for name in ALEXNET if name not in errors]
    if missing:
        raise InputError(
            "a corruption error is a mean over the 15 common corruptions; there are no errors for "
            f"{', '.join(missing)}. Measure them too, or give the mean of what you have another name."
        )
    for name in ALEXNET:
        if len(errors[name]) != 5:
            raise InputError(
                f"a corruption error takes five errors for each corruption, at severities 1 to 5; {name} has "
                f"{len(errors[name])}."
            )
    return {name: errors[name] for name in ALEXNET}
