"""One part of a set, picked by its own split: `?split=test`."""

from collections.abc import Sequence

from demur.data.roles import own_role
from demur.data.source import Row
from demur.errors import DataError


def part_of(rows: Sequence[Row], split: str | None, where: str) -> list[int]:
    """Where the rows of a part are; without a name, all of them.

    Raises:
        DataError: no row is of that part.
    """
    if split is None or split == "all":
        return list(range(len(rows)))
    wanted = own_role(split, f"?split={split}")
    kept = [at for at, row in enumerate(rows) if row.role == wanted]
    if not kept:
        there = ", ".join(sorted({row.role for row in rows if row.role})) or "no split"
        raise DataError(
            f"{where} has no rows of the split {split!r}; it has {there}. Leave ?split= out to take all rows."
        )
    return kept
