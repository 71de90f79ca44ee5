"""Classes of data among those of a model: by name, by synset or by number, and never by place where both have names."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from types import MappingProxyType
from typing import Literal

from demur.class_names.imagenet import SYNSET, imagenet_synsets, imagenet_words
from demur.errors import DataError, brief

By = Literal["place", "name", "synset", "number"]

_SAID: Mapping[str, int] = MappingProxyType(
    {"false": 0, "no": 0, "absent": 0, "negative": 0, "true": 1, "yes": 1, "present": 1, "positive": 1}
)
"""What the two classes of a finding are called where they have no names of their own."""

_ALIKE = 0.9
_SHOWN = 14
_WIDTH = 46
_COMPARED = 5_000


@dataclass(frozen=True)
class Meeting:
    """Where the classes of some data stand among those of a model.

    Attributes:
        data: names of the data.
        model: names of the model, in the order of its outputs.
        places: for every class of the data its position among the model's; None where none is known.
        by: what was compared last.
    """

    data: tuple[str, ...]
    model: tuple[str, ...]
    places: tuple[int | None, ...]
    by: By

    @property
    def missing(self) -> tuple[str, ...]:
        """The classes of the data that are none of the model's."""
        return tuple(name for name, place in zip(self.data, self.places, strict=True) if place is None)

    @property
    def shared(self) -> tuple[tuple[str, str], ...]:
        """Pairs of classes of the data that are one class of the model: its first, and another."""
        first: dict[int, str] = {}
        known = [(name, place) for name, place in zip(self.data, self.places, strict=True) if place is not None]
        pairs = [(first.setdefault(place, name), name) for name, place in known]
        return tuple(pair for pair in pairs if pair[0] != pair[1])

    def whole(self, model: str, data: str) -> tuple[int, ...]:
        """The positions, all of which are known and differ.

        Args:
            model: what errors call the model.
            data: what errors call the data.

        Raises:
            DataError: some are not; with a table of what is missing beside the nearest names of the model.
        """
        if self.missing:
            raise DataError(self._refusal(model, data))
        if self.shared:
            one, other = self.shared[0]
            raise DataError(
                f"the classes {one!r} and {other!r} of {data} are one class of {model}. Rename one of them, or join "
                "them with ?classes=@map.csv behind the data address: a line such as fine,coarse for each class."
            )
        return tuple(place for place in self.places if place is not None)

    def _refusal(self, model: str, data: str) -> str:
        missing = self.missing
        rows = [(_cut(name), ", ".join(map(_cut, self._nearest(name))) or "—") for name in missing[:_SHOWN]]
        wide = max(len(first) for first, _ in (("in the data", ""), *rows))
        lines = [f"  {first:<{wide}}  {second}" for first, second in (("in the data", "nearest in the model"), *rows)]
        more = [f"  … and {len(missing) - _SHOWN:,} more"] if len(missing) > _SHOWN else []
        head = (
            f"the classes of {brief(data)} must be classes of {brief(model)}, by name, synset or number; "
            f"{len(missing):,} of {len(self.data):,} are none of its {len(self.model):,}:"
        )
        return "\n".join([head, *lines, *more, *self._hints()])

    def _nearest(self, name: str) -> list[str]:
        known = dict(zip(map(plain, self.model[:_COMPARED]), self.model, strict=False))
        begun = [own for short, own in known.items() if short.startswith(f"{plain(name)} (")]
        return begun[:2] or [known[near] for near in get_close_matches(plain(name), known, n=2, cutoff=0.5)]

    def _hints(self) -> list[str]:
        free = [name for k, name in enumerate(self.model) if k not in set(self.places)]
        listed = ", ".join(_cut(name) for name in free[:6]) + (", …" if len(free) > 6 else "")
        hints = [f"Not in the data: {listed}."] if 0 < len(free) <= 3 * len(self.data) else []
        if _numbers(self.data) and set(map(int, self.data)) == set(range(1, len(self.data) + 1)):
            hints.append("The numbers of the data begin at 1, those of the model at 0.")
        hints.append(
            "Name the model's classes as the data do, in the order of its outputs, with ?classes=a,b,… or @names.txt"
        )
        hints.append("behind the model's address; or map its classes to those of the data with ?classes=@map.csv.")
        return hints


