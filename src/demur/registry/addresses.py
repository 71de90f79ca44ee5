"""The grammar of addresses: `scheme:LOCATION[@WEIGHTS][?key=value&…]`."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from demur.errors import AddressError, brief, legible, unknown
from demur.registry.lookup import kind_of, names
from demur.registry.tables import SHIPPED

_LONGEST = 100_000

ENSEMBLE = "ensemble"
"""The scheme whose location is a list of addresses, which have weights and options of their own."""


@dataclass(frozen=True)
class Address:
    """Where a model or data set comes from.

    A bare name is looked up; a bare existing path is refused with the schemes it could be.
    """

    scheme: str
    location: str
    weights: str | None
    options: Mapping[str, str]

    @classmethod
    def parse(cls, text: str, kind: str) -> "Address":
        """Read an address of a `"model"` or of `"data"`.

        >>> Address.parse("zoo:resnet20@w.safetensors?mean=.5,.5,.5", "model")
        Address(scheme='zoo', location='resnet20', weights='w.safetensors', options={'mean': '.5,.5,.5'})
        """
        if legible(text) != text or len(text) > _LONGEST:
            raise AddressError(
                f"the {kind} address '{brief(legible(text))}' is longer than {_LONGEST:,} characters or holds "
                "characters that no screen shows, or bytes that are not UTF-8. Rename the file or folder, or link to "
                "it by another name."
            )
        if kind == "model" and text.startswith(f"{ENSEMBLE}:"):
            return cls(ENSEMBLE, text.removeprefix(f"{ENSEMBLE}:"), None, {})
        body, _, query = text.partition("?")
        scheme, colon, rest = body.partition(":")
        if kind_of(scheme, kind) is None:
            if not colon and _exists(body):
                raise AddressError(
                    f"{brief(body)!r} is a path, and a {kind} address starts with a scheme. "
                    f"Write one of: {', '.join(f'{name}:{body}' for name in _located(kind))}."
                )
            raise AddressError(
                f"cannot read the {kind} address {brief(text)!r}: {unknown('scheme', scheme, names(kind))}"
            )
        location, _, weights = rest.rpartition("@") if "@" in rest else (rest, "", "")
        return cls(scheme, location, weights or None, _options(query, text))

    @property
    def text(self) -> str:
        """How it is written.

        >>> Address("zoo", "resnet20", "w.safetensors", {"mean": ".5"}).text
        'zoo:resnet20@w.safetensors?mean=.5'
        """
        place = f"{self.location}@{self.weights}" if self.weights else self.location
        query = "&".join(f"{key}={value}" for key, value in self.options.items())
        return self.scheme + (f":{place}" if place else "") + (f"?{query}" if query else "")

    def only(self, known: Iterable[str]) -> None:
        """Refuse options outside `known`."""
        where = f"{self.scheme}:{self.location}" if self.location else self.scheme
        for option in self.options:
            if option not in known:
                raise AddressError(f"address {where}: {unknown('option', option, known)}")


def member_addresses(location: str) -> list[str]:
    """The addresses in the location of an ensemble.

    A comma begins one where a scheme and a colon follow, or a scheme that needs no place; any other belongs to the
    address it stands in, such as those of `mean=.5,.4,.3`.

    >>> member_addresses("zoo:resnet20@a.safetensors?mean=.5,.4,.3,fashion,module:nets:made")
    ['zoo:resnet20@a.safetensors?mean=.5,.4,.3', 'fashion', 'module:nets:made']

    Raises:
        AddressError: a member is an ensemble itself.
    """
    found: list[str] = []
    for piece in location.split(","):
        scheme, colon, _ = piece.partition(":")
        if found and not (kind_of(scheme, "model") and (colon or _stands_alone(scheme))):
            found[-1] = f"{found[-1]},{piece}"
        elif scheme == ENSEMBLE:
            raise AddressError(
                f"the members of an ensemble are models, and {brief(piece)!r} begins another ensemble. List all "
                "members behind one ensemble:, each with the same weight in the mean."
            )
        elif piece:
            found.append(piece)
    return found


def _stands_alone(scheme: str) -> bool:
    return scheme in SHIPPED


def _exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except OSError:  # too long to be one, among others
        return False


def _located(kind: str) -> list[str]:
    return [name for name in names(kind) if name not in {*SHIPPED, "digits"}]


def _options(query: str, text: str) -> dict[str, str]:
    options = {}
    for pair in filter(None, query.split("&")):
        key, equals, value = pair.partition("=")
        if not equals:
            raise AddressError(
                f"cannot read the option {brief(pair)!r} of {brief(text)!r}: options look like ?key=value&key=value."
            )
        if key in options:
            raise AddressError(f"the option {brief(key)!r} of {brief(text)!r} is given twice. Leave one out.")
        options[key] = value
    return options
