"""`demur guard …`: fit, show, predict, certify, export, selftest, sign, verify."""

import shutil
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from demur.cli import strict_json as json_text
from demur.cli.run_folders import RunFolder
from demur.cli.settings import (
    AttackSignal,
    Coverage,
    Data,
    Limit,
    Model,
    PlanFile,
    Risk,
    Settings,
    progress_display,
    refuse_beside,
)
from demur.errors import InputError, legible
from demur.remote import addressed

if TYPE_CHECKING:
    from demur.guard import Decision, Guard
    from demur.pipeline.guard.guard_of_run import GuardChoices
    from demur.pipeline.guard.recertify import Recertification
    from demur.pipeline.plan.plan_file import Plan

Folder = Annotated[Path, typer.Argument(metavar="GUARD", help="Folder that `demur guard fit` wrote.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of words.")]
Out = Annotated[Path, typer.Option(help="Folder of the guard.")]
Run = Annotated[
    Path | None,
    typer.Option("--from", metavar="RUN", help="Take the certificate of a finished audit as it stands."),
    RunFolder(),
]
Signal = Annotated[str, typer.Option(help="Signal of the threshold; auto chooses one on tune images.")]
Embed = Annotated[str | None, typer.Option(help="Put the model into the folder: weights, or program (exported).")]
Golden = Annotated[int, typer.Option(min=1, help="Images that are kept with their decisions.")]
Device = Annotated[str | None, typer.Option(help="Where the model runs, such as cuda.")]
Expires = Annotated[str | None, typer.Option(metavar="DAY", help="Last day on which it answers, such as 2027-06-30.")]

_BATCH = 64
_NAMES = 40


def fit(
    model: Model = None,
    data: Data = None,
    out: Out = Path("guard"),
    run: Run = None,
    plan: PlanFile = None,
    set_: Settings = None,
    limit: Limit = None,
    risk: Risk = None,
    coverage: Coverage = None,
    signal: Signal = "auto",
    attack_signal: AttackSignal = None,
    embed: Embed = None,
    expires: Expires = None,
    golden: Golden = 32,
    device: Device = None,
) -> None:
    """Fit a guard: a model that answers or abstains, with a certificate, in one folder.

    Exit status: 0 certified and written; 2 nothing could be certified, or wrong input; 130 interrupted.
    """
    from demur.cli.settings import read
    from demur.pipeline.guard.guard_of_run import EMBEDDINGS, GuardChoices

    if embed not in EMBEDDINGS:
        raise InputError(
            f"--embed is weights or program; got {embed!r}. Leave it out to keep the model by its address."
        )
    if run is not None:
        chosen = {"signal": None if signal == "auto" else signal, "set": set_ or None, "limit": limit, "device": device}
        aims = {"risk": risk, "coverage": coverage, "attack_signal": attack_signal, "plan": plan}
        _refuse_beside_run(model or data, **aims, **chosen)
    choices = GuardChoices(embedding=EMBEDDINGS[embed], expires=expires, golden=golden)
    choices.check(out)
    clean = [] if plan is not None else ['conditions.use=["clean"]']
    named = read(
        model, data, plan, [*(set_ or ()), *clean], limit, risk, None, None, None, coverage, None, attack_signal
    )
    _fit(named if signal == "auto" else named.about_signal(signal), run, out, choices, device)


def _refuse_beside_run(address: str | None, **others: object) -> None:
    if address is not None:
        raise InputError(f"--from takes the model and the images of a run; got {address!r}, too. Leave it out.")
    refuse_beside("--from", "the certificate of a run", **others)


def _fit(named: "Plan", run: Path | None, out: Path, choices: "GuardChoices", device: str | None) -> None:
    from demur.analysis import write_results
    from demur.guard import Guard
    from demur.guard.card_words import HASHES, guard_words
    from demur.guard.file_list import verify_files
    from demur.pipeline.guard.guard_of_run import guard_of_run
    from demur.pipeline.run.loop import run_plan
    from demur.report import write

    with progress_display() as progress:
        run = run or run_plan(named, None, progress, device=device)
        progress.say("working out the results")
        results = write_results(run, by="audit").of_folder(run)
        write(run, results)
        results.require_certificate()
        progress.say("writing the guard")
        guard_of_run(run, out, choices)
        guard = Guard.load(out)
    print("\n".join(guard_words(guard, verify_files(out))))
    page = addressed(str(run / "report.html"))
    print(f"{HASHES}\nReport: {page}\nGuard: {out}\nNext: demur guard predict {out} IMAGES…")


