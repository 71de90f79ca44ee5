"""Tar files of samples, the layout of WebDataset: `webdataset:shards-{000..010}.tar?label=cls`.

The members `a/b.jpg` and `a/b.cls` are one sample, whose key is `a/b`. Members are never unpacked: one pass through the
heads of each file notes where they lie, and an image is read from there. What is decoded is on a list of pictures and
texts; pickles (`.pyd`, `.pickle`, `.pth`, `.npy`) are not on it.
"""

import itertools
import json
import re
import tarfile
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from demur.compact import Choices, Growing, GrowingTexts, Places, Texts, choices_of, numbers_in, texts_of
from demur.data.column_rows import column_rows
from demur.data.decoding import HOSTILE
from demur.data.image_list import ImageListSource, image_list_source
from demur.data.source import location_of
from demur.data.table_columns import COLUMN_OPTIONS, numbers_or_text, rows_in_split
from demur.errors import AddressError, DataError, brief, legible
from demur.pictures.decode_rules import DECODE_OPTIONS, Rules
from demur.registry import Address
from demur.registry.regular_files import MIB

IMAGES = ("jpg", "jpeg", "png", "webp", "tif", "tiff", "bmp", "gif", "ppm", "pgm", "pbm", "jp2")
"""Extensions of members that are images."""

_TEXTS = ("cls", "txt")
_FIELDS = "json"
_LABELS = ("cls", "label", "txt")
_LARGEST_IMAGE, _LARGEST_TEXT = 256 * MIB, MIB
_SHARDS, _MEMBERS = 10_000, 20_000_000
_TOLD = 1_000
"""Samples whose members are told of where none has a label."""


@dataclass(frozen=True)
class Member:
    """Where the bytes of a member lie."""

    start: int
    size: int


@dataclass(frozen=True)
class Sample:
    """The members of one key, by extension."""

    shard: int
    key: str
    members: dict[str, Member] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Members:
    """The image of each sample; called with a position, it reads one.

    Attributes:
        paths: the tar files.
        places: int64 (samples, 3), the number of its file, where it begins and its size; −1 where there is none.
        others: what members there are in its place.
        extensions: those of images, the first that there is first.
    """

    paths: tuple[Path, ...]
    places: NDArray[np.int64]
    others: Choices
    extensions: tuple[str, ...]

    def __call__(self, position: int) -> bytes:
        """The encoded image at a position."""
        shard, start, size = self.places[position].tolist()
        if start < 0:
            raise OSError(
                f"the sample has no member .{' or .'.join(self.extensions[:3])}, only {self.others.at(position)}"
            )
        return member_bytes(self.paths[shard], Member(start, size), _LARGEST_IMAGE)

    def only(self, positions: Places) -> "Members":
        """Those at some positions."""
        return replace(self, places=self.places[positions], others=self.others.select(positions))


def open_source(address: Address) -> ImageListSource:
    """Open tar files; ids are keys, behind the name of their file where several files have one of the same."""
    address.only(("image", "label", "classes", "split", *COLUMN_OPTIONS, *DECODE_OPTIONS))
    options = address.options
    paths = tuple(Path(name) for name in expanded(_pattern(address)))
    for path in paths:
        _check_file(path)
    extensions = _extensions(options.get("image"))
    found = _Passed(paths, extensions)
    for sample in itertools.chain.from_iterable(_samples(path, at) for at, path in enumerate(paths)):
        found.add(sample)
    if not found.count:
        raise DataError(f"{address.location} holds no samples: its tar files have no members. Check the address.")
    cells, members = found.cells(), found.members()
    label = options.get("label") or next((name for name in _LABELS if name in cells), "cls")
    if label not in cells:
        raise _unlabelled(label, cells, found.there, paths)
    rows, labels = column_rows(cells, label, _ids(found.keys.finish(), members), options, address.location)
    kept = rows_in_split(rows, options.get("split"), address.location)
    return image_list_source(address.text, labels.classes, rows.select(kept), members.only(kept), Rules.of(options))


