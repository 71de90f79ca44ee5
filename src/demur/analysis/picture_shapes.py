"""What the JSON files of a run folder hold that say whose pictures lie in `thumbs/`."""

from typing import Literal

from demur.analysis.json_shape import Count, Least, Name, Picture, Shape


class OverlayShape(Shape):
    """One picture of `facts/overlays.json`."""

    sample_id: str
    image: Picture
    overlay: Picture


class CorruptionsShape(Shape):
    """`facts/corruptions.json`."""

    sample_id: str
    original: Picture
    thumbs: dict[str, Picture]


class ChangedShape(Shape):
    """The pictures of one condition in `facts/pictures.json`."""

    condition: Name
    sample_ids: list[str]
    first: Count | None


class PicturesShape(Shape):
    """`facts/pictures.json`."""

    tile: dict[Literal["width", "height", "columns", "rows"], Least]
    sheets: list[Picture]
    clean: list[str]
    changed: list[ChangedShape]


class SeveritiesShape(Shape):
    """`facts/severities.json`: a picture of one image under each condition."""

    sample_id: str
    thumbs: dict[Name, Picture]


class VariantShape(Shape):
    """How the first so many tune images were answered under another preprocessing; losses in nats."""

    name: Name
    remedy: str
    adapted: bool = False
    right: list[Literal[0, 1]]
    losses: list[float]
    fault: str | None


class PreprocessingShape(Shape):
    """`facts/preprocessing.json`."""

    forwards: Count
    sample_ids: list[str]
    right: list[Literal[0, 1]]
    losses: list[float]
    variants: list[VariantShape]
