"""Laws that data sets are drawn from whose truth is known, alone and in groups.

Every law is a function of a generator and of how many groups of how many images; a group of one is an image alone.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

Rows = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Size:
    """So many groups of so many images, and what part of the variance all images of a group share."""

    groups: int
    images: int = 1
    shared: float = 0.0

    def normal(self, generator: np.random.Generator) -> NDArray[np.float64]:
        """A standard normal number per image, correlated within groups."""
        own = generator.normal(size=self.groups * self.images)
        common = np.repeat(generator.normal(size=self.groups), self.images)
        return np.sqrt(1 - self.shared) * own + np.sqrt(self.shared) * common

    @property
    def units(self) -> NDArray[np.int64] | None:
        """The group of each image; None where every image is alone."""
        return None if self.images == 1 else np.repeat(np.arange(self.groups), self.images)

    @property
    def words(self) -> str:
        """How many of what."""
        return f"{self.groups:,} images" if self.images == 1 else f"{self.groups} groups of {self.images}"

    def huge(self, images: int) -> "Size":
        """The same law with so many images that its mean is the truth."""
        return Size(images // self.images, self.images, self.shared)


def ranked(generator: np.random.Generator, size: Size, bias: float) -> Rows:
    """Images wrong with a probability that a hidden difficulty decides, and scores that follow it with noise."""
    difficulty = size.normal(generator)
    wrong = generator.random(len(difficulty)) < 1 / (1 + np.exp(bias - 1.5 * difficulty))
    score, other = (difficulty + noise * generator.normal(size=len(difficulty)) for noise in (0.8, 1.2))
    return {"score": score, "other": other, "wrong": wrong}


def binormal(generator: np.random.Generator, errors: int, images: int, area: float) -> Rows:
    """A fixed number of errors, scores of two normal distributions with a known AUROC."""
    wrong = np.arange(images) < errors
    return {"score": generator.normal(size=images) + np.sqrt(2) * norm.ppf(area) * wrong, "wrong": wrong}


def attacked(generator: np.random.Generator, size: Size) -> Rows:
    """Clean images, and those of them that an attack flips, whose scores follow the clean ones of the same image."""
    hidden = size.normal(generator)
    flips = generator.random(len(hidden)) < 0.4
    scores = [
        hidden[chosen] + shift + generator.normal(size=chosen.sum()) for chosen, shift in ((flips, 1), (hidden > -9, 0))
    ]
    ids = np.arange(len(hidden))
    wrong = np.arange(flips.sum() + len(hidden)) < flips.sum()
    return {"score": np.concatenate(scores), "wrong": wrong, "units": np.concatenate([ids[flips], ids])}


def stated(generator: np.random.Generator, size: Size, truth: float) -> Rows:
    """Two classes, the logit of the first normal; labels follow `truth` times it; below 1 the net is too sure."""
    logit = 3 + 2 * size.normal(generator)
    labels = (generator.random(len(logit)) > 1 / (1 + np.exp(-truth * logit))).astype(int)
    logits = np.stack([logit, np.zeros_like(logit)], axis=1)
    confidence = 1 / (1 + np.exp(-np.abs(logit)))
    return {"logits": logits, "labels": labels, "confidence": confidence, "right": (logit < 0) == labels}


def flagged(generator: np.random.Generator, size: Size, share: float) -> Rows:
    """Flags of which a share is true; weights and a second flag beside them."""
    flags = norm.cdf(size.normal(generator)) < share
    return {"flags": flags, "weights": generator.choice([0.3, 0.7, 1.0], len(flags))}


def labelled(generator: np.random.Generator, size: Size, agreement: float) -> Rows:
    """Two labellers of a class that three in ten images have, who agree with some probability."""
    first = generator.random(size.groups * size.images) < 0.3
    same = norm.cdf(size.normal(generator)) < agreement
    return {"first": first.astype(int), "second": np.where(same, first, ~first).astype(int)}


def measured(generator: np.random.Generator, size: Size, law: str) -> Rows:
    """Numbers by a normal, exponential or beta (½, 2) law, and by the last but cut off above their 60 % quantile."""
    normal = size.normal(generator)
    match law:
        case "normal":
            return {"values": normal}
        case "exponential":
            return {"values": -np.log(norm.sf(normal))}
        case "censored":
            return {"values": np.where(normal > norm.ppf(0.6), np.inf, normal)}
    below = norm.cdf(normal)
    return {"values": (np.sin(np.pi / 2 * below) ** 2) * below}


def paired(generator: np.random.Generator, size: Size, correlation: float) -> Rows:
    """Two normal numbers per image that go together, and whether either model is right."""
    first = size.normal(generator)
    second = correlation * first + np.sqrt(1 - correlation**2) * size.normal(generator)
    return {"first": first, "second": second, "right": first < 1.2, "also": second < 0.9}
