"""`demur explain`: from pictures to overlays and a table."""

import hashlib
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any, Protocol

import polars as pl
import torch
from PIL import Image
from torch import Tensor

from demur.attribution import AttributionMap
from demur.attribution.grad_cam import GradCAM
from demur.attribution.localisation import agreement_columns, map_columns
from demur.attribution.overlay import side_by_side
from demur.classifier import BoundClassifier
from demur.data.decoding import Decoded, open_picture
from demur.data.image_folder import files_below, name_below
from demur.errors import DataError, legible, unknown
from demur.files import write_atomically
from demur.pictures.decode_rules import Rules
from demur.randomness import Keys
from demur.records import csv_bytes
from demur.registry import build, name_of
from demur.registry.regular_files import MIB, content_of, reason
from demur.shapes import Heat, Images, Labels

_SUFFIXES = {".bmp", ".gif", ".jp2", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
"""What is taken from a folder; a file named by itself may be called as it likes."""

_LONGEST = 100


@dataclass(frozen=True)
class PictureFile:
    """A file, and what the files written of it begin with."""

    path: Path
    stem: str

    def content(self) -> bytes:
        """The bytes of the file; an `OSError` says why there are none."""
        return content_of(self.path, 256 * MIB)

    def read(self, rules: Rules) -> tuple[Decoded, str]:
        """The image or the reason why there is none, and a hash of the file, by which noise is drawn."""
        try:
            content = self.content()
        except OSError as error:
            return (None, f"cannot read the file: {reason(error)}"), ""
        return open_picture(content, rules.channels, rules), hashlib.sha256(content).hexdigest()


def find_pictures(paths: Sequence[Path], out: Path) -> tuple[PictureFile, ...]:
    """The pictures at some paths, those of a folder sorted; what lies in `out` was written here and is left out.

    Raises:
        DataError: a path leads nowhere, or a folder has no pictures.
    """
    found = dict.fromkeys(file for path in paths for file in _files(path, out.resolve()))
    return tuple(
        PictureFile(file, stem)
        for file, stem in zip(found, _unique([picture_slug(file.stem) for file in found]), strict=True)
    )


def picture_slug(text: str) -> str:
    """A file name for a name.

    >>> picture_slug("smooth_grad(n=10, sigma=0.1)")
    'smooth_grad-n-10-sigma-0.1'
    """
    return re.sub(r"[^\w.]+", "-", text).strip("-.")[:_LONGEST] or "image"


def _files(path: Path, out: Path) -> list[Path]:
    if path.is_dir():
        files = [Path(file) for file in files_below(path, path) if _is_picture(Path(name_below(file, path)))]
        files = sorted(file for file in files if not file.resolve().is_relative_to(out))
        if not files:
            raise DataError(f"the folder {path} holds no pictures; looked for {', '.join(sorted(_SUFFIXES))} in it.")
        return files
    if not path.exists():
        raise DataError(
            f"there is no file or folder {path}. Check the path; images are picture files or folders of them."
        )
    return [path]


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in _SUFFIXES and not any(part.startswith(".") for part in path.parts)


def _unique(names: Sequence[str]) -> list[str]:
    """The same names, a number added to those there before; capitals alone are no difference on some disks."""
    found: list[str] = []
    taken: set[str] = set()
    for name in names:
        number, free = 1, name
        while free.lower() in taken:
            number += 1
            free = f"{name}-{number}"
        taken.add(free.lower())
        found.append(free)
    return found


TABLE = "explain.csv"

_BATCH = 16

Line = Mapping[str, Any]
"""A row of the table; what is not known is None."""


class ExplainProgress(Protocol):
    """Progress of an explanation, image by image."""

    def start(self, rows: int) -> None: ...

    def advance(self, rows: int, what: str) -> None: ...

    def say(self, what: str) -> None: ...


@dataclass(frozen=True, eq=False)
class Batch:
    """Some pictures that could be read, and what the model answers."""

    pictures: Sequence[PictureFile]
    images: Images
    hashes: Sequence[str]
    shares: Tensor

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def predicted(self) -> Labels:
        """The class answered."""
        return self.shares.argmax(dim=1)


def explain_pictures(
    classifier: BoundClassifier,
    pictures: Sequence[PictureFile],
    out: Path,
    progress: ExplainProgress,
    *,
    maps: Sequence[str] = ("grad_cam", "gradient"),
    of: str | None = None,
    crop: bool = False,
    rules: Rules | None = None,
    seed: int = 0,
) -> list[Line]:
    """Write an overlay for each picture and map, and the table; its rows, in the order of the pictures.

    Args:
        classifier: what is asked.
        pictures: the files; one that cannot be read is a row with a reason.
        out: the folder, made if it is not there.
        progress: is told of each image.
        maps: names of maps.
        of: the class that is explained; by default what is answered.
        crop: whether a picture is cut to the model's proportions before it is scaled, instead of stretched.
        rules: how the model's own source has pictures decoded, which wins over `crop`.
        seed: of what is drawn at random.
    """
    chosen = {name_of("map", each): each for each in (build("map", text) for text in maps)}
    position = None if of is None else _position(of, classifier.classes)
    chosen = {name: _with_layer(each, classifier, progress) for name, each in chosen.items()}
    channels, height, width = classifier.input_shape
    rules = rules or Rules(size=(height, width), crop=crop, channels=channels)
    lines: list[Line] = []
    progress.start(len(pictures))
    for begin in range(0, len(pictures), _BATCH):
        part = pictures[begin : begin + _BATCH]
        batch, failed = _read(classifier, part, rules)
        done = list(_explanations(classifier, batch, chosen, position, out, seed)) if len(batch) else []
        order = {legible(str(picture.path)): place for place, picture in enumerate(part)}
        lines += sorted([*failed, *done], key=lambda line: order[line["image"]])
        progress.advance(len(part), "explaining")
    write_atomically(out / TABLE, _csv(lines))
    return lines


def _with_layer(map_: AttributionMap, classifier: BoundClassifier, progress: ExplainProgress) -> AttributionMap:
    if not isinstance(map_, GradCAM) or map_.layer:
        return map_
    found = map_.with_layer(classifier)
    progress.say(f"grad_cam looks at the layer {found.layer}")
    return found


def _position(of: str, classes: Sequence[str]) -> int:
    if of not in classes:
        raise unknown("class", of, classes)
    return classes.index(of)


def _read(classifier: BoundClassifier, pictures: Sequence[PictureFile], rules: Rules) -> tuple[Batch, list[Line]]:
    read = [(picture, *picture.read(rules)) for picture in pictures]
    failed: list[Line] = [
        {"image": legible(str(picture.path)), "error": error} for picture, (_, error), _ in read if error is not None
    ]
    whole = [(picture, image, content) for picture, (image, _), content in read if image is not None]
    shape = classifier.input_shape
    images = torch.stack([image for _, image, _ in whole]) if whole else torch.empty(0, *shape)
    images = images.to(classifier.device)
    with torch.no_grad():
        shares = classifier.logits(images).double().softmax(dim=1).cpu() if whole else torch.empty(0, 2)
    return Batch([each[0] for each in whole], images, [each[2] for each in whole], shares), failed


def _explanations(
    classifier: BoundClassifier,
    batch: Batch,
    maps: Mapping[str, AttributionMap],
    position: int | None,
    out: Path,
    seed: int,
) -> Iterator[Line]:
    classes = batch.predicted if position is None else torch.full_like(batch.predicted, position)
    heats: dict[str, Heat] = {}
    columns: dict[str, dict[str, Tensor]] = {}
    for name, map_ in maps.items():
        keys = Keys.of(seed, batch.hashes, name)
        heats[name] = map_(classifier, batch.images, classes.to(batch.images.device), keys)
        columns[name] = map_columns(heats[name], None, torch.zeros(len(batch), dtype=torch.bool), keys)
    for one, other in permutations(maps, 2):
        columns[one] |= agreement_columns(heats[one], heats[other], other)
    for row, picture in enumerate(batch.pictures):
        for name in maps:
            file = f"{picture.stem}-{picture_slug(name)}.png"
            write_atomically(out / file, _png(batch.images[row], heats[name][row]))
            yield {
                "image": legible(str(picture.path)),
                "error": None,
                **_answer(classifier.classes, batch, row, int(classes[row])),
                "map": name,
                "file": file,
                **{column: _number(values[row]) for column, values in columns[name].items()},
            }


def _answer(names: Sequence[str], batch: Batch, row: int, of: int) -> dict[str, Any]:
    predicted = int(batch.predicted[row])
    return {
        "predicted": names[predicted],
        "confidence": float(batch.shares[row, predicted]),
        "explained": names[of],
        "probability": float(batch.shares[row, of]),
    }


def _number(value: Tensor) -> float | None:
    return float(value) if value.isfinite() else None


def _png(image: Tensor, heat: Tensor) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(side_by_side(image, heat)).save(buffer, "png")
    return buffer.getvalue()


def _csv(lines: Sequence[Line]) -> bytes:
    whole = max(lines, key=len)
    columns = list(dict.fromkeys([*whole, *(column for line in lines for column in line)]))
    table = {column: [line.get(column) for line in lines] for column in columns}
    return csv_bytes(pl.DataFrame(table, strict=False))
