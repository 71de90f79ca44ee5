"""From a finished run to a guard: its policy as it stands, the signals it reads, and what they were built on."""

import io
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial, reduce
from importlib.metadata import version
from operator import or_
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from PIL import Image

from demur import seal
from demur.data import Source
from demur.data.decoding import HOSTILE, Encoded
from demur.data.relabelled import as_opened
from demur.errors import RunError
from demur.files import read_json
from demur.guard.card import SPLITS, TRAIN, BuiltOn, Card, Confirmation, check_ahead
from demur.guard.golden_vectors import Encoded as File
from demur.guard.golden_vectors import as_file, write_golden
from demur.guard.guard import Guard
from demur.guard.guard_folder import check_place, write_guard
from demur.guard.intake import Intake
from demur.guard.model_files import Embedding, write_model
from demur.metrics.binomial import clopper_pearson
from demur.openings import copy_looks
from demur.pictures.decode_rules import Rules
from demur.pipeline.halving import excluding
from demur.pipeline.job import Job
from demur.pipeline.plan.conditions import CLEAN
from demur.pipeline.plan.plan_file import read_plan
from demur.pipeline.run.clean_rows import ANSWERS, SIGNAL, columns_of
from demur.pipeline.run.crashes import known_crashes
from demur.pipeline.run.deadly_files import as_read_before, lost_ids
from demur.pipeline.run.fitting import fit_signals
from demur.pipeline.run.kept_signals import stored_signals
from demur.pipeline.run.mending import FIXED, POLICIES, TOLERANCES
from demur.pipeline.run.prepare import StandIns, prepared_job
from demur.policies import CERTIFIED_POLICIES, CertifiedPolicy, SiteThresholds, Tolerance, load_policy
from demur.policies.by_site import GROUP
from demur.policies.certified_policies import void_when
from demur.policies.keeping import LabelledScores, judged, parts_of
from demur.records import LOGIT, META, groups, read_pieces, wrong
from demur.signals import LOGITS, Fittable, Signal, needs_of
from demur.signals.temperature import calibrated

GOLDEN = 32
"""Pictures whose decisions are kept with a guard."""

EMBEDDINGS: Mapping[str | None, Embedding] = {None: "none", "weights": "weights", "program": "program"}
"""What of a model can be put into the folder of its guard, as it is asked for."""


@dataclass(frozen=True, kw_only=True)
class GuardChoices:
    """What is to be said of a guard beside its run.

    Attributes:
        embedding: what of the model goes into its folder.
        expires: the last day on which it answers, ISO 8601; None for no end.
        golden: how many pictures are kept with their decisions; they are copies of the user's images.
    """

    embedding: Embedding = "none"
    expires: str | None = None
    golden: int = GOLDEN

    def check(self, out: Path) -> None:
        """Refuse a last day that is over and a place that is taken; asked before anything is measured.

        Raises:
            InputError: one of them.
        """
        check_ahead(self.expires)
        check_place(out)


def guard_of_run(run: Path, out: Path, choices: GuardChoices, others: StandIns = StandIns()) -> str:  # noqa: B008 - frozen
    """Write the guard of a finished run that issued a certificate; the hash of its list of files.

    Its decisions are the audit's, row by row, but for scores within the stated tolerance of a bound.

    Args:
        run: a run folder.
        out: the folder of the guard.
        choices: what is to be said of it besides.
        others: objects that stand in for the model and the images at the addresses of the plan.

    Raises:
        RunError: the run is not finished, was changed, or issued no certificate.
        InputError: model or images are not those of the run, or the folder belongs to something else.
    """
    choices.check(out)
    _check_fixed(run)
    entry = _certified_entry(run)
    job = _job_of(run, others)
    policy = load_policy(entry["policy"])
    assert isinstance(policy, CERTIFIED_POLICIES)
    clean = _clean_rows(run, policy)
    guard = Guard(
        classifier=job.classifier,
        signals=_signals(run, job, policy.signals),
        policy=policy,
        tolerances=_tolerances(run),
        temperature=_temperature(run, len(job.classifier.classes)),
        intake=Intake(rules=_rules(job.source), input_shape=job.classifier.input_shape),
        card=_card(job, clean, policy, entry, choices),
        needs=reduce(or_, (needs_of(job.signals[name]) for name in policy.signals), LOGITS),
    )
    rows = _golden_rows(clean, policy.signals[0], choices.golden)
    pictures = [_file(job, row) for row in rows]
    sites = _sites(policy, clean, rows)
    return write_guard(
        out,
        guard,
        built_on=_built_on(job, clean, policy.signals),
        model=lambda folder: write_model(folder, job.classifier, job.model, choices.embedding),
        looks=lambda ledger: copy_looks(run, ledger),
        golden=lambda folder: write_golden(folder, guard, pictures, sites),
    )