def show(
    folder: Folder,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print a card in Markdown.")] = False,
    json: Json = False,
) -> None:
    """Say what a guard guarantees, what that rests on and what voids it."""
    from demur.guard.card_words import HASHES, guard_markdown, guard_words
    from demur.guard.file_list import verify_files
    from demur.guard.guard_folder import guard_facts

    guard, sha256 = _loaded(folder), verify_files(folder)
    if json:
        print(json_text.dumps({**guard_facts(folder), "sha256": sha256}, indent=1, sort_keys=True))
    elif markdown:
        print(guard_markdown(guard, sha256), end="")
    else:
        print("\n".join([*guard_words(guard, sha256), HASHES]))


def predict(
    folder: Folder,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGES", help="Pictures, or folders of them.")],
    json: Annotated[bool, typer.Option("--json", help="Print a line of JSON for each image.")] = False,
    copy_abstained: Annotated[
        Path | None, typer.Option("--copy-abstained", metavar="DIR", help="Copy the images it abstains on there.")
    ] = None,
    site: Annotated[str | None, typer.Option(help="Where the images come from, for a guard with sites.")] = None,
    sha256: Annotated[str | None, typer.Option(help="The hash that the guard's list of files must have.")] = None,
) -> None:
    """Answer or abstain on pictures: label, confidence, uncertainty, and why not.

    Exit status: 0 whatever is decided; 1 where not one picture could be read; 2 wrong input.
    """
    from demur.guard.guard_folder import check_outside

    if copy_abstained is not None:
        check_outside(copy_abstained / "any")
    guard, paths = _loaded(folder, sha256), list(_pictures(images))
    if not paths:
        raise InputError(f"there is no picture at {', '.join(map(str, images))}. Name pictures or folders of them.")
    if not json:
        print(_line("image", "decision", "label", "confidence", "uncertainty"))
    answered = unread = 0
    for path, decision in _decisions(guard, paths, site):
        answered, unread = answered + decision.accepted, unread + (decision.reason == "unreadable")
        print(_json_line(path, decision) if json else _row(path, decision))
        if copy_abstained is not None and not decision.accepted:
            _copy(path, copy_abstained)
    if not json:
        place = "" if copy_abstained is None else f" {len(paths) - answered:,} copied to {copy_abstained}."
        print(f"{answered:,} of {len(paths):,} answered.{place}")
    raise typer.Exit(1 if unread == len(paths) else 0)


def certify(
    folder: Folder,
    data: Annotated[str, typer.Argument(help="Data address of labelled images that the guard was not built on.")],
    out: Annotated[Path | None, typer.Option(help="Write a guard with the new certificate there.")] = None,
    source: Annotated[
        str | None, typer.Option(help="What the place they come from is called: tests of others of it are later looks.")
    ] = None,
    expires: Expires = None,
    json: Json = False,
) -> None:
    """Try a guard on new labels: does its certificate still stand, and what do these labels certify?

    Exit status: 0 it stands or cannot be told, and the new labels certify; 1 broken, or refused; 2 wrong input.
    """
    from demur.pipeline.guard.recertify import recertify
    from demur.policies import Refusal

    with progress_display() as progress:
        progress.say("deciding about the new images")
        found = recertify(folder, data, out=out, source_name=source, expires=expires)
    print(_certify_json(found) if json else "\n".join(_certify_words(found)))
    raise typer.Exit(1 if found.stands == "broken" or isinstance(found.answer, Refusal) else 0)


def selftest(folder: Folder, json: Json = False) -> None:
    """Decide the golden images of a guard again: does this machine decide as the one that wrote it?

    Exit status: 0 alike; 1 otherwise; 2 the guard cannot be used.
    """
    from dataclasses import asdict

    from demur.guard.golden_vectors import selftest as compare

    found = compare(folder, _loaded(folder))
    if json:
        print(json_text.dumps({**asdict(found), "passed": found.passed}))
    else:
        near = f", {found.near} of them on the other side of a bound within the tolerance" if found.near else ""
        print("\n".join(found.differences) or f"{found.images} golden images are decided alike{near}.")
    raise typer.Exit(0 if found.passed else 1)


def export(
    folder: Folder,
    graph: Annotated[Path, typer.Argument(metavar="OUT.onnx", help="File of the graph; golden vectors lie beside it.")],
    sha256: Annotated[str | None, typer.Option(help="The hash that the guard's list of files must have.")] = None,
    json: Json = False,
) -> None:
    """Export a guard as one ONNX graph, and check it with ONNX Runtime; needs the extra `onnx`."""
    from dataclasses import asdict

    from demur.cli.settings import results_alone
    from demur.guard.guard_folder import check_outside
    from demur.guard.onnx_export import export_folder

    check_outside(graph)
    with results_alone():
        found = export_folder(folder, graph, sha256=sha256)
    if json:
        print(json_text.dumps(asdict(found), default=str))
        return
    near = f"; {found.near} so near a bound that they are decided otherwise" if found.near else ""
    print(f"Graph: {found.path} (opset {found.opset}; outputs {', '.join(found.outputs)})")
    print(f"ONNX Runtime decides {found.images} golden images as the guard does{near}. Golden vectors: {found.golden}")


