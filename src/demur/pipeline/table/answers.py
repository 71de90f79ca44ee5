"""A table of what some model answered: one row per image, with its label and logits, or a score and an answer."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from demur.errors import DataError, brief
from demur.metrics.units import unit_codes
from demur.pipeline.table.columns import LOGIT, SIGNAL, read_columns
from demur.pipeline.table.logit_scores import LOGIT_SCORES, scores_of
from demur.policies.policy import Flags, Floats
from demur.splits import OwnSplit, own_split

_CLASSES = 100_000
_WAY_OUT = (
    "Give `label` with `logit.0`, `logit.1`, … (or `logit.cat`, …), or `label`, `predicted` and `score` (higher = more "
    "uncertain); `group`, `split`, `weight` and `sample_id` may stand beside them."
)


@dataclass(frozen=True, eq=False)
class Answers:
    """What a model answered, row by row.

    Attributes:
        path: the file.
        classes: the names that labels and answers are positions of.
        label: (rows,).
        predicted: (rows,), the largest logit's where there are logits.
        logits: (rows, classes) float32, or None for a table of scores.
        own_scores: scores that stand in the table, (rows,) each, higher = more uncertain.
        group: unit of independence of each row, or None.
        split: what a row serves by the table itself, or None.
        weight: how much each row counts, or None.
        sample_id: names of the rows, or None.
        numbers: the places of the rows in the file, from 0.
        left_out: the places of those that have no label, no answer or a score that is no number, with the reason.
    """

    path: Path
    classes: tuple[str, ...]
    label: NDArray[np.int32]
    predicted: NDArray[np.int32]
    logits: NDArray[np.float32] | None
    own_scores: Mapping[str, Floats]
    group: NDArray[np.str_] | None
    split: Sequence[OwnSplit | None] | None
    weight: Floats | None
    sample_id: Sequence[str] | None
    numbers: NDArray[np.intp]
    left_out: Mapping[int, str]

    def __len__(self) -> int:
        return len(self.label)

    def rows(self, index: NDArray[np.intp]) -> "Answers":
        """Some rows, by their positions."""
        return replace(
            self,
            label=self.label[index],
            predicted=self.predicted[index],
            logits=None if self.logits is None else self.logits[index],
            own_scores={name: scores[index] for name, scores in self.own_scores.items()},
            group=None if self.group is None else self.group[index],
            split=None if self.split is None else [self.split[row] for row in index],
            weight=None if self.weight is None else self.weight[index],
            numbers=self.numbers[index],
            sample_id=None if self.sample_id is None else [self.sample_id[row] for row in index],
        )

    @cached_property
    def places(self) -> Floats:
        """Where the hash of each row's group falls in [0, 1), else that of its `sample_id`, else of its number."""
        names = self.group if self.group is not None else self.sample_id
        if names is None:
            return np.random.Philox(key=0).random_raw(int(self.numbers.max()) + 1)[self.numbers] / 2.0**64
        units, rows = unit_codes(np.asarray(names, object))
        return np.array([_place(unit) for unit in units])[rows]

    @property
    def wrong(self) -> Flags:
        """Which answers are not the label."""
        return self.predicted != self.label

    @property
    def signals(self) -> tuple[str, ...]:
        """The scores that can be used: those in the table, and what the logits give."""
        return tuple(dict.fromkeys((*(LOGIT_SCORES if self.logits is not None else ()), *self.own_scores)))

    def scores(self, signal: str) -> Floats:
        """The scores of one signal (rows,); those that stand in the table come before those that its logits give."""
        if signal in self.own_scores:
            return self.own_scores[signal]
        assert self.logits is not None  # else it is none of `signals`
        return scores_of(self.logits, signal)


def _place(name: str) -> float:
    return int(hashlib.sha256(f"unit\x1f{name}".encode()).hexdigest()[:16], 16) / 2**64


def read_answers(path: Path) -> Answers:
    """Read a Parquet or CSV file.

    Raises:
        DataError: not such a file, columns that are missing or no numbers, labels that are none of the classes.
    """
    table = read_columns(path)
    logits = [name for name in table.columns if name.startswith(LOGIT)]
    _check_columns(path, table.columns, logits)
    if table.is_empty():
        raise DataError(f"{path} has no rows; a certificate needs labelled ones. Give some hundreds.")
    numbers = np.arange(len(table))
    reasons = table.select(_reason(table.columns, bool(logits)))["reason"]
    kept = reasons.is_null().to_numpy()
    left_out = dict(zip(numbers[~kept].tolist(), reasons.drop_nulls().to_list(), strict=True))
    if not kept.any():
        raise DataError(f"{path}: {left_out[0]} in row 0, and no other row is whole. Check the columns.")
    return _answers(path, table if kept.all() else table.filter(kept), logits, numbers[kept], left_out)


def _reason(columns: Sequence[str], has_logits: bool) -> pl.Expr:  # noqa: FBT001 - private
    """Why a row is of no use, null where it is."""
    numbers = [name for name in columns if name == "score" or name.startswith((LOGIT, SIGNAL))]
    undefined = pl.any_horizontal(pl.col(name).is_nan() for name in numbers)
    unanswered = pl.lit(value=False) if has_logits else pl.col("predicted").is_null()
    return (
        pl.when(pl.col("label").is_null())
        .then(pl.lit("no label"))
        .when(unanswered)
        .then(pl.lit("no answer"))
        .when(undefined)
        .then(pl.lit("a score or a logit that is no number"))
        .alias("reason")
    )


