"""What of the images is nearly the same, and what follows upon what: near-duplicates between splits, and bursts."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from demur.data import Index, Source, UnknownImages
from demur.data.capture_times import capture_times, in_bursts
from demur.data.kept_images import KeptImages
from demur.data.near_duplicates import near_duplicates, print_of, spectra
from demur.data.neighbours import neighbours, order_of, series_of

_EXAMPLES = 20


@dataclass(frozen=True, eq=False)
class Printed:
    """Prints, ids and splits of the readable rows that take part, and of those the model was trained on."""

    prints: torch.Tensor
    positions: list[int]
    ids: list[str]
    splits: list[str]


def printed_rows(source: Source, index: Index, kept: KeptImages | None = None) -> Printed:
    """The print of every image; those that were not kept are read once more."""
    serves = {**dict.fromkeys(index.learned, "train"), **dict(zip(index.positions.tolist(), index.splits, strict=True))}
    named = dict(zip(index.positions.tolist(), index.sample_ids, strict=True))
    wanted = sorted(serves)
    side = print_of(torch.zeros(1, *source.input_shape)).shape[1:]
    prints = torch.empty(len(wanted), *side, dtype=torch.uint8)  # pages nobody writes to take no memory
    positions, ids, splits = list[int](), list[str](), list[str]()
    for position, (image, name) in zip(wanted, _images(source, wanted, named, kept), strict=True):
        if image is not None and tuple(image.shape) == tuple(source.input_shape):
            prints[len(ids)] = print_of(image[None])[0]
            positions.append(position)
            ids.append(name)
            splits.append(serves[position])
    return Printed(prints[: len(ids)], positions, ids, splits)


def _images(
    source: Source, positions: Sequence[int], named: Mapping[int, str], kept: KeptImages | None
) -> Iterator[tuple[torch.Tensor | None, str]]:
    """The image at each position and its id; those of the index that were kept are not read."""
    known = frozenset(position for position in positions if kept is not None and position in kept and position in named)
    others = source.read([position for position in positions if position not in known])
    for position in positions:
        if kept is not None and position in known:
            image = torch.empty(1, *source.input_shape)
            kept.fill(image, [position])
            yield image[0], named[position]
        else:
            row = next(others)
            yield row.image, named.get(position, row.sample_id)


def near_duplicate_facts(
    source: Source, index: Index, unknown: UnknownImages | None = None, printed: Printed | None = None
) -> dict[str, Any]:
    """Counts of near-duplicates across splits, images the model was trained on among them, and some of the pairs.

    Counted are images of the test split, or of the certify split where there are too few images for one.
    Of images of none of the classes, too: how many are near-duplicates of audited ones or hold the same pixels.
    """
    rows = printed_rows(source, index) if printed is None else printed
    prints, ids, splits, seen = rows.prints, rows.ids, rows.splits, len(rows.ids)
    if unknown is not None:
        others = printed_rows(unknown.source, unknown.index)
        prints = torch.cat([prints, others.prints])
        ids, splits = [*ids, *others.ids], [*splits, *(["unknown"] * len(others.ids))]
    _, height, width = source.input_shape
    pairs = near_duplicates(prints, np.array(splits), (height, width))
    foreign, pairs = pairs[pairs[:, 1] >= seen], pairs[pairs[:, 1] < seen]
    judging = "test" if "test" in rows.splits else "certify"
    touched = [row for row in np.unique(pairs) if splits[row] == judging]
    between = Counter("-".join(sorted((splits[one], splits[other]))) for one, other in pairs)
    return {
        "pairs": len(pairs),
        "between": dict(sorted(between.items())),
        "judging": judging,
        "images": len(touched),
        "of": splits.count(judging),
        "copies": index.leaks,
        "examples": [[ids[one], ids[other]] for one, other in pairs[:_EXAMPLES]],
        **({} if unknown is None else {"unknown": _foreign(unknown.index, index, foreign, ids)}),
    }


def _foreign(unknown: Index, index: Index, pairs: NDArray[np.int64], ids: list[str]) -> dict[str, Any]:
    """Images of none of the classes that are audited ones, by their prints or by their very pixels."""
    audited = dict(zip(index.contents, index.sample_ids, strict=True))
    audited = {**{content: f"training image {at}" for at, content in index.learned.items()}, **audited}
    alike = {ids[other]: ids[one] for one, other in pairs.tolist()}
    alike |= {
        unknown.sample_ids[row]: audited[unknown.contents[row]]
        for row in unknown.readable
        if unknown.contents[row] in audited
    }
    examples = [[own, alike[own]] for own in sorted(alike)[:_EXAMPLES]]
    return {"images": len(alike), "of": len(unknown.readable), "examples": examples}


def neighbour_facts(source: Source, index: Index, printed: Printed | None = None) -> dict[str, Any]:
    """Whether images that follow one another are alike or were taken at once, and what their names tell of series."""
    rows = printed_rows(source, index) if printed is None else printed
    place = {position: row for row, position in enumerate(index.positions.tolist())}
    ours = [at for at, position in enumerate(rows.positions) if position in place]
    taken = [place[rows.positions[at]] for at in ours]
    names = [rows.ids[at] for at in ours]
    times = capture_times(source, [rows.positions[at] for at in ours])
    order = order_of(names, times)
    moduli = spectra(rows.prints[ours]) if ours else torch.zeros(0, 1)
    found = neighbours(moduli, index.labels[taken], [index.contents[at] for at in taken], order)
    return {
        "images": len(names),
        "pairs": found.pairs,
        "alike": found.alike,
        "p_value": None if np.isnan(found.p_value) else found.p_value,
        "times": int(np.isfinite(times).sum()),
        "bursts": in_bursts(times),
        **asdict(series_of(names)),
    }
