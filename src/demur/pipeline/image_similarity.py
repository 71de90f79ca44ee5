"""What of the images is nearly the same, and what follows upon what: near-duplicates between splits, and bursts."""

import tempfile
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from mmap import ACCESS_COPY, mmap
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray

from demur.data import Index, Source, UnknownImages
from demur.data.capture_times import capture_times, in_bursts
from demur.data.kept_images import KeptImages
from demur.data.near_duplicates import Prints, near_duplicates, print_of, spectra
from demur.data.neighbours import MOST, neighbours, order_of, series_of
from demur.errors import RunError
from demur.pipeline.drawn_rows import IndexRows, Picked, by_hash
from demur.registry.regular_files import MIB
from demur.shapes import Images

ALL_ASKED = 100_000
"""Images of which each is compared with all others; of more, some judged ones are compared with all."""

ASKED = 50_000
"""Images of the judging split, and of those of none of the classes, that are then compared with all others at most."""


def comparisons(audited: int, unknown: int = 0) -> int:
    """How many pairs of prints are compared at most, among audited images and those of none of the classes."""
    rows = audited + unknown
    return rows * (rows if rows <= ALL_ASKED else min(ASKED, audited) + min(ASKED, unknown))


_IN_MEMORY = 256 * MIB
_AT_ONCE = 4096
_EXAMPLES = 20
_LEARNED = -1
_SPLITS = ("train", "fit", "tune", "certify", "test", "unknown")


@dataclass(frozen=True, eq=False)
class Printed:
    """Prints of the readable rows that take part, and of those the model was trained on, in the order of the source.

    Attributes:
        prints: one for each.
        positions: in the source.
        rows: in the index, -1 for images the model was trained on.
        index: that these rows are of.
        learned: what the latter are called, by their place here.
    """

    prints: Prints
    positions: NDArray[np.int64]
    rows: IndexRows
    index: Index
    learned: Mapping[int, str]

    def __len__(self) -> int:
        return len(self.rows)

    def name(self, at: int) -> str:
        """The id of the image at a place here."""
        row = int(self.rows[at])
        return self.learned[at] if row == _LEARNED else self.index.sample_ids[row]

    @property
    def splits(self) -> NDArray[np.int8]:
        """The place of each one's split among `_SPLITS`."""
        codes = {name: number for number, name in enumerate(_SPLITS)}
        own = (codes["train" if row == _LEARNED else self.index.splits[row]] for row in map(int, self.rows))
        return np.fromiter(own, np.int8, len(self))


def printed_rows(source: Source, index: Index, kept: KeptImages | None = None, scratch: Path | None = None) -> Printed:
    """The print of every image; those that were not kept are read once more.

    Where there are many the prints lie in a file without a name in the folder `scratch`, so that the system can take
    back the memory they are in.

    Raises:
        RunError: that folder has no room for them.
    """
    wanted = np.union1d(index.positions, np.fromiter(index.learned, np.int64, len(index.learned)))
    order = np.argsort(index.positions, kind="stable")
    known = index.positions[order]
    side = print_of(torch.zeros(1, *source.input_shape)).shape[1:]
    places, rows, learned = array("q"), array("q"), dict[int, str]()

    def prints() -> Iterator[Prints]:
        for position, (image, name) in _images(source, wanted, known, kept):
            if image is not None and tuple(image.shape) == tuple(source.input_shape):
                at = int(np.searchsorted(known, position))
                own = at < len(known) and known[at] == position
                if not own:
                    learned[len(rows)] = name
                places.append(position)
                rows.append(int(order[at]) if own else _LEARNED)
                yield print_of(image[None])[0]

    stack = _stacked(prints(), (len(wanted), *side), scratch)
    return Printed(stack, np.array(places, np.int64), np.array(rows, np.int64), index, learned)


