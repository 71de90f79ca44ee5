"""Twenty pictures of odd sizes and modes, as files; some are read in another way on purpose."""

from pathlib import Path

import numpy as np
from PIL import Image

ORIENTATION = 0x0112

PLAIN = {
    "rgb.png": (300, 401, "RGB", {}),
    "rgb.jpg": (300, 401, "RGB", {"quality": 90}),
    "tall.jpg": (611, 97, "RGB", {"quality": 80}),
    "long.png": (53, 640, "RGB", {}),
    "small.png": (17, 23, "RGB", {}),
    "even.png": (256, 256, "RGB", {}),
    "half.png": (257, 259, "RGB", {}),
    "progressive.jpg": (123, 321, "RGB", {"progressive": True}),
    "unsampled.jpg": (224, 225, "RGB", {"subsampling": 0}),
    "grey.png": (201, 150, "L", {}),
    "grey.jpg": (150, 201, "L", {}),
    "bilevel.png": (64, 99, "1", {}),
    "palette.png": (130, 170, "P", {}),
    "cmyk.jpg": (140, 180, "CMYK", {}),
    "line.png": (64, 1, "RGB", {}),
    "row.png": (1, 64, "RGB", {}),
}
"""Read alike by everybody: height, width, mode and how they are saved."""

ODD = ("alpha.png", "transparent.png", "turned.jpg", "deep.png")
"""Transparent, transparent in a palette, turned by EXIF, of 16 bits."""


def drawn(height: int, width: int, mode: str, seed: int) -> Image.Image:
    """A smooth picture with sharp edges."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (7, 5, 3), np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    values = np.array(coarse).astype(np.int16) + random.integers(-20, 21, (height, width, 3))
    values[height // 3 : height // 2] = 250
    return Image.fromarray(values.clip(0, 255).astype(np.uint8)).convert(mode)


def write_pictures(folder: Path) -> list[str]:
    """Write all of them into a folder; their names."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, (name, (height, width, mode, options)) in enumerate(PLAIN.items()):
        drawn(height, width, mode, seed).save(folder / name, **options)
    with_alpha = drawn(200, 150, "RGBA", 90)
    with_alpha.putalpha(drawn(200, 150, "L", 91))
    with_alpha.save(folder / "alpha.png")
    palette = drawn(90, 120, "P", 92)
    palette.save(folder / "transparent.png", transparency=max(palette.getcolors())[1])
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    drawn(120, 200, "RGB", 93).save(folder / "turned.jpg", exif=exif, quality=95)
    deep = np.random.default_rng(94).integers(0, 65536, (80, 90)).astype(np.uint16)
    deep[0, 0] = 65535
    Image.fromarray(deep).save(folder / "deep.png")
    return sorted((*PLAIN, *ODD))
