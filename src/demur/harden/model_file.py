"""A trained model as a safetensors file whose bytes depend on its content alone."""

import json
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from demur.records import write_atomically


def write_model(path: Path, state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write the tensors and the text beside them, atomically."""
    from safetensors.torch import save

    write_atomically(path, _sorted_header(save(dict(state), dict(metadata))))


def _sorted_header(content: bytes) -> bytes:
    """The library writes metadata in another order each time; the format lets them be sorted."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8:end]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + content[end:]
