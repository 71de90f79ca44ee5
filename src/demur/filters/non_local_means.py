"""Non-local means."""

from demur.filters.edges import Edges, pad
from demur.shapes import Images


def non_local_means(
    x: Images, *, patch: int = 3, search: int = 13, strength: float = 2 / 255, edges: Edges = "mirror"
) -> Images:
    """Each pixel becomes the mean of its `search` × `search` neighbours, weighted by how alike their patches are.

    The weight is exp(−d²/strength²), d² the mean squared difference of two `patch` × `patch` patches over pixels and
    channels, so `strength` is a difference of pixel values; the sizes are odd.
    Buades et al. (2005), "A non-local algorithm for image denoising".
    """
    reach, half = search // 2, patch // 2
    height, width = x.shape[2:]
    around = pad(x, (reach + half,) * 2, (reach + half,) * 2, edges)
    patches = around[:, :, reach : reach + height + 2 * half, reach : reach + width + 2 * half]
    total = x.new_zeros(x.shape)
    weights = x.new_zeros((len(x), 1, height, width))
    for down in range(search):
        for right in range(search):
            moved = around[:, :, down : down + height + 2 * half, right : right + width + 2 * half]
            apart = _box_mean((patches - moved).square().mean(dim=1, keepdim=True), patch)
            weight = (apart / -(strength**2)).exp()
            total = total + weight * moved[:, :, half : half + height, half : half + width]
            weights = weights + weight
    return total / weights


def _box_mean(x: Images, size: int) -> Images:
    """Mean over each `size` × `size` square that lies wholly inside."""
    height, width = x.shape[2] - size + 1, x.shape[3] - size + 1
    rows = sum((x[:, :, top : top + height] for top in range(1, size)), start=x[:, :, :height])
    both = sum((rows[..., left : left + width] for left in range(1, size)), start=rows[..., :width])
    return both / size**2
