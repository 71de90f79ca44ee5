"""From pictures to overlays and a table."""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any, Protocol

import polars as pl
import torch
from PIL import Image
from torch import Tensor

from demur.classifier import Classifier
from demur.data.rules import Rules
from demur.errors import unknown
from demur.explain import AttributionMap
from demur.explain.columns import agreement_columns, map_columns
from demur.explain.folder.pictures import Picture, slug
from demur.explain.grad_cam import GradCAM
from demur.explain.overlay import beside
from demur.randomness import Keys
from demur.records import write_atomically
from demur.registry import build, name_of
from demur.shapes import Heat, Images, Labels

TABLE = "explain.csv"

_BATCH = 16

Line = Mapping[str, Any]
"""A row of the table; what is not known is None."""


class Progress(Protocol):
    """Whom to tell how far it is."""

    def start(self, rows: int) -> None: ...

    def advance(self, rows: int, what: str) -> None: ...

    def say(self, what: str) -> None: ...


@dataclass(frozen=True, eq=False)
class Batch:
    """Some pictures that could be read, and what the model answers."""

    pictures: Sequence[Picture]
    images: Images
    hashes: Sequence[str]
    shares: Tensor

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def predicted(self) -> Labels:
        """The class answered."""
        return self.shares.argmax(dim=1)


def explain(
    classifier: Classifier,
    pictures: Sequence[Picture],
    out: Path,
    progress: Progress,
    *,
    maps: Sequence[str] = ("grad_cam", "gradient"),
    of: str | None = None,
    crop: bool = False,
    seed: int = 0,
) -> list[Line]:
    """Write an overlay for each picture and map, and the table; its rows, in the order of the pictures.

    Args:
        classifier: what is asked.
        pictures: the files; one that cannot be read is a row with a reason.
        out: the folder, made if it is not there.
        progress: whom to tell.
        maps: names of maps.
        of: the class that is explained; by default what is answered.
        crop: whether a picture is cut to the model's proportions before it is scaled, instead of stretched.
        seed: of what is drawn at random.
    """
    chosen = {name_of("map", each): each for each in (build("map", text) for text in maps)}
    position = None if of is None else _position(of, classifier.classes)
    chosen = {name: _resolved(each, classifier, progress) for name, each in chosen.items()}
    channels, height, width = classifier.input_shape
    rules = Rules(size=(height, width), crop=crop, channels=channels)
    lines: list[Line] = []
    progress.start(len(pictures))
    for begin in range(0, len(pictures), _BATCH):
        part = pictures[begin : begin + _BATCH]
        batch, failed = _read(classifier, part, rules)
        done = list(_explained(classifier, batch, chosen, position, out, seed)) if len(batch) else []
        order = {str(picture.path): place for place, picture in enumerate(part)}
        lines += sorted([*failed, *done], key=lambda line: order[line["image"]])
        progress.advance(len(part), "explaining")
    write_atomically(out / TABLE, _csv(lines))
    return lines


def _resolved(map_: AttributionMap, classifier: Classifier, progress: Progress) -> AttributionMap:
    if not isinstance(map_, GradCAM) or map_.layer:
        return map_
    found = map_.resolved(classifier)
    progress.say(f"grad_cam looks at the layer {found.layer}")
    return found


def _position(of: str, classes: Sequence[str]) -> int:
    if of not in classes:
        raise unknown("class", of, classes)
    return classes.index(of)


def _read(classifier: Classifier, pictures: Sequence[Picture], rules: Rules) -> tuple[Batch, list[Line]]:
    read = [(picture, *picture.read(rules)) for picture in pictures]
    failed: list[Line] = [
        {"image": str(picture.path), "error": error} for picture, (_, error), _ in read if error is not None
    ]
    whole = [(picture, image, content) for picture, (image, _), content in read if image is not None]
    shape = classifier.input_shape
    images = torch.stack([image for _, image, _ in whole]) if whole else torch.empty(0, *shape)
    images = images.to(classifier.device)
    with torch.no_grad():
        shares = classifier.logits(images).double().softmax(dim=1).cpu() if whole else torch.empty(0, 2)
    return Batch([each[0] for each in whole], images, [each[2] for each in whole], shares), failed


def _explained(
    classifier: Classifier,
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
            file = f"{picture.stem}-{slug(name)}.png"
            write_atomically(out / file, _png(batch.images[row], heats[name][row]))
            yield {
                "image": str(picture.path),
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
    Image.fromarray(beside(image, heat)).save(buffer, "png")
    return buffer.getvalue()


def _csv(lines: Sequence[Line]) -> bytes:
    whole = max(lines, key=len)
    columns = list(dict.fromkeys([*whole, *(column for line in lines for column in line)]))
    table = {column: [line.get(column) for line in lines] for column in columns}
    return pl.DataFrame(table, strict=False).write_csv().encode()
