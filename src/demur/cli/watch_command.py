"""`demur guard watch`, `labels`, `reset`: alarms over a folder that fills, feedback as a table, an alarm put back."""

import csv
import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from demur.cli import strict_json as json_text
from demur.errors import DemurError, InputError, legible

if TYPE_CHECKING:
    from demur.alarms import AlarmPlan, Alarms, Reference, Status
    from demur.guard import Guard

State = Annotated[
    Path | None, typer.Option(help="File that keeps the alarms; the same command continues. Without one: in memory.")
]
Alpha = Annotated[float, typer.Option(help="Probability of a false alarm, of each alarm, however long it runs.")]
Tolerance = Annotated[float, typer.Option(help="By how much the share that goes to a person may rise.")]
Risk = Annotated[float | None, typer.Option(help="Wrong share of answers that is harm; that of the certificate.")]
Asking = Annotated[float, typer.Option("--feedback", help="Probability with which an image is asked about.")]
Group = Annotated[str, typer.Option(help="Independent units: image, or sequence (each folder below DIR is one).")]
Sequences = Annotated[
    int | None,
    typer.Option(
        min=1, help="Sequences open at once, such as cameras: 64; 1 for a folder looked at once, without state."
    ),
]
Longest = Annotated[int, typer.Option(min=1, help="Images after which a sequence ends, about as many as most have.")]
Labels = Annotated[
    Path | None, typer.Option(help="CSV with path and label: answers to questions, read again as it grows.")
]

_BATCH = 64
_SETTLED = 0.5
_FOR_EVER = 10**15
_CAMERAS = 64
_CELLS = ("image", "sequence", "accepted", "label", "reason", "score", "wanted", "window", "above")


def watch(
    folder: Annotated[Path, typer.Argument(metavar="GUARD", help="Folder that `demur guard fit` wrote.")],
    images: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of frames, in the order of their names.")],
    state: State = None,
    alpha: Alpha = 0.01,
    tolerance: Tolerance = 0.03,
    risk: Risk = None,
    feedback: Asking = 0.05,
    group: Group = "image",
    sequences: Sequences = None,
    longest: Longest = 100,
    labels: Labels = None,
    window: Annotated[int, typer.Option(min=0, help="Frames of the window whose mean score is watched; 0: none.")] = 50,
    once: Annotated[bool, typer.Option("--once", help="End with the frames that are there.")] = False,
    interval: Annotated[float, typer.Option(min=0.1, help="Seconds between looks for new frames.")] = 1.0,
    site: Annotated[str | None, typer.Option(help="Where the frames come from, for a guard with sites.")] = None,
    csv_: Annotated[bool, typer.Option("--csv", help="Print CSV instead of JSON lines.")] = False,
) -> None:
    """Decide frames as they come, say each decision, and raise alarms: more work, more wrong answers.

    Decisions are lines on stdout, alarms and what they know are said on stderr.

    Exit status: 0 quiet; 1 an alarm is raised; 2 wrong input.
    """
    from demur.alarms import AlarmPlan
    from demur.guard.guard_folder import check_outside

    if not images.is_dir():
        raise InputError(f"there is no folder of frames at {legible(str(images))}. Check the path.")
    if state is not None:
        check_outside(state)
    settings: dict[str, Any] = {"alpha": alpha, "tolerance": tolerance, "risk": risk, "feedback": feedback}
    if sequences is None:
        sequences = 1 if once and state is None else _CAMERAS
    settings |= {"group": group, "sequences": sequences, "longest": longest}
    plan = AlarmPlan(**settings, memory=_FOR_EVER)
    own = frozenset(path.resolve() for path in (labels, state) if path is not None)
    frames = _Frames(folder=images, own=own, csv=csv_, site=site, window=window)
    found = _watched(folder, frames, plan, state=state, labels=labels, interval=None if once else interval)
    raise typer.Exit(1 if found.alarmed else 0)


@dataclass(frozen=True, kw_only=True)
class _Frames:
    """Where frames are, which files there are none, and how their decisions are printed."""

    folder: Path
    own: frozenset[Path]
    csv: bool
    site: str | None
    window: int