class _Passed:
    """What is kept of samples that are passed one after the other.

    Args:
        paths: the tar files.
        extensions: those of images.
    """

    def __init__(self, paths: tuple[Path, ...], extensions: tuple[str, ...]) -> None:
        self._paths, self._extensions = paths, extensions
        self.count, self.keys, self.there = 0, GrowingTexts(), set[str]()
        self._places, self._others = array("q"), Growing()
        self._facts = dict[str, list[object]]()

    def add(self, sample: Sample) -> None:
        """One more."""
        image = next((sample.members[name] for name in self._extensions if name in sample.members), None)
        self._places.extend((sample.shard, image.start, image.size) if image else (sample.shard, -1, 0))
        others = ", ".join(f".{brief(legible(name))}" for name in sorted(sample.members)[:6])
        self._others.add(None if image else others)
        self.keys.add(sample.key)
        for name, value in _facts_of(sample, self._paths[sample.shard]).items():
            own = self._facts.setdefault(name, [])
            own.extend(itertools.repeat(None, self.count - len(own)))
            own.append(value)
        self.there.update(sample.members if self.count < _TOLD else ())
        self.count += 1

    def members(self) -> Members:
        """Where the images lie."""
        places = np.array(self._places, dtype=np.int64).reshape(-1, 3)
        return Members(self._paths, places, choices_of(self._others.finish()), self._extensions)

    def cells(self) -> dict[str, list[str | float | None]]:
        """What the texts and the JSON objects of the samples say, as columns; once."""
        found = dict[str, list[str | float | None]]()
        for name in [*self._facts]:
            own = self._facts.pop(name)
            found[name] = numbers_or_text(itertools.chain(own, itertools.repeat(None, self.count - len(own))))
        return found


def expanded(pattern: str) -> list[str]:
    """The names that a pattern with braces stands for, in its order.

    >>> expanded("{a,b}-{08..10}.tar")
    ['a-08.tar', 'a-09.tar', 'a-10.tar', 'b-08.tar', 'b-09.tar', 'b-10.tar']

    Raises:
        AddressError: braces that do not fit, or more names than are opened.
    """
    parts = re.split(r"\{([^{}]*)\}", pattern)
    if any("{" in part or "}" in part for part in parts[::2]):
        raise AddressError(
            f"the braces of {brief(pattern)!r} do not fit. Write shards-{{000..010}}.tar or {{a,b}}.tar."
        )
    choices = [_choices(part) if odd % 2 else [part] for odd, part in enumerate(parts)]
    count = 1
    for each in choices:
        count *= len(each)
    if count > _SHARDS:
        raise AddressError(f"{brief(pattern)!r} stands for {count:,} files; at most {_SHARDS:,} are opened.")
    return ["".join(each) for each in itertools.product(*choices)]


def _choices(text: str) -> list[str]:
    match = re.fullmatch(r"([0-9]{1,9})\.\.([0-9]{1,9})", text)
    if match is None:
        return text.split(",")
    first, last = int(match[1]), int(match[2])
    if not first <= last < first + _SHARDS:
        raise AddressError(f"{{{text}}} must run from a smaller number to a larger, over at most {_SHARDS:,} files.")
    return [str(number).zfill(len(match[1])) for number in range(first, last + 1)]


def _pattern(address: Address) -> str:
    if not location_of(address):
        raise AddressError("the address 'webdataset' needs tar files. Write webdataset:shards-{000..010}.tar.")
    return location_of(address)


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise DataError(f"there is no file {path}; expected a tar file of samples. Check the path and its braces.")


def _samples(path: Path, shard: int) -> Iterator[Sample]:
    """The samples of one file, in its order."""
    found: dict[str, Sample] = {}
    try:
        for name, start, size in _members(path):
            key, extension = _divided(name)
            sample = found.setdefault(key, Sample(shard, key))
            if extension in sample.members:
                raise DataError(
                    f"{path} has the member {brief(legible(name))!r} twice, and nobody can tell which is meant. Write "
                    "it again."
                )
            sample.members[extension] = Member(start, size)
    except (*HOSTILE, tarfile.TarError) as error:
        packed = path.suffix.lower() in {".gz", ".tgz", ".bz2", ".xz", ".zst"}
        way_out = "Unpack it first, for instance with gunzip" if packed else "Check that the file is whole"
        raise DataError(f"cannot read {path} as a plain tar file: {str(error) or 'damaged'}. {way_out}.") from None
    yield from found.values()


