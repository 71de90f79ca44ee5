"""The 1,000 classes of ImageNet (ILSVRC 2012): synsets in the order of the outputs of its models, and their names.

Russakovsky et al. (2015), arXiv:1409.0575; the words are those of WordNet 3.0, under the licence in the NOTICE beside.
"""

import re
from collections import Counter
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

NAME = "imagenet"
"""What `?classes=` calls the list."""

SYNSET = re.compile("n[0-9]{8}")
"""How a synset of nouns is written."""


@cache
def imagenet_synsets() -> tuple[str, ...]:
    """The synsets, sorted."""
    return tuple(synset for synset, _ in _lines())


@cache
def imagenet_words() -> tuple[str, ...]:
    """All words of each class with commas between, the usual one first; some classes share them."""
    return tuple(words for _, words in _lines())


@cache
def imagenet_names() -> tuple[str, ...]:
    """The first word of each class, with its synset behind it where several share one.

    >>> imagenet_names()[:2], [name for name in imagenet_names() if name.startswith("crane")]
    (('tench', 'goldfish'), ['crane (n02012849)', 'crane (n03126707)'])
    """
    return named_by_synset(imagenet_synsets(), [words.partition(",")[0] for words in imagenet_words()])


def named_by_synset(synsets: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    """The names, with the synset behind those that several share, whatever their case.

    >>> named_by_synset(["n1", "n2", "n3"], ["Cardigan", "cardigan", "crib"])
    ('Cardigan (n1)', 'cardigan (n2)', 'crib')
    """
    shared = Counter(name.casefold() for name in names)
    return tuple(
        name if shared[name.casefold()] == 1 else f"{name} ({synset})"
        for synset, name in zip(synsets, names, strict=True)
    )


def _lines() -> list[tuple[str, str]]:
    text = (files("demur.class_names") / "ilsvrc2012.txt").read_text("utf-8")
    return [(line[:9], line[10:]) for line in text.splitlines()]
