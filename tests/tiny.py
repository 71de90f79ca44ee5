"""An audit of seconds: 1,200 noisy 8×8 patterns of three classes, and a net that compares with the patterns."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from demur import seal
from demur.classifier import BoundClassifier
from demur.data import from_tensors
from demur.data.source import Row
from demur.files import checked_line, read_json, write_json
from demur.pipeline.plan.plan_file import Plan
from demur.pipeline.plan.plan_tables import Conditions, DataPlan, Policies
from demur.pipeline.run.loop import run_plan
from demur.pipeline.run.measured_shard import MEASURES

CLASSES = ("disc", "bar", "cross")
SHAPE = (1, 8, 8)
ROWS = 1200
CONDITIONS = (
    "clean",
    "fgsm(eps=[0.05, 0.1])",
    "pgd(eps=[0.05, 0.1], steps=4)",
    "pgd(eps=0.05, keep='worst', steps=4)",
    "fmn(steps=10)",
    "gaussian_noise(severity=[1, 4])",
    "low_light(severity=3)",
)
POLICIES = ("certified(risk=0.1)", "rule(confidence=0.6, entropy=0.9)")


class Quiet:
    """Progress that nobody watches."""

    def start(self, rows):
        self.rows, self.done = rows, 0

    def advance(self, rows, what, left=None):
        self.done += rows

    def say(self, what):
        pass


def patterns() -> Tensor:
    """One pattern of −1 and 1 per class, (classes, 8, 8)."""
    y, x = torch.meshgrid(torch.arange(8) - 3.5, torch.arange(8) - 3.5, indexing="ij")
    marks = [x**2 + y**2 < 9, y.abs() < 2, (x.abs() < 1) | (y.abs() < 1)]
    return torch.stack([2.0 * mark - 1 for mark in marks])


class Net(nn.Module):
    """How much an image agrees with each pattern."""

    def __init__(self, sharpness: float = 12.0) -> None:
        super().__init__()
        self.compare = nn.Conv2d(1, len(CLASSES), 8)
        with torch.no_grad():
            self.compare.weight.copy_(sharpness / 64 * patterns()[:, None])
            self.compare.bias.copy_(-self.compare.weight.sum(dim=(1, 2, 3)) / 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.compare(x).flatten(1)


def classifier(**given):
    return BoundClassifier(Net(**given).eval(), classes=CLASSES, input_shape=SHAPE)


def images_and_labels(rows=ROWS, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, len(CLASSES), rows)
    clear = 0.5 + 0.25 * rng.uniform(0, 1, (rows, 1, 1)) * patterns().numpy()[labels]
    images = np.clip(clear + rng.normal(0, 0.2, clear.shape), 0, 1)
    return torch.from_numpy(images[:, None].astype(np.float32)), torch.from_numpy(labels)


def source(rows=ROWS, labels=None, groups=None):
    images, own = images_and_labels(rows)
    return from_tensors(images, own if labels is None else labels, classes=CLASSES, groups=groups, name="tiny")


class Broken:
    """A source some of whose images cannot be read."""

    def __init__(self, whole, unreadable):
        self._whole, self._unreadable = whole, frozenset(unreadable)
        self.address, self.classes, self.input_shape = whole.address, whole.classes, whole.input_shape

    def __len__(self):
        return len(self._whole)

    def read(self, positions):
        for row in self._whole.read(positions):
            bad = int(row.sample_id) in self._unreadable
            yield Row(row.sample_id, None, row.label, row.group, "torn file") if bad else row


def plan(conditions=CONDITIONS, policies=POLICIES, attacked=120, **changes):
    return Plan(
        data=DataPlan(address="digits", limit=changes.pop("limit", None)),
        conditions=Conditions(use=tuple(conditions), attacked=attacked),
        policies=Policies(use=tuple(policies)),
        batch=64,
        **changes,
    )


def run(out: Path, of=None, model=None, **changes) -> Path:
    """Audit the patterns into a folder."""
    resources = changes.pop("resources", None)
    return run_plan(plan(**changes), out, Quiet(), of or source(), model or classifier(), resources=resources)


def interrupt(patch, when):
    """Stop audits, as Ctrl-C does, before the first shard of a condition that `when` is true of."""

    def stopped(measure):
        def measured(job, condition, rows):
            if when(condition):
                raise KeyboardInterrupt
            return measure(job, condition, rows)

        return measured

    for kind, measure in MEASURES.items():
        patch.setitem(MEASURES, kind, stopped(measure))


def hashes(folder: Path) -> dict[str, bytes]:
    """The content of everything an audit guarantees to write the same again."""
    guaranteed = ("plan.toml", "run.json", "manifest.json", "records/*", "facts/*", "thumbs/*")
    return {str(path.relative_to(folder)): path.read_bytes() for glob in guaranteed for path in folder.glob(glob)}


def reseal(folder: Path) -> Path:
    """Vouch for a run folder as it is now, so that a test may change what an audit wrote."""
    entries = read_json(folder / seal.MANIFEST)
    for entry in entries:
        for key, room in (("sha256", "records"), ("parts", "parts")):
            sha256 = seal.file_sha256(folder / room / f"{entry['shard']}.parquet")
            entry |= {key: sha256} if sha256 else {}
            if room == "parts" and sha256 is None:
                entry.pop("parts", None)
        entry["check"] = checked_line(entry)["check"]
    write_json(folder / seal.MANIFEST, entries)
    rooms = ("plan.toml", "*.json", "*.jsonl", "facts/*.json", "thumbs/*", "opened/*", "timings/signals.json")
    names = {str(path.relative_to(folder)) for glob in rooms for path in folder.glob(glob)} - {seal.FILE}
    seal._write(folder, {name: [seal.file_sha256(folder / name)] for name in names})
    return folder
