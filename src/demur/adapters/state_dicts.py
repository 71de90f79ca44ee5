"""The weights among what a checkpoint holds: nestings and prefixes of training loops are undone, and it is said."""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from demur.errors import ModelError, brief, legible

_PLAIN = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "module", "params", "weights")
_AVERAGED = ("state_dict_ema", "model_ema", "ema_state_dict", "ema_model", "ema", "params_ema")
NESTINGS = (*_PLAIN, *_AVERAGED)
"""Keys under which training loops keep weights, in the order they are looked for."""

PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.", "ema_model.")
"""What DataParallel, torch.compile and wrappers of training loops put before every name."""

_DEEPEST = 4
_COUNTERS = frozenset({"n_averaged"})
"""What an averaged model counts in, which is no weight."""


def weights_within(found: Any, path: str) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors of a checkpoint by name, and the keys they were under.

    Raises:
        ModelError: there are none.
    """
    keys, inner = list[str](), found
    while isinstance(inner, Mapping) and len(keys) < _DEEPEST:
        tensors = {name: value for name, value in inner.items() if isinstance(name, str) and isinstance(value, Tensor)}
        key = next((name for name in NESTINGS if isinstance(inner.get(name), Mapping)), None)
        if key is None or (tensors and len(tensors) * 2 > len(inner)):
            if tensors:
                return tensors, keys
            break
        keys.append(key)
        inner = inner[key]
    raise ModelError(
        f"weights are tensors by name, and {path} holds {_kind_of(inner)}{_under(keys)}. Save model.state_dict() alone."
    )


def without_prefixes(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors under the names of an architecture, and the prefixes that were taken off all of them."""
    tensors, prefixes = dict(found), list[str]()
    while (prefix := _prefix_of(tensors, wanted)) is not None:
        tensors = {
            name.removeprefix(prefix): tensor
            for name, tensor in tensors.items()
            if name not in _COUNTERS or name in wanted
        }
        prefixes.append(prefix)
    return tensors, prefixes


def unpacked_words(path: str, found: Any, keys: list[str], prefixes: list[str]) -> Iterator[str]:
    """What is said of where the weights of a file were, in one sentence; nothing where they lay open."""
    parts = []
    if keys:
        parts.append(f"under {' and '.join(map(repr, keys))}")
    if prefixes:
        parts.append(f"with {''.join(prefixes)!r} before every name, which was taken off")
    if not parts:
        return
    others = [key for key in NESTINGS if keys and key != keys[0] and isinstance(found.get(key), Mapping)]
    beside = f"; those under {', '.join(map(repr, others))} were left" if others else ""
    yield f"the weights in {path} were found {', '.join(parts)}{beside}"


def _prefix_of(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> str | None:
    """A prefix of every name that no name of the architecture has."""
    names = [name for name in tensors if name not in _COUNTERS]
    for prefix in PREFIXES:
        if names and all(name.startswith(prefix) for name in names):
            own = any(name in wanted for name in names)
            return None if own else prefix
    return None


def _kind_of(found: Any) -> str:
    if not isinstance(found, Mapping):
        return f"a {type(found).__name__}"
    keys = [brief(legible(str(key))) for key in list(found)[:5]]
    return f"a dictionary with the keys {', '.join(map(repr, keys))}" if keys else "an empty dictionary"


def _under(keys: list[str]) -> str:
    return f" under {' and '.join(map(repr, keys))}" if keys else ""
