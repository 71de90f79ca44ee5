"""Which look at its labels the certificate of a table is, counted in a ledger beside it."""

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from demur.ledger import Inquiry, LabelledRows
from demur.pipeline.table.answers import Answers
from demur.pipeline.table.table_splits import table_splits
from demur.policies import Look, count_look
from demur.policies.tolerance import Tolerance

LEDGER = "looks.jsonl"
"""The file beside a table in which looks at its labels, and at those of its neighbours, are counted."""

PROCEDURE = "table 1"
"""How a table is split and certified; another number where that changes, for then the same table is another look."""

_ODD = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def table_look(
    answers: Answers, statement: str, signal: str | None, tolerance: Tolerance, ledger: Path | None = None
) -> Look:
    """Which look this is, noted down if it is new.

    Looks are one series where tables share certify rows, by `sample_id` or else by what the model answered, or have
    the same file name.

    Args:
        answers: the table.
        statement: what is to be guaranteed, as a plan names it.
        signal: the score that is to be used; None where it is chosen among all.
        tolerance: how far scores may move.
        ledger: where looks are counted; by default `looks.jsonl` beside the table.

    Raises:
        RunError: the ledger is damaged or cannot be written.
    """
    splits = table_splits(answers)
    inquiry = Inquiry(
        rows=_labelled(answers, np.flatnonzero(splits == "certify")),
        model=_scores_sha256(answers),
        menu=answers.signals if signal is None else (signal,),
        procedure=f"{PROCEDURE}, {tolerance}, {_splits_sha256(splits)}",
        source=answers.path.name,
    )
    path = answers.path.resolve().parent / LEDGER if ledger is None else ledger
    return count_look(path, inquiry, statement)


def _splits_sha256(splits: NDArray[np.str_]) -> str:
    return hashlib.sha256("\x1f".join(splits.tolist()).encode()).hexdigest()


def _labelled(answers: Answers, rows: NDArray[np.intp]) -> LabelledRows:
    """The rows with their labels and groups; their order does not matter."""
    ids = row_ids(answers)[rows]
    order = np.argsort(ids, kind="stable")
    names = np.array(answers.classes)[answers.label[rows][order]]
    groups = [] if answers.group is None else answers.group[rows][order].tolist()
    digest = hashlib.sha256(ids[order].tobytes())
    digest.update("\x1f".join([*names.tolist(), "\x1e", *groups]).encode())
    return LabelledRows(np.unique(ids), digest.hexdigest())


def row_ids(answers: Answers) -> NDArray[np.uint64]:
    """A hash of what each row is: its `sample_id`, else what was answered to it."""
    if answers.sample_id is not None:
        digests = (hashlib.blake2b(name.encode(), digest_size=8).digest() for name in answers.sample_id)
        return np.frombuffer(b"".join(digests), "<u8").astype(np.uint64)
    columns = [answers.predicted, *answers.own_scores.values()]
    columns += [] if answers.logits is None else [answers.logits[:, k] for k in range(answers.logits.shape[1])]
    found = np.zeros(len(answers), np.uint64)
    for column in columns:
        found = _mixed(found + np.ascontiguousarray(column, np.float64).view(np.uint64) + _ODD)
    return found


def _mixed(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64: a bijection in which every bit moves every other. Steele et al. (2014)."""
    x = (x ^ (x >> np.uint64(30))) * _FIRST
    x = (x ^ (x >> np.uint64(27))) * _SECOND
    return x ^ (x >> np.uint64(31))


def _scores_sha256(answers: Answers) -> str:
    """The hash that stands for the model: all answers and scores."""
    digest = hashlib.sha256()
    for array in (answers.predicted, answers.logits, *answers.own_scores.values(), answers.weight):
        digest.update(b"\x1e" if array is None else np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
