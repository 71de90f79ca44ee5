"""What adapters of other libraries say alike: of weights that cannot be had, of numbers, of class names."""

from collections.abc import Sequence

from demur.class_names.class_list import numbered_doubles
from demur.errors import ModelError
from demur.foreign import reason


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
    """Class names of which none is there twice; one that several share is the name of none of them.

    >>> numbered(["crane", "maillot", "crane"])
    ('crane (1)', 'maillot', 'crane (2)')
    """
    return numbered_doubles(names)
