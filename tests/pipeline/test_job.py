"""A job is resolved once and is the same job in another process."""

import hashlib
import io
import multiprocessing
import pickle
from collections import Counter
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch
from tests import every_section, tiny
from torch import nn

from demur.adapters import load_model
from demur.classifier import BoundClassifier
from demur.data import Source, build_index, from_tensors, open_data
from demur.errors import DataError, InputError, ModelError
from demur.pipeline.job import Job, shard_rows, shards
from demur.pipeline.plan.plan_file import read_plan
from demur.pipeline.plan.resolve import resolve
from demur.pipeline.run.fitting import fit_signals
from demur.pipeline.run.loop import run_plan
from demur.pipeline.run.measured_shard import MEASURES
from demur.registry import building, call_syntax

ROWS = 90
MODEL = "module:tests.tiny:Net"
NAMES = ("clean", "pgd(eps=0.05, steps=3)", "low_light(severity=2)")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    images, labels = tiny.images_and_labels(ROWS)
    path = tmp_path_factory.mktemp("data") / "patterns.npz"
    split = np.array(("fit", "tune", "certify", "test"))[np.arange(ROWS) % 4]
    np.savez(path, images=images.numpy(), labels=np.array(tiny.CLASSES)[labels.numpy()], split=split)
    return f"npz:{path}?layout=nchw"


def job_of(data, model=MODEL, classifier=None, **changes):
    source = open_data(data) if isinstance(data, str) else data
    given = {"conditions.use": list(NAMES), "conditions.attacked": 12, "signals.use": ["msp", "entropy"]}
    kept = {"kept": changes.pop("kept")} if "kept" in changes else {}
    plan = read_plan(None, (), {**given, **changes, "batch": 32})
    classifier = classifier or load_model(model, classes=source.classes, input_shape=source.input_shape)
    return Job.of(resolve(plan, source), classifier, source, build_index(source), model=model, **kept)


def shard_hashes(job):
    """The bytes of every shard's rows."""
    found = {}
    for shard in shards(job):
        buffer = io.BytesIO()
        MEASURES[shard.condition.kind](job, shard.condition, shard.rows).write_parquet(buffer, statistics=False)
        found[shard.name] = hashlib.sha256(buffer.getvalue()).hexdigest()
    return found


def counting(patch, where, name):
    """How often a function was called with what arguments."""
    calls, called = Counter(), getattr(where, name)

    def counted(*given):
        calls[given] += 1
        return called(*given)

    patch.setattr(where, name, counted)
    return calls


def test_every_name_of_a_plan_is_parsed_and_built_once(tmp_path, monkeypatch):
    parsed, built = counting(monkeypatch, call_syntax, "parse"), counting(monkeypatch, building, "resolve")
    texts = {
        "conditions.use": ["clean", "fgsm(eps=0.05)"],
        "signals.use": ["energy", "entropy"],
        "policies.use": ["certified(risk=0.1)", "rule(confidence=0.6, entropy=0.9)"],
        "epsilon.use": ["ray", "fmn(norm='l2', steps=10)"],
        "attribution.maps": ["grad_cam", "gradient"],
        "attribution.regions": ["grad_cam", "marked", "centred"],
    }
    counts = {"conditions.attacked": 12, "epsilon.images": 12, "attribution.images": 12, "lipschitz.images": 2}
    plan = read_plan(None, (), texts | counts)
    run_plan(plan, tmp_path / "run", tiny.Quiet(), every_section.Marked(tiny.source(90)), every_section.classifier())
    names = [name for listed in texts.values() for name in listed]
    assert {text: count for (text,), count in parsed.items() if text in names} == Counter(names)
    assert {text for (text,) in parsed} - {*names} <= {"msp"}
    assert {kind for (kind, _), count in built.items() if count > 1} <= {"policy"}, "one is checked when it is read"


