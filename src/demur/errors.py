"""Everything demur raises on purpose.

    DemurError
    ├── InputError            what you gave cannot be used            (exit status 2)
    │   ├── UnknownNameError  a name, field or plan key nobody knows
    │   ├── AddressError      a model or data address that leads nowhere
    │   ├── ModelError        the classifier breaks its contract
    │   ├── DataError         the images or labels break theirs
    │   ├── ForeignError      code of a model, a data set or a plug-in failed
    │   └── MissingExtraError an optional dependency is not installed
    ├── RunError              a run folder that cannot be used or continued
    └── FaultError            an unexpected fault of demur's own   (exit status 70)

A message names the thing, the rule, the value found and the way out, in that order.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches


class DemurError(Exception):
    """The root: catch it to catch everything demur raises on purpose."""


class InputError(DemurError):
    """What was given cannot be used as it is."""


class UnknownNameError(InputError):
    """A name, field or key that nobody knows; the message offers the nearest known one."""


class AddressError(InputError):
    """A model or data address that leads nowhere."""


class ModelError(InputError):
    """A classifier that breaks its contract."""


class DataError(InputError):
    """Images or labels that break theirs."""


class ForeignError(InputError):
    """Code that is not demur's, of a model, a data set or a plug-in, failed or called for the end of the process."""


class MissingExtraError(InputError):
    """An optional dependency that is not installed; the message has the install line."""


class RunError(DemurError):
    """A run folder that cannot be used or continued."""


class FaultError(DemurError):
    """An unexpected fault; no result is to be used."""


def unknown(kind: str, name: str, known: Iterable[str]) -> UnknownNameError:
    """An error for a name outside `known`, offering the nearest one.

    >>> str(unknown("signal", "entropi", ["entropy", "msp"]))
    "unknown signal 'entropi'. Did you mean 'entropy'? Known: entropy, msp."
    """
    choices = sorted(known)
    nearest = get_close_matches(name, choices, n=1, cutoff=0.5)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    return UnknownNameError(f"unknown {kind} {name!r}.{hint} Known: {', '.join(choices) or 'none'}.")


def missing_extra(feature: str, extra: str) -> MissingExtraError:
    """An error for an optional dependency that is not installed.

    >>> str(missing_extra("the digits data", "digits"))
    "the digits data needs an optional dependency. Install it with: pip install 'demur[digits]'"
    """
    return MissingExtraError(f"{feature} needs an optional dependency. Install it with: pip install 'demur[{extra}]'")


TORCH_EXTRA = frozenset({"PIL", "jaxtyping", "safetensors", "torch"})
"""What is imported of the extra `torch`."""


def is_absent_torch(error: BaseException) -> bool:
    """Whether a package of the extra `torch` is not installed."""
    return isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] in TORCH_EXTRA


@contextmanager
def needing_torch(feature: str) -> Iterator[None]:
    """Inside, a package of the extra `torch` that is not installed is told with its install line."""
    try:
        yield
    except ModuleNotFoundError as error:
        if not is_absent_torch(error):
            raise
        raise missing_extra(feature, "torch") from error
