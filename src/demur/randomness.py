"""Keys: randomness that depends on what is drawn for, never on when or with whom.

A key is 64 bits hashed from (run seed, sample id, condition). A draw hashes the key with the draw's name and the
position of each value, so a row's numbers are the same whatever the batch, the order or the worker count.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_Bits: TypeAlias = NDArray[np.uint32]


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

    Each draw of each row is a stream of bits of its own (SFC64; Doty-Humphrey (2010), PractRand), seeded by the row's
    key and the draw's name, and never shared or continued.
    """

    values: tuple[int, ...]

    @classmethod
    def of(cls, seed: int, sample_ids: Sequence[str], condition: str) -> "Keys":
        """One key for each sample id under one condition of one run."""
        return cls(tuple(_hash64(seed, sample_id, condition) for sample_id in sample_ids))

    @classmethod
    def of_images(cls, images: Tensor, seed: int = 0, condition: str = "clean") -> "Keys":
        """One key for each image by its own bytes: the same image draws the same numbers in any batch."""
        rows = images.detach().cpu().contiguous()
        contents = (row.view(torch.uint8).numpy().tobytes() for row in rows)
        return cls.of(seed, [hashlib.sha256(content).hexdigest() for content in contents], condition)

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
        return self._stack(like, draw, _uniform)

    def normal(self, like: Tensor, draw: str) -> Tensor:
        """Standard normal numbers, shaped, typed and placed as `like` (its first axis is the row axis)."""
        return self._stack(like, draw, _normal)

    def seeds(self, draw: str) -> Tensor:
        """One 64-bit integer (rows,) per row for `uniform`, for draws made step by step."""
        return torch.tensor([_signed(_hash64(value, draw)) for value in self.values], dtype=torch.int64)

    def _stack(self, like: Tensor, draw: str, law: Callable[[_Bits, NDArray[np.float32]], None]) -> Tensor:
        if len(like) != len(self):
            raise ValueError(f"one key per row: got {len(self)} keys for {len(like)} rows")
        out = np.empty((len(self), math.prod(like.shape[1:])), dtype=np.float32)
        for row, value in zip(out, self.values, strict=True):
            law(_bits(_hash64(value, draw), len(row)), row)
        return torch.from_numpy(out).view(like.shape).to(like)


def _bits(seed: int, count: int) -> _Bits:
    """An even number of 32-bit integers, `count` at least."""
    return np.random.SFC64(seed).random_raw((count + 1) // 2).view(np.uint32)


def _uniform(bits: _Bits, out: NDArray[np.float32]) -> None:
    np.multiply(bits[: len(out)] >> (32 - _BITS), np.float32(2**-_BITS), out=out, dtype=np.float32)


def _normal(bits: _Bits, out: NDArray[np.float32]) -> None:
    """Pairs of a radius and an angle.

    Box & Muller (1958), "A note on the generation of random normal deviates".
    """
    half, rest = len(bits) // 2, len(out) // 2
    chance = bits.astype(np.float32) * np.float32(2**-32)
    radius = np.sqrt(-2 * np.log(chance[:half] + np.float32(2**-33)))
    angle = chance[half:] * np.float32(2 * math.pi)
    np.multiply(radius, np.cos(angle), out=out[:half])
    np.multiply(radius[:rest], np.sin(angle[:rest]), out=out[half:])
