"""Images that end the process which decodes them: found by helpers, told of by the run folder, decoded no more."""

import json
import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from demur.data import Source
from demur.data.lost_images import UNDECODED, Lost, LostIds, sample_ids, without_images
from demur.data.unknown_images import unknown_id
from demur.errors import DataError, InputError
from demur.pipeline.halving import MOST
from demur.pipeline.job import IndexRows
from demur.pipeline.plan.plan_file import Plan
from demur.pipeline.run.crashes import NAME, READING, deadly_parts
from demur.pipeline.run.flight import Death, Flight

_FILES, _NAMED = 256, 5

_FEW, _MANY = 4, 1_000
"""Images that are looked for at least, however many most are, and at most; each takes about ten processes."""


@dataclass(frozen=True)
class Reading:
    """The duty to read images: positions in, nothing out."""

    source: Source

    def __call__(self, asked: IndexRows) -> str:
        """Empty, as soon as they are read."""
        with suppress(Exception):  # what it raises, it raises where the images are read, too
            for _ in self.source.read(asked.tolist()):
                pass
        return ""


def lost_ids(run: Path) -> LostIds:
    """The images of a run of which its folder says that they end whoever decodes them.

    It is asked before the folder is locked and mended: of a damaged file nothing is known.
    """
    try:
        found = json.loads((run / NAME).read_bytes())
        every = {name: why for name, why in found.items() if why.startswith(UNDECODED)}
    except (OSError, ValueError, AttributeError):
        return LostIds()
    mark = unknown_id("")
    unknown = {name.removeprefix(mark): why for name, why in every.items() if name.startswith(mark)}
    return LostIds({name: why for name, why in every.items() if not name.startswith(mark)}, unknown)


@contextmanager
def as_read_before(run: Path, _plan: Plan, sources: Sequence[Source]) -> Iterator[Sequence[Source]]:
    """The images of a run and the unknown ones after them, without those of which it knows that they end processes."""
    yield _without_lost(sources, run)


def without_deadly_files(
    sources: Sequence[Source],
    flight: Flight,
    say: Callable[[str], object],
    share: Callable[[int], range] = range,
    missing: Sequence[Sequence[int]] | None = None,
) -> Sequence[Source]:
    """The images of a run and the unknown ones after them, without those that end whoever decodes them.

    They are those that the run folder knows of and, where the process before this one died while it read images, those
    that end others: of `share`, the positions that are read of so many, or of those of each source that are `missing`.

    Raises:
        DataError: nobody knows what it died of, most images end processes, or the data cannot be read without them.
    """
    sources = _without_lost(sources, flight.folder)
    death = flight.death
    if death is None or death.what != READING or not death.suspicious:
        return sources
    shares = [share(len(source)) for source in sources]
    say(f"the process before this one {death.how} while it read the images; looking for the one that causes it")
    try:
        found = [
            _deadly(source, own, len(whole))
            for source, own, whole in zip(sources, missing or shares, shares, strict=True)
        ]
    except (InputError, pickle.PicklingError, TypeError, AttributeError) as error:
        say(f"cannot look for it: {error}")
        return sources
    flight.landed()
    _check(sources, found, death, [len(each) for each in shares])
    return [_without(source, lost) for source, lost in zip(sources, found, strict=True)]


def _deadly(source: Source, positions: Sequence[int], of: int) -> Lost:
    """Those at some positions that end whoever decodes them, as long as they are not most `of` so many."""
    every = np.array(positions, dtype=np.int64)
    parts = [every[start : start + _FILES] for start in range(0, len(every), _FILES)]
    found = dict[int, str]()
    for at, death in deadly_parts(Reading(source), parts, 1):
        found[at] = f"{UNDECODED}{death.why}"
        if len(found) > max(MOST * of, _FEW) or len(found) > _MANY:
            break  # there is nothing to tell of the others, or no end to it
    return found


def _without_lost(sources: Sequence[Source], run: Path) -> Sequence[Source]:
    lost = lost_ids(run)
    return [
        _without(source, {at: told[name] for at, name in enumerate(sample_ids(source) or ()) if name in told})
        for source, told in zip(sources, (lost.images, lost.unknown), strict=False)
    ]


def _without(source: Source, lost: Lost) -> Source:
    return without_images(source, lost) if lost else source


def _check(sources: Sequence[Source], found: Sequence[Lost], death: Death, rows: Sequence[int]) -> None:
    """Refuse what leaves nothing to be told, or what cannot be left out of the rows that are read of each source.

    Raises:
        DataError: see above.
    """
    if not any(found):
        addresses = " and ".join(source.address for source in sources)
        raise DataError(
            f"the process before this one {death.how} while it read the images of {addresses}, and none of them ends "
            "another alone. The same command tries again."
        )
    for source, lost, own in zip(sources, found, rows, strict=True):
        ids = sample_ids(source)
        if lost and (ids is None or len(lost) > min(MOST * own, _MANY)):
            names = [f"at position {at}" if ids is None else repr(ids[at]) for at in lost]
            raise DataError(
                f"{len(names)} or more of {own} images of {source.address} end the process that decodes them "
                f"({next(iter(lost.values())).removeprefix(UNDECODED)}): {', '.join(names[:_NAMED])}"
                f"{', …' if len(names) > _NAMED else ''}. Take them out or write them anew; the same command then "
                "continues."
            )
