"""Correlation with any kernel."""

import torch
from jaxtyping import Float
from scipy.fft import next_fast_len
from torch import Tensor
from torch.fft import irfft2, rfft2

from demur.filters.edges import Edges, pad
from demur.shapes import Images


def correlate(x: Images, kernel: Float[Tensor, "tall wide"], edges: Edges = "mirror") -> Images:
    """Each pixel becomes the sum of its neighbours weighted by a kernel of odd sides, by fast Fourier transform.

    One image at a time, because how a transform is rounded may depend on how many there are.
    """
    up, left = kernel.shape[0] // 2, kernel.shape[1] // 2
    height, width = x.shape[2:]
    size = [next_fast_len(side + 2 * around, real=True) for side, around in ((height, up), (width, left))]
    response = rfft2(kernel.to(x), s=size).conj()
    out = torch.empty_like(x)
    for row in range(len(x)):
        spectrum = rfft2(pad(x[row : row + 1], (up, up), (left, left), edges), s=size).mul_(response)
        out[row] = irfft2(spectrum, s=size)[0, :, :height, :width]
    return out
