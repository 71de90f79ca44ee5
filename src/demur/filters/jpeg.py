"""JPEG."""

from io import BytesIO

import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from demur.shapes import Images


def jpeg(x: Images, quality: int) -> Images:
    """The images after 8-bit JPEG at a quality from 1 to 95, by Pillow, with its halved colour resolution.

    Three channels are one colour picture; any other number of channels is as many grey pictures. Gradients do not pass.
    """
    eight_bits = (x.detach() * 255).round_().to("cpu", torch.uint8)
    if x.shape[1] == 3:
        found = _coded(eight_bits.permute(0, 2, 3, 1), quality).permute(0, 3, 1, 2)
    else:
        found = _coded(eight_bits.flatten(0, 1), quality).view(x.shape)
    return found.contiguous().to(x).div_(255)


def _coded(
    pictures: UInt8[Tensor, "some tall wide *colours"], quality: int
) -> UInt8[Tensor, "some tall wide *colours"]:
    out = pictures.numpy(force=True).copy(order="C")
    for picture in out:
        buffer = BytesIO()
        Image.fromarray(picture).save(buffer, "JPEG", quality=quality)
        picture[...] = Image.open(buffer)
    return torch.from_numpy(out)
