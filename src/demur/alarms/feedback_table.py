"""The feedback of a stream as a table of labelled images: what `demur guard certify` makes a new certificate of."""

import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path

from demur.alarms.alarm_store import AlarmStore
from demur.errors import InputError
from demur.files import write_atomically

FORMULA = r"^'*[=+\-@\t\r\n]"
"""How a cell begins that a spreadsheet takes for a formula; the same as in tables of records."""


@dataclass(frozen=True, kw_only=True)
class FeedbackTable:
    """What a table holds, and what it cannot.

    Attributes:
        rows: images that dice chose and whose class was told, answered and withheld ones alike.
        withheld: how many of them went to a person.
        missing: images that dice chose and of which nothing was told; if these are of another kind, so is the table.
        others: images that dice did not choose: they are left out, because a certificate is about a random sample.
    """

    rows: int
    withheld: int
    missing: int
    others: int

    @property
    def sentence(self) -> str:
        """The same in words."""
        return (
            f"{self.rows:,} images that dice chose, with their classes; {self.withheld:,} of them went to a person. "
            f"Left out: {self.missing:,} of which nothing was told, and {self.others:,} that dice did not choose. The "
            "certificate is about images like these if whether a class is told has nothing to do with the image."
        )


def write_feedback(state: Path, out: Path) -> FeedbackTable:
    """Write the labelled images of a state as CSV with the columns `path`, which is the id, and `label`.

    Raises:
        InputError: there is no such state, it is in use, it has no labels, or of some images it is known that the
            answer is wrong and not what is right: a table without these would be too good.
        RunError: the table cannot be written.
    """
    if not state.is_file():
        raise InputError(f"there is no state of alarms at {state}. Name the file that --state wrote.")
    store = AlarmStore(state)
    try:
        rows = store.rows(
            "SELECT id, right, accepted FROM images WHERE probability IS NOT NULL AND right IS NOT NULL ORDER BY place"
        )
        wrong, missing = store.rows(
            "SELECT total(correct = 0), total(correct IS NULL) FROM images WHERE probability IS NOT NULL "
            "AND right IS NULL"
        )[0]
        missing += store.facts().get("counts", {}).get("forgotten", 0)
        others = store.rows("SELECT count(*) FROM images WHERE probability IS NULL AND correct IS NOT NULL")[0][0]
    finally:
        store.shut()
    if wrong:
        raise InputError(
            f"of {round(wrong)} images in {state} it is known that the answer is wrong, and not what is right; a table "
            "without them would be too good. Give feedback on them again with `label`."
        )
    if not rows:
        raise InputError(f"{state} has no image with a class that was told. Answer some of the questions first.")
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("path", "label"))
    table.writerows((_harmless(name), _harmless(label)) for name, label, _ in rows)
    write_atomically(out, text.getvalue().encode())
    withheld = sum(not accepted for _, _, accepted in rows)
    return FeedbackTable(rows=len(rows), withheld=withheld, missing=round(missing), others=others)


def _harmless(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula; the apostrophe goes when the table is read."""
    return f"'{cell}" if re.match(FORMULA, cell) else cell
