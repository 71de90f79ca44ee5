"""The rules by which pictures become tensors, as options of data addresses: `?size=224&resize=256&crop=center`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from demur.errors import AddressError
from demur.pictures.option_values import (
    Side,
    full_scale_of,
    one_of,
    resize_of,
    resize_text,
    scale_text,
    size_of,
    size_text,
)
from demur.pictures.placement import Box, Placement, Window, middle, proportional, short_side, whole_proportional

WINDOW_OPTIONS = ("size", "resize", "crop")
"""What part of a picture is shown, and how large."""

SCALING_OPTIONS = ("interpolation", "resizer", "antialias")
"""How new pixels come from old ones."""

DECODE_OPTIONS = (*WINDOW_OPTIONS, *SCALING_OPTIONS, "colour", "full_scale", "alpha", "exif")

INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming")

_OF_TORCH = ("nearest", "bilinear", "bicubic")
_COLOURS = {"grey": 1, "rgb": 3}
_COLOUR_WORDS = {1: "grey", 3: "RGB"}


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How a picture becomes a tensor; the default leaves its size and colour alone.

    Attributes:
        size: height and width wanted, in pixels.
        crop: whether to cut to the wanted proportions, instead of stretching: before scaling, or after it with
            `resize`.
        channels: 1 to make everything grey, 3 to make everything RGB.
        full_scale: the value of white in pictures of more than 8 bits.
        resize: what a picture is scaled to before `size` is cut out of its middle: the short side, or height and width.
        floor: whether a cut begins at a whole pixel that is rounded down, as in Keras and transformers.
        interpolation: how new pixels come from old ones.
        resizer: "pillow", or "torch" for scaling as torchvision scales tensors.
        antialias: whether every old pixel counts where a picture is made smaller.
        alpha: what a transparent picture is laid over, "black" or "white"; "ignore" shows it as if it were not.
        unturned: whether the EXIF orientation is ignored.
    """

    size: tuple[int, int] | None = None
    crop: bool = False
    channels: int | None = None
    full_scale: float | tuple[float, ...] | None = None
    resize: Side | None = None
    floor: bool = False
    interpolation: str = "bilinear"
    resizer: str = "pillow"
    antialias: bool = True
    alpha: str = "black"
    unturned: bool = False

    @classmethod
    def of(cls, options: Mapping[str, str]) -> "Rules":
        """Read the options of an address; others among them are left alone.

        >>> Rules.of({"size": "64x96", "colour": "grey"}).options
        {'size': '64x96', 'colour': 'grey'}

        Raises:
            AddressError: a value that is none, or options that do not go together.
        """
        crop = one_of(options, "crop", ("center", "floor"), "Leave it out to stretch the picture instead.")
        colour = one_of(options, "colour", tuple(_COLOURS), "Leave it out to keep what the pictures have.")
        found = cls(
            size=size_of(options.get("size")),
            crop=crop is not None,
            channels=_COLOURS.get(colour or ""),
            full_scale=full_scale_of(options.get("full_scale")),
            resize=resize_of(options.get("resize")),
            floor=crop == "floor",
            interpolation=one_of(options, "interpolation", INTERPOLATIONS, "Leave it out for bilinear.") or "bilinear",
            resizer=one_of(options, "resizer", ("pillow", "torch"), "Leave it out for pillow.") or "pillow",
            antialias=one_of(options, "antialias", ("on", "off"), "Leave it out for on.") != "off",
            alpha=one_of(options, "alpha", ("black", "white", "ignore"), "Leave it out for black.") or "black",
            unturned=one_of(options, "exif", ("turn", "ignore"), "Leave it out for turn.") == "ignore",
        )
        _check(found)
        return found

    @property
    def options(self) -> dict[str, str]:
        """The options that say this in an address, defaults left out.

        >>> Rules(size=(224, 224), crop=True, resize=256, interpolation="bicubic").options
        {'size': '224', 'resize': '256', 'crop': 'center', 'interpolation': 'bicubic'}
        """
        texts = {
            "size": size_text(self.size),
            "resize": resize_text(self.resize),
            "crop": ("floor" if self.floor else "center") if self.crop else None,
            "interpolation": None if self.interpolation == "bilinear" else self.interpolation,
            "resizer": None if self.resizer == "pillow" else self.resizer,
            "antialias": None if self.antialias else "off",
            "colour": next((name for name, count in _COLOURS.items() if count == self.channels), None),
            "full_scale": scale_text(self.full_scale),
            "alpha": None if self.alpha == "black" else self.alpha,
            "exif": "ignore" if self.unturned else None,
        }
        return {name: text for name, text in texts.items() if text is not None}

    @property
    def sentence(self) -> str:
        """What is done to a picture, in words.

        >>> Rules(size=(224, 224), crop=True, resize=256, channels=3).sentence
        'short side scaled to 256 px (bilinear), 224 × 224 px cut from the middle, RGB'
        """
        return ", ".join(self._phrases())

    def _phrases(self) -> Iterator[str]:
        how = self.interpolation + (" by torch" if self.resizer == "torch" else "")
        how += "" if self.antialias else ", not antialiased"
        if self.size is None:
            yield "size as it is"
        else:
            kept = _pixels(self.size)
            if self.resize is None:
                yield f"{'cut to the proportions of and scaled' if self.crop else 'stretched'} to {kept} ({how})"
            else:
                yield f"{_first_step(self.resize)} ({how})"
                yield f"{kept} cut from the middle"
        if self.full_scale is not None:
            yield f"white at {(scale_text(self.full_scale) or '').replace(',', ', ')}"
        if self.channels is not None:
            yield _COLOUR_WORDS[self.channels]
        if self.alpha != "black":
            yield "transparency ignored" if self.alpha == "ignore" else "what is transparent over white"
        if self.unturned:
            yield "EXIF orientation ignored"

    @property
    def of_masks(self) -> "Rules":
        """The same window for a mask: to the nearest pixel."""
        return replace(self, interpolation="nearest", resizer="pillow", antialias=True)

    def placement(self, height: int, width: int) -> Placement:
        """Where the pixels of a picture of this height and width go."""
        picture, size = (height, width), self.size or (height, width)
        window: Window = (0.0, 0.0, float(width), float(height))
        if self.resize is None:
            if self.size is not None and self.crop:
                window = (whole_proportional if self.floor else proportional)(picture, size)
            return Placement(window=window, scaled=size, top=0, left=0, size=size)
        scaled = self.resize if isinstance(self.resize, tuple) else short_side(picture, self.resize)
        top, left = (middle(*pair, floor=self.floor) for pair in zip(scaled, size, strict=True))
        return Placement(window=window, scaled=scaled, top=top, left=left, size=size)

    def window(self, height: int, width: int) -> Window:
        """The part of a picture that is shown; it sticks out where black is added.

        >>> Rules(size=(1, 1), crop=True).window(height=100, width=300)
        (100.0, 0.0, 200.0, 100.0)
        """
        return self.placement(height, width).view

    def moved(self, box: Box, height: int, width: int) -> Box:
        """Where a box of a picture lies after cutting and scaling, rounded outwards."""
        return box if self.size is None else self.placement(height, width).moved(box)


