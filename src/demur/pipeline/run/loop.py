"""An audit from plan to records: the loop over conditions and shards."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from demur import seal
from demur.classifier import BoundClassifier
from demur.containment import contained
from demur.data import Source
from demur.files import read_json
from demur.foreign import blamed
from demur.pipeline.drawn_rows import attacked_rows
from demur.pipeline.halving import excluding, without_failures
from demur.pipeline.image_similarity import near_duplicate_facts, neighbour_facts, printed_rows
from demur.pipeline.job import Job, Shard, attacked_tune_rows, shards
from demur.pipeline.plan.conditions import CLEAN
from demur.pipeline.plan.plan_file import Plan
from demur.pipeline.run.begun import begun_run, say_harm
from demur.pipeline.run.certify_looks import keep_certify_rows, looks_of_policies
from demur.pipeline.run.clean_rows import clean_rows, columns_of
from demur.pipeline.run.crashes import deadly_rows
from demur.pipeline.run.effort import Effort, Progress
from demur.pipeline.run.extra_facts import (
    curve_facts,
    norm_facts,
    overlay_facts,
    sanity_facts,
    save_corruption_thumbs,
    save_suspects,
    save_thumbs,
)
from demur.pipeline.run.fitting import (
    choose_for_certificates,
    fit_facts,
    fit_policies,
    fit_rows,
    fitted_signals,
    prices,
    seconds_per_image,
    without_copies,
)
from demur.pipeline.run.guard_attack_facts import NAME as GUARD_ATTACK
from demur.pipeline.run.guard_attack_facts import certified_policy, guard_attack_facts, guard_attack_sizes, no_attack
from demur.pipeline.run.kept_signals import FITS, damaged_signals
from demur.pipeline.run.mending import FIXED, LATE_POLICIES, POLICIES, TOLERANCES, of_policies
from demur.pipeline.run.out_folders import refuse_others, refuse_part
from demur.pipeline.run.picture_sheets import picture_facts
from demur.pipeline.run.planned import planned
from demur.pipeline.run.planned_effort import write_planned_of_parts, write_spent
from demur.pipeline.run.prepare import StandIns
from demur.pipeline.run.proof_facts import proof_facts
from demur.pipeline.run.resources import Resources
from demur.pipeline.run.run_writer import RunWriter, try_folder
from demur.pipeline.run.severity_pictures import save_severity_pictures
from demur.pipeline.run.smoothing_facts import smoothing_facts
from demur.pipeline.run.threshold_fits import fit_late, waiting
from demur.pipeline.sanity import sample_size, trials
from demur.pipeline.sanity.preprocessing_probe import preprocessing_facts, probe_rows
from demur.signals import Fittable

_WHOLE = "an audit without --shard"


def run_plan(
    plan: Plan,
    out: Path | None,
    progress: Progress,
    source: Source | None = None,
    classifier: BoundClassifier | None = None,
    device: str | None = None,
    unknown: Source | None = None,
    resources: Resources | None = None,
) -> Path:
    """Run a plan and return its run folder; what an earlier, interrupted run measured is kept.

    Objects that are given stand in for those at the plan's addresses. Another device gives the same decisions, and
    scores to 1e-4, so it is no part of the plan; nor are the `resources` of the machine that it may use.

    Raises:
        InputError: something given cannot be used; nothing was measured.
        RunError: the folder belongs to another run.
    """
    if out is not None:
        refuse_others(out)
        refuse_part(out, _WHOLE)
        try_folder(out)
    with blamed(), contained():
        others = StandIns(source=source, classifier=classifier, unknown=unknown, device=device)
        return _run(plan, out, progress, others, others.settled(resources))


def _run(plan: Plan, out: Path | None, progress: Progress, others: StandIns, resources: Resources) -> Path:
    with begun_run(plan, out, progress, others, resources) as (job, folder, checks, notes):
        refuse_part(folder.path, _WHOLE)
        if not folder.is_finished(planned(job, shards(job))):
            say_harm(folder, progress, notes)
            folder.write_json("facts/preflight.json", checks)
            folder.times.note_beginning()
            _note_preprocessing(job, folder, progress)
            _measure(job, folder, progress, resources)
            write_spent(folder)
            folder.log("finished", seconds=round(folder.start.seconds, 1))
            with folder.times.of("manifest"):
                folder.finish()
        else:
            folder.end_journal()  # a process that was killed while it finished may have left some of it
    return folder.path


def _measure(job: Job, folder: RunWriter, progress: Progress, resources: Resources) -> None:
    """Everything that is not there yet: clean shards, what is fixed by them, then the others and what is no row."""
    folder.log("started")
    work = list(shards(job))
    done = folder.intact(planned(job, work))
    missing = [task for task in work if task.name not in done]
    folder.reopen(task.name for task in missing)
    fitted = job
    there = all(map(folder.has, (*FIXED, *_files_of_signals(job)))) and not damaged_signals(folder.path)
    if missing or not there:
        fitted = fit_first(job, folder, work, progress)
    with Effort(fitted, folder, progress, resources) as effort:
        effort.begin(work, missing)
        write_planned_of_parts(folder, work)
        effort.measure([task for task in missing if task.condition == CLEAN])
        with folder.timed("policies"):
            freeze_policies(fitted, folder)
        lost = lost_rows(job, folder.path)
        rest = [task.without(lost) for task in missing if task.condition != CLEAN]
        if folder.is_careful:
            effort.measure(rest)
            rest, lost = [], {**lost, **deadly_rows(job, folder)}
        answered = excluding(job, lost)
        guarded = excluding(fitted, lost)
        effort.measure(rest, list(_facts_beside_rows(job, answered, guarded, folder, progress)))
    _fit_late(excluding(fitted, lost), folder, progress)
    _note(folder, "pictures", progress, "keeping pictures", lambda: picture_facts(answered, folder))


def _facts_beside_rows(
    job: Job, answered: Job, guarded: Job, folder: RunWriter, progress: Progress
) -> Iterator[Callable[[], None]]:
    """What is noted that is no row, in steps: of all images, of those that the model answers, and of the guard."""
    yield partial(_note_similarity, job, folder, progress)
    yield partial(_note_answers, answered, folder, progress, "trials", "trying the measurement itself", _trials)
    yield partial(_note_sections, answered, folder, progress)
    yield partial(_note_guard_attack, guarded, folder, progress)


def _note_similarity(job: Job, folder: RunWriter, progress: Progress) -> None:
    """What images are nearly the same, and whether they came in bursts; they are read once for both."""
    printed = cache(partial(printed_rows, job.source, job.index, job.kept, folder.path))
    near = partial(near_duplicate_facts, job.source, job.index, job.unknown, scratch=folder.path)
    _note(folder, "near_duplicates", progress, "looking for near-duplicates", lambda: near(printed()))
    if job.index.group_count is None:
        bursts = partial(neighbour_facts, job.source, job.index)
        _note(folder, "neighbours", progress, "looking for bursts", lambda: bursts(printed()))


def _note(folder: RunWriter, name: str, progress: Progress, what: str, facts: Callable[[], object]) -> None:
    """Write `facts/<name>.json`, once."""
    path = f"facts/{name}.json"
    if not folder.has(path):
        progress.say(what)
        with folder.timed(name):
            folder.write_json(path, facts())


def _note_preprocessing(job: Job, folder: RunWriter, progress: Progress) -> None:
    """How tune images are answered under the usual mistakes of preprocessing, where there are any to ask about."""
    rows = probe_rows(job)
    if len(rows):
        tell = partial(_tell_failure, folder, "preprocessing")
        work = partial(without_failures, job, rows, lambda job, _rows: preprocessing_facts(job), tell)
        _note(folder, "preprocessing", progress, "trying other preprocessing", work)


def _note_sections(job: Job, folder: RunWriter, progress: Progress) -> None:
    """What searches, maps and norms leave that is no row."""
    note = partial(_note_answers, job, folder, progress)
    if job.plan.epsilon.curves and any(condition.line for condition in job.sections):
        note("curves", "following confidence along rays", curve_facts)
    if any(condition.map for condition in job.sections):
        note("sanity", "comparing maps with those of random weights", sanity_facts)
        note("overlays", "drawing maps", lambda job: overlay_facts(job, folder))
    if job.plan.lipschitz.images:
        note("lipschitz", "measuring norms", norm_facts)
    if job.plan.proof.images:
        note("proof", "proving answers", proof_facts)
    if job.plan.smoothing and job.plan.smoothing.images:
        note("smoothing", "asking under noise", smoothing_facts)


def _note_guard_attack(job: Job, folder: RunWriter, progress: Progress) -> None:
    """What attackers of the guard find, size by size, so that a run that is stopped keeps the sizes it has."""
    found = certified_policy(read_json(folder.path / POLICIES))
    if found is None or not job.plan.guard_attack.images or folder.has(f"facts/{GUARD_ATTACK}.json"):
        return
    name, policy = found
    reason, sizes = no_attack(job, policy), guard_attack_sizes(job)
    job = job if reason else fitted_signals(job, folder)
    for at, eps in enumerate(() if reason else sizes):
        work = partial(guard_attack_facts, policy=policy, eps=eps)
        _note_answers(job, folder, progress, f"{GUARD_ATTACK}_{at}", "attacking the guard", work)
    effort = {"steps": job.plan.guard_attack.steps, "restarts": job.plan.guard_attack.restarts}
    folder.write_json(f"facts/{GUARD_ATTACK}.json", {"policy": name, "eps": sizes, "reason": reason, **effort})


def _note_answers(
    job: Job, folder: RunWriter, progress: Progress, name: str, what: str, facts: Callable[[Job], object]
) -> None:
    """Write facts that the model is run for, without the rows on which it fails."""
    plan = job.plan
    count = max(sample_size(plan.conditions.attacked), plan.epsilon.images, plan.attribution.images)
    smoothed = plan.smoothing.images if plan.smoothing else 0
    optional = (plan.lipschitz.images, plan.proof.images, plan.guard_attack.images, smoothed)
    rows = job.first_rows(max(count, *(images or 0 for images in optional)))
    work = partial(without_failures, job, rows, lambda job, _rows: facts(job), partial(_tell_failure, folder, name))
    _note(folder, name, progress, what, work)


def _tell_failure(folder: RunWriter, what: str, why: str, lost: Mapping[int, str]) -> None:
    folder.log("the model failed and was run again", what=what, why=why, rows=len(lost))


def _trials(job: Job) -> dict[str, Any]:
    count = job.plan.conditions.attacked
    return trials(job, attacked_rows(job.index, min(count, sample_size(count))))


def lost_rows(job: Job, run: Path) -> dict[int, str]:
    """The rows on which the model failed as they are, and why, by the clean rows in a run folder."""
    errors = columns_of(run, CLEAN.name, {"error"})["error"]
    failed = {row: errors[row] for row in errors.is_not_null().arg_true().to_list()}
    return {row: error for row, error in failed.items() if job.index.errors[row] is None}


def _files_of_signals(job: Job) -> Iterator[str]:
    """What is written of signals: what fitting found, if one of them is fitted, and what each costs."""
    if any(isinstance(signal, Fittable) for signal in job.signals.values()):
        yield FITS
    yield "timings/signals.json"


def fit_first(job: Job, folder: RunWriter, work: Sequence[Shard], progress: Progress) -> Job:
    """Say what signals will cost, and fit those that must be fitted."""
    scored = sum(len(task.rows) for task in work if task.condition.scored)
    for sentence in prices(job.signals, scored, len(job.index.rows_of("fit"))):
        progress.say(sentence)
    again = partial(_tell_failure, folder)
    with folder.timed("fitting signals"):
        fitted = without_failures(
            job, fit_rows(job.index), lambda job, _rows: fitted_signals(job, folder).fitted, partial(again, "fit")
        )
    job = replace(job, fitted=fitted)
    if job.fitted:
        folder.write_json(FITS, fit_facts(job))
    first = job.index.readable[: job.plan.batch]
    with folder.timed("timing signals"):
        timing = without_failures(job, first, lambda job, _rows: seconds_per_image(job), partial(again, "timing"))
    folder.write_json("timings/signals.json", timing)
    return job


def _fit_late(job: Job, folder: RunWriter, progress: Progress) -> None:
    """Fit the policies that await attacked or corrupted tune images, once those are measured."""
    if not waiting(job) or folder.has(LATE_POLICIES):
        return
    progress.say("fitting thresholds against attacked or corrupted images")
    job = fitted_signals(job, folder)
    clean = without_copies(job.index, clean_rows(job, folder.path))
    with folder.timed("late_policies"):
        rows = attacked_tune_rows(job)
        entries = without_failures(
            job, rows, lambda job, _rows: fit_late(job, clean, folder.path), partial(_tell_failure, folder, "late")
        )
        folder.write_json(LATE_POLICIES, entries)


def freeze_policies(job: Job, folder: RunWriter) -> None:
    """Fit the policies once the clean rows are in, before any other condition is measured."""
    clean = clean_rows(job, folder.path)
    if not all(map(folder.has, FIXED)):
        seal.unseal(folder.path, [*FIXED, *of_policies(seal.read_seal(folder.path) or ())])
        chosen = choose_for_certificates(job, clean)
        folder.write_json(TOLERANCES, [asdict(each) for each in chosen])
        folder.write_json(POLICIES, fit_policies(job, clean, chosen, looks_of_policies(job, folder.path)))
        folder.log("certify and test labels opened")
    keep_certify_rows(job, folder.path)
    if not folder.has("facts/gallery.json"):  # written last
        for row in attacked_rows(job.index, 1):
            save_corruption_thumbs(job, folder, int(row))
            save_severity_pictures(job, folder, int(row))
        save_suspects(job, folder, clean)
        save_thumbs(job, folder, clean)
