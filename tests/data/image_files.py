"""Little data sets in files."""

import numpy as np
from PIL import Image


def picture(number, shape=(4, 5)):
    """A picture that no other number has."""
    return Image.fromarray(np.random.default_rng(number).integers(0, 256, shape, dtype=np.uint8))


def save(root, names, shape=(4, 5)):
    """One picture per name; the number is its position among them."""
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(number, shape).save(path)
