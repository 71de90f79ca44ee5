"""Where the pixels of one picture go: the part that is scaled, the size it is scaled to, the part of that is kept."""

import math
from dataclasses import dataclass
from typing import TypeAlias

Window: TypeAlias = tuple[float, float, float, float]
"""A part of a picture: left, top, right, bottom in pixels."""

Pair: TypeAlias = tuple[int, int]
"""Height and width."""

Box: TypeAlias = tuple[int, int, int, int]


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where the pixels of one picture go.

    Attributes:
        window: the part of the picture that is scaled.
        scaled: what it is scaled to.
        top: the first line of that which is kept; below 0 where black is added.
        left: the first column of that which is kept; below 0 where black is added.
        size: what is kept.
    """

    window: Window
    scaled: Pair
    top: int
    left: int
    size: Pair

    @property
    def view(self) -> Window:
        """The part of the picture that is kept; it sticks out where black is added."""
        left, top, right, bottom = self.window
        across, down = (right - left) / self.scaled[1], (bottom - top) / self.scaled[0]
        first, highest = left + self.left * across, top + self.top * down
        return (first, highest, first + self.size[1] * across, highest + self.size[0] * down)

    def moved(self, box: Box) -> Box:
        """Where a box of the picture lies after all, rounded outwards."""
        left, top, right, bottom = self.view
        high, wide = self.size
        across, down = wide / (right - left), high / (bottom - top)
        return (
            max(0, math.floor((box[0] - left) * across)),
            max(0, math.floor((box[1] - top) * down)),
            min(wide, math.ceil((box[2] - left) * across)),
            min(high, math.ceil((box[3] - top) * down)),
        )


def proportional(picture: Pair, size: Pair) -> Window:
    """The largest window in the middle with the proportions of a size; its sides may be fractions of pixels."""
    scale = min(picture[0] / size[0], picture[1] / size[1])
    left, top = (picture[1] - size[1] * scale) / 2, (picture[0] - size[0] * scale) / 2
    return (left, top, left + size[1] * scale, top + size[0] * scale)


def whole_proportional(picture: Pair, size: Pair) -> Window:
    """The same at whole pixels that are rounded down, as Keras does it."""
    high = max(1, min(picture[0], picture[1] * size[0] // size[1]))
    wide = max(1, min(picture[1], picture[0] * size[1] // size[0]))
    left, top = float((picture[1] - wide) // 2), float((picture[0] - high) // 2)
    return (left, top, left + wide, top + high)


def short_side(picture: Pair, side: int) -> Pair:
    """Height and width with the short side so long; the long one is rounded down, as torchvision and timm do it.

    >>> short_side((300, 401), 256)
    (256, 342)
    """
    short, long = sorted(picture)
    other = int(side * long / short)
    return (side, other) if picture[0] <= picture[1] else (other, side)


def middle(scaled: int, size: int, *, floor: bool) -> int:
    """The first line of a cut from the middle: halves go to the even one, as in torchvision, or down.

    >>> middle(257, 224, floor=False), middle(259, 224, floor=False), middle(259, 224, floor=True)
    (16, 18, 17)
    """
    if size > scaled:
        return -((size - scaled) // 2)
    return (scaled - size) // 2 if floor else round((scaled - size) / 2)
