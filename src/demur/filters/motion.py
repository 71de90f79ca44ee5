"""Motion filter."""

import math

from jaxtyping import Float
from torch import Tensor

from demur.filters.edges import pad
from demur.shapes import Images


def motion(x: Images, *, radius: int, sigma: float, degrees: Float[Tensor, " rows"]) -> Images:
    """Each pixel becomes a mean along a ray of 2·`radius` + 1 pixels that leaves it at its row's angle.

    The weights are half a normal curve of standard deviation `sigma`, places are the nearest pixels, edges are
    replicated: the convention of ImageMagick. An angle of 0 points right, one of 90 down.
    """
    reach = 2 * radius
    shares = [math.exp(-0.5 * (step / sigma) ** 2) for step in range(reach + 1)]
    padded = pad(x, (reach, reach), (reach, reach), "nearest")
    height, width = x.shape[2:]
    out = x.new_zeros(x.shape)
    for row, angle in enumerate(degrees.tolist()):
        along = (math.sin(math.radians(angle)), math.cos(math.radians(angle)))
        for step, share in enumerate(shares):
            top, left = (reach + math.ceil(step * part - 0.5) for part in along)
            out[row].add_(padded[row, :, top : top + height, left : left + width], alpha=share / sum(shares))
    return out
