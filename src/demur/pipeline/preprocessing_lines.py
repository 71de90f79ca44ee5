"""How pictures come to a model, as lines of the report, and whether that is how the model's own library does it."""

import io
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from PIL import Image

from demur.adapters.declarations import Declaration, declared
from demur.classifier import BoundClassifier
from demur.data import Source
from demur.data.decoded_list import DecodedListSource
from demur.data.decoding import HOSTILE, Decodable, Encoded, carefully
from demur.data.relabelled import as_opened
from demur.pictures.decode_rules import Rules

PICTURES = 20
"""How many pictures are also read by the library itself."""

_STEP = 255
_ROUNDING = 1e-3
"""What single precision may leave between two ways to the same numbers, in steps of 8 bits."""

_ORIENTATION = 0x0112


def preprocessing_lines(model_address: str | None, classifier: BoundClassifier, source: Source) -> tuple[str, ...]:
    """From the file to the image, into the network, what the model's source says of it, whether both agree.

    Args:
        model_address: where the model comes from; None where it was given as an object.
        classifier: the model.
        source: the images.
    """
    shape = " × ".join(map(str, source.input_shape))
    opened = as_opened(source)
    rules = opened.rules if isinstance(opened, Decodable) else None
    said = "as they are stored" if rules is None else rules.sentence
    said = f"{source.values}; {said}" if isinstance(source, DecodedListSource) and source.values else said
    stated = Declaration() if model_address is None else declared(model_address)
    return (
        f"images: {said}; {shape} in [0, 1]",
        *_pictures(source.input_shape[0]),
        f"into the model: {_normalisation(classifier)}",
        *stated.words,
        *_agreement(stated, rules, opened, classifier),
    )


def _pictures(channels: int) -> Iterator[str]:
    """What the report shows of images that are neither grey nor colour."""
    if channels == 2:
        yield "pictures in this report show the first of 2 channels as grey"
    elif channels > 3:
        yield f"pictures in this report show channels 1, 2 and 3 of {channels} as red, green and blue"


def _normalisation(classifier: BoundClassifier) -> str:
    pairs = (("mean", classifier.contract.mean), ("std", classifier.contract.std))
    parts = [f"{name} {', '.join(f'{value:.4g}' for value in each)}" for name, each in pairs if each is not None]
    return f"normalised by {' and '.join(parts)}" if parts else "as they are; its address names no normalisation"


def _agreement(stated: Declaration, rules: Rules | None, source: Source, classifier: BoundClassifier) -> Iterator[str]:
    if stated.rules is None or (stated.shape_alone and source.input_shape == stated.input_shape):
        return
    if rules is None or _sizes(rules) != _sizes(stated.rules):
        yield f"NOT as the source of the model has it, which is: {stated.rules.sentence}"
    elif stated.transform is not None and isinstance(source, Encoded):
        found = [each for each in _compared(stated, source, classifier) if each is not None]
        if found:
            yield Parity(tuple(found)).sentence


def _sizes(rules: Rules) -> tuple[object, ...]:
    """What makes pixels others; a normal colour picture is the same whatever is said of colour and transparency."""
    return (rules.size, rules.resize, rules.crop, rules.floor, rules.interpolation, rules.resizer, rules.antialias)


@dataclass(frozen=True)
class Difference:
    """How far two ways to read a picture lie apart, in steps of 8 bits, and what is odd about it; empty for nothing."""

    steps: float
    oddity: str


@dataclass(frozen=True)
class Parity:
    """Some pictures read by demur and by the model's own library."""

    pictures: tuple[Difference, ...]

    @property
    def sentence(self) -> str:
        """What was found, in words."""
        others = [each for each in self.pictures if each.steps > _ROUNDING]
        count = len(self.pictures)
        start = f"{count} picture{'s' * (count != 1)} read by the model's own library too"
        if not others:
            return f"{start}: all pixels are the same"
        worst = max(each.steps for each in others)
        kinds = sorted({each.oddity for each in others if each.oddity})
        why = f" ({'; '.join(kinds)})" if kinds else ""
        unexplained = sum(not each.oddity for each in others)
        odd = f", {unexplained} of them without a known reason" if unexplained else ""
        return f"{start}: {len(others)} differ, by up to {worst:.3g}/{_STEP}{why}{odd}"


def _compared(stated: Declaration, source: Source, classifier: BoundClassifier) -> Iterator[Difference | None]:
    count = len(source)
    positions = sorted({place * count // PICTURES for place in range(PICTURES)} if count else ())
    for position, row in zip(positions, source.read(positions), strict=True):
        if row.image is not None:
            yield _difference(stated, source, position, classifier, row.image)


def _difference(
    stated: Declaration, source: Source, position: int, classifier: BoundClassifier, image: torch.Tensor
) -> Difference | None:
    assert isinstance(source, Encoded)
    assert stated.transform is not None
    try:
        with carefully(io.BytesIO(source.picture(position))) as picture:
            oddity = _oddity(picture)
            theirs = stated.transform(picture.convert("RGB"))
    except HOSTILE:
        return None
    own = classifier.prepare(image[None].to(classifier.device))[0].cpu().float()
    if theirs.shape != own.shape:
        return Difference(float(_STEP), "another size")
    scale = torch.tensor(classifier.contract.std or (1.0,)).view(-1, 1, 1)
    return Difference(float(((own - theirs) * scale).abs().max()) * _STEP, oddity)


def _oddity(picture: Image.Image) -> str:
    """Where demur and Pillow's plain conversion go different ways on purpose."""
    if picture.getexif().get(_ORIENTATION, 1) != 1:
        return "turned as EXIF says, which the library leaves out: ?exif=ignore follows it"
    if "A" in picture.mode or "transparency" in picture.info:
        return "transparent, laid over black, which the library leaves out: ?alpha=ignore follows it"
    if picture.mode.startswith(("I", "F")):
        return "of more than 8 bits, which the library cuts off at 255"
    return ""