def _stacked(prints: Iterator[Prints], shape: tuple[int, ...], scratch: Path | None) -> Prints:
    """Prints one after the other, of which there are no more than the shape says."""
    if scratch is not None and np.prod(shape) > _IN_MEMORY:
        return _spooled(prints, shape, scratch)
    stack, count = torch.empty(shape, dtype=torch.uint8), 0  # pages nobody writes to take no memory
    for count, each in enumerate(prints, 1):
        stack[count - 1] = each
    return stack[:count]


def _spooled(prints: Iterator[Prints], shape: tuple[int, ...], scratch: Path) -> Prints:
    with tempfile.TemporaryFile(dir=scratch) as file:
        held, count = list[Prints](), 0
        for each in prints:
            held.append(each)
            if len(held) == _AT_ONCE:
                held, count = [], count + _written(file, held, scratch)
        count += _written(file, held, scratch)
        if not count:
            return torch.empty(0, *shape[1:], dtype=torch.uint8)
        content = mmap(file.fileno(), 0, access=ACCESS_COPY)
    return torch.frombuffer(content, dtype=torch.uint8).view(-1, *shape[1:])


def _written(file: BinaryIO, prints: Sequence[Prints], scratch: Path) -> int:
    """Write some prints, none of them kept back in a buffer; how many there were."""
    try:
        file.write(b"".join(each.numpy().tobytes() for each in prints))
        file.flush()
    except OSError as error:
        raise RunError(
            f"cannot write the small grey pictures by which near-duplicates are found into {scratch}: "
            f"{error.strerror or error}. Free some space there; the same command then continues."
        ) from None
    return len(prints)


def _images(
    source: Source, wanted: NDArray[np.int64], known: NDArray[np.int64], kept: KeptImages | None
) -> Iterator[tuple[int, tuple[torch.Tensor | None, str]]]:
    """Each position with its image and its own id; those of the index that were kept are not read, and need no id."""
    for start in range(0, len(wanted), _AT_ONCE):
        part = wanted[start : start + _AT_ONCE].tolist()
        own = frozenset(known[slice(*np.searchsorted(known, (part[0], part[-1] + 1)))].tolist())
        held = frozenset(position for position in part if kept is not None and position in kept and position in own)
        others = source.read([position for position in part if position not in held])
        for position in part:
            if position in held and kept is not None:
                yield position, (_kept(kept, position, source.input_shape), "")
            else:
                row = next(others)
                yield position, (row.image, row.sample_id)


def _kept(kept: KeptImages, position: int, shape: Sequence[int]) -> torch.Tensor:
    image: Images = torch.empty(1, *shape)
    kept.fill(image, [position])
    return image[0]


def near_duplicate_facts(
    source: Source,
    index: Index,
    unknown: UnknownImages | None = None,
    printed: Printed | None = None,
    scratch: Path | None = None,
) -> dict[str, Any]:
    """Counts of near-duplicates across splits, images the model was trained on among them, and some of the pairs.

    Counted are images of the test split, or of the certify split where there are too few images for one. Of images of
    none of the classes, too: how many are near-duplicates of audited ones or hold the same pixels. Above 100,000 images
    the nearest of other splits are looked for of judged ones and of unknown ones alone, up to 50,000 of either, drawn
    by the hash of their content; pairs are then those with these.
    """
    rows = printed_rows(source, index, scratch=scratch) if printed is None else printed
    splits, stacks, seen, others = rows.splits, [rows.prints], len(rows), None
    if unknown is not None:
        others = printed_rows(unknown.source, unknown.index, scratch=scratch)
        stacks.append(others.prints)
        splits = np.concatenate([splits, np.full(len(others), _SPLITS.index("unknown"), np.int8)])
    judging = _SPLITS.index("test" if (splits == _SPLITS.index("test")).any() else "certify")
    few = _few(rows, splits[:seen] == judging) if len(splits) > ALL_ASKED else None
    strange = _few(others, np.ones(len(others), bool)) if few is not None and others is not None else None
    asked = None if few is None else np.concatenate([few, *(() if strange is None else (seen + strange,))])
    _, height, width = source.input_shape
    pairs = near_duplicates(stacks, splits, (height, width), asked)
    foreign, pairs = pairs[pairs[:, 1] >= seen], pairs[pairs[:, 1] < seen]
    touched = np.unique(pairs)
    between = Counter("-".join(sorted((_SPLITS[one], _SPLITS[other]))) for one, other in splits[pairs].tolist())
    judged = int((splits == judging).sum())
    return {
        "pairs": len(pairs),
        "between": dict(sorted(between.items())),
        "judging": _SPLITS[judging],
        "images": int((splits[touched] == judging).sum()),
        "of": judged if few is None else len(few),
        **({} if few is None else {"drawn_from": judged}),
        "copies": index.leaks,
        "examples": [[rows.name(one), rows.name(other)] for one, other in pairs[:_EXAMPLES].tolist()],
        **({} if others is None else {"unknown": _foreign(others, rows, foreign, strange)}),
    }


