"""Signals of a plan: fitted once on rows of their own, priced, and refused before anything is measured."""

import hashlib
import json
import math
import re
import shutil
import sys
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from tests import tiny

from demur import seal
from demur.classifier import BoundClassifier
from demur.data import build_index
from demur.errors import InputError, MissingExtraError, ModelError, UnknownNameError
from demur.evidence import Evidence
from demur.files import read_json, write_json
from demur.pipeline.job import Job
from demur.pipeline.plan.plan_tables import Signals
from demur.pipeline.plan.resolve import resolve
from demur.pipeline.run import fitting
from demur.pipeline.run.fitting import Reference, fit_signals, prices
from demur.pipeline.run.loop import run_plan
from demur.randomness import Keys
from demur.records import read
from demur.registry import build
from demur.signals.store import load_signals, save_signals, stored_sha256

FITTED = ("temperature_scaled", "maxlogit_pnorm(largest=3)", "relative_u", "stack(folds=3, signals=[msp, relative_u])")
OF_FEATURES = ("knn(k=5)", "mahalanobis")
DEAR = ("tta(mirror=False)", "odin(temperature=2.0)")
CONDITIONS = ("clean", "fgsm(eps=0.05)")
ROWS = 3_000


class Linear(tiny.Net):
    """The same net with its last layer told apart, so that it has features."""

    def __init__(self):
        super().__init__()
        self.head = torch.nn.Linear(3, 3)
        with torch.no_grad():
            self.head.weight.copy_(torch.eye(3))
            self.head.bias.zero_()

    def forward(self, x):
        return self.head(tiny.Net.forward(self, x))


def model():
    return BoundClassifier(Linear().eval(), classes=tiny.CLASSES, input_shape=tiny.SHAPE)


def plan(*signals, **changes):
    made = tiny.plan(conditions=changes.pop("conditions", ("clean",)), attacked=60, **changes)
    return made.model_copy(update={"signals": Signals(use=signals)})


def run(out, *signals, of=None, progress=None, classifier=None, **changes):
    source = of or tiny.source(rows=ROWS)
    return run_plan(plan(*signals, **changes), out, progress or tiny.Quiet(), source, classifier or model())


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("signals") / "run"
    return run(folder, *FITTED, *OF_FEATURES, *DEAR, "energy", conditions=CONDITIONS)


@pytest.fixture(scope="module")
def job():
    source, wanted = tiny.source(rows=ROWS), plan(*FITTED, *OF_FEATURES)
    return Job.of(resolve(wanted, source), model(), source, build_index(source))


def test_every_signal_of_the_plan_is_measured_under_every_condition(measured):
    names = [entry["name"] for entry in read_json(measured / "run.json")["signals"]]
    assert names[:5] == ["msp", *FITTED]
    table = read(measured)
    assert set(table["condition"]) == set(CONDITIONS)
    for name in names:
        scores = table[f"signal.{name}"]
        assert scores.dtype == pl.Float64
        assert scores.is_finite().all()
        assert scores.n_unique() > 100


def test_a_fitted_signal_names_the_rows_it_was_fitted_on(measured):
    index = build_index(tiny.source(rows=ROWS))
    ids = [index.sample_ids[row] for row in index.rows_of("fit")]
    assert 100 < len(ids) < 300
    bank = {"split": "fit", "rows": len(ids), "ids_sha256": hashlib.sha256("\x1f".join(ids).encode()).hexdigest()}
    for entry in read_json(measured / "run.json")["signals"]:
        assert entry.get("bank") == (bank if entry["name"] in {*FITTED, *OF_FEATURES} else None)


def test_what_was_fitted_is_written_down(measured):
    facts = {entry["name"]: entry["facts"] for entry in read_json(measured / "facts" / "signals.json")}
    assert set(facts) == set(FITTED) - {"relative_u"}
    assert facts["temperature_scaled"]["temperature"] > 0
    stack = facts["stack(folds=3, signals=[msp, relative_u])"]
    assert [each["name"] for each in stack["signals"]] == ["msp", "relative_u"]
    gain = stack["auroc_gain_over_msp"]
    assert gain["n"] == read_json(measured / "run.json")["splits"]["fit"]
    assert gain["low"] < gain["value"] < gain["high"]


