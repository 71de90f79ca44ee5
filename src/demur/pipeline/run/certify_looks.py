"""Which look at the certify labels each guarantee of a plan is, noted down before a label is read."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from demur.data import Index
from demur.ledger import Inquiry, LabelledRows
from demur.openings import keep_rows, note, note_looks
from demur.pipeline.drawn_rows import Picked
from demur.pipeline.job import Job
from demur.policies import CERTIFIERS, PROCEDURE, CertifiedBySite, Look
from demur.signals import LOGITS, Fittable, needs_of
from demur.splits import Split


def looks_of_policies(job: Job, run: Path) -> Mapping[str, Look]:
    """The look of each policy that reads certify labels; an audit without one opens them too, for its tables."""
    found = statements(job)
    if not found:
        note(run, "certify", "audit")
        return {}
    numbers, scope = note_looks(run, "audit", inquiry(job), list(found.values()))
    return {
        text: Look(number, "runs" if scope == "runs" else "folder") for text, number in zip(found, numbers, strict=True)
    }


def keep_certify_rows(job: Job, run: Path) -> None:
    """Keep the hashed contents of the certify rows in the run folder, where they were lost since."""
    if statements(job):
        keep_rows(run, inquiry(job).rows)


def statements(job: Job) -> Mapping[str, str]:
    """What each policy that reads certify labels states: its text, and where it goes by sites those of the rows."""
    policies = {text: job.policies[text] for text in job.plan.policies.use}
    return {
        text: f"{text} {_column_sha256(job.index, policy.column)}" if isinstance(policy, CertifiedBySite) else text
        for text, policy in policies.items()
        if isinstance(policy, CERTIFIERS)
    }


def _column_sha256(index: Index, column: str) -> str:
    """Hash of what a column of the metadata says of each content; groups are in the rows themselves."""
    values = zip(index.contents, index.meta.get(column, index.groups), strict=True)
    return hashlib.sha256(json.dumps(sorted(map(list, values), key=str)).encode()).hexdigest()


def inquiry(job: Job) -> Inquiry:
    """All that makes a look at these labels: no engine, no attack, no folder, no shard.

    The rows that place thresholds and choose or fit the signal are part of the procedure, and so is the seed where a
    signal draws or is fitted.
    """
    seeded = any(isinstance(signal, Fittable) or needs_of(signal) != LOGITS for signal in job.signals.values())
    placing = _rows(job.index, "fit"), _rows(job.index, "tune")
    facts = [PROCEDURE, *(rows.sha256 for rows in placing), job.plan.seed if seeded else None, *_sites(job)]
    return Inquiry(
        rows=_rows(job.index, "certify"),
        model=job.classifier.sha256,
        menu=tuple(job.signals) if job.plan.signals.certify is None else (job.plan.signals.certify,),
        procedure=hashlib.sha256(json.dumps(facts).encode()).hexdigest(),
        source=job.plan.data.source,
    )


def _sites(job: Job) -> list[str]:
    """Where the images come from, by the columns that thresholds of their own go by."""
    columns = {policy.column for policy in job.policies.values() if isinstance(policy, CertifiedBySite)}
    told = {column: [*job.index.meta[column]] for column in sorted(columns) if column in job.index.meta}
    return [hashlib.sha256(json.dumps(told).encode()).hexdigest()] if told else []


def _rows(index: Index, split: Split) -> LabelledRows:
    """The readable rows of a split, with their labels and groups."""
    chosen = np.intersect1d(index.rows_of(split), index.readable, assume_unique=True)
    return LabelledRows.of(
        Picked(index.contents, chosen),
        index.labels[chosen].tolist(),
        [index.groups[row] for row in chosen],
    )
