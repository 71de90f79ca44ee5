"""Weights in a pickle, read as tensors and plain values alone: nothing of what a pickle may run is run."""

import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from demur.adapters.archive_members import check_file, members_of
from demur.adapters.state_dicts import NESTINGS
from demur.errors import ModelError, brief, legible

_ZIP = b"PK\x03\x04"
_CODE = "/code/"
_GLOBAL = re.compile(r"GLOBAL (\S+)")


def read_pickle(path: Path) -> Any:
    """What a file of `torch.save` holds: tensors and plain values.

    Raises:
        ModelError: it needs more than that, is damaged, or says it is larger than it is.
    """
    check_file(path, "file of weights")
    with path.open("rb") as file:
        zipped = file.read(len(_ZIP)) == _ZIP
    members = [each.filename for each in members_of(path, "archive of torch.save")] if zipped else []
    if any(_CODE in name for name in members):
        raise ModelError(
            f"{path} is a TorchScript program and not weights alone. Name it as the model: torchscript:{path}."
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch says of its own older formats
            return torch.load(path, map_location="cpu", weights_only=True)  # noqa: TID251 - nothing in it is run
    except Exception as error:  # noqa: BLE001 - a pickle that was made to do harm may raise anything
        raise _refusal(path, error) from None


def _refusal(path: Path, error: Exception) -> ModelError:
    """What a file holds besides weights, and the command that takes the weights out where it is trusted."""
    named = _GLOBAL.search(str(error))
    if named is None and not isinstance(error, pickle.UnpicklingError):
        said = brief(legible(str(error).strip().partition("\n")[0].partition(". ")[0]))
        return ModelError(f"{path} is damaged and cannot be read ({said}). Download or save it again.")
    what = f" ({brief(legible(named[1]))})" if named else ""
    return ModelError(
        f"{path} is a pickle that holds more than tensors and plain values{what}, and reading it would run whatever "
        f"code it contains. Nothing of it was run. {conversion(path)}"
    )


def conversion(path: Path) -> str:
    """The lines of Python that turn a trusted checkpoint of any kind into safetensors."""
    return (
        "Where you trust it, convert it once, which runs its code:\n"
        "    import torch; from safetensors.torch import save_file\n"
        f"    found = torch.load({str(path)!r}, map_location='cpu', weights_only=False)\n"
        f"    found = next((found[key] for key in {NESTINGS!r} if isinstance(found, dict) and key in found), found)\n"
        "    state = found.state_dict() if isinstance(found, torch.nn.Module) else found\n"
        "    save_file({name: value.clone().contiguous() for name, value in state.items() "
        f"if isinstance(value, torch.Tensor)}}, {str(path.with_suffix('.safetensors'))!r})"
    )


def check_sizes(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Refuse tensors that say they have more values than the file has bytes for: views of one number, or of nothing.

    Raises:
        ModelError: one is so, or has no values in memory.
    """
    size, held = path.stat().st_size, dict[int, int]()
    for name, tensor in tensors.items():
        if tensor.layout != torch.strided or tensor.is_meta or tensor.is_quantized:
            raise ModelError(f"{path} holds {name!r} sparse, quantised or without values. Save plain weights.")
        storage = tensor.untyped_storage()
        held[storage.data_ptr()] = storage.nbytes()
        if tensor.numel() * tensor.element_size() > storage.nbytes() or sum(held.values()) > size:
            raise ModelError(
                f"{path} has {size:,} bytes, and {name!r} of shape {tuple(tensor.shape)} is more than it can hold. "
                "Save the weights again, with tensor.clone() for each."
            )