def _watched(
    folder: Path, frames: _Frames, plan: "AlarmPlan", *, state: Path | None, labels: Path | None, interval: float | None
) -> "Status":
    """The status at the end, which is said whatever ended it."""
    from demur.alarms import Alarms, reference_of
    from demur.cli.settings import results_alone
    from demur.guard import Guard
    from demur.guard.file_list import verify_files

    with results_alone():
        guard = Guard.load(folder)
    reference = reference_of(folder)
    window = _Window(reference, frames.window)
    alarms = Alarms.open(state, reference, plan, guard_sha256=verify_files(folder))
    try:
        _Stream(guard, alarms, frames, window).run(labels, interval=interval)
    finally:
        found = alarms.status()
        alarms.close()
        _say(_facts(found, plan))
    return found


class _Window:
    """The mean score of the last frames beside its threshold; nothing where the window has no frames."""

    def __init__(self, reference: "Reference", width: int) -> None:
        from demur.policies import StreamMonitor

        self.width = width
        try:
            self.monitor = StreamMonitor(window=width).fit(reference.scores) if width else None
        except InputError as error:
            raise InputError(f"{error} --window 0 leaves the window out; alarms do without it.") from None
        self.stream = None if self.monitor is None else self.monitor.start()

    def after(self, scores: Sequence[float]) -> Sequence[tuple[float | None, bool, str]]:
        """After each frame the mean, whether it is above, and what is said where that begins."""
        if self.monitor is None or self.stream is None:
            return [(None, False, "")] * len(scores)
        self.stream, steps = self.monitor.advance(self.stream, scores)
        text = f"window: the mean score of the last {self.width} frames is above"
        return [
            (float(mean), bool(above), f"{text} {threshold:.4g}" if begins else "")
            for mean, above, threshold, begins in zip(
                steps.statistic, steps.above, steps.threshold, steps.begins, strict=True
            )
        ]


@dataclass
class _Stream:
    """Frames of a folder, decided once each."""

    guard: "Guard"
    alarms: "Alarms"
    frames: _Frames
    window: _Window
    raised: set[str] = field(default_factory=set)
    labelled: set[tuple[str, str]] = field(default_factory=set)

    def run(self, labels: Path | None, *, interval: float | None) -> None:
        """All frames that are there; with an interval, those that come until someone interrupts."""
        if self.frames.csv:
            csv.writer(sys.stdout, lineterminator="\n").writerow(_CELLS)
        while True:
            self._frames(settled=interval is not None)
            if labels is not None:
                self._labels(labels)
            if interval is None:
                return
            sys.stdout.flush()
            time.sleep(interval)

    def _frames(self, *, settled: bool) -> None:
        found = (path for path in _pictures(self.frames.folder, settled=settled) if not self._is_own(path))
        paths = {legible(path.relative_to(self.frames.folder).as_posix()): path for path in found}
        fresh = self.alarms.unknown_ids(list(paths))
        for start in range(0, len(fresh), _BATCH):
            self._decide({name: paths[name] for name in fresh[start : start + _BATCH]})

    def _is_own(self, path: Path) -> bool:
        """Whether it is the state, what SQLite keeps beside it, or the table of labels."""
        whole = str(path.resolve())
        return any(whole in {str(own), f"{own}-wal", f"{own}-shm", f"{own}-journal"} for own in self.frames.own)

    def _decide(self, paths: Mapping[str, Path]) -> None:
        from demur.alarms import Observation

        sites = None if self.frames.site is None else [self.frames.site] * len(paths)
        decisions, signal = list(self.guard.read(list(paths.values()), sites)), self.guard.policy.signals[0]
        seen = [
            Observation(name, each.accepted, each.reason, each.scores[signal], each.label, _sequence(name))
            for name, each in zip(paths, decisions, strict=True)
        ]
        questions = self.alarms.observe(seen)
        steps = self.window.after([image.score for image in seen])
        for name, decision, question, step in zip(paths, decisions, questions, steps, strict=True):
            mean, above, said = step
            score = decision.scores[signal]
            values = (decision.accepted, decision.label, decision.reason, score, question is not None, mean, above)
            self._line((name, _sequence(name), *values))
            if said:
                _say([f"{said} at {name}."])
        self._alarms()

    def _line(self, values: tuple[object, ...]) -> None:
        cells = {name: _finite(value) for name, value in zip(_CELLS, values, strict=True)}
        if self.frames.csv:
            csv.writer(sys.stdout, lineterminator="\n").writerow(cells.values())
        else:
            print(json_text.dumps(cells))

    def _labels(self, path: Path) -> None:
        """Feedback from the rows of a table that were not there before; one that cannot be is said and left out.

        Those that are asked for come first, in the order in which they were: what is overdue would be passed over for
        a label of a later one.
        """
        fresh = [row for row in _rows(path) if row not in self.labelled]
        order = {each.id: k for k, each in enumerate(self.alarms.pending(_FOR_EVER))} if fresh else {}
        for name, label in sorted(fresh, key=lambda row: order.get(row[0], len(order))):
            self.labelled.add((name, label))
            try:
                self.alarms.feedback(name, label=label)
            except DemurError as error:
                _say([f"label: {error}"])
        self._alarms()

    def _alarms(self) -> None:
        raised = self.alarms.raised
        for name in raised:
            if name not in self.raised:
                _say([f"ALARM ({name}): {getattr(self.alarms.status(), name).sentence}"])
        self.raised = set(raised)


