"""What the maps of each class add, as coloured cells, and how many errors they give away, in words."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from demur.analysis.quantity import Quantity
from demur.analysis.signals.class_profiles import ClassMapTable, ClassProfile
from demur.report.phrases import plural


@dataclass(frozen=True, kw_only=True)
class MapCell:
    """A map by its number, what it adds in logits (NaN: not measured), and that as a part of the largest there is."""

    number: int
    added: float
    part: float


@dataclass(frozen=True, kw_only=True)
class ProfileLine:
    """What the maps of one class add to its right or to its wrong answers."""

    name: str
    answers: str
    together: Quantity
    reference: int | None
    cells: tuple[MapCell, ...]


def profile_lines(found: ClassMapTable) -> Iterator[tuple[ProfileLine, ProfileLine]]:
    """Two lines of each class that has maps: of right answers, and of wrong ones."""
    most = max((abs(added) for row in found.classes for added in _measured(row)), default=1.0)
    for row in found.classes:
        if row.maps:
            right = _line(row, "right", row.right, row.right_answers, row.right_added, most)
            yield right, _line(row, "wrong", row.wrong, row.wrong_answers, row.wrong_added, most)


def _measured(row: ClassProfile) -> list[float]:
    return [added for added in (*row.right_added, *row.wrong_added) if added == added]


def _line(
    row: ClassProfile, answers: str, together: Quantity, reference: int | None, added: Sequence[float], most: float
) -> ProfileLine:
    cells = tuple(
        MapCell(number=number, added=own, part=max(0.0, own) / most if own == own else 0.0)
        for number, own in zip(row.maps, added, strict=True)
    )
    return ProfileLine(name=row.name, answers=answers, together=together, reference=reference, cells=cells)


def silent_sentence(found: ClassMapTable) -> str:
    """How many confident errors the maps give away, and how many confident right answers they would cost."""
    if not found.wrong_below.n:
        return "No confident answer to a test image is wrong, so there is no error to give away."
    return (
        f"{plural(found.silent_errors, 'confident error')} of {found.wrong_below.n:,} "
        f"{'lies' if found.silent_errors == 1 else 'lie'} below the limit"
        + ("." if found.finds_errors else ", which is not shown to be a larger share than of right answers.")
    )
