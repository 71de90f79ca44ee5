"""The usual mistakes of preprocessing that need the files again: window, interpolation, antialiasing, EXIF."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from demur.data import Source
from demur.data.decoding import Encoded, open_picture
from demur.errors import DataError
from demur.pictures.decode_rules import Rules
from demur.registry.regular_files import reason
from demur.shapes import Images

_SHARE = 0.875
"""Of the short side that is kept, as usual for ImageNet."""


@dataclass(frozen=True, eq=False)
class DecodingVariant:
    """The same pictures, decoded by other rules."""

    name: str
    rules: Rules
    source: Encoded
    channels: int

    @property
    def adapted(self) -> bool:
        """Brightness has no part in it."""
        return False

    @property
    def remedy(self) -> str:
        """The options of the data address that decode so."""
        options = self.rules.options
        if not options:
            return "leave size, crop, interpolation and exif out of the address of the data"
        return f"decode by ?{'&'.join(f'{name}={text}' for name, text in options.items())} in the address of the data"

    def images(self, x: Images, positions: NDArray[np.int64]) -> Images:
        """The pictures at these positions; as many and as large as `x`.

        Raises:
            DataError: a picture cannot be read so, or gets another shape.
        """
        found = [self._image(int(position)) for position in positions]
        other = next((image.shape for image in found if image.shape != x.shape[1:]), None)
        if other is not None:
            raise DataError(f"an image has the shape {tuple(other)} then, and the model reads {tuple(x.shape[1:])}.")
        return torch.stack(found).clamp_(0, 1).to(x.device)

    def _image(self, position: int) -> Tensor:
        try:
            image, fault = open_picture(self.source.picture(position), self.channels, self.rules)
        except OSError as error:
            image, fault = None, f"cannot read the file: {reason(error)}"
        if image is None:
            raise DataError(f"an image cannot be read so: {fault}.")
        return image


def decoding_variants(source: Source) -> tuple[DecodingVariant, ...]:
    """The variants of a source of pictures in files, in rules that differ from its own; none of other sources."""
    if not isinstance(source, Encoded):
        return ()
    own = source.rules
    return tuple(
        DecodingVariant(name, rules, source, source.input_shape[0])
        for name, rules in _named_rules(own)
        if rules.placement(*_LONG) != own.placement(*_LONG) or _means(rules) != _means(own)
    )


_LONG = (977, 1493)
"""Height and width of a picture by which windows are told apart."""


def _means(rules: Rules) -> tuple[str, bool, bool]:
    return (rules.interpolation, rules.antialias, rules.unturned)


def _named_rules(own: Rules) -> Iterator[tuple[str, Rules]]:
    if own.size is not None:
        side = min(own.size)
        plain = replace(own, resizer="pillow", antialias=True, floor=False)
        yield "stretched, not cropped", replace(plain, crop=False, resize=None)
        yield "cropped to the short side (1.0)", replace(plain, crop=True, resize=side)
        yield "cropped to .875 of the short side", replace(plain, crop=True, resize=round(side / _SHARE))
        for name in ("nearest", "bilinear", "bicubic"):
            yield f"{name} interpolation", replace(plain, crop=own.crop, resize=own.resize, interpolation=name)
        window = side if own.crop and own.resize is None else own.resize
        torch_like = replace(plain, resizer="torch", antialias=False, interpolation="bilinear")
        yield "without antialiasing", replace(torch_like, resize=window)
    word = "turned by" if own.unturned else "without"
    yield f"{word} the EXIF orientation", replace(own, unturned=not own.unturned)
