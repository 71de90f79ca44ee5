"""Policies that follow from tune rows alone, fitted with the clean rows or once what they are to flag was measured."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from demur.errors import InputError
from demur.pipeline.job import Job, attacked_tune_rows, shard_rows
from demur.pipeline.plan.conditions import Condition
from demur.pipeline.run.clean_rows import ANSWERS, SIGNAL, columns_of
from demur.pipeline.run.guarantee_fits import readable_rows
from demur.pipeline.run.record_rows import measure_attack
from demur.policies import TuneFitted, dump_policy
from demur.policies.policy import Scores
from demur.records import ALIKE, wrong


def fit_on_clean(policy: TuneFitted, clean: pl.DataFrame) -> dict[str, Any]:
    """Plain JSON values: `policy` and how it was fitted, why it could not be (`unfitted`), or what it `awaits`."""
    tune = readable_rows(clean, "tune")
    if policy.purpose == "error":
        errors = wrong(tune)
        return _fit(policy, tune.filter(~errors), tune.filter(errors))
    return {"awaits": policy.purpose} if policy.needs_positives else _fit(policy, tune, tune.clear())


def fit_late(job: Job, clean: pl.DataFrame, folder: Path) -> list[dict[str, Any]]:
    """The policies that await attacked or corrupted tune images, as `fit_on_clean` has them, with their names.

    Args:
        job: with its signals fitted.
        clean: the clean rows, each image once.
        folder: of the run, where the corrupted rows are.
    """
    tune = readable_rows(clean, "tune")
    found = dict[str, pl.DataFrame | str]()
    entries = []
    for name, policy in waiting(job).items():
        if policy.purpose not in found:
            found[policy.purpose] = _corrupted(job, tune, folder) if policy.purpose == "shift" else _attacked(job, tune)
        flagged = found[policy.purpose]
        fit = {"unfitted": flagged} if isinstance(flagged, str) else _fit(policy, tune, flagged)
        entries.append({"name": name, **_with_conditions(fit, job, policy)})
    return entries


def _with_conditions(entry: dict[str, Any], job: Job, policy: TuneFitted) -> dict[str, Any]:
    """What the images that were to be flagged were put through is said too."""
    if "fit" not in entry:
        return entry
    names = [lead.name for lead in _lead(job)] if policy.purpose == "attack" else _corruptions(job)
    said = f"{entry['fit']['sentence']} Put through: {', '.join(names)}."
    return {**entry, "fit": {**entry["fit"], "sentence": said}}


def _corruptions(job: Job) -> list[str]:
    return [condition.name for condition in job.conditions if condition.kind == "corruption"]


def _lead(job: Job) -> list[Condition]:
    """The first attack that keeps its worst points, as where signals are judged, or else the first; none in a list."""
    attacks = [condition for condition in job.conditions if condition.kind == "attack"]
    return ([condition for condition in attacks if condition.keep == "worst"] or attacks)[:1]


def waiting(job: Job) -> Mapping[str, TuneFitted]:
    """The policies that must see attacked or corrupted tune images."""
    policies = {name: policy for name, policy in job.policies.items() if isinstance(policy, TuneFitted)}
    return {name: each for name, each in policies.items() if each.needs_positives and each.purpose != "error"}


def _fit(policy: TuneFitted, negative: pl.DataFrame, positive: pl.DataFrame) -> dict[str, Any]:
    try:
        found = policy.fit(_scores(policy, negative), _scores(policy, positive))
    except InputError as error:
        return {"unfitted": str(error)}
    return {"policy": dump_policy(found.policy), "fit": found.facts}


def _scores(policy: TuneFitted, rows: pl.DataFrame) -> Scores:
    return {name: np.asarray(rows[f"signal.{name}"].cast(pl.Float64).to_numpy()) for name in policy.signals}


def _corrupted(job: Job, tune: pl.DataFrame, folder: Path) -> pl.DataFrame | str:
    """The tune images under every corruption of the plan."""
    names = _corruptions(job)
    if not names:
        return "The plan has no corruption, so nothing shows how high a signal is on corrupted images. Add one."
    wanted = ANSWERS | {ALIKE} | {f"{SIGNAL}{name}" for name in job.signals}
    parts = (readable_rows(columns_of(folder, name, wanted), "tune") for name in names)
    rows = pl.concat([_alike(part) for part in parts], how="diagonal")
    return rows.filter(pl.col("sample_id").is_in(tune["sample_id"].to_list()))


def _alike(rows: pl.DataFrame) -> pl.DataFrame:
    """Those that were drawn alike: a threshold goes by how often scores are met, and rare strata have more."""
    return rows.filter(pl.col(ALIKE)) if ALIKE in rows.columns else rows


def _attacked(job: Job, tune: pl.DataFrame) -> pl.DataFrame | str:
    """The tune images that were answered rightly and are no more under the leading attack; in no record of the run."""
    lead = _lead(job)
    if not lead:
        return "The plan has no attack, so nothing shows how high a signal is on attacked images. Add one."
    rows = pl.concat(list(_parts(job, *lead)), how="diagonal") if len(attacked_tune_rows(job)) else tune.clear()
    rows = rows.filter(pl.col("error").is_null() & pl.Series(wrong(rows), dtype=pl.Boolean))
    return rows.filter(pl.col("sample_id").is_in(tune.filter(~wrong(tune))["sample_id"].to_list()))


def _parts(job: Job, lead: Condition) -> Iterator[pl.DataFrame]:
    rows, most = attacked_tune_rows(job), shard_rows(job.source.input_shape)
    for start in range(0, len(rows), most):
        yield measure_attack(job, lead, rows[start : start + most])
