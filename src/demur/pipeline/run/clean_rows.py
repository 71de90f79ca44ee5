"""The clean rows of a run as what is fixed by them reads them: columns that are needed, logits some rows at a time."""

from collections.abc import Collection, Iterator
from pathlib import Path

import polars as pl

from demur.metrics.confident_learning import Floats, LogitParts
from demur.pipeline.job import Job
from demur.pipeline.plan.conditions import CLEAN
from demur.policies import CertifiedBySite
from demur.policies.by_site import GROUP
from demur.records import LOGIT, META, read_pieces

ANSWERS = frozenset({"sample_id", "split", "label", "predicted", "error"})
"""What tells which rows were answered, and whether rightly."""

SIGNAL = "signal."


def columns_of(run: Path, condition: str, names: Collection[str]) -> pl.DataFrame:
    """Some columns of all rows of a condition, in planned order, each in one piece; those that there are.

    Raises:
        RunError: there are no rows of it, or a shard is not what the manifest says.
    """
    return pl.concat(read_pieces(run, condition, names.__contains__), how="diagonal").rechunk()


def clean_rows(job: Job, run: Path) -> pl.DataFrame:
    """The clean rows without logits, and with no more of the metadata than the sites of certificates.

    Raises:
        RunError: there are none, or a shard is not what the manifest says.
    """
    sites = {each.column for each in job.policies.values() if isinstance(each, CertifiedBySite)} - {GROUP}
    names = ANSWERS | {"group"} | {f"{META}{site}" for site in sites} | {f"{SIGNAL}{name}" for name in job.signals}
    return columns_of(run, CLEAN.name, names)


def stored_logits(job: Job, run: Path, clean: pl.DataFrame) -> LogitParts:
    """The logits of the clean rows that were answered, read from their shards again whenever they are gone through.

    Args:
        job: whose classes they are of.
        run: the folder.
        clean: all clean rows.
    """
    names = [f"{LOGIT}{k}" for k in range(len(job.classifier.classes))]

    def parts() -> Iterator[Floats]:
        for shard in read_pieces(run, CLEAN.name, {"error", *names}.__contains__):
            yield shard.filter(pl.col("error").is_null()).select(names).to_numpy()

    return LogitParts(rows=clean["error"].null_count(), classes=len(names), read=parts)
