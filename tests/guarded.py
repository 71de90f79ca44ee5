"""Guards of the tiny net: one in memory, one in a folder, one that an audit made."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from demur.guard import Guard
from demur.guard.card import BuiltOn, Card
from demur.guard.file_list import LEDGER
from demur.guard.golden_vectors import as_file, write_golden
from demur.guard.guard_folder import write_guard
from demur.guard.intake import Intake
from demur.guard.model_files import write_model
from demur.ledger import Inquiry, LabelledRows, Ledger
from demur.pictures.decode_rules import Rules
from demur.pipeline.guard.guard_of_run import GuardChoices, guard_of_run
from demur.pipeline.run.prepare import StandIns
from demur.policies import Calibration, Certified, Tolerance
from demur.signals.softmax_scores import MSP
from tests import tiny

TUNE, CERTIFY = 300, 900
CARD = Card(
    name="Net", data="tiny", data_sha256="00", plan_sha256="11", demur="0.1.0", created="2026-11-30T00:00:00+00:00",
    rows={"fit": 0, "tune": TUNE, "certify": CERTIFY}, class_mix={"disc": 300, "bar": 300, "cross": 300},
    statement="certified(risk=0.1)", signals={"msp": {"sentence": "One minus.", "unit": "probability"}},
    chosen="msp was named beforehand", void_when=("the model changes",),
)  # fmt: skip


def scores_and_errors():
    """Uncertainty of the tiny net on its images, and which answers are wrong."""
    images, labels = tiny.images_and_labels()
    logits = tiny.classifier()(images).detach()
    wrong = (logits.argmax(dim=1) != labels).numpy()
    return MSP()(_Logits(logits)).numpy(), wrong


class _Logits:
    def __init__(self, logits):
        self.logits = logits


def guard(risk=0.1, **changes) -> Guard:
    """A guard whose certificate is of the tiny net."""
    scores, wrong = scores_and_errors()
    tolerance = Tolerance(widths=(1e-7,))
    rows = [Calibration(scores[part], wrong[part], tolerance=tolerance) for part in (slice(TUNE), slice(TUNE, None))]
    certificate = Certified(risk=risk).fit(*rows)
    made = Guard(
        classifier=tiny.classifier(),
        signals={"msp": MSP()},
        policy=certificate.on("msp"),
        tolerances={"msp": tolerance},
        temperature=1.5,
        intake=Intake(rules=Rules(), input_shape=tiny.SHAPE),
        card=CARD,
    )
    return replace(made, **changes)


def images(rows=64):
    return tiny.images_and_labels()[0][:rows]


def written(folder: Path, embedding="program", made: Guard | None = None) -> str:
    """Write a guard into a folder, with a look in its ledger; the hash of its list of files."""
    made = guard() if made is None else made
    scores, wrong = scores_and_errors()
    grey = (images(8) * 255).round() / 255
    rows = LabelledRows.of([f"image {k}" for k in range(5)], [0, 1, 2, 0, 1])
    return write_guard(
        folder,
        made,
        built_on=BuiltOn(
            contents={"tune": ("ab" * 32,), "certify": ("cd" * 32, "ef" * 32)},
            scores={"msp": scores[:TUNE]},
            wrong=wrong[:TUNE],
        ),
        model=lambda made_in: write_model(made_in, made.classifier, None, embedding),
        looks=lambda ledger: _look(ledger, rows),
        golden=lambda made_in: write_golden(made_in, made, [as_file(image) for image in (*grey, *images(2))]),
    )


def _look(ledger: Ledger, rows: LabelledRows) -> None:
    ledger.numbers(Inquiry(rows=rows, model="m", menu=("msp",), procedure="p"), ["certified"])


def audited(folder: Path, of=None, model=None, choices=None, **changes):
    """An audit of the tiny net and the guard that it makes: run folder, guard folder, hash of its list of files."""
    source, classifier = of or tiny.source(), model or tiny.classifier()
    settings = {"conditions": ("clean",), "policies": ("certified(risk=0.1)",), **changes}
    run = tiny.run(folder / "run", source, classifier, **settings)
    others = StandIns(source=source, classifier=classifier)
    choices = choices or GuardChoices(embedding="program", golden=8)
    return run, folder / "guard", guard_of_run(run, folder / "guard", choices, others)


def ledger_of(folder: Path) -> Ledger:
    return Ledger(folder / LEDGER)


def flipped(path: Path, place: int) -> None:
    """Change one byte of a file."""
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= 1 + place % 255
    path.write_bytes(bytes(content))


def nothing_answered(decisions) -> bool:
    return not decisions.accepted.any() and np.all(decisions.reasons != "")


def unlike(images: torch.Tensor) -> torch.Tensor:
    return images.flip(0)
