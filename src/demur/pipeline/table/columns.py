"""The columns of a table of answers that say something, from Parquet or CSV, as texts and numbers."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from demur.errors import DataError, brief
from demur.parquet_files import DAMAGED, damage, parquet_schema
from demur.records import FORMULA
from demur.registry.regular_files import MIB, reason

LOGIT, SIGNAL = "logit.", "signal."
_TEXT = ("label", "predicted", "group", "split", "sample_id")
_NUMBERS = ("score", "weight")
_LARGEST = 4_096 * MIB
_HEAD = 1 * MIB
_WIDEST = 100_000


def read_columns(path: Path) -> pl.DataFrame:
    """Texts as texts (2.0 as 2), numbers as float64 (NaN where there is none), logits as float32.

    Raises:
        DataError: it is no such file, or a cell of numbers holds none.
    """
    return _parquet(path) if path.suffix.lower() in {".parquet", ".pq"} else _csv(path)


def _wanted(columns: Sequence[str]) -> list[str]:
    return [name for name in columns if name in {*_TEXT, *_NUMBERS} or name.startswith((LOGIT, SIGNAL))]


def _parquet(path: Path) -> pl.DataFrame:
    schema = parquet_schema(path, "of answers")
    wanted = _wanted(schema.names())
    for name in wanted:
        kind = schema[name]
        plain = kind.is_numeric() or isinstance(kind, (pl.Boolean, pl.Null))
        if name not in _TEXT and not plain:
            raise DataError(f"the column {name!r} of {path} holds {brief(str(kind))}; it must hold one number a row.")
        if name in _TEXT and not (plain or isinstance(kind, (pl.String, pl.Categorical, pl.Enum))):
            raise DataError(f"the column {name!r} of {path} holds {brief(str(kind))}; it must hold one text a row.")
    try:
        return _typed(path, pl.scan_parquet(path, glob=False).select(wanted).collect())
    except DAMAGED as error:
        raise damage(path, error) from None


def _csv(path: Path) -> pl.DataFrame:
    try:
        if not path.is_file() or path.stat().st_size > _LARGEST:
            raise DataError(
                f"{path} is no regular file of at most {_LARGEST // MIB:,} MiB; expected a CSV or Parquet file. Check "
                "the path, or write Parquet."
            )
        with path.open("rb") as file:
            first = file.read(_HEAD).partition(b"\n")[0].decode("utf-8-sig")
        separator = max(",;\t", key=first.count)
        columns = [name.strip().strip('"') for name in first.split(separator)]
        if len(columns) > _WIDEST:
            raise DataError(f"{path} has {len(columns):,} columns; at most {_WIDEST:,} are read. Write Parquet.")
        wanted = _wanted(columns)
        found = pl.read_csv(
            path,
            separator=separator,
            columns=[columns.index(name) for name in wanted],
            infer_schema=False,
            truncate_ragged_lines=False,
        )
        return _typed(path, found.rename(dict(zip(found.columns, wanted, strict=True))))
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 ({error.reason}). Save it as such.") from None
    except OSError as error:
        raise DataError(f"cannot read {path}: {reason(error)}. Check the path.") from None
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise DataError(
            f"cannot read {path} as a table of comma, semicolon or tab separated cells: "
            f"{brief(str(error).partition(chr(10))[0])}. Check the file."
        ) from None


def _typed(path: Path, table: pl.DataFrame) -> pl.DataFrame:
    found = table.with_columns(
        *(_text(table, name) if name in _TEXT else _number(table, name) for name in table.columns)
    )
    for name in (each for each in table.columns if each not in _TEXT and table.schema[each] == pl.String()):
        odd = found[name].is_null() & table[name].is_not_null() & (table[name].str.strip_chars(" \t") != "")
        if odd.any():
            row = int(odd.arg_max() or 0)
            raise DataError(
                f"{path}, row {row}: {name!r} must be a number; got {brief(repr(table[name][row]))}. Correct it, or "
                "leave the cell empty."
            )
    return found.with_columns(pl.col(name).fill_null(float("nan")) for name in table.columns if name not in _TEXT)


def _text(table: pl.DataFrame, name: str) -> pl.Expr:
    kind, column = table.schema[name], pl.col(name)
    if kind.is_float():
        whole = column == column.floor()
        text = (
            pl.when(whole).then(column.cast(pl.Int64, strict=False).cast(pl.String)).otherwise(column.cast(pl.String))
        )
    elif isinstance(kind, pl.Boolean):
        text = column.cast(pl.Int8).cast(pl.String)
    elif kind.is_integer():
        return column.cast(pl.String)
    else:
        text = column.cast(pl.String)
    plain = text.str.strip_chars(" \t")
    if _holds(table[name], "'"):
        plain = plain.str.replace(f"^'({FORMULA[1:]})", "${1}")
    if _holds(table[name], ".0") or not isinstance(kind, pl.String):
        plain = plain.str.replace(r"^(-?\d+)\.0+$", "${1}")
    return pl.when(plain == "").then(None).otherwise(plain).alias(name)


def _holds(column: pl.Series, part: str) -> bool:
    """Whether a text has it anywhere, which is far quicker to say than a pattern is to try."""
    return column.dtype == pl.String() and bool(column.str.contains(part, literal=True).any())


def _number(table: pl.DataFrame, name: str) -> pl.Expr:
    kind = pl.Float32() if name.startswith(LOGIT) else pl.Float64()
    column = pl.col(name)
    text = column.str.strip_chars(" \t") if table.schema[name] == pl.String() else column
    return text.cast(kind, strict=False).alias(name)