def _answers(
    path: Path, table: pl.DataFrame, logits: Sequence[str], numbers: NDArray[np.intp], left_out: Mapping[int, str]
) -> Answers:
    matrix = _matrix(table, logits) if logits else None
    label, predicted, classes = _labels(path, table, logits, matrix)
    own_scores = {
        name.removeprefix(SIGNAL): table[name].to_numpy()
        for name in table.columns
        if name == "score" or name.startswith(SIGNAL)
    }
    return Answers(
        path=path,
        classes=classes,
        label=label,
        predicted=predicted,
        logits=matrix,
        own_scores=own_scores,
        group=_group(table),
        split=_splits(path, table),
        weight=_weight(path, table),
        sample_id=table["sample_id"].to_list() if "sample_id" in table.columns else None,
        numbers=numbers,
        left_out=left_out,
    )


def _check_columns(path: Path, columns: Sequence[str], logits: Sequence[str]) -> None:
    if "label" not in columns:
        raise DataError(f"{path} has no column `label`; found {_listed(columns)}. {_WAY_OUT}")
    if len(logits) == 1:
        raise DataError(f"{path} has one column of logits, {logits[0]!r}; a classifier has two or more. {_WAY_OUT}")
    scored = "score" in columns or any(name.startswith(SIGNAL) for name in columns)
    if not logits and not ("predicted" in columns and scored):
        raise DataError(
            f"{path} has neither columns `logit.*` nor both `predicted` and `score`; found {_listed(columns)}. "
            f"{_WAY_OUT}"
        )


def _listed(columns: Sequence[str]) -> str:
    more = f", … ({len(columns):,} in all)" if len(columns) > 12 else ""
    return brief(", ".join(columns[:12])) + more


def _matrix(table: pl.DataFrame, logits: Sequence[str]) -> NDArray[np.float32]:
    """Logits (rows, classes), in the order of the classes, filled column by column."""
    found = np.empty((len(table), len(logits)), np.float32)
    for at, name in enumerate(_ordered(logits)):
        found[:, at] = table[name].to_numpy()
    return found


def _ordered(logits: Sequence[str]) -> list[str]:
    """By number where all names are numbers, else as they stand."""
    names = [name.removeprefix(LOGIT) for name in logits]
    return sorted(logits, key=lambda name: int(name.removeprefix(LOGIT))) if _numbered(names) else list(logits)


def _numbered(names: Sequence[str]) -> bool:
    return all(name.isascii() and name.isdigit() for name in names)


def _labels(
    path: Path, table: pl.DataFrame, logits: Sequence[str], matrix: NDArray[np.float32] | None
) -> tuple[NDArray[np.int32], NDArray[np.int32], tuple[str, ...]]:
    """Labels and answers as positions, and the names of the classes."""
    if matrix is None:
        pairs = pl.concat([table["label"].unique(), table["predicted"].unique()]).unique().to_list()
        classes = tuple(sorted(pairs, key=lambda name: (not name.isdigit(), int(name) if name.isdigit() else 0, name)))
        if len(classes) > _CLASSES:
            raise DataError(
                f"{path} has {len(classes):,} different labels and answers; at most {_CLASSES:,} are classes. Name the "
                "columns of classes `label` and `predicted`."
            )
        return _positions(path, table, "label", classes), _positions(path, table, "predicted", classes), classes
    classes = tuple(name.removeprefix(LOGIT) for name in _ordered(logits))
    found = matrix.argmax(axis=1).astype(np.int32)
    if "predicted" in table.columns and table["predicted"].null_count() == 0:
        stated = _positions(path, table, "predicted", classes)
        other = (stated != found) & (matrix[np.arange(len(found)), stated] < matrix.max(axis=1))
        if other.any():
            raise DataError(
                f"{path}, row {int(other.argmax())}: `predicted` is not the class of the largest logit. Leave the "
                "column out, or correct it."
            )
    return _positions(path, table, "label", classes), found, classes


def _positions(path: Path, table: pl.DataFrame, column: str, classes: Sequence[str]) -> NDArray[np.int32]:
    places = pl.Series(table[column]).replace_strict(
        {name: at for at, name in enumerate(classes)}, default=None, return_dtype=pl.Int32
    )
    missing = places.is_null()
    if missing.any():
        row = int(missing.arg_max() or 0)
        raise DataError(
            f"{path}: the {column} {brief(repr(table[column][row]))} is not among the {len(classes):,} classes "
            f"{_listed(classes)}. Columns of logits are `logit.<class>`, or `logit.<number>` with labels that are "
            "numbers."
        )
    return places.to_numpy().astype(np.int32)


def _group(table: pl.DataFrame) -> NDArray[np.str_] | None:
    """The unit of each row; one without a group is its own."""
    if "group" not in table.columns or table["group"].null_count() == len(table):
        return None
    own = pl.format("row {}", pl.int_range(pl.len()))
    return table.select(pl.coalesce("group", own))["group"].to_numpy()


def _splits(path: Path, table: pl.DataFrame) -> list[OwnSplit | None] | None:
    if "split" not in table.columns or table["split"].null_count() == len(table):
        return None
    names = {name: own_split(name, f"{path}, column `split`") for name in table["split"].unique().to_list()}
    return [names[name] for name in table["split"].to_list()]


def _weight(path: Path, table: pl.DataFrame) -> Floats | None:
    if "weight" not in table.columns:
        return None
    weight = np.asarray(table["weight"].to_numpy(), np.float64)
    if not (np.isfinite(weight).all() and (weight >= 0).all() and weight.any()):
        raise DataError(
            f"{path}: `weight` must be finite, not negative and not all 0: how many images in use a row stands for. "
            "Correct it, or leave the column out."
        )
    return weight
