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

    def uniform(self, like: Tensor, draw: str) -> Tensor:
        """Uniform numbers in [0, 1), shaped, typed and placed as `like` (its first axis is the row axis)."""
        return self._stack(like, draw, "uniform")

    def normal(self, like: Tensor, draw: str) -> Tensor:
        """Standard normal numbers, shaped, typed and placed as `like` (its first axis is the row axis)."""
        return self._stack(like, draw, "normal")

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