def _members(path: Path) -> Iterator[tuple[str, int, int]]:
    """Name, place and size of each plain file; links, devices and files with holes are none."""
    with path.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as archive:
        for count, member in enumerate(archive, 1):
            if count > _MEMBERS:
                raise DataError(f"{path} has more than {_MEMBERS:,} members. Write it as several files.")
            if member.isreg() and not member.issparse() and not Path(member.name).name.startswith("."):
                yield member.name, member.offset_data, member.size
            archive.members = []  # type: ignore[attr-defined]  # it would keep every head otherwise


def _divided(name: str) -> tuple[str, str]:
    """Key and extension: what stands before and behind the first dot of the last part.

    >>> _divided("./a.b/c.seg.png")
    ('a.b/c', 'seg.png')
    """
    folder, slash, last = name.removeprefix("./").rpartition("/")
    stem, _, extension = last.partition(".")
    return f"{folder}{slash}{stem}", extension.lower()


def _extensions(text: str | None) -> tuple[str, ...]:
    if text is None:
        return IMAGES
    names = tuple(name.strip().lower().removeprefix(".") for name in re.split("[;,]", text))
    for name in names:
        if name.rpartition(".")[2] not in IMAGES:
            raise AddressError(
                f"`image` must name members that are pictures, {', '.join(IMAGES)}; got {brief(name)!r}. Other "
                "members, above all pickles such as .pyd and .pth, are not decoded: save the images as pictures."
            )
    return names


def _ids(keys: Texts, members: Members) -> Texts:
    """The keys, behind the file's name where two files have the same key."""
    if not keys.any_twice():
        return keys
    files = numbers_in(members.places[:, 0])
    return texts_of(f"{members.paths[file].stem}/{key}" for file, key in zip(files, keys, strict=True))


def member_bytes(path: Path, member: Member, most: int) -> bytes:
    """The bytes of a member; its file is opened for each, since there may be more of them than can be open.

    Raises:
        OSError: it is larger than it may be, or the file has become shorter.
    """
    if member.size > most:
        raise OSError(f"it has {member.size:,} bytes, more than the {most:,} that such a member may have")
    with path.open("rb") as file:
        file.seek(member.start)
        content = file.read(member.size)
    if len(content) < member.size:
        raise OSError("the file has become shorter since it was opened")
    return content


def _facts_of(sample: Sample, path: Path) -> Mapping[str, object]:
    facts: dict[str, object] = {}
    for name, member in sample.members.items():
        if name not in (*_TEXTS, _FIELDS):
            continue
        try:
            text = member_bytes(path, member, _LARGEST_TEXT).decode("utf-8")
            facts |= _fields(text) if name == _FIELDS else {name: text.strip()}
        except (OSError, ValueError, RecursionError) as error:
            raise DataError(
                f"cannot read the member {brief(legible(sample.key))}.{name} of {path}: {error}. Write it again as "
                f"{'a JSON object' if name == _FIELDS else 'text'} in UTF-8."
            ) from None
    return facts


def _fields(text: str) -> dict[str, object]:
    """The numbers and texts of a JSON object; what lies deeper says nothing of a row."""
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError("it is no object")  # noqa: TRY004 - of a file, not of an argument
    return {name: value for name, value in found.items() if isinstance(value, (str, int, float))}


def _unlabelled(label: str, cells: Mapping[str, object], there: Iterable[str], paths: Sequence[Path]) -> DataError:
    extensions = sorted({f".{brief(legible(name))}" for name in there})
    return DataError(
        f"the samples of {paths[0]} have no label {brief(label)!r}: their members are "
        f"{', '.join(extensions[:12])}, of which .cls, .txt and the fields of .json are read "
        f"({', '.join(map(brief, cells)) or 'none here'}), and no pickles. Name one with ?label=…."
    )
