"""Keys: randomness that depends on what is drawn for, never on when or with whom.

A key is 64 bits hashed from (run seed, sample id, condition). A draw hashes the key with the draw's name and the
position of each value, so a row's numbers are the same whatever the batch, the order or the worker count.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


def _hash64(*parts: object) -> int:
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


_GOLDEN = _signed(0x9E3779B97F4A7C15)
_BITS = 24


def _mixed(z: Tensor) -> Tensor:
    """The finaliser of SplitMix64, on integers that wrap.

    Steele et al. (2014), "Fast splittable pseudorandom number generators".
    """
    z = (z ^ _shifted(z, 30)) * _signed(0xBF58476D1CE4E5B9)
    z = (z ^ _shifted(z, 27)) * _signed(0x94D049BB133111EB)
    return z ^ _shifted(z, 31)


def _shifted(z: Tensor, by: int) -> Tensor:
    """Right, filled with zeros: the arithmetic shift of a signed integer fills with its sign."""
    return (z >> by) & ((1 << (64 - by)) - 1)


def uniform(seeds: Tensor, draw: str, like: Tensor, step: Tensor | int = 0) -> Tensor:
    """Numbers in [0, 1) shaped, typed and placed as `like`, for draws that a row makes step by step.

    Each value hashes the row's seed, the draw's name, the row's step and its own position, all rows at once.

    Args:
        seeds: one 64-bit integer (rows,) per row, as `Keys.seeds` gives them.
        draw: what the numbers are for.
        like: its first axis is the row axis.
        step: one for all rows, or one (rows,) for each.
    """
    turn = torch.as_tensor(step, device=seeds.device) * _GOLDEN
    begin = _mixed(_mixed(seeds ^ _signed(_hash64(draw))) + turn)
    position = torch.arange(1, math.prod(like.shape[1:]) + 1, device=seeds.device)
    bits = _shifted(_mixed(begin[:, None] + position * _GOLDEN), 64 - _BITS)
    return (bits.to(like.dtype) / (1 << _BITS)).view(like.shape)


@dataclass(frozen=True)
class Keys:
    """One 64-bit key per row.

    Each draw is a counter-based stream (Philox; Salmon et al. (2011), "Parallel random numbers: as easy as 1, 2, 3")
    keyed by the row's key and the draw's name.
    """

    values: tuple[int, ...]

    @classmethod
    def of(cls, seed: int, sample_ids: Sequence[str], condition: str) -> "Keys":
        """One key for each sample id under one condition of one run."""
        return cls(tuple(_hash64(seed, sample_id, condition) for sample_id in sample_ids))

    def __len__(self) -> int:
        return len(self.values)

    def rows(self, index: Sequence[int]) -> "Keys":
        """The keys of some rows, in the order asked for."""
        return Keys(tuple(self.values[i] for i in index))

    def named(self, name: str) -> "Keys":
        """The same rows with other keys, for work of another name."""
        return Keys(tuple(_hash64(value, name) for value in self.values))

    def uniform(self, like: Tensor, draw: str) -> Tensor:
        """Uniform numbers in [0, 1), shaped, typed and placed as `like` (its first axis is the row axis)."""
        return self._stack(like, draw, "uniform")

    def normal(self, like: Tensor, draw: str) -> Tensor:
        """Standard normal numbers, shaped, typed and placed as `like` (its first axis is the row axis)."""
        return self._stack(like, draw, "normal")

    def seeds(self, draw: str) -> Tensor:
        """One 64-bit integer (rows,) per row for `uniform`, for draws made step by step."""
        return torch.tensor([_signed(_hash64(value, draw)) for value in self.values], dtype=torch.int64)

    def _stack(self, like: Tensor, draw: str, law: str) -> Tensor:
        if len(like) != len(self):
            raise ValueError(f"one key per row: got {len(self)} keys for {len(like)} rows")
        size = math.prod(like.shape[1:])
        out = np.empty((len(self), size), dtype=np.float32)
        for row, value in enumerate(self.values):
            stream = np.random.Generator(np.random.Philox(key=_hash64(value, draw)))
            if law == "uniform":
                stream.random(out=out[row], dtype=np.float32)
            else:
                stream.standard_normal(out=out[row], dtype=np.float32)
        return torch.from_numpy(out).view(like.shape).to(like)
