"""A contact sheet: clean image, attacked image and their difference, pixel by pixel, as a PNG."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from demur.shapes import Images

SHOWN = 32
"""Images on a sheet."""

_ACROSS = 4
_SIDE = 64
_LINE, _GAP, _SEAM = 13, 6, 2
_WIDEST = 22

Pixels = NDArray[np.uint8]


def sheet(clean: Images, attacked: Images, captions: list[str]) -> bytes:
    """The PNG of a few images: 8 bits, enlarged by a whole number, so that every pixel is what it was.

    Differences are grey where nothing changed, and amplified alike on the whole sheet; the last line says how much.
    """
    factor = max(1, _SIDE // max(clean.shape[2:]))
    amplified = gain(clean, attacked)
    difference = 0.5 + amplified * (attacked - clean) / 2
    tiles = [_tiles(triple, factor) for triple in zip(clean, attacked, difference.clamp(0, 1), strict=True)]
    height, width = tiles[0].shape[0] + _LINE + _GAP, tiles[0].shape[1] + 2 * _GAP
    rows = -(-len(tiles) // _ACROSS)
    size = (width * min(_ACROSS, len(tiles)), rows * height + _LINE + 2 * _GAP)
    page = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default()
    for number, (tile, caption) in enumerate(zip(tiles, captions, strict=True)):
        left, top = number % _ACROSS * width + _GAP, number // _ACROSS * height + _GAP
        page.paste(Image.fromarray(tile), (left, top))
        draw.text((left, top + tile.shape[0]), caption, fill="black", font=font)
    said = f"clean, attacked, difference amplified {amplified / 2:.3g} times"
    draw.text((_GAP, rows * height + _GAP), said, fill="black", font=font)
    buffer = io.BytesIO()
    page.save(buffer, "png", optimize=True)
    return buffer.getvalue()


def gain(clean: Images, attacked: Images) -> float:
    """What makes the largest change on a sheet span from grey to white or black."""
    largest = float((attacked - clean).abs().max())
    return 1 / largest if largest else 1.0


def caption(label: str, predicted: str) -> str:
    """What it is and what it is taken for, short enough for three small pictures."""
    said = f"{label[:_WIDEST]} as {predicted[:_WIDEST]}"
    return said.encode("latin-1", "replace").decode("latin-1")  # what the font that comes with Pillow can write


def _tiles(images: tuple[Images, ...], factor: int) -> Pixels:
    parts = [_pixels(image).repeat(factor, 0).repeat(factor, 1) for image in images]
    white = np.full((len(parts[0]), _SEAM, 3), 255, np.uint8)
    return np.concatenate([parts[0], white, parts[1], white, parts[2]], axis=1)


def _pixels(image: Images) -> Pixels:
    """Height, width and three colours; an image of two channels, or more than three, shows what it can."""
    array = (image * 255).round().numpy().astype(np.uint8)
    return np.moveaxis(array[:3] if len(array) >= 3 else array[[0, 0, 0]], 0, 2)
