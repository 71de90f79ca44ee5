"""`demur certify`, `demur labels`: a certificate from a bare table, and how many labels one needs; without torch."""

import math
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from demur.cli import strict_json as json_text
from demur.cli.run_folders import RunFolder
from demur.errors import InputError
from demur.registry import build
from demur.remote import addressed

if TYPE_CHECKING:
    from demur.pipeline.table.answers import Answers
    from demur.pipeline.table.table_certificate import TableCertificate
    from demur.policies.label_budget import LabelBudget

Delta = Annotated[float, typer.Option(help="The probability that the guarantee may fail.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of words.")]
Table = Annotated[
    Path,
    typer.Argument(
        help="Parquet or CSV: `label` with `logit.0`, `logit.1`, …, or `label`, `predicted` and `score` (higher = "
        "more uncertain); optional `group`, `split`, `weight`, `sample_id`."
    ),
]
Risk = Annotated[float | None, typer.Option(help="Largest tolerable share of wrong answers; 0.02 without --coverage.")]
Coverage = Annotated[float | None, typer.Option(help="Share of images to answer instead of a risk, such as 0.85.")]
EachClass = Annotated[
    bool, typer.Option("--each-class", help="Keep answered errors below the risk among the images of every class.")
]
Width = Annotated[
    float | None, typer.Option(help="How far a score may move when its image is asked again; one float32 step.")
]
LargestWeight = Annotated[
    float | None, typer.Option(help="The largest weight there can be, fixed beforehand, where rows have weights.")
]


def certify(
    table: Table,
    risk: Risk = None,
    coverage: Coverage = None,
    delta: Delta = 0.05,
    each_class: EachClass = False,
    signal: Annotated[str | None, typer.Option(help="The score to use; by default chosen on tune rows.")] = None,
    tolerance: Width = None,
    largest_weight: LargestWeight = None,
    ledger: Annotated[Path | None, typer.Option(help="File that counts looks; by default beside the table.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Run folder with a report; by default none is written."), RunFolder()
    ] = None,
    json: Json = False,
) -> None:
    """Certify a threshold from a table of a model's answers, without the model, its images or torch.

    Exit status: 0 certified; 1 refused; 2 wrong input.
    """
    from demur.pipeline.table.answers import read_answers
    from demur.pipeline.table.table_certificate import STEP, certify_table
    from demur.pipeline.table.table_look import table_look
    from demur.policies import Refusal, Tolerance

    text = _policy(risk, coverage, delta, each_class=each_class)
    width = STEP if tolerance is None else Tolerance(widths=(tolerance,))
    answers = read_answers(table)
    look = table_look(answers, text, signal, width, ledger)
    found = certify_table(
        answers, build("policy", text), signal=signal, tolerance=width, largest_weight=largest_weight, look=look
    )
    report = None if out is None else _report(answers, found, text, width, out)
    print(_json(answers, found) if json else "\n".join(_words(answers, found, report)))
    raise typer.Exit(1 if isinstance(found.answer, Refusal) else 0)


def _policy(risk: float | None, coverage: float | None, delta: float, *, each_class: bool) -> str:
    """What is to be guaranteed, as a plan would name it."""
    from demur.pipeline.plan.guarantee_names import at_coverage, at_risk

    if not 0 < delta < 1:
        raise InputError(f"`delta` must lie strictly between 0 and 1; got {delta}. Write 5 % as 0.05.")
    if coverage is not None and (risk is not None or each_class):
        raise InputError("--coverage fixes the share of answers instead of a risk. Give one of --risk and --coverage.")
    if coverage is not None:
        return at_coverage([f"certified(delta={delta!r})"], coverage)[0]
    name = "certified_by_class" if each_class else "certified"
    return at_risk([f"{name}(delta={delta!r})"], 0.02 if risk is None else risk)[0]


def _report(answers: "Answers", found: "TableCertificate", policy: str, width: Any, out: Path) -> Path:
    from demur.analysis import write_results
    from demur.pipeline.table.table_run import write_table_run
    from demur.report import write

    folder = write_table_run(answers, found, policy, width, out)
    return write(folder, write_results(folder, by="certify")).path


def _json(answers: "Answers", found: "TableCertificate") -> str:
    from demur.policies import Refusal

    kind = "refusal" if isinstance(found.answer, Refusal) else "certificate"
    content = {
        "table": str(answers.path),
        "signal": found.signal,
        "rows": dict(found.counts),
        "left_out": len(answers.left_out),
        "wrong": int(answers.wrong.sum()),
        "test": {"units": found.test, "answered": found.test_answered, "wrong": found.test_wrong},
        kind: _plain(asdict(found.answer)),
    }
    return json_text.dumps(content, indent=1)


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """JSON has no NaN."""
    return {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in values.items()}


