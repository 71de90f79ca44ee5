"""Images that end the process which decodes them, past anything Python could catch: rows with the reason from then on.

Which they are is known from a process that died of them; none is decoded again, here or where the source travels to.
Those that a source decodes while it is opened, to see its usual size, are tried in children where a process died.
"""

import os
import struct
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeAlias, runtime_checkable

import torch

from demur.containment import follows_crash, how_it_ended
from demur.data.compact_rows import CompactRows
from demur.data.relabelled import RelabelledSource
from demur.data.source import Row, Source, reopened

Lost: TypeAlias = Mapping[int, str]
"""Positions whose images are never decoded, and why."""

UNDECODED = "the process that decoded it "
"""How the error of a row begins that no process survives which decodes it."""

_NUMBER = struct.Struct("q")

_LOST_IDS: ContextVar[Mapping[str, str]] = ContextVar("lost_ids")


@dataclass(frozen=True)
class LostIds:
    """Images that are not to be decoded, by id and why: of a set, and of the images of none of its classes."""

    images: Mapping[str, str] = field(default_factory=dict)
    unknown: Mapping[str, str] = field(default_factory=dict)


@runtime_checkable
class ListedSource(Source, Protocol):
    """A source whose rows are known before their images are decoded."""

    @property
    def listed(self) -> Sequence[Row]:
        """The rows, their images not read yet."""

    @property
    def lost(self) -> Lost:
        """Those whose images are never decoded."""


def listing(source: Source) -> Iterable[Row] | None:
    """A source's rows without images, where they are known before these are decoded."""
    if isinstance(source, RelabelledSource):
        rows = listing(source.source)
        return None if rows is None else map(source.under_these, rows)
    return source.listed if isinstance(source, ListedSource) else None


def sample_ids(source: Source) -> Sequence[str] | None:
    """The ids of a source's rows, where they are known before images are decoded."""
    if isinstance(source, RelabelledSource):
        return sample_ids(source.source)
    return CompactRows.of(source.listed).sample_ids if isinstance(source, ListedSource) else None


def without_images(source: Source, lost: Lost) -> Source:
    """The source in which these images are not decoded but rows with the reason; it must be a listed one."""
    if isinstance(source, RelabelledSource):
        return replace(source, source=without_images(source.source, lost))
    if not isinstance(source, ListedSource):
        raise TypeError(f"{type(source).__name__} has no rows before its images are decoded")
    return replace(source, lost={**source.lost, **lost})  # type: ignore[type-var]  # every listed source is a dataclass


def without_undecoded(source: Source, undecoded: Lost) -> Source:
    """The source in which those images are not decoded that an index knows to end processes, if it is a listed one."""
    return without_images(source, undecoded) if undecoded and listing(source) is not None else source


Travelling: TypeAlias = tuple[str, int, Mapping[str, str]]
"""What is sent of a source: its address, how many rows it has, and the ids of lost images with the reason."""


def by_address_without(source: ListedSource) -> tuple[Callable[[str, int, Mapping[str, str]], Source], Travelling]:
    """How a listed source travels to another process, in the form of `__reduce__`: no lost image is decoded there."""
    lost = {source.listed[at].sample_id: why for at, why in source.lost.items()}
    return _open_without, (source.address, len(source), lost)


def _open_without(address: str, rows: int, lost: Mapping[str, str]) -> Source:
    with never_decoding(lost):
        return reopened(address, rows)


@contextmanager
def never_decoding(lost: Mapping[str, str]) -> Iterator[None]:
    """Inside, a source that is opened decodes none of these images, known by their ids."""
    token = _LOST_IDS.set(lost)
    try:
        yield
    finally:
        _LOST_IDS.reset(token)


def lost_when_opened(listed: Sequence[Row], sample: Sequence[int], decode: Callable[[int], object]) -> Lost:
    """Images that are known to be lost, and, where a process died before this one, those of a sample that are.

    Args:
        listed: the rows of a source that is being opened.
        sample: the positions that are about to be decoded.
        decode: decodes the one at a position.
    """
    ids = _LOST_IDS.get({})
    lost = {at: ids[row.sample_id] for at, row in enumerate(listed) if row.sample_id in ids} if ids else {}
    left = [position for position in sample if position not in lost]
    return {**lost, **deadly_images(left, decode)} if follows_crash() else lost


def deadly_images(positions: Sequence[int], decode: Callable[[int], object]) -> dict[int, str]:
    """Those of some positions whose image ends a child of this process twice, and how."""
    found, deaths, left = dict[int, str](), Counter[int](), list(positions)
    while left:
        begun, status = _attempt(left, decode)
        if not status or not begun:
            break
        left = left[begun - 1 :]
        deaths[left[0]] += 1
        if deaths[left[0]] > 1:
            found[left.pop(0)] = f"{UNDECODED}{how_it_ended(status)}"
    return found


def _attempt(positions: Sequence[int], decode: Callable[[int], object]) -> tuple[int, int]:
    """How many images a child began to decode, and how it ended, as a status."""
    ours, theirs = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the child decodes, in a single thread
        pid = os.fork()
    if not pid:
        _decode_and_end(positions, decode, theirs)
    os.close(theirs)
    with os.fdopen(ours, "rb") as told:
        begun = len(told.read()) // _NUMBER.size
    return begun, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _decode_and_end(positions: Sequence[int], decode: Callable[[int], object], line: int) -> None:
    status = 1
    try:
        torch.set_num_threads(1)  # the pools of the parent's threads are not here
        for position in positions:
            os.write(line, _NUMBER.pack(position))
            with suppress(Exception):  # what it raises, it raises where the image is read, too
                decode(position)
        status = 0
    finally:
        os._exit(status)