@pytest.mark.slow
def test_a_job_measures_the_same_bytes_in_a_process_of_its_own(data):
    job = fit_signals(job_of(data, **{"signals.use": ["msp", "temperature_scaled"]}))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        there = pool.apply(shard_hashes, (job,))
    assert len(there) == len(NAMES)
    assert there == shard_hashes(job)


def test_what_was_given_travels_with_the_job():
    job = job_of(tiny.source(ROWS), model=None, classifier=tiny.classifier())
    assert shard_hashes(pickle.loads(pickle.dumps(job))) == shard_hashes(job)


def test_a_model_that_cannot_travel_says_so():
    class Here(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = tiny.Net()

        def forward(self, x):
            return self.net(x)

    here = BoundClassifier(Here().eval(), classes=tiny.CLASSES, input_shape=tiny.SHAPE)
    job = job_of(tiny.source(ROWS), model=None, classifier=here)
    with pytest.raises(InputError, match=r"the model of this job cannot be sent .* or run in one process"):
        pickle.dumps(job)


def test_a_model_whose_weights_changed_on_the_way_is_refused(data):
    job = job_of(data, classifier=tiny.classifier(sharpness=3.0))
    sent = pickle.dumps(job)
    with pytest.raises(ModelError, match="its weights have changed"):
        pickle.loads(sent)


def test_pixels_that_rounding_has_pushed_out_of_the_range_are_clamped(data):
    images, labels = tiny.images_and_labels(ROWS)
    images[0, 0, 0, 0], images[1, 0, 0, 0] = -9e-7, 1 + 9e-7
    source = from_tensors(images, labels, classes=tiny.CLASSES, name="pushed")
    job = job_of(source, model=None, classifier=tiny.classifier())
    x, _ = job.load(range(ROWS))
    assert torch.equal(x, images.clamp(0, 1))
    clean = from_tensors(images.clamp(0, 1), labels, classes=tiny.CLASSES, name="clean")
    assert build_index(source).contents == build_index(clean).contents
    images[0, 0, 0, 0] = -2e-6
    with pytest.raises(DataError, match="has pixels from -2e-06"):
        build_index(source)


@pytest.mark.parametrize(
    ("shape", "rows"),
    [((1, 28, 28), 512), ((3, 32, 32), 512), ((3, 224, 224), 512), ((3, 640, 640), 64), ((3, 4096, 4096), 1)],
)
def test_a_shard_of_large_images_holds_fewer(shape, rows):
    assert shard_rows(shape) == rows
    assert rows == 1 or rows * 4 * np.prod(shape) <= 320 << 20


def test_shards_hold_as_many_rows_as_their_images_allow(data, monkeypatch):
    whole = job_of(data)
    monkeypatch.setattr("demur.pipeline.job._SHARD_BYTES", 4 * 64 * 40)
    small = [shard for shard in shards(whole) if shard.condition.name == "clean"]
    assert {len(shard.rows) for shard in small[:-1]} == {32}
    assert np.concatenate([shard.rows for shard in small]).tolist() == list(range(len(whole.index)))


@dataclass(frozen=True, eq=False)
class Marked:
    """The patterns, each with its object marked up to a column."""

    column: int
    whole: Source = field(default_factory=lambda: tiny.source(30))
    address: str = "marked"
    classes: tuple[str, ...] = tiny.CLASSES
    input_shape: tuple[int, int, int] = tiny.SHAPE

    def __len__(self):
        return len(self.whole)

    def read(self, positions):
        for row in self.whole.read(positions):
            yield replace(row, box=(0, 0, self.column, 8))


def test_a_mark_that_was_exchanged_since_the_images_were_read_is_named():
    source = Marked(3)
    job = Job.of(resolve(tiny.plan(), source), tiny.classifier(), source, build_index(source))
    assert job.marks([2, 5])[0].sum() == 2 * 3 * 8
    for column in (4, 0):
        with pytest.raises(DataError, match=r"the object of image '000002' is marked otherwise than .* new index"):
            replace(job, source=Marked(column)).marks([2, 5])
