"""All tables of a run, put together."""

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from demur.analysis.acceptance import gates_next_step as by_the_gates
from demur.analysis.acceptance import judge_gates, label_access
from demur.analysis.accuracy.chart_data import calibration, curves, gallery, histograms, oracle_curve
from demur.analysis.accuracy.confusions import confusion, confusions
from demur.analysis.accuracy.coverage_steps import coverage_loss
from demur.analysis.accuracy.error_direction import cost, direction
from demur.analysis.accuracy.label_quality import label_quality
from demur.analysis.accuracy.overall import accuracy, class_rows, condition_rows, corruption_map, worst_class
from demur.analysis.accuracy.slices import slices, worst_slice
from demur.analysis.accuracy.team_cost import team
from demur.analysis.accuracy.unknown_answers import unknown_answers
from demur.analysis.accuracy.wrong_labels import wrong_labels
from demur.analysis.aggregates.counted_results import with_counts
from demur.analysis.aggregates.counted_rows import CountedRun
from demur.analysis.aggregates.kept_aggregates import chosen_counts
from demur.analysis.attribution.region_tables import attribution
from demur.analysis.attribution.trust_components import trust
from demur.analysis.effort_table import effort, starts
from demur.analysis.figures.figure_tables import FigureTables, figure_tables
from demur.analysis.many_classes import shortened
from demur.analysis.results import USUAL_RISK, ConditionTitle, Provenance, Results
from demur.analysis.robustness.attack_tables import attack_rows
from demur.analysis.robustness.guard_attack_tables import guard_attack
from demur.analysis.robustness.lipschitz_tables import lipschitz
from demur.analysis.robustness.manipulation import manipulation
from demur.analysis.robustness.minimal_perturbation import perturbation_tables
from demur.analysis.robustness.proven_answers import proof
from demur.analysis.robustness.robust_accuracy import robustness
from demur.analysis.robustness.smoothed_answers import smoothed
from demur.analysis.run_folder import Run, open_run
from demur.analysis.signals.attack_detection import attack_detections
from demur.analysis.signals.class_profiles import class_map_tables
from demur.analysis.signals.components import part_rows, rocs
from demur.analysis.signals.decision_tables import policy_fit_rows, policy_rows, rejections
from demur.analysis.signals.layer_fusion import layer_fusions
from demur.analysis.signals.overhead_tables import overhead
from demur.analysis.signals.signal_ranking import signal_rows
from demur.analysis.verdict.checks import checks
from demur.analysis.verdict.guarantees import average_loss, guarantee_rows
from demur.analysis.verdict.imbalance import constant_answer, is_uninformative, positive_bound, remedy_words
from demur.analysis.verdict.label_needs import label_needs
from demur.analysis.verdict.masking import masking
from demur.analysis.verdict.preprocessing_table import preprocessing_table
from demur.analysis.verdict.verdict import guarantee, independence, next_step, out_of_scope, refusal, state
from demur.analysis.what_breaks import what_breaks
from demur.errors import RunError
from demur.files import is_whole
from demur.metrics import random_risk
from demur.openings import openings
from demur.policies.certified_policies import void_when
from demur.records import wrong
from demur.remote import working_folder


def analyse(path: Path | str) -> Results:
    """Everything a report may show, from a run folder, here or at an address such as `s3://bucket/run`.

    Raises:
        RunError: the folder holds no finished run.
    """
    with working_folder(path) as folder:
        run = open_run(folder)
        counted = chosen_counts(run, keep=False)
        results = shortened(tables_of(run if counted is None else counted.run, counted))
        return results.model_copy(update={"label_access": label_access(openings(folder))}).of_folder(folder)