def _words(answers: "Answers", found: "TableCertificate", report: Path | None) -> Iterator[str]:
    from demur.policies import Refusal

    rows = ", ".join(f"{found.counts[name]:,} {name}" for name in ("tune", "certify", "test") if name in found.counts)
    wrong = int(answers.wrong.sum())
    yield f"{answers.path}: {len(answers):,} rows, {wrong:,} answers wrong ({wrong / len(answers):.2%}); {rows}."
    if answers.left_out:
        first, reason = next(iter(answers.left_out.items()))
        yield f"Left out: {len(answers.left_out):,} rows; the first is row {first}, which has {reason}."
    issued = not isinstance(found.answer, Refusal)
    yield f"{'Certified' if issued else 'Refused'} on {found.signal}. {found.answer.sentence}"
    if issued and found.test:
        units = "rows" if answers.group is None else "groups, one row of each,"
        yield (
            f"Check on {found.test:,} {units} that had no part in it: {found.test_wrong:,} wrong of "
            f"{found.test_answered:,} answered."
        )
    yield (
        "It holds for images like those of the table, asked in the same way; not for shifted or manipulated ones."
        if issued
        else "Nothing is guaranteed. `demur labels` says how many labels a risk needs."
    )
    if report is not None:
        yield addressed(f"Report: {report}")


def labels(
    risk: Annotated[float, typer.Option(help="Largest tolerable share of wrong answers.")] = 0.02,
    delta: Delta = 0.05,
    error_rate: Annotated[
        float | None, typer.Option(help="The share of all answers that are wrong, as far as you know.")
    ] = None,
    positive_rate: Annotated[
        float | None, typer.Option(help="How common the class is that must not be missed; the guarantee is about it.")
    ] = None,
    number: Annotated[int | None, typer.Option("--labels", help="How many labels there are.")] = None,
    looks: Annotated[int, typer.Option(help="Which look at such labels it will be.")] = 1,
    json: Json = False,
) -> None:
    """Say how many labelled images a guarantee needs, of which class, and what a given number could support."""
    from demur.policies import Look
    from demur.policies.label_budget import LabelBudget

    budget = LabelBudget(
        risk=risk,
        delta=delta,
        error_rate=error_rate,
        positive_rate=positive_rate,
        labels=number,
        look=Look(looks, "caller"),
    )
    print(json_text.dumps(_budget_json(budget), indent=1) if json else "\n".join(_budget_words(budget)))


def _budget_json(budget: "LabelBudget") -> dict[str, Any]:
    return {
        "risk": budget.risk,
        "delta": budget.delta,
        "level": budget.level,
        "fewest": {"certify": budget.faultless, "all": budget.images(budget.faultless)},
        "probable": {"certify": budget.probable, "all": budget.images(budget.probable)},
        "drawn": {"fewest": _drawn(budget, budget.faultless), "probable": _drawn(budget, budget.probable)},
        "labels": budget.labels,
        "certify_labels": budget.certify_labels,
        "provable": budget.provable,
        "supported": budget.supported,
        "possible": budget.possible,
        "prospects": [asdict(each) for each in budget.prospects],
    }


def _drawn(budget: "LabelBudget", certify: int) -> int | None:
    return budget.drawn(budget.images(certify))


def _budget_words(budget: "LabelBudget") -> Iterator[str]:
    positive = budget.positive_rate is not None
    unit = "images of the positive class" if positive else "images"
    of_what = "images of the positive class are answered and wrong" if positive else "answers are wrong"
    yield (
        f"To guarantee that at most {100 * budget.risk:.3g} in 100 {of_what} ({100 * (1 - budget.delta):.3g} % "
        f"confidence, look {budget.look.number}):"
    )
    for certify, text in (
        (budget.faultless, "at the very least, if no answer is wrong"),
        (budget.probable, "probably, if the surest answers are four times as good as asked"),
    ):
        drawn = _drawn(budget, certify)
        more = "" if drawn is None else f"; among about {drawn:,} images as they come"
        yield f"  {budget.images(certify):,} labelled {unit}, of which {certify:,} certify: {text}{more}"
    if budget.labels is not None:
        yield from _given_words(budget)
    if budget.possible is not None:
        yield from _prospect_words(budget)


def _given_words(budget: "LabelBudget") -> Iterator[str]:
    yield f"With {budget.labels:,} labels, of which {budget.certify_labels:,} certify:"
    if budget.provable is None:
        yield "  nothing can be guaranteed"
        return
    yield f"  no risk below {100 * budget.provable:.3g} % can be guaranteed, whatever the model"
    if budget.supported is not None:
        yield f"  {100 * budget.supported:.2g} % probably can, if the surest answers are four times as good as that"


def _prospect_words(budget: "LabelBudget") -> Iterator[str]:
    if budget.error_rate is None or budget.possible is None:
        raise InputError("prospects need an error rate.")
    yield (
        f"A typical model that is wrong on {100 * budget.error_rate:.3g} % could answer {100 * budget.possible:.0f} % "
        "within the risk, were labels endless:"
    )
    for each in budget.prospects:
        yield (
            f"  {each.labels:>6,} certify labels ({budget.images(each.labels):,} in all): answers "
            f"{100 * each.coverage:.0f} % on average, refused in {100 * each.refusals:.0f} % of draws"
        )
