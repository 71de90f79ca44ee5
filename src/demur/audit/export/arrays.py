"""Arrays in a file, as safetensors or as a NumPy archive."""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from demur.audit.export.points import Points
from demur.errors import RunError, unknown
from demur.shapes import Images

SUFFIXES = ("safetensors", "npz")

_COLUMNS: Mapping[str, tuple[str, torch.dtype]] = {
    "labels": ("label", torch.int64),
    "predicted": ("predicted", torch.int64),
    "fooled": ("fooled", torch.bool),
    "linf": ("distance.linf", torch.float32),
    "l2": ("distance.l2", torch.float32),
    "step": ("step", torch.int32),
    "forwards": ("forwards", torch.int32),
    "backwards": ("backwards", torch.int32),
    "flags": ("flags", torch.int32),
}


def check_suffix(suffix: str) -> None:
    """Refuse a format nobody knows."""
    if suffix not in SUFFIXES:
        raise unknown("format", suffix, SUFFIXES)


def arrays_of(points: Points) -> dict[str, Tensor]:
    """Images, logits and what the table says in numbers; the row axis is the first of each."""
    rows = points.table
    logits = rows.select(f"logit.{k}" for k in range(sum(name.startswith("logit.") for name in rows.columns)))
    columns = {name: _tensor(rows[column], kind) for name, (column, kind) in _COLUMNS.items()}
    return {"images": points.images, "logits": torch.tensor(logits.to_numpy()), **columns}


def rounded_arrays(points: Points) -> dict[str, Tensor]:
    """Images as bytes, the nearest of 256 values, and labels."""
    return {"images": rounded(points.images), "labels": _tensor(points.table["label"], torch.int64)}


def rounded(images: Images) -> Tensor:
    """The nearest of 256 values, as a byte."""
    return (images * 255).round().to(torch.uint8)


def packed(arrays: Mapping[str, Tensor], suffix: str, told: Mapping[str, Any]) -> bytes:
    """The content of a file; the same arrays are the same bytes. Safetensors have `told` as JSON beside them."""
    whole = {name: array.contiguous() for name, array in arrays.items()}
    if suffix == "npz":
        buffer = io.BytesIO()
        np.savez(buffer, **{name: array.numpy() for name, array in whole.items()})  # type: ignore[arg-type]  # its stub takes a flag by keyword too
        return buffer.getvalue()
    from safetensors.torch import save

    return save(whole, {"demur": json.dumps(dict(told), sort_keys=True)})


def table_bytes(table: pl.DataFrame) -> bytes:
    """The content of a Parquet file; the same table is the same bytes."""
    buffer = io.BytesIO()
    table.write_parquet(buffer, compression="zstd", statistics=False)
    return buffer.getvalue()


def read_arrays(path: Path | str) -> dict[str, Tensor]:
    """The arrays of a file that was exported, by name.

    Raises:
        RunError: the file is not there or damaged.
    """
    try:
        return _unpacked(Path(path))
    except Exception as error:  # each library has its own
        reason = str(error).partition("\n")[0]
        raise RunError(f"{path} cannot be read ({reason}). Delete it, and the same command writes it again.") from error


def _unpacked(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as archive:
            return {name: torch.from_numpy(archive[name]) for name in archive.files}
    from safetensors.torch import load

    return load(path.read_bytes())


def _tensor(column: pl.Series, kind: torch.dtype) -> Tensor:
    return torch.tensor(column.to_list(), dtype=kind)
