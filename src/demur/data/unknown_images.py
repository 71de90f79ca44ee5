"""Images of none of the classes: opened and decoded as the audited ones are, their labels ignored."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from demur.data.image_folder import is_flat
from demur.data.index import Index, unlabelled_index
from demur.data.lost_images import without_undecoded
from demur.data.scan import Scanner, scan
from demur.data.source import Source, open_data
from demur.errors import AddressError, DataError
from demur.pictures.decode_rules import DECODE_OPTIONS
from demur.registry import Address

_COLOURS = {1: "grey", 3: "rgb"}


@dataclass(frozen=True, eq=False)
class UnknownImages:
    """A set of images of none of the classes, and the rows of it that take part.

    Attributes:
        source: the images, of the shape of the audited ones.
        index: its rows; all are of the test split, none has a label.
        shared_classes: names of classes that the set and the model have in common.
        shared_images: how many of the rows are of these classes, by the labels that are otherwise ignored.
    """

    source: Source
    index: Index
    shared_classes: tuple[str, ...] = ()
    shared_images: int = 0


def open_unknown(text: str, audited: Source) -> Source:
    """The images behind a data address, decoded and scaled as the audited ones are where the address says nothing.

    A folder needs no sub-folders here.

    Raises:
        AddressError, DataError: nothing is there, or the images are of another shape and cannot be scaled.
    """
    address = Address.parse(text, "data")
    flat = {"flat": "true"} if is_flat(address) else {}
    return check_same_shape(_source_of(address, {**_rules(audited), **flat}, flat), audited)


def unknown_id(name: str) -> str:
    """The id of an image of none of the classes in a run, by its own: none of the audited ones has it."""
    return f"unknown:{name}"


def check_same_shape(found: Source, audited: Source) -> Source:
    """The source itself, or an error where its images are of another shape than the audited ones."""
    if tuple(found.input_shape) != tuple(audited.input_shape):
        mine, theirs = ("×".join(map(str, each.input_shape)) for each in (found, audited))
        raise DataError(
            f"the unknown images of {found.address} must have the shape of those of {audited.address}, {theirs}; they "
            f"have {mine}. Save them in that size, or name a folder, a table or an archive: those are scaled."
        )
    return found


def _rules(audited: Source) -> dict[str, str]:
    """The options by which pictures become what the audited ones are, in size and colour."""
    channels, height, width = audited.input_shape
    try:
        given = Address.parse(audited.address, "data").options
    except AddressError:  # images that Python gave have a name and no address
        given = {}
    colour = {"colour": _COLOURS[channels]} if channels in _COLOURS else {}
    return {"size": f"{height}x{width}", **colour, **{k: v for k, v in given.items() if k in DECODE_OPTIONS}}


def _source_of(address: Address, *defaults: Mapping[str, str]) -> Source:
    """With the first options that its scheme takes, its own before them."""
    first, *others = defaults
    try:
        return open_data(replace(address, options={**first, **address.options}).text)
    except AddressError:
        if not others:
            raise
    return _source_of(address, *others)


def unknown_images(
    source: Source, audited: Index, classes: tuple[str, ...], limit: int | None = None, scanner: Scanner = scan
) -> UnknownImages:
    """One pass through the images that fixes ids and hashes.

    Args:
        source: the images.
        audited: those of known classes, whose ids must differ.
        classes: the model's class names.
        limit: keep only so many, those with the smallest content hashes.
        scanner: finds the rows; by default they are read here.

    Raises:
        DataError: no readable image, pixels outside [0, 1], or an id that an audited image has too.
    """
    index, labels = unlabelled_index(source, unknown_id(""), limit, scanner)
    own = set(index.sample_ids)
    twice = sorted({name for name in audited.sample_ids if name in own})
    if twice:
        raise DataError(
            f"{source.address} has an unknown image {twice[0]!r}, and so have the audited images. Rename one of them."
        )
    names = {_plain(name) for name in classes}
    shared = {k: name for k, name in enumerate(source.classes) if _plain(name) in names}
    source = without_undecoded(source, index.undecoded)
    return UnknownImages(source, index, tuple(shared.values()), int(np.isin(labels, list(shared)).sum()))


def _plain(name: str) -> str:
    return " ".join(name.replace("_", " ").replace("-", " ").split()).casefold()
