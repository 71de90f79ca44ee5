"""JPEG."""

from io import BytesIO

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from demur.shapes import Images


def jpeg(x: Images, quality: int) -> Images:
    """The images after 8-bit JPEG at a quality from 1 to 95, by Pillow, with its halved colour resolution.

    Three channels are one colour picture; any other number of channels is as many grey pictures. Gradients do not pass.
    """
    eight_bits = (x.detach() * 255).round().to("cpu", torch.uint8).numpy()
    found = np.stack([_through(row, quality) for row in eight_bits]) if len(x) else eight_bits
    return torch.from_numpy(found).to(x) / 255


def _through(row: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    if len(row) == 3:
        return np.moveaxis(_coded(np.moveaxis(row, 0, 2), quality), 2, 0)
    return np.stack([_coded(plane, quality) for plane in row])


def _coded(picture: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    buffer = BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))
