"""One pass through a source that fixes ids, labels, hashes and splits before anything is measured."""

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from demur.compact import Choices, GrowingTexts, Keyed, Places, choices_of, numbers_in, places_of
from demur.data.lost_images import UNDECODED
from demur.data.scan import Progress, ScannedRows, Scanner, scan
from demur.data.source import Box, Source
from demur.errors import DataError, brief, legible
from demur.splits import OwnSplit, Split, assign_splits, unit_hashes

_LONGEST, _PIECE = 200, 4096

NO_LABEL = -1
"""The label of an image of none of the classes, which no comparison may read; the record has null."""


@dataclass(frozen=True, eq=False)
class Index:
    """The rows that take part, in the order of the source; all arrays and sequences run over them.

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
    groups: Sequence[str | None]
    contents: Sequence[str]
    splits: Sequence[Split]
    errors: Sequence[str | None]
    sha256: str
    duplicates: int
    own_splits: Sequence[OwnSplit | None] = ()
    meta: Mapping[str, Sequence[str | float | None]] = field(default_factory=dict)
    labels2: Sequence[int | None] = ()
    weights: Sequence[float | None] = ()
    boxes: Sequence[Box | None] = ()
    marks: Sequence[str | None] = ()
    leaks: int = 0
    excluded: int = 0
    learned: Mapping[int, str] = field(default_factory=dict)
    undecoded: Mapping[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def group_count(self) -> int | None:
        """How many groups there are; None where no row names one."""
        codes = choices_of(self.groups).codes
        return len(np.unique(codes[codes > 0])) or None

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
        parts: dict[str, Iterable[str]] = {
            "ids": _json_list(self.sample_ids),
            "images": _json_list(self.contents),
            "labels": _json_list(map(int, self.labels)),
            "splits": _json_list(self.splits),
            "groups": _json_list(self.groups),
            "second labels": _json_list(self.labels2),
            "label weights": _json_list(self.weights),
            "meta data": _json_of(sorted(self.meta.items())),
            "training images": _json_list(sorted(self.learned.values())),
        }
        if any(self.marks):
            parts["marks of objects"] = _json_list(self.marks)
        return {name: _sha256_of(pieces) for name, pieces in parts.items()}

    @property
    def readable(self) -> NDArray[np.int64]:
        """Where in this index the rows are whose images could be read."""
        return places_of(self.errors, None)

    def rows_of(self, split: Split) -> NDArray[np.int64]:
        """Where in this index the rows of a split are."""
        return places_of(self.splits, split)


def _sha256_of(pieces: Iterable[str]) -> str:
    """Hash of a text that is never in memory as a whole."""
    found = hashlib.sha256()
    for piece in pieces:
        found.update(piece.encode())
    return found.hexdigest()


def _json_list(values: Iterable[Any]) -> Iterator[str]:
    """Pieces of the JSON of a list, as `json.dumps` writes it."""
    left, between = iter(values), "["
    while some := [*islice(left, _PIECE)]:
        yield between + json.dumps(some)[1:-1]
        between = ", "
    yield "[]" if between == "[" else "]"


def _json_of(named: Iterable[tuple[str, Sequence[Any]]]) -> Iterator[str]:
    """The same of a list of names, each with a list."""
    yield "["
    for number, (name, values) in enumerate(named):
        yield f"{', ' if number else ''}[{json.dumps(name)}, "
        yield from _json_list(values)
        yield "]"
    yield "]"


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
    left = np.array([content in exclude for content in seen.contents], dtype=np.bool_)
    excluded, trained = int(left.sum()), seen.rows.own_splits.are("train")
    learned = np.flatnonzero(left | trained if held_out else left)
    kept = np.flatnonzero(~(left | trained) if held_out else ~left)
    if not len(kept):
        raise DataError(
            f"none of the {len(seen)} images of {source.address} is left: {excluded} were trained on by the model and "
            "the split calls the others training images. Give images that were held out."
        )
    splits = assign_splits(
        seen.rows.own_splits, unit_hashes(seen.contents, seen.rows.groups), int((~trained[kept]).sum())
    )
    found = _index(seen, kept if limit is None else _smallest(seen, kept, limit), splits)
    return replace(found, excluded=excluded, learned=Keyed(seen.positions[learned], seen.contents.select(learned)))


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


def _index(seen: ScannedRows, kept: Places, splits: Choices) -> Index:
    """The index of the rows at some places of those that were seen; there is a split for each of these."""
    own = seen.select(kept)
    facts = own.rows.facts
    return Index(
        positions=own.positions,
        sample_ids=own.rows.sample_ids,
        labels=own.rows.labels,
        groups=own.rows.groups,
        contents=own.contents,
        splits=splits.select(kept),
        errors=own.rows.errors,
        sha256=_sha256(own),
        duplicates=len(own) - len(np.unique(own.contents.ranks)),
        own_splits=own.rows.own_splits,
        meta=own.rows.metadata,
        labels2=facts["label2"],
        weights=facts["weight"],
        boxes=own.rows.boxes,
        marks=own.marks,
        leaks=_leaks(seen, kept, splits),
        undecoded=_undecoded(seen),
    )


def _undecoded(seen: ScannedRows) -> dict[int, str]:
    """The position of each image that ends who decodes it, and how."""
    errors = seen.rows.errors
    codes = [code for code, error in enumerate(errors.choices, 1) if error.startswith(UNDECODED)]
    places = np.flatnonzero(np.isin(errors.codes, codes))
    return {int(seen.positions[place]): errors.at(place) for place in numbers_in(places)}


def _sha256(kept: ScannedRows) -> str:
    """Hash of the set of (content, label), in their order, line by line."""
    labels, places = np.unique(kept.rows.labels, return_inverse=True)
    as_text = np.argsort(np.argsort([str(label) for label in labels.tolist()]))
    found = hashlib.sha256()
    for number, row in enumerate(numbers_in(np.lexsort([as_text[places], kept.contents.ranks]))):
        line = f"{kept.contents.at(row)} {kept.rows.labels[row]}"
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
    kept = seen if limit is None else seen.select(_smallest(seen, np.arange(len(seen)), limit))
    names = GrowingTexts()
    for name in kept.rows.sample_ids:
        names.add(f"{prefix}{name}")
    bare = replace(
        kept.rows,
        sample_ids=names.finish(),
        labels=np.full(len(kept), NO_LABEL),
        facts={**kept.rows.facts, "label2": Choices(np.zeros(len(kept), np.uint8), ())},
    )
    test = Choices(np.ones(len(kept), np.uint8), ("test",))
    return _index(replace(kept, rows=bare), np.arange(len(kept)), test), kept.rows.labels


def _check_set(seen: ScannedRows, source: Source) -> None:
    _check_readable(seen, source)
    labels = seen.rows.labels[seen.rows.errors.are(None)]
    if len(np.unique(labels)) == 1:
        raise DataError(
            f"all {len(labels)} images of {source.address} are of one class, {source.classes[labels[0]]!r}; an "
            "audit needs at least two. Check that the labels were read from the right place."
        )


def _check_readable(seen: ScannedRows, source: Source) -> None:
    if not seen.rows.errors.are(None).any():
        reason = f"; the first of {len(seen)} says: {seen.rows.errors[0]}" if len(seen) else ""
        raise DataError(f"{source.address} has no readable image{reason}. Check the address and its options.")
    if seen.rows.sample_ids.any_twice():
        raise DataError(f"{source.address} gives the same id to several images; ids must be unique.")


def _check_groups(seen: ScannedRows) -> None:
    """A group is a unit of independence: parts of one on both sides of a split would know of each other."""
    groups, own = seen.rows.groups, seen.rows.own_splits
    first = np.zeros(len(groups.choices) + 1, np.int64)
    codes, rows = np.unique(groups.codes, return_index=True)
    first[codes] = rows
    torn = np.flatnonzero((groups.codes > 0) & (own.codes != own.codes[first[groups.codes]]))
    if len(torn):
        row = int(torn[0])
        ours, theirs = (own.at(place) or "no split" for place in (int(first[groups.codes[row]]), row))
        raise DataError(
            f"the split tears the group {groups.at(row)!r} apart: image {seen.rows.sample_ids.at(row)!r} is in "
            f"{theirs!r}, others of the group are in {ours!r}. A group must lie in one part as a whole; move it, or "
            "correct the groups."
        )


def _leaks(seen: ScannedRows, kept: Places, splits: Choices) -> int:
    """How many kept rows that are held out have the content of a row of another split."""
    contents = seen.contents.ranks
    order = np.argsort(contents, kind="stable")
    starts = np.flatnonzero(np.diff(contents[order], prepend=-1))
    codes = splits.codes[order]
    torn = np.minimum.reduceat(codes, starts) != np.maximum.reduceat(codes, starts)
    return int((~splits.are("train")[kept] & torn[contents[kept]]).sum())


def _smallest(seen: ScannedRows, kept: Places, limit: int) -> Places:
    """Those with the smallest hashes of their own, so that being kept says nothing about the split; in source order."""
    if limit >= len(kept):
        return kept
    begins = (int.from_bytes(_limit_digest(content)[:8], "big") for content in seen.contents.select(kept))
    hashes = np.fromiter(begins, dtype=np.uint64, count=len(kept))
    last = np.partition(hashes, limit - 1)[limit - 1]
    sure, tied = kept[hashes < last], kept[hashes == last].tolist()
    ranked = sorted(tied, key=lambda place: (_limit_digest(seen.contents.at(place)), seen.rows.sample_ids.at(place)))
    return np.sort(np.concatenate([sure, np.array(ranked[: limit - len(sure)], dtype=np.int64)]))


def _limit_digest(content: str) -> bytes:
    return hashlib.sha256(f"limit\x1f{content}".encode()).digest()
