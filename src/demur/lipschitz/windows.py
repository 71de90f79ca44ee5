"""How many windows of a pooling layer one pixel lies in at most."""

import math
from collections.abc import Sequence

Sizes = int | Sequence[int | None] | None


def overlap(dimensions: int, kernel: Sizes, stride: Sizes, dilation: Sizes) -> int:
    """Of windows that move: 1 where the stride is no smaller than the window.

    Along an axis, of k places a pixel can take in a window d apart, those that some window of stride s puts it in are
    s/gcd(s, d) apart.
    """
    triples = zip(*(each(sizes, dimensions) for sizes in (kernel, stride, dilation)), strict=True)
    return math.prod(math.ceil(k / (s // math.gcd(s, d))) for k, s, d in triples)


def overlap_adaptive(sizes: tuple[int, ...], outputs: Sizes) -> int:
    """Of windows that share an axis out: output i of m reads the pixels from ⌊i·n/m⌋ to before ⌈(i + 1)·n/m⌉."""
    return math.prod(_axis(n, m) for n, m in zip(sizes, each(outputs, len(sizes), sizes), strict=True))


def each(value: Sizes, dimensions: int, default: Sequence[int] = ()) -> tuple[int, ...]:
    """One whole number for each axis; an axis without one takes its default."""
    values = [value] * dimensions if value is None or isinstance(value, int) else list(value)
    values = values * dimensions if len(values) == 1 else values
    return tuple(default[axis] if size is None else size for axis, size in enumerate(values))


def _axis(n: int, m: int) -> int:
    windows = [range(i * n // m, -(-(i + 1) * n // m)) for i in range(m)]
    return max(sum(pixel in window for window in windows) for pixel in range(n))
