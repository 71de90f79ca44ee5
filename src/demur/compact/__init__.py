"""Sequences that take little more memory than what they say, for sets of millions of images."""

from demur.compact.choices import Boxes, Choices, Gappy, Growing, GrowingBoxes, GrowingGaps, Keyed, Numbers, places_of
from demur.compact.sequences import Compact, Digests, GrowingDigests, GrowingTexts, Places, Texts, numbers_in

__all__ = [
    "Boxes",
    "Choices",
    "Compact",
    "Digests",
    "Gappy",
    "Growing",
    "GrowingBoxes",
    "GrowingDigests",
    "GrowingGaps",
    "GrowingTexts",
    "Keyed",
    "Numbers",
    "Places",
    "Texts",
    "numbers_in",
    "places_of",
]