def test_the_records_hold_what_a_signal_fitted_by_hand_says(measured, job):
    index, source = job.index, job.source
    fit, clean = index.rows_of("fit"), read(measured, "clean").head(200)
    known = [row.image for row in source.read(fit.tolist())]
    new = [row.image for row in source.read([int(key) for key in clean["sample_id"]])]
    with torch.no_grad():
        reference = Evidence(job.classifier, torch.stack(known), features=True)
        seen = Evidence(job.classifier, torch.stack(new), features=True)
        for name in ("knn(k=5)", "temperature_scaled", "relative_u"):
            labels = torch.from_numpy(index.labels[fit].astype("int64"))
            expected = build("signal", name).fit([reference], labels)(seen)
            np.testing.assert_allclose(clean[f"signal.{name}"].to_numpy(), expected, rtol=1e-4, atol=1e-5)


def test_passes_are_counted_where_they_are_made(measured):
    """One look, four moved views, one gradient and one step of odin; an attack's own passes come on top."""
    clean = read(measured, "clean")
    assert clean["forwards"].unique().to_list() == [1 + 4 + 2]
    assert clean["backwards"].unique().to_list() == [1]
    attacked = read(measured, "fgsm(eps=0.05)")
    assert attacked["backwards"].max() == 2
    assert attacked["forwards"].min() >= 1 + 1 + 4 + 2


def test_fitting_sees_the_fit_rows_and_no_other_label(job):
    seen = list(Reference(job))
    index = job.index
    rows = index.rows_of("fit").tolist()
    images = torch.cat([each.images for each in seen])
    assert torch.equal(images, torch.stack([row.image for row in job.source.read(rows)]))
    assert Reference(job).labels.tolist() == index.labels[rows].tolist()
    assert all(each.groups is None for each in seen)
    assert all(len(each) <= job.plan.batch for each in seen)
    assert seen[0].keys == Keys.of(0, [index.sample_ids[row] for row in rows[: len(seen[0])]], "fit")


@pytest.mark.parametrize(("split", "moved"), [("fit", True), ("tune", False), ("certify", False), ("test", False)])
def test_only_labels_of_fit_rows_move_a_fitted_signal(job, split, moved):
    _, labels = tiny.images_and_labels(ROWS)
    rows = job.index.rows_of(split)[::2]
    labels[rows] = (labels[rows] + 1) % 3
    source = tiny.source(rows=ROWS, labels=labels)
    other = replace(job, source=source, index=build_index(source))
    one, two = (fit_signals(each).fitted["temperature_scaled"].facts for each in (job, other))
    assert (one != two) is moved


def test_groups_reach_the_folds(tmp_path):
    groups = [f"g{row // 6}" for row in range(ROWS)]
    for source, unit in ((tiny.source(rows=ROWS, groups=groups), "group"), (tiny.source(rows=ROWS), "image")):
        folder = run(tmp_path / unit, "stack", of=source)
        (facts,) = read_json(folder / "facts" / "signals.json")
        gain, rows = facts["facts"]["auroc_gain_over_msp"], read_json(folder / "run.json")["splits"]["fit"]
        assert gain["unit"] == unit
        assert (gain["n"] < rows) is (unit == "group")


def test_an_interrupted_run_comes_to_the_same_bytes(measured, tmp_path, monkeypatch):
    wanted, asked = {"conditions": CONDITIONS}, (*FITTED, *OF_FEATURES, *DEAR, "energy")
    calls = []
    with monkeypatch.context() as patch:
        tiny.interrupt(patch, lambda condition: calls.append(condition) or len(calls) == 3)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "run", *asked, **wanted)
    run(tmp_path / "run", *asked, **wanted)
    assert tiny.hashes(tmp_path / "run") == tiny.hashes(measured)


def test_a_finished_run_fits_nothing_again(measured, monkeypatch):
    def fit(self, reference, labels):
        raise AssertionError

    monkeypatch.setattr(type(build("signal", "temperature_scaled")), "fit", fit)
    run(measured, *FITTED, *OF_FEATURES, *DEAR, "energy", conditions=CONDITIONS)


