"""Sources of labelled images: `open_data("fashion")` leads to a stream of rows.

A source is a stream; an index is one pass through it that fixes ids, splits and hashes before anything is measured.
Names are imported when they are first used, so that pictures can be decoded without what reads tables.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from demur.data.index import Index as Index
    from demur.data.index import build_index as build_index
    from demur.data.memory import from_dataset as from_dataset
    from demur.data.memory import from_given as from_given
    from demur.data.memory import from_tensors as from_tensors
    from demur.data.source import Row as Row
    from demur.data.source import Source as Source
    from demur.data.source import open_data as open_data
    from demur.data.unknown_images import UnknownImages as UnknownImages
    from demur.data.unknown_images import check_same_shape as check_same_shape
    from demur.data.unknown_images import open_unknown as open_unknown
    from demur.splits import Split as Split

_FILES = {
    "demur.data.index": ("Index", "build_index"),
    "demur.data.memory": ("from_dataset", "from_given", "from_tensors"),
    "demur.data.source": ("Row", "Source", "open_data"),
    "demur.data.unknown_images": ("UnknownImages", "check_same_shape", "open_unknown"),
    "demur.splits": ("Split",),
}

__all__ = sorted(name for names in _FILES.values() for name in names)


def __getattr__(name: str) -> Any:
    file = next((file for file, names in _FILES.items() if name in names), None)
    if file is None:
        raise AttributeError(f"module 'demur.data' has no attribute {name!r}")
    return getattr(importlib.import_module(file), name)
