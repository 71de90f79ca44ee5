r"""Groups read off paths: `?group=REGEX` takes patient, lot or video from the name of each file.

`?group=([^/]+)_[0-9]+\.png` makes one group of all frames of a video. The pattern is searched in the path relative to
the root of the data, in Python's syntax; its first capture group is the group, or the whole match where it has none.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from demur.compact import choices_of
from demur.data.source import Row
from demur.errors import AddressError, DataError, brief, legible

_SPECIAL = set(r".^$*+?{}[]()|\ ".strip())


def is_pattern(text: str) -> bool:
    r"""Whether an option is a pattern over paths, and no plain name such as that of a column.

    >>> is_pattern("patient"), is_pattern(r"([^/]+)_\d+")
    (False, True)
    """
    return bool(_SPECIAL & set(text))


def grouped_by_path(rows: Iterable[Row], pattern: str, paths: Sequence[str], where: str) -> Iterator[Row]:
    """The rows, each in the group that the pattern finds in its path.

    Raises:
        AddressError: the pattern is none.
        DataError: it finds nothing in a path, which is named.
    """
    try:
        search = re.compile(pattern).search
    except (re.error, OverflowError, RecursionError) as error:
        raise AddressError(
            rf"`group` must be a regular expression over paths; {brief(pattern)!r} is none: {error}. Write ?group="
            r"([^/]+)_[0-9]+ for names such as lot7_0001.png."
        ) from None
    found = choices_of(_group(search(legible(path))) for path in paths)
    missing = np.flatnonzero(found.are(None, ""))
    if len(missing):
        raise DataError(
            f"?group={brief(pattern)} must find the group of every image of {where}; it finds none in "
            f"{brief(legible(paths[int(missing[0])]))!r} ({len(missing):,} of {len(found):,} such paths). Correct the "
            "pattern, which is searched in paths relative to the root of the data."
        )
    return (replace(row, group=group) for row, group in zip(rows, found, strict=True))


def _group(match: re.Match[str] | None) -> str | None:
    if match is None:
        return None
    return match[1] if match.re.groups else match[0]