def _pictures(folder: Path, *, settled: bool) -> Iterator[Path]:
    """Frames in the order of their names; with `settled` none that is still being written."""
    now = time.time()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.startswith(".") and not (settled and now - path.stat().st_mtime < _SETTLED):
            yield path


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _sequence(name: str) -> str:
    """The folder of a frame, relative to the one that is watched."""
    return name.rpartition("/")[0] or "."


def _rows(path: Path) -> Sequence[tuple[str, str]]:
    from demur.data.text_table import read_table

    if not path.exists():
        return []
    table = read_table(path)
    if "label" not in table.columns:
        raise InputError(f"{path} has no column `label`; found {', '.join(table.columns)}. Rename it.")
    names = table.columns[table.path_column()]
    return [(name, label) for name, label in zip(names, table.columns["label"], strict=True) if label]


def _facts(found: "Status", plan: "AlarmPlan") -> list[str]:
    """What the alarms know at the end, and what they keep to."""
    states = [f"{name}: {getattr(found, name).sentence}" for name in ("workload", "harm", "martingale")]
    void = [f"{name}: {getattr(found, name).void}" for name in ("workload", "harm") if getattr(found, name).void]
    terms = (
        f"Each alarm is false with probability at most {plan.alpha:g} over the whole stream, whenever one looks, if "
        f"{plan.group}s are independent of one another. The window and the martingale are information."
    )
    return [f"{found.images:,} frames, {found.abstained:,} to a person.", *states, *void, terms, found.reference,
            found.detectable]  # fmt: skip


def _say(lines: Sequence[str]) -> None:
    for line in lines:
        print(legible(line), file=sys.stderr, flush=True)


def labels(
    state: Annotated[Path, typer.Argument(help="State that `demur guard watch` or `demur serve` keeps.")],
    out: Annotated[Path, typer.Argument(metavar="OUT.csv", help="Table of path and label that is written.")],
) -> None:
    """Write the feedback on images that dice chose as a labelled table, for `demur guard certify`.

    Exit status: 0 written; 2 there is none, or it would mislead.
    """
    from demur.alarms.feedback_table import write_feedback

    found = write_feedback(state, out)
    print(found.sentence)
    print(
        f'Table: {out}\nNext: demur guard certify GUARD "csv:{out}?root=DIR" --out NEW, DIR being where the images are'
    )


def reset(
    folder: Annotated[Path, typer.Argument(metavar="GUARD", help="Folder that `demur guard fit` wrote.")],
    state: Annotated[Path, typer.Argument(help="State that `demur guard watch` or `demur serve` keeps.")],
    alarm: Annotated[str, typer.Argument(help="workload or harm.")],
    reason: Annotated[str, typer.Argument(help="Why; it is kept with the time.")],
) -> None:
    """Put an alarm that was raised back, for a reason that is kept; its evidence begins anew.

    Exit status: 0 done; 2 it is quiet, or wrong input.
    """
    from demur.alarms import Alarms, kept_plan, reference_of
    from demur.guard.file_list import verify_files

    alarms = Alarms.open(state, reference_of(folder), kept_plan(state), guard_sha256=verify_files(folder))
    try:
        alarms.reset(alarm, reason)
        kept = alarms.status().resets[-1]
    finally:
        alarms.close()
    print(f"The {kept['alarm']} alarm was put back at {kept['time']}: {kept['reason']}")