DETECTED = ("conductance(folds=2)", "knn(k=5)")


@pytest.fixture(scope="module")
def detected(tmp_path_factory):
    return run(tmp_path_factory.mktemp("detected") / "run", *DETECTED)


def without_a_shard(whole, folder):
    """A copy of a finished run that must measure one of its shards again."""
    shutil.copytree(whole, folder)
    next((folder / "records").iterdir()).unlink()
    return folder


def events(folder, name):
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [line["why"] for line in lines if line["event"] == name]


def test_a_run_that_goes_on_scores_with_the_signals_it_kept(detected, tmp_path, monkeypatch):
    folder, fitted = without_a_shard(detected, tmp_path / "run"), []
    monkeypatch.setattr(fitting, "fit_signals", lambda job: fitted.append(job) or fit_signals(job))
    run(folder, *DETECTED)
    assert not fitted
    assert tiny.hashes(folder) == tiny.hashes(detected)
    facts = "facts/signals.json"
    assert (folder / facts).read_bytes() == (detected / facts).read_bytes()


def test_the_kept_signals_are_of_this_model_these_data_and_this_plan(detected):
    facts, facts_of_run = (read_json(detected / name) for name in ("fitted/origin.json", "run.json"))
    assert facts["signals"] == list(DETECTED)
    assert facts["sha256"] == stored_sha256(detected / "fitted")
    assert all(facts[name] == facts_of_run[name] for name in ("model_sha256", "data_sha256", "plan_sha256"))
    assert set(load_signals(detected / "fitted")) == set(DETECTED)


def spoil(folder):
    next((folder / "fitted").glob("tensors-*")).write_bytes(b"nothing")


def replace_by_others(folder):
    save_signals(folder / "fitted", {name: build("signal", "msp") for name in DETECTED})


def name_another_model(folder):
    facts = read_json(folder / "fitted" / "origin.json")
    write_json(folder / "fitted" / "origin.json", {**facts, "model_sha256": "another"})


def vouch_for_another_model(folder):
    name_another_model(folder)
    seal.seal_file(folder, "fitted/origin.json")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (spoil, r"fitted/tensors-\w+\.safetensors is not the file that was written"),
        (replace_by_others, r"fitted/signals\.json is not the file that was written"),
        (name_another_model, r"fitted/origin\.json is not the file that was written"),
        (lambda folder: (folder / "fitted" / "signals.json").unlink(), r"fitted/signals\.json is gone"),
        (vouch_for_another_model, "holds signals of another model, other data or another plan"),
    ],
)
def test_signals_that_do_not_fit_the_run_are_fitted_again(change, why, detected, tmp_path):
    folder = without_a_shard(detected, tmp_path / "run")
    change(folder)
    run(folder, *DETECTED)
    assert tiny.hashes(folder) == tiny.hashes(detected)
    (said,) = events(folder, "signals are fitted again")
    assert re.search(why, said)
    assert set(load_signals(folder / "fitted")) == set(DETECTED)


def test_without_a_way_to_keep_them_signals_are_fitted_as_before(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "skops.io", None)
    folder = run(tmp_path / "run", "conductance(folds=2)")
    assert read(folder)["signal.conductance(folds=2)"].is_finite().all()
    (why,) = events(folder, "fitted signals were not kept")
    assert "pip install 'demur[signals]'" in why
    assert not (folder / "fitted" / "origin.json").exists()


def test_other_signals_leave_logits_and_their_own_scores_alone(measured, tmp_path):
    plain = read(run(tmp_path, "energy", conditions=CONDITIONS))
    with_more = read(measured)
    names = ["logit.0", "logit.1", "logit.2", "signal.msp", "signal.energy", "predicted"]
    assert plain.select(names).equals(with_more.select(names))
    assert plain.filter(pl.col("condition") == "clean")["forwards"].unique().to_list() == [1]
    on_top = with_more["forwards"] - plain["forwards"]
    assert on_top.filter(with_more["condition"] != "clean").unique().to_list() == [1 + 4 + 2]
    assert not (tmp_path / "facts" / "signals.json").exists()


