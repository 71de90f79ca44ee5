"""One pass through a source that fixes ids, labels, hashes and splits before anything is measured."""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from demur.data.compact import Digests, Texts
from demur.data.image_content import digest
from demur.data.lost_images import UNDECODED
from demur.data.scan import Progress, ScannedRow, Scanner, scan
from demur.data.source import Box, Source
from demur.errors import DataError, brief, legible
from demur.splits import OwnSplit, Split, assign_splits, unit_hashes

_LONGEST = 200

NO_LABEL = -1
"""The label of an image of none of the classes, which no comparison may read; the record has null."""


@dataclass(frozen=True, eq=False)
class Index:
    """The rows that take part, in the order of the source; all arrays and tuples run over them.

    Attributes:
        positions: where each row lies in the source.
        sample_ids: the key of each row.
        labels: the class of each row.
        groups: the unit of independence of each row, None where none was given.
        contents: SHA-256 of each row's decoded pixels and shape; of its id where it could not be read.
        splits: train, fit, tune, certify or test.
        own_splits: what the user's own split calls each row, None where it says nothing.
        errors: why a row could not be read, else None.
        sha256: hash of the set of (content, label), whatever the order.
        duplicates: rows whose content another row had before them.
        meta: for each name what is known of each row.
        labels2: the class a second labeller gave, None where there is none.
        weights: how sure each label is, None where nothing was said.
        boxes: where the object is, None where the data do not say.
        marks: SHA-256 of the pixels that the object covers, None where they are not known.
        leaks: held-out rows whose content the user's own split also put elsewhere.
        excluded: rows left out because their content was to be excluded.
        learned: position → content of the rows left out because a model was or is trained on them.
        undecoded: position → why, of images of the source that end whoever decodes them, whether they take part or not.
    """

    positions: NDArray[np.int64]
    sample_ids: Sequence[str]
    labels: NDArray[np.int64]
    groups: tuple[str | None, ...]
    contents: Sequence[str]
    splits: tuple[Split, ...]
    errors: tuple[str | None, ...]
    sha256: str
    duplicates: int
    own_splits: tuple[OwnSplit | None, ...] = ()
    meta: Mapping[str, tuple[str | float | None, ...]] = field(default_factory=dict)
    labels2: tuple[int | None, ...] = ()
    weights: tuple[float | None, ...] = ()
    boxes: tuple[Box | None, ...] = ()
    marks: tuple[str | None, ...] = ()
    leaks: int = 0
    excluded: int = 0
    learned: Mapping[int, str] = field(default_factory=dict)
    undecoded: Mapping[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def group_count(self) -> int | None:
        """How many groups there are; None where no row names one."""
        named = {group for group in self.groups if group is not None}
        return len(named) or None

    @cached_property
    def has_labels2(self) -> bool:
        """Whether a second labeller said something of any row."""
        return any(label is not None for label in self.labels2)

    @cached_property
    def has_weights(self) -> bool:
        """Whether anything is said of how sure any label is."""
        return any(weight is not None for weight in self.weights)

    @property
    def rows_sha256(self) -> dict[str, str]:
        """Hashes of what is known of the rows, in their order: two indices with the same ones hold the same records."""
        parts = {
            "ids": [*self.sample_ids],
            "images": [*self.contents],
            "labels": self.labels.tolist(),
            "splits": self.splits,
            "groups": self.groups,
            "second labels": self.labels2,
            "label weights": self.weights,
            "meta data": sorted(self.meta.items()),
            "training images": sorted(self.learned.values()),
        }
        if any(self.marks):
            parts["marks of objects"] = self.marks
        return {name: digest(json.dumps(values).encode()) for name, values in parts.items()}

    @property
    def readable(self) -> NDArray[np.int64]:
        """Where in this index the rows are whose images could be read."""
        return np.array([row for row, error in enumerate(self.errors) if error is None], dtype=np.int64)

    def rows_of(self, split: Split) -> NDArray[np.int64]:
        """Where in this index the rows of a split are."""
        return np.array([row for row, own in enumerate(self.splits) if own == split], dtype=np.int64)


def build_index(
    source: Source,
    *,
    limit: int | None = None,
    progress: Progress | None = None,
    exclude: Collection[str] = (),
    held_out: bool = False,
    scanner: Scanner | None = None,
) -> Index:
    """Read every row once and fix what it serves.

    Args:
        source: the set.
        limit: keep only so many rows, those with the smallest content hashes; splits stay those of the whole set.
        progress: called now and then.
        exclude: contents, as in `Index.contents`, that take no part; those a model was trained on.
        held_out: leave out the rows that the user's own split trains on.
        scanner: finds the rows; by default they are read here, one after the other, and progress is called.

    Raises:
        DataError: no rows, a single class, a label that is no class, repeated ids, pixels outside [0, 1], or a group
            that the user's own split tears apart.
    """
    if limit is not None and limit < 1:
        raise DataError(f"`limit` must be at least 1; got {limit}.")
    _check_source(source)
    seen = (scanner or partial(scan, progress=progress))(source)
    _check_set(seen, source)
    _check_groups(seen)
    kept = [one for one in seen if one.content not in exclude]
    excluded = len(seen) - len(kept)
    if held_out:
        kept = [one for one in kept if not _trains(one)]
    learned = {one.position: one.content for one in seen if one.content in exclude or (held_out and _trains(one))}
    if not kept:
        raise DataError(
            f"none of the {len(seen)} images of {source.address} is left: {excluded} were trained on by the model and "
            "the split calls the others training images. Give images that were held out."
        )
    splits = _splits_of(seen, sum(not _trains(one) for one in kept))
    found = _index(seen, kept if limit is None else _smallest(kept, limit), splits)
    return replace(found, excluded=excluded, learned=learned)


def _check_source(source: Source) -> None:
    """Refuse images without pixels, and class names that no screen shows as they are."""
    if min(source.input_shape) < 1:
        raise DataError(f"the images of {source.address} have the shape {source.input_shape}, without a pixel.")
    for name in source.classes:
        if not name.strip() or legible(name) != name or len(name) > _LONGEST:
            raise DataError(
                f"the class '{brief(legible(name))}' of {legible(source.address)} is empty, longer than {_LONGEST} "
                "characters or holds characters that no screen shows. Rename it."
            )


def _trains(one: ScannedRow) -> bool:
    return one.row.split == "train"


def _index(seen: Sequence[ScannedRow], kept: Sequence[ScannedRow], splits: Sequence[Split]) -> Index:
    rows = [one.row for one in kept]
    names = dict.fromkeys(name for row in rows for name in row.meta)
    return Index(
        positions=np.array([one.position for one in kept], dtype=np.int64),
        sample_ids=Texts.of(row.sample_id for row in rows),
        labels=np.array([row.label for row in rows], dtype=np.int64),
        groups=tuple(row.group for row in rows),
        contents=Digests.of(one.content for one in kept),
        splits=tuple(splits[one.position] for one in kept),
        errors=tuple(one.row.error for one in kept),
        sha256=_sha256(kept),
        duplicates=len(kept) - len({one.content for one in kept}),
        own_splits=tuple(row.split for row in rows),
        meta={name: tuple(row.meta.get(name) for row in rows) for name in names},
        labels2=tuple(row.label2 for row in rows),
        weights=tuple(row.weight for row in rows),
        boxes=tuple(row.box for row in rows),
        marks=tuple(one.mark for one in kept),
        leaks=_leaks(kept, seen, splits),
        undecoded={
            one.position: one.row.error for one in seen if one.row.error and one.row.error.startswith(UNDECODED)
        },
    )


def _sha256(kept: Sequence[ScannedRow]) -> str:
    """Hash of the set of (content, label), line by line, so that no text of all of them is in memory."""
    found = hashlib.sha256()
    for number, line in enumerate(sorted(f"{one.content} {one.row.label}" for one in kept)):
        found.update(f"\n{line}".encode() if number else line.encode())
    return found.hexdigest()


def unlabelled_index(
    source: Source, prefix: str, limit: int | None = None, scanner: Scanner = scan
) -> tuple[Index, NDArray[np.int64]]:
    """Read every row once, whatever its label and split say: all are of the test split and without a label.

    Args:
        source: the set.
        prefix: put before each id, so that it is none of another set.
        limit: keep only so many rows, those with the smallest content hashes.
        scanner: finds the rows; by default they are read here.

    Returns the index, and the labels that it leaves out.

    Raises:
        DataError: no readable row, repeated ids, or pixels outside [0, 1].
    """
    _check_source(source)
    seen = scanner(source, labelled=False)
    _check_readable(seen, source)
    kept = seen if limit is None else _smallest(seen, limit)
    bare = [
        replace(one, row=replace(one.row, sample_id=f"{prefix}{one.row.sample_id}", label=NO_LABEL, label2=None))
        for one in kept
    ]
    labels = np.array([one.row.label for one in kept], dtype=np.int64)
    return _index(bare, bare, ["test"] * len(source)), labels


def _check_set(seen: Sequence[ScannedRow], source: Source) -> None:
    _check_readable(seen, source)
    labels = [one.row.label for one in seen if one.row.error is None]
    if len(set(labels)) == 1:
        raise DataError(
            f"all {len(labels)} images of {source.address} are of one class, {source.classes[labels[0]]!r}; an "
            "audit needs at least two. Check that the labels were read from the right place."
        )


def _check_readable(seen: Sequence[ScannedRow], source: Source) -> None:
    if all(one.row.error is not None for one in seen):
        reason = f"; the first of {len(seen)} says: {seen[0].row.error}" if seen else ""
        raise DataError(f"{source.address} has no readable image{reason}. Check the address and its options.")
    if len({one.row.sample_id for one in seen}) < len(seen):
        raise DataError(f"{source.address} gives the same id to several images; ids must be unique.")


def _check_groups(seen: Sequence[ScannedRow]) -> None:
    """A group is a unit of independence: parts of one on both sides of a split would know of each other."""
    parts: dict[str, str | None] = {}
    for one in seen:
        group, split = one.row.group, one.row.split
        if group is not None and parts.setdefault(group, split) != split:
            ours, theirs = (name or "no split" for name in (parts[group], split))
            raise DataError(
                f"the split tears the group {group!r} apart: image {one.row.sample_id!r} is in {theirs!r}, others of "
                f"the group are in {ours!r}. A group must lie in one part as a whole; move it, or correct the groups."
            )


def _splits_of(seen: Sequence[ScannedRow], rows: int) -> list[Split]:
    """The split of every row of the source, kept or not, so that leaving rows out moves no other."""
    units = unit_hashes([one.content for one in seen], [one.row.group for one in seen])
    return assign_splits([one.row.split for one in seen], units, rows)


def _leaks(kept: Sequence[ScannedRow], seen: Sequence[ScannedRow], splits: Sequence[Split]) -> int:
    first: dict[str, Split] = {}
    torn = {one.content for one in seen if first.setdefault(one.content, splits[one.position]) != splits[one.position]}
    return sum(splits[one.position] != "train" and one.content in torn for one in kept)


def _smallest(kept: Sequence[ScannedRow], limit: int) -> list[ScannedRow]:
    """Chosen by a hash of its own, so that being kept says nothing about the split; in source order."""
    ranked = sorted(kept, key=lambda one: (digest(f"limit\x1f{one.content}".encode()), one.row.sample_id))
    return sorted(ranked[:limit], key=lambda one: one.position)
