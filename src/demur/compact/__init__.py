"""Sequences that take little more memory than what they say, for sets of millions of images."""

from demur.compact.growing import (
    Growing,
    GrowingBoxes,
    GrowingDigests,
    GrowingGaps,
    GrowingTexts,
    choices_of,
    digests_of,
    texts_of,
)
from demur.compact.sequences import (
    Boxes,
    Choices,
    Compact,
    Digests,
    Gappy,
    Keyed,
    Numbers,
    Places,
    Texts,
    items_at,
    numbers_in,
    places_of,
)

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
    "choices_of",
    "digests_of",
    "items_at",
    "numbers_in",
    "places_of",
    "texts_of",
]