def completed(options: Mapping[str, str], rules: Rules) -> dict[str, str]:
    """The options of a data address, and of some rules what they leave open, the interpolation written out.

    A window that is named is taken whole: a size of one's own is not cut out of what others scale to.

    >>> completed({"size": "96"}, Rules(size=(224, 224), resize=256, crop=True, interpolation="bicubic"))
    {'size': '96', 'interpolation': 'bicubic'}
    """
    others = rules.options if rules.size is None else {**rules.options, "interpolation": rules.interpolation}
    for group in (WINDOW_OPTIONS, SCALING_OPTIONS):
        if any(name in options for name in group):
            others = {name: text for name, text in others.items() if name not in group}
    return {**options, **{name: text for name, text in others.items() if name not in options}}


def _first_step(resize: Side) -> str:
    return f"stretched to {_pixels(resize)}" if isinstance(resize, tuple) else f"short side scaled to {resize} px"


def _pixels(pair: tuple[int, int]) -> str:
    return f"{pair[0]} × {pair[1]} px"


def _check(rules: Rules) -> None:
    options = rules.options
    alone = next((name for name in ("resize", "crop") if name in options), None)
    if rules.size is None and alone is not None:
        text = f"{alone}={options[alone]}"
        raise AddressError(f"`{text}` needs a size to cut to. Write ?size=64&{text}.")
    if rules.resize is not None and not rules.crop:
        raise AddressError(
            f"`resize={options['resize']}` is what a picture is scaled to before `size` is cut out of it. Add "
            "&crop=center, or name the size alone."
        )
    if rules.resizer == "torch":
        _check_torch(rules)
    elif not rules.antialias and rules.interpolation != "nearest":
        raise AddressError("`antialias=off` needs `resizer=torch`, for pillow counts every pixel. Add it.")


def _check_torch(rules: Rules) -> None:
    if rules.interpolation not in _OF_TORCH:
        raise AddressError(
            f"`resizer=torch` has the interpolations {', '.join(_OF_TORCH)}; got {rules.interpolation!r}. Leave "
            "resizer out for it."
        )
    if rules.crop and rules.resize is None and not rules.floor:
        raise AddressError(
            "`resizer=torch` cuts at whole pixels, and crop=center before scaling may not. Write crop=floor, or name "
            "by resize what to scale to first."
        )