def sign(
    folder: Folder,
    key: Annotated[Path, typer.Option(help="Elliptic-curve private key in PEM.")],
) -> None:
    """Sign a guard with the OpenSSF model signing tool; needs the extra `sign`."""
    from demur.guard.signature import sign_guard

    print(f"Signature: {sign_guard(folder, key)}")


def verify(
    folder: Folder,
    key: Annotated[
        Path | None, typer.Option(help="Public key in PEM; without one the hashes alone are compared.")
    ] = None,
) -> None:
    """Compare the files of a guard with its list, and with --key its signature with the files."""
    from demur.guard.card_words import HASHES
    from demur.guard.file_list import verify_files
    from demur.guard.signature import verify_guard

    signed = verify_guard(folder, key)
    print(f"Every file is as it was written. SHA-256 of the list: {verify_files(folder)}")
    print("The signature holds." if signed else HASHES)


def _loaded(folder: Path, sha256: str | None = None) -> "Guard":
    from demur.cli.settings import results_alone
    from demur.guard import Guard

    with results_alone():
        return Guard.load(folder, sha256=sha256)


def _pictures(places: Sequence[Path]) -> Iterator[Path]:
    for place in places:
        if place.is_dir():
            yield from sorted(path for path in place.rglob("*") if not path.is_dir() and not path.name.startswith("."))
        else:
            yield place


def _decisions(guard: "Guard", paths: Sequence[Path], site: str | None) -> Iterator[tuple[Path, "Decision"]]:
    rest = iter(paths)
    while batch := list(islice(rest, _BATCH)):
        yield from zip(batch, guard.read(batch, None if site is None else [site] * len(batch)), strict=True)


def _line(*cells: str) -> str:
    widths = (_NAMES, 34, 16, 10, 24)
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def _row(path: Path, decision: "Decision") -> str:
    name = legible(str(path))
    verdict = "answer" if decision.accepted else f"abstain: {decision.detail or decision.reason}"
    measured = {} if decision.label is None else decision.scores
    scores = ", ".join(f"{signal} {score:.4g}" for signal, score in measured.items())
    confidence = "" if decision.label is None else f"{decision.confidence:.3f}"
    return _line(
        name if len(name) <= _NAMES else f"…{name[1 - _NAMES :]}", verdict, decision.label or "", confidence, scores
    )


def _json_line(path: Path, decision: "Decision") -> str:
    from demur.guard.decisions import plain_decision

    return json_text.dumps({"image": legible(str(path)), **plain_decision(decision)})


def _copy(path: Path, folder: Path) -> None:
    """Beside others of the same name from other folders, under a name of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    target, count = folder / path.name, 1
    while target.exists():
        target, count = folder / f"{path.stem}-{count}{path.suffix}", count + 1
    if path.is_file():
        shutil.copyfile(path, target)


def _certify_words(found: "Recertification") -> Iterator[str]:
    from demur.policies import Refusal

    left_out = f" ({found.excluded:,} it was built on were left out)" if found.excluded else ""
    left_out += f" ({found.copies:,} copies counted once)" if found.copies else ""
    counts = f"{found.answers:,} {found.unit}s answered, {found.wrong:,} wrong"
    yield f"{found.images:,} labelled images that this guard was not built on{left_out}; {counts}."
    states = {
        "holds": "The certificate holds on them.",
        "broken": "The certificate is broken on them: do not use this guard for such images.",
        "undecided": "They can neither confirm nor refute the certificate.",
        None: "Too few are answered to say anything of the certificate.",
    }
    yield states[found.stands]
    refused = isinstance(found.answer, Refusal)
    yield f"{'They certify nothing' if refused else 'They certify anew'}. {found.answer.sentence}"
    if found.out is not None:
        yield f"Guard: {found.out} (SHA-256 of the list of files {found.sha256})"


def _certify_json(found: "Recertification") -> str:
    from demur.policies import Refusal

    names = ("images", "excluded", "copies", "unit", "answers", "wrong", "stands")
    values = {name: getattr(found, name) for name in names}
    risk = {name: getattr(found.risk, name) for name in ("value", "low", "high")} if found.answers else None
    answer = {"certified": not isinstance(found.answer, Refusal), "sentence": found.answer.sentence}
    return json_text.dumps({**values, "risk": risk, **answer, "out": None if found.out is None else str(found.out)})
