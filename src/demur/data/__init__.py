"""Sources of labelled images: `open_data("fashion")` leads to a stream of rows.

A source is a stream; an index is one pass through it that fixes ids, splits and hashes before anything is measured.
"""

from demur.data.index import Index, build_index
from demur.data.memory import from_dataset, from_given, from_tensors
from demur.data.source import Row, Source, open_data
from demur.data.unknown_images import UnknownImages, check_same_shape, open_unknown, unknown_images
from demur.splits import Split

__all__ = [
    "Index",
    "Row",
    "Source",
    "Split",
    "UnknownImages",
    "build_index",
    "check_same_shape",
    "from_dataset",
    "from_given",
    "from_tensors",
    "open_data",
    "open_unknown",
    "unknown_images",
]
