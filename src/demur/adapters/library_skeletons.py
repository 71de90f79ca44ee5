"""Architectures of other libraries made to fit a file of weights: the file says how many classes and channels."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias

from torch import Tensor, nn

from demur.errors import ModelError
from demur.foreign import reason

Build: TypeAlias = Callable[[int | None, int | None], nn.Module]
"""From a number of classes and of channels, None for the library's own, to an untrained module."""


def fitted(build: Build, tensors: Mapping[str, Tensor]) -> nn.Module:
    """An untrained module with the classes and channels of some tensors.

    A head differs from the library's in the number of its rows alone, a first layer in that of its channels.
    """
    skeleton = build(None, None)
    pairs = [
        (tuple(own.shape), tuple(tensors[name].shape))
        for name, own in skeleton.state_dict().items()
        if name in tensors and tensors[name].shape != own.shape
    ]
    heads = {found[0] for own, found in pairs if own[1:] == found[1:]}
    stems = {found[1] for own, found in pairs if len(own) == len(found) == 4 and _kernels(own) == _kernels(found)}
    if len(heads) > 1 or len(stems) > 1 or not pairs:
        return skeleton
    return build(next(iter(heads), None), next(iter(stems), None))


def _kernels(shape: Sequence[int]) -> tuple[int, ...]:
    """The shape of a layer but for its channels."""
    return (*shape[:1], *shape[2:])


def unavailable(what: str, error: BaseException, address: str) -> ModelError:
    """An error for weights that a library can neither find nor fetch."""
    return ModelError(
        f"{what} cannot be had: {reason(error)}. They are read from the library's cache or fetched over the network; "
        f"name a file that is here instead: {address}@FILE.safetensors."
    )


def listed(values: Sequence[float] | None) -> str:
    """Some numbers with commas between."""
    return "unknown" if values is None else ", ".join(f"{value:.4g}" for value in values)


def numbered(names: Sequence[str]) -> tuple[str, ...]:
    """Class names of which none is there twice.

    >>> numbered(["crane", "maillot", "crane"])
    ('crane', 'maillot', 'crane (2)')
    """
    return tuple(_numbered(names))


def _numbered(names: Sequence[str]) -> Iterator[str]:
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
        yield name if counts[name] == 1 else f"{name} ({counts[name]})"