def tables_of(run: Run, counted: CountedRun | None = None) -> Results:
    """The same without what is said of the opening of labels, and with every class however many there are.

    Args:
        run: the run.
        counted: what was counted of all its rows, where the run holds a sample of them.

    Raises:
        RunError: the policies of the plan are not all there.
    """
    path = run.path
    fitted, plan = len(run.policy_facts), _plan(path)
    asked = len(plan.get("policies", {}).get("use", ())) + bool(plan.get("guard"))
    if asked != fitted:
        raise RunError(
            f"{path / 'facts' / 'policies.json'} must hold every policy of the plan; it has {fitted} of {asked}. "
            "Delete it and run the audit again."
        )
    results = _core_tables(run, plan)
    results = results.model_copy(update={**_optional_tables(run, plan), "figures": _figures(run, results)})
    reported = results.manipulation.eps if results.manipulation else None
    results = results.model_copy(update={"guard_attack": guard_attack(run, reported)})
    if counted is not None:
        results = with_counts(counted, results, plan.get("purpose", {}))
    gates = judge_gates(plan.get("gates", {}), results)
    results = results.model_copy(update={"breaks": what_breaks(results)})
    step = by_the_gates(gates) if results.state in {"issued", "undeclared"} else None
    return results.model_copy(update={"gates": gates, "next_step": step or results.next_step})


def _core_tables(run: Run, plan: Mapping[str, Any]) -> Results:
    """Every table but the gates, label access and those of `_optional_tables`."""
    conditions, classes = condition_rows(run), class_rows(run)
    made, refused = guarantee(run), refusal(run)
    risk = made.risk if made else refused.risk if refused else USUAL_RISK
    signals, contests = signal_rows(run, risk)
    return Results(
        **_verdict(run, plan),
        provenance=_provenance(run),
        classes=run.classes,
        accuracy=accuracy(run.rows("clean")),
        test_accuracy=accuracy(run.unfitted_rows()),
        guarantee=made,
        refusal=refused,
        worst_class=worst_class(classes),
        conditions=conditions,
        manipulation=manipulation(run),
        out_of_scope=out_of_scope(conditions, run),
        void_when=void_when(run.guard),
        signals=signals,
        contests=contests,
        curves=curves(run),
        oracle=oracle_curve(run),
        random_risk=random_risk(wrong(run.unfitted_rows())),
        histograms=histograms(run),
        calibration=calibration(run),
        per_class=classes,
        confusion=confusion(run),
        confusions=confusions(run),
        policies=policy_rows(run),
        policy_fits=policy_fit_rows(run),
        gallery=gallery(run),
        purpose=plan.get("purpose", {}),
        titles=_titles(run),
        severity_thumbs=_severity_thumbs(run),
    )


def _titles(run: Run) -> dict[str, ConditionTitle]:
    """The short names that the audit wrote of its conditions; earlier versions wrote none."""
    named = [entry for entry in run.facts["conditions"] if entry.get("title")]
    return {entry["name"]: ConditionTitle(**{key: entry.get(key) for key in _TITLE}) for entry in named}


def _severity_thumbs(run: Run) -> dict[str, str]:
    """One image at each severity that a picture was kept of."""
    found = {condition: run.thumb(name) for condition, name in (run.optional_facts("severities") or {}).items()}
    return {condition: thumb for condition, thumb in found.items() if thumb}


_TITLE = ("title", "heading", "level", "points")


def _figures(run: Run, results: Results) -> FigureTables:
    """The tables of figures alone; where a guard goes by one threshold they show it."""
    made = results.guarantee
    if made is None or made.second is not None:
        return figure_tables(run, results.histograms, None, None)
    return figure_tables(run, results.histograms, made.signal, made.threshold)


def _verdict(run: Run, plan: Mapping[str, Any]) -> dict[str, Any]:
    """The checks, the state, whether a guarantee says anything, and what to do next."""
    checked = checks(run)
    constant, positive = constant_answer(run), positive_bound(run, plan["data"].get("positive"))
    found = state(run, checked, informative=not is_uninformative(constant, positive))
    return {
        "checks": checked,
        "masking": masking(run, checked),
        "state": found,
        "constant": constant,
        "positive": positive,
        "next_step": next_step(found, checked, run, remedy_words(constant, positive), plan.get("purpose")),
    }