def _check_fixed(run: Path) -> None:
    """Refuse a run that was changed, and one of which nothing vouches for the tolerances or the policies.

    Raises:
        RunError: the file is named.
    """
    sealed = seal.verify(run)
    for name in FIXED:
        if sealed is not None and name not in sealed:
            raise seal.changed(run, name)


def _certified_entry(run: Path) -> Mapping[str, Any]:
    """The first policy of a run that has a certificate."""
    entries = read_json(run / POLICIES)
    refusal = "Its plan asks for none: audit with --risk."
    for entry in entries:
        if isinstance(load_policy(entry["policy"]) if "policy" in entry else None, CERTIFIED_POLICIES):
            return entry
        refusal = entry["refusal"]["sentence"] if "refusal" in entry else refusal
    raise RunError(f"{run} issued no certificate, so there is nothing a guard could keep. {refusal}")


def _job_of(run: Path, others: StandIns) -> Job:
    """The job of a run again, which must be of the same model and images."""
    facts, plan = read_json(run / "run.json"), read_plan(run / "plan.toml")
    if plan.guard is not None:
        raise RunError(
            f"{run} audited the guard in {plan.guard.folder}, and its certificate is that guard's, not of these "
            "images. Take that folder, or certify it on new labels: demur guard certify."
        )
    job = prepared_job(plan, others, lambda _sentence: None, partial(as_read_before, run), lost=lost_ids(run))
    for what, before, now in (
        ("model", facts["model_sha256"], job.classifier.sha256),
        ("images", facts["data_sha256"], job.index.sha256),
    ):
        if before != now:
            raise RunError(
                f"{run} was made with other {what} than there are now (their hash differs), so its certificate is not "
                f"about these. Bring the {what} back, or audit again."
            )
    return excluding(job, known_crashes(job, run))


def _signals(run: Path, job: Job, names: Sequence[str]) -> dict[str, Signal]:
    """The signals of a policy, fitted as the run fitted them."""
    wanted = {name: job.signals[name] for name in names}
    if not any(isinstance(signal, Fittable) for signal in wanted.values()):
        return {name: signal for name, signal in wanted.items() if not isinstance(signal, Fittable)}
    kept = stored_signals(job, run) or fit_signals(job).fitted
    fitted = {name: kept[name] if isinstance(signal, Fittable) else signal for name, signal in wanted.items()}
    return {name: signal for name, signal in fitted.items() if not isinstance(signal, Fittable)}


def _tolerances(run: Path) -> dict[str, Tolerance]:
    return {entry["name"]: Tolerance.load(entry["tolerance"]) for entry in read_json(run / TOLERANCES)}


def _clean_rows(run: Path, policy: CertifiedPolicy) -> pl.DataFrame:
    """The clean rows, with the scores that a policy reads and the sites that it goes by, if it does."""
    sites = {f"{META}{policy.column}"} if isinstance(policy, SiteThresholds) else set[str]()
    return columns_of(run, CLEAN.name, ANSWERS | {"group"} | sites | {f"{SIGNAL}{name}" for name in policy.signals})


def _readable(clean: pl.DataFrame, split: str) -> pl.DataFrame:
    return clean.filter((pl.col("split") == split) & pl.col("error").is_null())


def _temperature(run: Path, classes: int) -> float:
    """The temperature at which the answers to tune rows are calibrated; of no others are logits held."""
    names = [f"{LOGIT}{k}" for k in range(classes)]
    shards = read_pieces(run, CLEAN.name, {"split", "error", "label", *names}.__contains__)
    tune = pl.concat([_readable(shard, "tune") for shard in shards], how="diagonal")
    logits = tune.select(names).to_numpy()
    return calibrated(
        torch.from_numpy(logits.astype(np.float64)), torch.from_numpy(tune["label"].to_numpy().astype("int64"))
    )


def _rules(source: Source) -> Rules:
    pictures = as_opened(source)
    return pictures.rules if isinstance(pictures, Encoded) else Rules()


def _card(
    job: Job, clean: pl.DataFrame, policy: CertifiedPolicy, entry: Mapping[str, Any], choices: GuardChoices
) -> Card:
    certify = _readable(clean, "certify")
    counts = certify["label"].value_counts().sort("label")
    return Card(
        name=job.classifier.name,
        data=job.plan.data.address,
        data_sha256=job.index.sha256,
        plan_sha256=job.plan.sha256,
        demur=version("demur"),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        rows={split: len(_readable(clean, split)) for split in SPLITS},
        class_mix={job.classifier.classes[label]: count for label, count in counts.iter_rows()},
        statement=entry["name"],
        signals={name: _signal_facts(job, name) for name in policy.signals},
        chosen=_choice(job, entry["signal"]),
        void_when=void_when(policy),
        confirmation=_confirmation(policy, _readable(clean, "test")),
        expires=choices.expires,
    )