@pytest.mark.parametrize(
    ("signal", "error", "words"),
    [
        ("mc_dropout", ModelError, r"signal 'mc_dropout': the model has no dropout layer"),
        ("ensemble_disagreement", ModelError, r"signal 'ensemble_disagreement': this signal compares the members of"),
        ("vim", InputError, r"signal 'vim': the features must be clearly wider than the classes"),
        ("knn(k=999)", InputError, r"signal 'knn\(k=999\)': `k` = 999 neighbours need as many reference images"),
        ("tempered(signal=knn)", InputError, "`signal` must read logits alone and need no fitting; got knn"),
        ("temperature_scaled(signal=tta)", InputError, "`signal` must read logits alone and need no fitting; got tta"),
        ("stack(signals=[msp, knnn])", UnknownNameError, "Did you mean 'knn'"),
    ],
)
def test_a_signal_that_cannot_be_is_refused_before_anything_is_measured(signal, error, words, tmp_path):
    with pytest.raises(error, match=words):
        run(tmp_path / "run", signal)
    assert not list((tmp_path / "run").glob("records/*"))


def test_a_model_without_a_linear_head_has_no_features_for_signals(tmp_path):
    with pytest.raises(ModelError, match=r"signal 'knn': this model has no linear last layer"):
        run(tmp_path / "run", "knn", classifier=tiny.classifier())
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("signal", ["knn", "stack(signals=[msp])"])
def test_few_images_have_none_to_fit_on(signal, tmp_path):
    with pytest.raises(InputError, match=r"must be fitted.*from 3,000 images on; there are 1,200.*Leave the signal"):
        run(tmp_path / "run", signal, of=tiny.source())
    assert not (tmp_path / "run").exists()


class Split:
    """The tiny source with a split of its own."""

    def __init__(self, whole, splits):
        self._whole, self._roles = whole, splits
        self.address, self.classes, self.input_shape = whole.address, whole.classes, whole.input_shape

    def __len__(self):
        return len(self._whole)

    def read(self, positions):
        for row in self._whole.read(positions):
            yield replace(row, split=self._roles[int(row.sample_id) % len(self._roles)])


def test_a_split_of_ones_own_may_set_images_aside(tmp_path):
    source = Split(tiny.source(rows=900), ["fit", "tune", "certify", "test", "test"])
    folder = run(tmp_path / "run", "knn", of=source)
    assert read_json(folder / "run.json")["signals"][1]["bank"]["rows"] == 180


def test_a_split_of_ones_own_without_any_is_what_must_change(tmp_path):
    source = Split(tiny.source(rows=3000), ["tune", "certify", "test"])
    with pytest.raises(InputError, match=r"The split of your own has none\. Leave the signal out, or mark some as fit"):
        run(tmp_path / "run", "knn", of=source)


def test_the_price_is_said_before_the_work_and_counted_in_it(tmp_path):
    class Told(tiny.Quiet):
        def say(self, what):
            said.append(what)

        def start(self, rows):
            said.append("start")
            super().start(rows)

    said, progress = [], Told()
    folder = run(tmp_path, "tta", "energy", "stack(signals=[msp, tta])", progress=progress)
    reference = read_json(folder / "run.json")["splits"]["fit"]
    price = "takes up to 5 more passes over each image: 15,000 passes over 3,000 images under all conditions"
    stack = "stack(signals=[msp, tta])"
    fitting = f"fitting {stack} takes about {5 * reference:,} passes over {reference} images"
    assert [line for line in said if "passes" in line] == [f"tta {price}", f"{stack} {price}", fitting]
    assert said.index(fitting) < said.index("start")
    assert progress.rows == progress.done == ROWS * 11


def test_a_default_plan_has_no_signal_with_a_price():
    defaults = resolve(tiny.plan(), tiny.source()).signals
    assert not list(prices(defaults, 1000, 100))
    assert math.isclose(build("signal", "odin").needs.passes, 3.25)


def test_a_missing_extra_has_its_install_line(job, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.covariance", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'demur\[signals\]'"):
        fit_signals(job)
