"""The state of a guard's alarms in one SQLite file: what was told of images survives the end of the process."""

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from demur.errors import InputError, RunError, legible
from demur.policies.policy import Floats

FORMAT, VERSION = "demur alarms", 1

_TABLES = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE arrays (name TEXT PRIMARY KEY, numbers BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE codes (code INTEGER PRIMARY KEY, count INTEGER NOT NULL);
CREATE TABLE units (
  unit INTEGER PRIMARY KEY, name TEXT, images INTEGER NOT NULL, abstained INTEGER NOT NULL, score REAL,
  last REAL NOT NULL, ended INTEGER NOT NULL, counted INTEGER NOT NULL, chosen INTEGER NOT NULL,
  questions INTEGER NOT NULL, most INTEGER NOT NULL
);
CREATE INDEX uncounted_units ON units (unit) WHERE NOT counted;
CREATE INDEX unit_names ON units (name);
CREATE TABLE images (
  place INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, time REAL NOT NULL, accepted INTEGER NOT NULL,
  reason TEXT NOT NULL, score REAL, label TEXT, unit INTEGER, probability REAL, question INTEGER, right TEXT,
  correct INTEGER, answered REAL, missing INTEGER NOT NULL
);
CREATE INDEX waiting ON images (place) WHERE probability IS NOT NULL AND correct IS NULL;
CREATE INDEX due ON images (time) WHERE question IS NOT NULL AND correct IS NULL AND missing = 0;
CREATE INDEX unanswered ON images (question) WHERE question IS NOT NULL AND correct IS NULL;
CREATE INDEX labelled ON images (question) WHERE question IS NOT NULL AND correct IS NOT NULL;
CREATE INDEX wanted_units ON images (unit) WHERE question IS NOT NULL AND unit IS NOT NULL;
CREATE INDEX missed ON images (place) WHERE probability IS NOT NULL AND correct IS NULL AND missing = 1;
CREATE INDEX forgettable ON images (place) WHERE probability IS NULL AND correct IS NULL;
CREATE TABLE log (
  line INTEGER PRIMARY KEY, time REAL NOT NULL, event TEXT NOT NULL, alarm TEXT NOT NULL, detail TEXT NOT NULL
);
"""


class AlarmStore:
    """One open file, or memory; whoever uses it takes turns.

    A commit is in the hands of the operating system when `writing` ends: it outlives the process, however that ends. A
    machine that loses its power may lose the last moments, and never what lies before them.
    """

    def __init__(self, place: Path | None) -> None:
        self.place = place
        try:
            self._base = sqlite3.connect(
                ":memory:" if place is None else place, timeout=0.5, isolation_level=None, check_same_thread=False
            )
            self._base.execute("PRAGMA locking_mode=EXCLUSIVE")
            self._base.execute("PRAGMA journal_mode=WAL")
            self._base.execute("PRAGMA synchronous=NORMAL")
            self._base.execute("BEGIN IMMEDIATE")
            self._prepare()
            self._base.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            raise self._unusable(error) from None
        except BaseException:
            self.shut()
            raise

    def _prepare(self) -> None:
        tables = self._base.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if not tables:
            for statement in _TABLES.split(";")[:-1]:
                self._base.execute(statement)
            self.keep_facts({"format": FORMAT, "version": VERSION})
            return
        found = self._base.execute("SELECT count(*) FROM sqlite_master WHERE name IN ('facts', 'arrays')").fetchone()[0]
        facts = self.facts() if found == 2 and self._has_values() else {}
        if (facts.get("format"), facts.get("version")) != (FORMAT, VERSION):
            raise InputError(
                f"{self.name} is no state of alarms of version {VERSION}. Name the file that was begun with it, or a "
                "new one."
            )

    def _has_values(self) -> bool:
        return [row[1] for row in self.rows("PRAGMA table_info(facts)")] == ["name", "value"]

    @property
    def name(self) -> str:
        """Where the state is, for messages."""
        return "the state in memory" if self.place is None else legible(str(self.place))

    def _unusable(self, error: Exception) -> InputError:
        self.shut()
        if "locked" in str(error):
            return InputError(
                f"{self.name} is in use by another process, and alarms are kept by one. End that one, or name another "
                "file."
            )
        return InputError(f"{self.name} cannot be used as the state of alarms ({error}). Name another file.")

    @contextmanager
    def writing(self) -> Iterator[None]:
        """All that is written inside, or nothing.

        Raises:
            RunError: the file cannot be written.
        """
        try:
            self._base.execute("BEGIN IMMEDIATE")
            yield
            self._base.execute("COMMIT")
        except sqlite3.Error as error:
            self._back()
            raise RunError(
                f"{self.name} cannot be written ({error}); what was written before is whole. Free some space or "
                "correct the rights."
            ) from None
        except BaseException:
            self._back()
            raise

    def _back(self) -> None:
        if self._base.in_transaction:
            self._base.execute("ROLLBACK")

    def execute(self, statement: str, values: Sequence[object] | Mapping[str, object] = ()) -> int:
        """One statement that changes rows; the number of the last row it put in."""
        return int(self._base.execute(statement, values).lastrowid or 0)

    def changed(self, statement: str, values: Sequence[object] = ()) -> int:
        """One statement that changes rows; how many."""
        return self._base.execute(statement, values).rowcount

    def many(self, statement: str, rows: Sequence[Sequence[object]]) -> None:
        """The same statement for several rows."""
        self._base.executemany(statement, rows)

    def rows(self, statement: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """The rows that a question is answered with.

        Raises:
            RunError: the file is damaged, or was let go.
        """
        try:
            return self._base.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise RunError(
                f"{self.name} cannot be read ({error}). Bring a copy of it back, or name a new file."
            ) from None

    def facts(self) -> dict[str, Any]:
        """Everything that is kept by name.

        Raises:
            RunError: it was changed from outside.
        """
        try:
            return {name: json.loads(value) for name, value in self.rows("SELECT name, value FROM facts")}
        except (ValueError, TypeError) as error:
            raise RunError(
                f"{self.name} was changed since it was written ({error}). Bring a copy of it back, or name a new file."
            ) from None

    def keep_facts(self, facts: Mapping[str, Any]) -> None:
        """Keep JSON values by name."""
        rows = [(name, json.dumps(value)) for name, value in facts.items()]
        self.many("INSERT OR REPLACE INTO facts VALUES (?, ?)", rows)

    def array(self, name: str, shape: tuple[int, ...]) -> Floats | None:
        """The numbers that are kept by a name; None where there are none, or as many as another shape has."""
        found = self.rows("SELECT numbers FROM arrays WHERE name = ?", (name,))
        numbers = np.frombuffer(found[0][0], "<f8") if found else np.empty(0)
        return numbers.reshape(shape).copy() if found and numbers.size == int(np.prod(shape)) else None

    def keep_arrays(self, arrays: Mapping[str, Floats]) -> None:
        """Keep numbers by name."""
        rows = [(name, np.asarray(each, "<f8").tobytes()) for name, each in arrays.items()]
        self.many("INSERT OR REPLACE INTO arrays VALUES (?, ?)", rows)

    def shut(self) -> None:
        """Let go of the file."""
        if hasattr(self, "_base"):
            self._base.close()