def _confirmation(policy: CertifiedPolicy, test: pl.DataFrame) -> Confirmation | None:
    """The policy counted on the untouched test split; None where there is none."""
    if not len(test):
        return None
    rows = LabelledScores(
        scores={name: test[f"signal.{name}"].cast(pl.Float64).to_numpy() for name in policy.signals},
        wrong=wrong(test),
        labels=test["label"].to_numpy(),
        groups=groups(test),
        ids=test["sample_id"].to_list(),
        sites=_site_names(policy, test),
    )
    parts = parts_of(policy, rows)
    answers, errors, of = (sum(getattr(part, name) for part in parts) for name in ("answers", "errors", "of"))
    risk = clopper_pearson(errors, of)
    ends = (risk.value, risk.low, risk.high) if of else (None, None, None)
    unit = policy.certificate.unit
    return Confirmation(
        images=sum(part.n for part in parts),
        answered=answers,
        wrong=errors,
        risk=ends,
        unit=unit,
        verdict=judged(parts),
    )


def _signal_facts(job: Job, name: str) -> dict[str, str]:
    signal = job.signals[name]
    return {"sentence": (signal.__doc__ or name).partition("\n")[0], "unit": signal.unit}


def _choice(job: Job, name: str) -> str:
    """How the signal of the certificate was chosen, in words."""
    if len(job.signals) == 1 or job.plan.signals.certify is not None:
        return f"{name} was named beforehand"
    return f"{name} was chosen by the labels of tune images among {', '.join(job.signals)}; certify labels had no part"


def _built_on(job: Job, clean: pl.DataFrame, signals: Sequence[str]) -> BuiltOn:
    index = job.index
    tune = _readable(clean, "tune")
    contents = {split: tuple(index.contents[row] for row in _positions(job, split)) for split in SPLITS}
    return BuiltOn(
        contents={**contents, TRAIN: _hashes(job.classifier.learned_from)},
        scores={name: tune[f"signal.{name}"].cast(pl.Float64).to_numpy() for name in signals},
        wrong=wrong(tune),
    )


def _hashes(contents: Collection[str]) -> tuple[str, ...]:
    """Those that are hashes; what else a list of training images says is of no image."""
    return tuple(sorted(each for each in contents if re.fullmatch("[0-9a-f]{64}", each)))


def _positions(job: Job, split: str) -> list[int]:
    return [row for row, own in enumerate(job.index.splits) if own == split and job.index.errors[row] is None]


def _golden_rows(clean: pl.DataFrame, signal: str, count: int) -> list[int]:
    """Rows of the clean table from the surest to the least sure, untouched ones where there are any."""
    rows = clean.with_row_index("row").filter(pl.col("error").is_null())
    test = rows.filter(pl.col("split") == "test")
    ordered = (test if len(test) else rows).sort(f"signal.{signal}", "sample_id")
    places = np.unique(np.linspace(0, len(ordered) - 1, min(count, len(ordered))).astype(np.intp))
    return ordered["row"].to_numpy()[places].tolist()


def _file(job: Job, row: int) -> File:
    """An image as a file: the user's own where there is one, else one that reads the same."""
    pictures, position = as_opened(job.source), int(job.index.positions[row])
    if isinstance(pictures, Encoded):
        content = pictures.picture(position)
        return f".{_format(content)}", content
    return as_file(job.load([row])[0][0].cpu())


def _format(content: bytes) -> str:
    try:
        with Image.open(io.BytesIO(content)) as picture:
            return str(picture.format or "image").lower()
    except HOSTILE:
        return "image"


def _site_names(policy: CertifiedPolicy, rows: pl.DataFrame) -> NDArray[Any] | None:
    """Where rows come from, for a policy that goes by that; None where that is not known."""
    if not isinstance(policy, SiteThresholds):
        return None
    column = policy.column if policy.column == GROUP else f"{META}{policy.column}"
    return rows[column].to_numpy() if column in rows.columns else np.full(len(rows), None)


def _sites(policy: CertifiedPolicy, clean: pl.DataFrame, rows: Sequence[int]) -> list[str | None] | None:
    names = _site_names(policy, clean)
    return None if names is None else [None if names[row] is None else str(names[row]) for row in rows]