def meeting(data: Sequence[str], model: Sequence[str]) -> Meeting:
    """Where the classes of some data stand among those of a model.

    Names are the same whatever their case, underscores, hyphens and spaces; a list of synonyms with commas between
    is its first. Synsets are those of WordNet, which name the classes of ImageNet. Numbers count from 0, and stand for
    places where one side has no other names.

    >>> meeting(["dog", "cat"], ["Cat", "Dog"]).places, meeting(["n01440764"], ["tench", "goldfish"]).places
    ((1, 0), (0,))
    """
    data, model = tuple(data), tuple(model)
    if data == model:
        return Meeting(data, model, tuple(range(len(data))), "place")
    if _numbers(data) and not _numbers(model):
        return Meeting(data, model, tuple(_within(int(name), len(model)) for name in data), "number")
    if _numbers(model) and not _numbers(data) and _counting(model) and len(data) == len(model):
        return Meeting(data, model, tuple(range(len(data))), "place")
    named = _absence(data, model, _by_names(data, model))
    if None not in named:
        return Meeting(data, model, named, "name")
    synsets = _by_synsets(data, model)
    places = tuple(one if one is not None else other for one, other in zip(named, synsets, strict=True))
    return Meeting(data, model, places, "name" if places == named else "synset")


def plain(name: str) -> str:
    """A name without what writers differ in.

    >>> plain("Golden_Retriever"), plain(" golden  retriever")
    ('golden retriever', 'golden retriever')
    """
    return " ".join(name.replace("_", " ").replace("-", " ").split()).casefold()


def _first(name: str) -> str:
    return plain(name.partition(",")[0])


def _numbers(names: Sequence[str]) -> bool:
    return all(name.isascii() and name.isdigit() and len(name) < 8 for name in names)


def _counting(names: Sequence[str]) -> bool:
    return list(map(int, names)) == list(range(len(names)))


def _within(number: int, count: int) -> int | None:
    return number if number < count else None


def _by_names(data: Sequence[str], model: Sequence[str]) -> tuple[int | None, ...]:
    """By the name as it is, as plain as can be, and by its first synonym; what several share is none."""
    ways: tuple[Callable[[str], str], ...] = (str, plain, _first)
    tables = [(way, _places(map(way, model))) for way in ways]
    found = [next((table[way(name)] for way, table in tables if way(name) in table), None) for name in data]
    return tuple(found)


def _absence(data: Sequence[str], model: Sequence[str], found: tuple[int | None, ...]) -> tuple[int | None, ...]:
    """Of data of two classes, for a model of a finding: `not NAME` is the other class, however it is called."""
    if len(data) != 2 or len(model) != 2 or model[0] != f"not {model[1]}":
        return found
    said = tuple(_SAID.get(plain(name)) for name in data)
    if found.count(None) == 1 and 1 in found:
        return tuple(1 if place == 1 else 0 for place in found)
    return said if set(said) == {0, 1} else found


def _places(names: Iterable[str]) -> Mapping[str, int]:
    """The position of each name that stands once."""
    listed = list(names)
    count = Counter(listed)
    return {name: k for k, name in enumerate(listed) if count[name] == 1}


def _by_synsets(data: Sequence[str], model: Sequence[str]) -> tuple[int | None, ...]:
    places = _places(synset or f"{k}" for k, synset in enumerate(_synsets(model)))
    return tuple(None if synset is None else places.get(synset) for synset in _synsets(data))


def _synsets(names: Sequence[str]) -> list[str | None]:
    """The synset of each name: itself, by its place in the list of ImageNet, or by its words."""
    known = imagenet_synsets()
    if len(names) == len(known) and _in_their_order(names):
        return list(known)
    return [_synset(name) for name in names]


def _in_their_order(names: Sequence[str]) -> bool:
    alike = (_first(name) in _words_of(words) for name, words in zip(names, imagenet_words(), strict=True))
    return sum(alike) >= _ALIKE * len(names)


def _words_of(words: str) -> set[str]:
    return set(map(plain, words.split(",")))


def _synset(name: str) -> str | None:
    written = SYNSET.search(name)
    return written[0] if written else _synsets_by_word().get(plain(name)) or _synsets_by_word().get(_first(name))


@cache
def _synsets_by_word() -> Mapping[str, str]:
    """By all words of a class, and by its first where no other class begins with it."""
    synsets, words = imagenet_synsets(), imagenet_words()
    firsts, wholes = _places(map(_first, words)), _places(map(plain, words))
    return {name: synsets[k] for name, k in {**firsts, **wholes}.items()}


def _cut(name: str) -> str:
    return name if len(name) <= _WIDTH else f"{name[: _WIDTH - 1]}…"
