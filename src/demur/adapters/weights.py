"""Weights from a file into a module, strictly, and the training manifest beside them."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from demur.adapters.pickled_weights import check_sizes, read_pickle
from demur.adapters.state_dicts import unpacked_words, weights_within, without_prefixes
from demur.errors import AddressError, ModelError
from demur.registry.regular_files import MIB, content_of, reason

_HEAD = 9  # a safetensors file starts with the length of its header, whose last bits may be a pickle's, then a brace
_PICKLE_STARTS = (b"PK\x03\x04", b"\x80")  # torch.save's archive, and a bare pickle
_LISTED = 5
_LARGEST_HEADER = 16 * MIB
_FLOATS = {torch.float16, torch.bfloat16, torch.float32, torch.float64}
_WHOLE = {torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8}


def load_weights(module: nn.Module, path: str) -> tuple[str, ...]:
    """Copy the tensors of a file into a module; names and shapes must agree exactly.

    Counters of seen batches may be missing: they take no part in an answer. What a training loop puts round weights and
    before their names is taken off; the sentences returned say so.

    Raises:
        AddressError: there is no such file.
        ModelError: it holds no weights, or its tensors are not the module's; at most five are named.
    """
    found, keys, whole = _read(path)
    tensors, prefixes = without_prefixes(found, module.state_dict())
    copy_weights(module, tensors, path)
    return tuple(unpacked_words(path, whole, keys, prefixes))


def copy_weights(module: nn.Module, tensors: Mapping[str, Tensor], path: str) -> None:
    """Copy tensors into a module, as `load_weights` does; `path` is what errors call them."""
    problems = list(_problems(module.state_dict(), tensors))
    if problems:
        more = f"; and {len(problems) - _LISTED} more" if len(problems) > _LISTED else ""
        raise ModelError(
            f"weights must fit the architecture tensor by tensor; {path} does not fit {type(module).__name__}: "
            f"{'; '.join(problems[:_LISTED])}{more}. Check that the file belongs to this architecture, and the number "
            "of classes and channels."
        )
    module.load_state_dict(tensors, strict=False)


def read_weights(path: str) -> dict[str, Tensor]:
    """All tensors of a file of weights, by name; those of a checkpoint without what a training loop puts round them."""
    return _read(path)[0]


def bare_weights(path: str) -> dict[str, Tensor]:
    """The same under names without the prefixes of training loops."""
    return without_prefixes(read_weights(path), {})[0]


def is_pickle(path: Path) -> bool:
    """Whether a file begins as those of `torch.save` do, whatever its name."""
    with path.open("rb") as file:
        start = file.read(_HEAD)
    return start.startswith(_PICKLE_STARTS) and not start.endswith(b"{")


def _read(path: str) -> tuple[dict[str, Tensor], list[str], Mapping[str, object]]:
    """The weights in a file, the keys they were under, and all that it holds."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    _check_readable(Path(path))
    if is_pickle(Path(path)):
        whole = read_pickle(Path(path))
        tensors, keys = weights_within(whole, path)
        check_sizes(tensors, Path(path))
        return tensors, keys, whole
    try:
        return load_file(path), [], {}
    except (SafetensorError, OSError, ValueError, AttributeError, KeyError, RuntimeError) as error:
        raise ModelError(
            f"weights are read from safetensors files and those of torch.save; {path} is none or is damaged ({error}). "
            "Download or save it again."
        ) from error


def read_metadata(path: str) -> dict[str, str]:
    """The text that a safetensors file carries beside its tensors."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return file.metadata() or {}


def _check_readable(path: Path) -> None:
    if not path.is_file():
        raise AddressError(f"no weights at {str(path)!r}: the part of a model address after @ is a file of weights.")
    try:
        with path.open("rb") as file:
            start = file.read(_HEAD)
    except OSError as error:
        raise AddressError(f"cannot read the weights {path}: {reason(error)}. Correct its rights.") from None
    header = int.from_bytes(start[:8], "little")
    if start.endswith(b"{") and len(start) == _HEAD and _LARGEST_HEADER < header <= path.stat().st_size:
        raise ModelError(
            f"weights are read from safetensors files; the header of {path} has {header:,} bytes, more than the "
            f"{_LARGEST_HEADER:,} that are read. Save the tensors of the model alone."
        )


def _problems(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> Iterator[str]:
    for name, tensor in wanted.items():
        if name not in found:
            if not name.endswith("num_batches_tracked"):
                yield f"{name} is missing"
        elif found[name].shape != tensor.shape:
            yield f"{name} is {tuple(found[name].shape)} and should be {tuple(tensor.shape)}"
        elif not _converts(found[name].dtype, tensor.dtype):
            yield f"{name} is {_named(found[name].dtype)} and should be {_named(tensor.dtype)}"
    for name in found:
        if name not in wanted:
            yield f"{name} is unknown to the architecture"


def _converts(stored: torch.dtype, wanted: torch.dtype) -> bool:
    """Whether values of one type may stand for those of another: floats for floats, whole numbers for such."""
    return stored == wanted or {stored, wanted} <= _FLOATS or (wanted in _WHOLE and stored in _WHOLE)


def _named(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


KEY = "manifest_sha256"
"""The entry of the weights' metadata that pins the manifest."""


def manifest_of(weights: Path) -> Path:
    """Where the manifest of a file of weights is: `model.safetensors` → `model.manifest`."""
    return weights.with_suffix(".manifest")


def manifest_text(contents: frozenset[str]) -> bytes:
    """The content hashes of the images that were learned from, one per line, sorted."""
    return "".join(f"{content}\n" for content in sorted(contents)).encode()


def learned_from(weights: str | None) -> frozenset[str]:
    """What is known of the images a model with these weights has learned from; nothing where it has none of its own."""
    return (None if weights is None else training_hashes(weights)) or frozenset()


def training_hashes(weights: Path | str) -> frozenset[str] | None:
    """The content hashes, as an `Index` has them, of the images a model has learned from; None where none were noted.

    Raises:
        ModelError: the weights name a manifest that is missing or another one.
    """
    weights = Path(weights)
    path = manifest_of(weights)
    pinned = read_metadata(str(weights)).get(KEY) if weights.suffix == ".safetensors" else None
    if not path.exists():
        if pinned is None:
            return None
        raise ModelError(
            f"{weights} was trained on images listed in {path.name}, and that file is missing. Put it back beside the "
            "weights: without it it cannot be told whether the model has seen the images it is measured on."
        )
    try:
        content = content_of(path, 1024 * MIB)
    except OSError as error:
        raise ModelError(f"cannot read {path}, the list of training images: {reason(error)}. Put it back.") from None
    if pinned not in {None, hashlib.sha256(content).hexdigest()}:
        raise ModelError(
            f"{path} is not the manifest {weights} was trained with (its hash differs). Put that one back."
        )
    return frozenset(content.decode("ascii", "replace").split())
