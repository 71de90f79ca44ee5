"""Whether the images are what they should be."""

from collections.abc import Iterator

from demur.audit.trials.lab import Finding, Lab

_NEARLY_ALL = 0.95
"""Clipped images that were resized before keep a few pixels between black and white."""


def pixels(lab: Lab) -> Iterator[Finding]:
    """Images of black and white alone, as 0–255 pixels become when they are clipped to [0, 1] and not divided."""
    shares = ((lab.x == 0) | (lab.x == 1)).flatten(1).double().mean(dim=1)
    yield lab.found("black_and_white", shares >= _NEARLY_ALL)
