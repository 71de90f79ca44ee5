"""Write the golden run of the current schema: `python tests/golden/make.py`.

Run once for a new schema, before it is released, and never again: a golden run is what that version wrote. It is an
audit of the shipped classifier on 40 images of Fashion-MNIST, in splits of its own so that there are test rows,
without what can be worked out again.
"""

import shutil
from dataclasses import replace
from pathlib import Path

import torch

import demur
from demur.records import SCHEMA_VERSION

PLAN = {
    "conditions.use": ["clean", "pgd(eps=0.1, steps=3)", "pgd(eps=0.1, keep='worst', steps=3)", "fmn(steps=5)",
                       "gaussian_noise(severity=3)"],
    "conditions.attacked": 40,
    "signals.use": ["msp", "entropy", "energy(temperature=2.0)"],
    "policies.use": ["certified(risk=0.3, delta=0.1)", "certified", "rule"],
}  # fmt: skip
NOT_KEPT = (
    "lock",
    "results.json",
    "report.html",
    "junit.xml",
    "summary.md",
    "../opened.jsonl",
    "../.opened",
)
SPLITS = ("tune", "certify", "certify", "certify", "test")


class Shared:
    """A source whose rows take turns in the splits."""

    def __init__(self, whole):
        self._whole = whole
        self.address, self.classes, self.input_shape = whole.address, whole.classes, whole.input_shape

    def __len__(self):
        return len(self._whole)

    def read(self, positions):
        for row in self._whole.read(positions):
            yield replace(row, split=SPLITS[int(row.sample_id) % len(SPLITS)])


def main() -> None:
    """Audit, then drop what can be worked out again."""
    run = Path(__file__).parent / f"run-v{SCHEMA_VERSION}"
    if run.exists():
        raise SystemExit(f"{run.name} exists; a golden run is written once.")
    source = demur.open_data("fashion")
    rows = list(source.read(range(0, 10_000, 250)))
    labels = torch.tensor([row.label for row in rows])
    few = demur.from_tensors(torch.stack([row.image for row in rows]), labels, classes=source.classes, name="few")
    classifier = demur.load_model("fashion", classes=few.classes, input_shape=few.input_shape)
    demur.audit(classifier, Shared(few), out=run, plan=PLAN)
    for name in NOT_KEPT:
        path = run / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()


if __name__ == "__main__":
    main()