def _optional_tables(run: Run, plan: Mapping[str, Any]) -> dict[str, Any]:
    """What only some data or plans ask for: the direction of error, slices, the quality of labels."""
    parts, rates = slices(run), rejections(run)
    return {
        "guarantees": guarantee_rows(run),
        "average_loss": average_loss(run),
        "label_needs": label_needs(run),
        "direction": direction(run, plan["data"]),
        "cost": cost(run, plan.get("costs", {})),
        "slices": parts,
        "worst_slice": worst_slice(parts),
        "label_quality": label_quality(run),
        "wrong_labels": wrong_labels(run),
        "attacks": attack_rows(run),
        "robustness": robustness(run),
        "rejections": rates,
        "detections": attack_detections(run, rates),
        "fusions": layer_fusions(run),
        "class_maps": class_map_tables(run),
        "overhead": overhead(run),
        "effort": effort(run),
        "corruption_map": corruption_map(run),
        "unknown": unknown_answers(run),
        "coverage_loss": coverage_loss(run),
        "preprocessing": preprocessing_table(run),
        "team": team(run, plan.get("costs", {})),
        "parts": part_rows(run),
        "rocs": rocs(run),
        **_robustness_and_attribution(run),
    }


def _robustness_and_attribution(run: Run) -> dict[str, Any]:
    """Minimal perturbations, attribution, trust components and Lipschitz bounds."""
    searches, maps = perturbation_tables(run), attribution(run)
    bounds = {"lipschitz": lipschitz(run), "proof": proof(run), "smoothed": smoothed(run)}
    return {"epsilon": searches, "attribution": maps, "trust": trust(searches, maps), **bounds}


def _plan(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads((path / "plan.toml").read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path / 'plan.toml'} cannot be read ({error}). Restore it, or run the audit anew.") from None


def _log(run: Run) -> list[dict[str, Any]]:
    """The lines of log.jsonl, of which one says when the run was started."""
    path = run.path / "log.jsonl"
    try:
        lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        started = any(line["event"] == "started" and line["at"] for line in lines)
        _ = sum(line.get("seconds", 0.0) for line in lines)
        broken = next((f"the line of {line['at']} was changed" for line in lines if not is_whole(line)), None)
        if broken:
            raise ValueError(broken)  # noqa: TRY301 - told below like the others
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RunError(f"{path} cannot be read ({error}). Restore it, or run the audit anew.") from None
    if not started:
        raise RunError(f"{path} must say when the run was started; it does not. Restore it, or run the audit anew.")
    return lines


def _provenance(run: Run) -> Provenance:
    facts, (forwards, backwards) = run.facts, run.passes
    log = _log(run)
    return Provenance(
        **{name: facts[name] for name in _COPIED},
        gates_sha256=facts.get("gates_sha256"),
        excluded_samples=facts.get("excluded", 0),
        independence=independence(facts["groups"]),
        failed_samples=run.failure_count,
        plan_toml=(run.path / "plan.toml").read_text("utf-8"),
        attacked_samples=facts["attacked"],
        start_time=next(line["at"] for line in log if line["event"] == "started"),
        seconds=_seconds(run, log),
        forwards=forwards,
        backwards=backwards,
        trial_passes=_trial_passes(run),
        preprocessing=tuple(facts.get("preprocessing", ())),
        multiply_adds=facts.get("sizing", {}).get("multiply_adds"),
        left_out=tuple(facts.get("sizing", {}).get("left_out", ())),
    )


def _seconds(run: Run, log: Sequence[dict[str, Any]]) -> float:
    """How long all starts of a run took, those of parts among them; earlier versions told of those that finished."""
    finished = sum(line.get("seconds", 0.0) for line in log if line["event"] == "finished")
    return max(finished, sum(starts(run.path).values()))


def _trial_passes(run: Run) -> int:
    """Forwards and backwards that trying the measurement itself took; earlier versions made no trials."""
    facts = run.optional_facts("trials") or {"forwards": 0, "backwards": 0}
    probe = run.optional_facts("preprocessing") or {"forwards": 0}
    return int(facts["forwards"] + facts["backwards"] + probe["forwards"])


_COPIED = (
    "model",
    "model_sha256",
    "parameters",
    "input_shape",
    "data",
    "data_sha256",
    "splits",
    "duplicates",
    "groups",
    "plan_sha256",
    "seed",
    "versions",
)
