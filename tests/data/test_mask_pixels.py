"""Which pixels of a picture mark the object."""

import numpy as np
import pytest
from PIL import Image

from demur.data.object_masks import read_mask

BLOB = np.zeros((20, 33), np.uint8)
BLOB[3:11, 20:31] = 255
SIDEWAYS = 6
"""The EXIF orientation of a camera held upright: what is stored lies on its left side."""


def test_a_mask_that_says_how_to_turn_it_is_turned(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = SIDEWAYS
    Image.fromarray(BLOB).save(tmp_path / "mask.png", exif=exif)
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), np.rot90(BLOB, -1) > 0)


def palette(values):
    numbers = np.array(values, np.uint8)
    paletted = Image.frombytes("P", numbers.shape[::-1], numbers.tobytes())
    paletted.putpalette([channel for number in range(256) for channel in (255 - number, number, 7)])
    return paletted


def coloured(mode, *pixels):
    image = Image.new(mode, (len(pixels), 1))
    image.putdata(pixels)
    return image


@pytest.mark.parametrize(
    ("image", "marked"),
    [
        (Image.fromarray(np.array([[0, 255, 1, 20]], np.uint8)), [0, 1, 1, 1]),
        (Image.fromarray(np.array([[0, 255, 0]], np.uint8)).convert("1"), [0, 1, 0]),
        (Image.fromarray(np.array([[0, 256, 40000]], np.uint16)), [0, 1, 1]),
        (palette([[0, 255, 1, 20]]), [0, 0, 1, 1]),
        (palette([[0, 255, 0]]), [0, 1, 0]),
        (palette([[0, 0]]), [0, 0]),
        (coloured("RGB", (0, 0, 0), (0, 0, 1), (9, 0, 0)), [0, 1, 1]),
        (coloured("RGBA", (0, 0, 0, 255), (0, 1, 0, 255), (255, 255, 255, 0)), [0, 1, 0]),
        (coloured("LA", (0, 255), (3, 255), (255, 0)), [0, 1, 0]),
    ],
)  # fmt: skip
def test_what_is_not_zero_is_marked(tmp_path, image, marked):
    image.save(tmp_path / "mask.png")
    assert read_mask(tmp_path / "mask.png").astype(int).tolist() == [marked]
