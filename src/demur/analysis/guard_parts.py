"""What the guarantee of a run is about, counted on rows of its records."""

import polars as pl

from demur.analysis.run_folder import Run, score
from demur.policies import CertifiedPolicy, Sited
from demur.policies.keeping import LabelledScores, Part, parts_of
from demur.records import groups, wrong


def guard_parts(run: Run, guard: CertifiedPolicy, rows: pl.DataFrame) -> tuple[Part, ...]:
    """The shares that the guarantee of a guard is about, on these rows."""
    return parts_of(
        guard,
        LabelledScores(
            scores={name: score(rows, name) for name in guard.signals},
            wrong=wrong(rows),
            labels=rows["label"].to_numpy(),
            groups=groups(rows),
            ids=rows["sample_id"].to_list(),
            sites=run.sites(guard.column, rows).to_numpy() if isinstance(guard, Sited) else None,
        ),
    )