def _few(rows: Printed, flags: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The places of those rows that are asked: those of the smallest hashes among the ones with a flag."""
    places = np.flatnonzero(flags)
    first = by_hash(rows.index, rows.rows[places])[:ASKED]
    return places[np.isin(rows.rows[places], first)]


def _foreign(
    others: Printed, rows: Printed, pairs: NDArray[np.int64], asked: NDArray[np.int64] | None
) -> dict[str, Any]:
    """Images of none of the classes that are audited ones, by their prints or by their very pixels."""
    unknown, index = others.index, rows.index
    readable = unknown.readable if asked is None else others.rows[asked]
    pairs = pairs if asked is None else pairs[np.isin(pairs[:, 1] - len(rows), asked)]
    wanted = {unknown.contents[row] for row in readable.tolist()}
    own = zip(index.contents, index.sample_ids, strict=True)
    audited = {content: f"training image {at}" for at, content in index.learned.items() if content in wanted}
    audited |= {content: name for content, name in own if content in wanted}
    alike = {others.name(other - len(rows)): rows.name(one) for one, other in pairs.tolist()}
    alike |= {
        unknown.sample_ids[row]: audited[unknown.contents[row]]
        for row in readable.tolist()
        if unknown.contents[row] in audited
    }
    examples = [[own, alike[own]] for own in sorted(alike)[:_EXAMPLES]]
    drawn = {} if asked is None else {"drawn_from": len(unknown.readable)}
    return {"images": len(alike), "of": len(readable), **drawn, "examples": examples}


def neighbour_facts(source: Source, index: Index, printed: Printed | None = None) -> dict[str, Any]:
    """Whether images that follow one another are alike or were taken at once, and what their names tell of series."""
    rows = printed_rows(source, index) if printed is None else printed
    ours = np.flatnonzero(rows.rows != _LEARNED)
    names = Picked(index.sample_ids, rows.rows[ours])
    times = _times(source, rows.positions[ours])
    first = order_of(names, times, MOST)
    chosen = rows.rows[ours[first]]
    moduli = spectra(rows.prints[torch.from_numpy(ours[first])]) if len(first) else torch.zeros(0, 1)
    contents = [index.contents[row] for row in chosen.tolist()]
    found = neighbours(moduli, index.labels[chosen], contents, np.arange(len(chosen)))
    return {
        "images": len(names),
        "pairs": found.pairs,
        "alike": found.alike,
        "p_value": None if np.isnan(found.p_value) else found.p_value,
        "times": int(np.isfinite(times).sum()),
        "bursts": in_bursts(times),
        **asdict(series_of(names)),
    }


def _times(source: Source, positions: NDArray[np.int64]) -> NDArray[np.float64]:
    """When the images at these positions were taken, in seconds; NaN where that is not known."""
    parts = np.split(positions, range(_AT_ONCE, len(positions), _AT_ONCE))
    return np.concatenate([capture_times(source, part.tolist()) for part in parts])
