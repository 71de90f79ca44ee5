"""Nets whose worst points and nearest wrong answers are known."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

SHAPE = (1, 4, 4)
CLASSES = ("zero", "one")
ORDER = {"linf": torch.inf, "l2": 2.0}
DUAL = {"linf": 1.0, "l2": 2.0}


class Plane(nn.Module):
    """Two classes either side of a plane: the worst point of a ball is the corner against the normal."""

    label = 0

    def __init__(self, sharpness: float = 3.0) -> None:
        super().__init__()
        pattern = torch.tensor([1.0, -2.0, 0.5, 3.0, -0.25, 1.5, -1.0, 0.75] * 2)
        self.normal = nn.Parameter(sharpness * pattern)
        self.offset = nn.Parameter(torch.tensor(-5.0 * sharpness))

    def forward(self, x: Tensor) -> Tensor:
        z = x.flatten(1) @ self.normal + self.offset
        return torch.stack([torch.zeros_like(z), z], dim=1)

    def worst(self, x: Tensor, eps: float) -> Tensor:
        """The point of the L∞ ball ∩ box where class 1 is strongest."""
        return (x + eps * self.normal.sign().view(1, *SHAPE)).clamp(0, 1).detach()

    def nearest(self, x: Tensor, norm: str = "linf") -> Tensor:
        """Distance to the plane, ignoring the box."""
        z = self.forward(x)[:, 1]
        return (z.abs() / self.normal.norm(p=DUAL[norm])).detach()

    def nearest_in_box(self, x: Tensor, norm: str) -> Tensor:
        """Distance to the part of the plane that lies in the box."""
        return beyond(self.normal.detach(), self.forward(x)[:, 1].detach(), x, norm)


class Fan(nn.Module):
    """Five classes with a plane between any two: an affine net.

    Its normals are rows of a Hadamard matrix, so that any two differ alike: the nearest plane is that of the likeliest
    wrong class, as attacks take it to be.
    """

    label = 2
    classes = tuple("abcde")

    def __init__(self, sharpness: float = 6.0) -> None:
        super().__init__()
        rows = torch.ones(1, 1)
        for _ in range(4):
            rows = torch.cat([torch.cat([rows, rows], dim=1), torch.cat([rows, -rows], dim=1)])
        self.normals = nn.Parameter(sharpness * rows[1:6])
        self.offsets = nn.Parameter(torch.tensor([0.0, -0.3, 0.6, 0.2, -0.1]) * sharpness)

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.normals.T + self.offsets

    def nearest(self, x: Tensor, norm: str) -> Tensor:
        """Distance to the nearest plane, ignoring the box."""
        normals, gaps = self._others(x)
        return (gaps.abs() / normals.norm(p=DUAL[norm], dim=1)).amin(dim=1)

    def nearest_in_box(self, x: Tensor, norm: str) -> Tensor:
        """Distance to the nearest plane's part that lies in the box."""
        normals, gaps = self._others(x)
        return torch.stack([beyond(n, gap, x, norm) for n, gap in zip(normals, gaps.T, strict=True)]).amin(dim=0)

    def _others(self, x: Tensor) -> tuple[Tensor, Tensor]:
        keep = torch.arange(5) != self.label
        z = self.forward(x).detach()
        return (self.normals - self.normals[self.label])[keep].detach(), (z - z[:, [self.label]])[:, keep]


class Bowl(nn.Module):
    """Class 1 lies outside a sphere: the worst point of a ball is the one nearest the centre."""

    label = 1

    def __init__(self, radius: float = 0.45, low: float = 0.35, high: float = 0.65) -> None:
        super().__init__()
        self.centre = nn.Parameter(torch.linspace(low, high, 16))
        self.radius = radius

    def forward(self, x: Tensor) -> Tensor:
        z = 4 * ((x.flatten(1) - self.centre).square().sum(dim=1) - self.radius**2)
        return torch.stack([torch.zeros_like(z), z], dim=1)

    def worst(self, x: Tensor, eps: float) -> Tensor:
        """The point of the L∞ ball ∩ box nearest the centre."""
        low, high = (x - eps).clamp(min=0), (x + eps).clamp(max=1)
        return self.centre.view(1, *SHAPE).expand_as(x).clamp(low, high).detach()

    def nearest(self, x: Tensor, norm: str = "linf") -> Tensor:
        """Distance to the sphere, ignoring the box: for L∞ by bisection on the shrunken offset from the centre."""
        offset = (x.flatten(1) - self.centre).abs().detach()
        if norm == "l2":
            return offset.norm(dim=1) - self.radius
        return bisected(len(x), lambda t: (offset - t[:, None]).clamp(min=0).norm(dim=1) <= self.radius)

    def nearest_in_box(self, x: Tensor, norm: str) -> Tensor:
        """Distance to the part of the sphere that lies in the box, wherever the centre is.

        The nearest point goes a share t of the way towards the centre, or t in each pixel, and is then clipped.
        """
        x, centre = x.flatten(1).detach(), self.centre.detach()

        def point(t: Tensor) -> Tensor:
            t = t[:, None]
            return (x + t * (centre - x)).clamp(0, 1) if norm == "l2" else centre.clamp(x - t, x + t).clamp(0, 1)

        t = bisected(len(x), lambda t: (point(t) - centre).norm(dim=1) <= self.radius)
        return (point(t) - x).norm(dim=1, p=ORDER[norm])


def bisected(rows: int, reached: Callable[[Tensor], Tensor], most: float = 1.0) -> Tensor:
    """The smallest number in [0, most] of each row for which `reached` holds, which it does from there on."""
    low, high = torch.zeros(rows), torch.full((rows,), most)
    for _ in range(60):
        middle = (low + high) / 2
        yes = reached(middle)
        low, high = torch.where(yes, low, middle), torch.where(yes, middle, high)
    return high


def beyond(normal: Tensor, gap: Tensor, x: Tensor, norm: str) -> Tensor:
    """Distance from each row to {x' in the box: normal·(x' − x) + gap ≥ 0}; infinite where there is none.

    The nearest x' is clip(x + t·normal) for L2 and clip(x + t·sign(normal)) for L∞, at the smallest t that gets there.
    """
    x = x.flatten(1)
    way = normal if norm == "l2" else normal.sign()

    def point(t: Tensor) -> Tensor:
        return (x + t[:, None] * way).clamp(0, 1)

    t = bisected(len(x), lambda t: (point(t) - x) @ normal + gap >= 0, most=1e3)
    there = (point(t) - x) @ normal + gap >= -1e-3
    return torch.where(there, (point(t) - x).norm(dim=1, p=ORDER[norm]), torch.inf)


def images(module: nn.Module, rows: int, seed: int = 0, spread: float = 0.3) -> Tensor:
    """Images of the oracle's label, away from the walls of the box; with a spread over .5 many pixels touch them."""
    generator = torch.Generator().manual_seed(seed)
    found: list[Tensor] = []
    while len(found) < rows:
        x = (0.5 + 2 * spread * (torch.rand(256, *SHAPE, generator=generator) - 0.5)).clamp(0, 1)
        found += list(x[module(x).argmax(dim=1) == module.label])
    return torch.stack(found[:rows])
