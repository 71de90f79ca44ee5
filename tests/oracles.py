"""Nets whose worst points are known in closed form."""

import torch
from torch import Tensor, nn

SHAPE = (1, 4, 4)
CLASSES = ("zero", "one")


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

    def nearest(self, x: Tensor) -> Tensor:
        """L∞ distance to the plane, ignoring the box."""
        z = self.forward(x)[:, 1]
        return (z.abs() / self.normal.abs().sum()).detach()


class Bowl(nn.Module):
    """Class 1 lies outside a sphere: the worst point of a ball is the one nearest the centre."""

    label = 1

    def __init__(self, radius: float = 0.45) -> None:
        super().__init__()
        self.centre = nn.Parameter(torch.linspace(0.35, 0.65, 16))
        self.radius = radius

    def forward(self, x: Tensor) -> Tensor:
        z = 4 * ((x.flatten(1) - self.centre).square().sum(dim=1) - self.radius**2)
        return torch.stack([torch.zeros_like(z), z], dim=1)

    def worst(self, x: Tensor, eps: float) -> Tensor:
        """The point of the L∞ ball ∩ box nearest the centre."""
        low, high = (x - eps).clamp(min=0), (x + eps).clamp(max=1)
        return self.centre.view(1, *SHAPE).expand_as(x).clamp(low, high).detach()

    def nearest(self, x: Tensor) -> Tensor:
        """L∞ distance to the sphere, by bisection on the shrunken offset from the centre."""
        offset = (x.flatten(1) - self.centre).abs().detach()
        low, high = torch.zeros(len(x)), torch.ones(len(x))
        for _ in range(40):
            middle = (low + high) / 2
            outside = (offset - middle[:, None]).clamp(min=0).norm(dim=1) > self.radius
            low, high = torch.where(outside, middle, low), torch.where(outside, high, middle)
        return high


def images(module: nn.Module, rows: int, seed: int = 0) -> Tensor:
    """Images of the oracle's label, away from the walls of the box."""
    generator = torch.Generator().manual_seed(seed)
    found: list[Tensor] = []
    while len(found) < rows:
        x = 0.2 + 0.6 * torch.rand(256, *SHAPE, generator=generator)
        found += list(x[module(x).argmax(dim=1) == module.label])
    return torch.stack(found[:rows])
