"""A vision transformer of hand, small enough to be trained in a second: patches, a class token, attention."""

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from tests import tiny


class Block(nn.Module):
    """Attention among the tokens, then two layers on each."""

    def __init__(self, width, heads=2):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc1, self.drop, self.fc2 = nn.Linear(width, 2 * width), nn.Dropout(0.1), nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        rows, tokens, width = x.shape
        parts = self.qkv(self.norm1(x)).reshape(rows, tokens, 3, self.heads, width // self.heads)
        parts = parts.permute(2, 0, 3, 1, 4)
        mixed = scaled_dot_product_attention(parts[0], parts[1], parts[2])
        x = x + self.proj(mixed.transpose(1, 2).reshape(rows, tokens, width))
        return x + self.fc2(self.drop(nn.functional.gelu(self.fc1(self.norm2(x)))))


class SmallViT(nn.Module):
    """Patches of 2 × 2 pixels of an image of 8 × 8: 16 tokens, and one of the class before them."""

    def __init__(self, classes=3, width=16, *, token=True):
        super().__init__()
        self.patches = nn.Conv2d(1, width, 2, stride=2)
        self.token = nn.Parameter(torch.zeros(1, 1, width)) if token else None
        self.position = nn.Parameter(0.1 * torch.randn(1, 16 + token, width))
        self.blocks = nn.Sequential(Block(width), Block(width))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        if self.token is not None:
            x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], dim=1)
        x = self.norm(self.blocks(x + self.position))
        return self.head(x.mean(dim=1) if self.token is None else x[:, 0])


def untrained(*, token=True) -> SmallViT:
    """One with weights at random."""
    with torch.random.fork_rng():
        torch.random.default_generator.manual_seed(0)
        return SmallViT(token=token).eval()


@cache
def trained() -> SmallViT:
    """One that has learned the patterns of `tiny`."""
    net = untrained().train()
    x, y = tiny.images_and_labels(256, seed=1)
    learn = torch.optim.Adam(net.parameters(), 0.01)
    for _ in range(60):
        learn.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        learn.step()
    return net.eval()
