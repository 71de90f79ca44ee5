"""Saved signals score as before to the last bit, and a folder that was changed is refused by name."""

import hashlib
import json
import sys
from dataclasses import dataclass, replace
from functools import cache, reduce
from operator import getitem

import pytest
import torch
from safetensors.torch import load_file, save
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from tests.signals.test_signals import REFERENCES

from demur.errors import InputError, MissingExtraError, UnknownNameError
from demur.registry import build, name_of, names, resolve
from demur.signals import Fittable, needs_of
from demur.signals.activation_entropy import ActivationEntropy
from demur.signals.conductance import Conductance
from demur.signals.error_detector import FittedDetector
from demur.signals.feature_distances import KNN, ViM
from demur.signals.label_change_rate import LabelChangeRate
from demur.signals.plain_values import Contents, signal_to_plain
from demur.signals.softmax_scores import MSP, Energy
from demur.signals.stack import Stack
from demur.signals.store import load_signals, save_signals, stored_sha256
from demur.signals.temperature import Tempered
from demur.testing.world import World

LAYERS = ("conv", "wide")
NESTED = build(
    "signal", "stack(folds=2, signals=[msp, vim, stack(folds=2, signals=[temperature_scaled, mahalanobis])])"
)
MORE = [
    *(Conductance(estimator=preset, folds=2) for preset in ("lda", "qda", "mlp", "random_forest", "gbm")),
    Conductance(estimator=HistGradientBoostingClassifier(max_iter=5), folds=2),
    ActivationEntropy(layers=LAYERS, fusion="learned"),
    LabelChangeRate(gamma=0.2, mutants=12),
    NESTED,
]
EVERY = [signal for pairs in REFERENCES.values() for signal, _ in pairs] + MORE
WAY_OUT = "fit and save the signals again"


@cache
def ready(signal):
    """A world, and the signal fitted in it where it must be."""
    world = World(layers=needs_of(signal).layers, members=needs_of(signal).members)
    with torch.no_grad():
        return world, signal.fit(world.reference(), world.labels) if isinstance(signal, Fittable) else signal


def test_every_registered_signal_is_saved_here():
    assert {type(signal) for signal in EVERY} == {resolve("signal", name) for name in names("signal")}


@pytest.mark.parametrize("signal", EVERY, ids=repr)
def test_a_loaded_signal_gives_the_same_scores_to_the_last_bit(signal, tmp_path):
    world, fitted = ready(signal)
    save_signals(tmp_path, {"it": fitted})
    again = load_signals(tmp_path)["it"]
    with torch.no_grad():
        before, after = fitted(world.evidence()), again(world.evidence())
    assert torch.equal(before, after)
    assert type(again) is type(fitted)
    assert not list(tmp_path.glob("*.pkl"))


@pytest.mark.parametrize("signal", [each for each in EVERY if not isinstance(each, Conductance)], ids=repr)
def test_a_signal_that_is_not_fitted_is_its_fields(signal, tmp_path):
    save_signals(tmp_path, {name_of("signal", signal): signal})
    assert load_signals(tmp_path) == {name_of("signal", signal): signal}
    assert [path.name for path in tmp_path.iterdir()] == ["signals.json"]


def test_a_field_keeps_all_its_digits(tmp_path):
    signal = Tempered(signal=Energy(temperature=1 / 3), temperature=2 / 7)
    save_signals(tmp_path, {"it": signal})
    assert load_signals(tmp_path)["it"] == signal


def test_a_tensor_lies_in_memory_as_it_did(tmp_path):
    """Sums run in another order over another layout, which moves the last bits of a score."""
    _, fitted = ready(ViM())
    assert not fitted.outside.is_contiguous()
    save_signals(tmp_path, {"it": fitted})
    again = load_signals(tmp_path)["it"]
    assert again.outside.stride() == fitted.outside.stride()
    assert again.weight.stride() == fitted.weight.stride()


def test_what_is_not_finite_survives(tmp_path):
    _, fitted = ready(Stack(folds=2))
    fitted = replace(fitted, gain=replace(fitted.gain, low=float("nan"), high=float("inf"), reason="none"))
    save_signals(tmp_path, {"it": fitted})
    gain = load_signals(tmp_path)["it"].gain
    assert gain.low != gain.low
    assert (gain.high, gain.value, gain.reason) == (float("inf"), fitted.gain.value, "none")


def test_signals_are_replaced_as_a_whole(tmp_path):
    (_, one), (_, other) = ready(KNN()), ready(ViM())
    assert not stored_sha256(tmp_path)
    first = save_signals(tmp_path, {"a": one})
    assert first == stored_sha256(tmp_path) == hashlib.sha256((tmp_path / "signals.json").read_bytes()).hexdigest()
    assert save_signals(tmp_path, {"b": other, "c": MSP()}) != first
    assert set(load_signals(tmp_path)) == {"b", "c"}
    assert len(list(tmp_path.iterdir())) == 2
    save_signals(tmp_path, {})
    assert (load_signals(tmp_path), len(list(tmp_path.iterdir()))) == ({}, 1)


@pytest.fixture
def saved(tmp_path):
    """A folder with a tensor, an estimator and a nested signal in it."""
    (_, conductance), (_, knn) = ready(Conductance(folds=2)), ready(KNN(k=3))
    save_signals(tmp_path, {"conductance": conductance, "knn(k=3)": knn, "tempered": Tempered()})
    return tmp_path


def changed(folder, change):
    path = folder / "signals.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def rewritten(folder, change):
    """The tensors changed, and the hash in the JSON with them, as one would who knows the format."""
    (path,) = folder.glob("tensors-*")
    tensors = load_file(path)
    change(tensors)
    path.write_bytes(save(tensors))
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    changed(folder, lambda content: content["files"].update({path.name: sha256}))


BANK = "knn(k=3).bank"


def put(name, value):
    return lambda content: content.update({name: value})


def at(*path, **values):
    """A change of some values far down in the description of a signal."""
    return lambda content: reduce(getitem, path, content["signals"]).update(values)


def of_knn(**fields):
    return at("knn(k=3)", "fields", **fields)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("format", "else"), r"signals\.json holds no signals of demur"),
        (put("version", 2), r"signals\.json is of version 2; this demur reads version 1\. Upgrade"),
        (put("signals", []), "`signals` must be of type dict"),
        (put("scikit_learn", "1.0"), r"pip install scikit-learn==1\.0"),
        (put("files", {}), "cannot be used: conductance.*must be .* of the file of (tensors|estimators).*"),
        (of_knn(k=3.0), r"knn\(k=3\)\.k must be of type int; found 3\.0"),
        (of_knn(k=True), r"knn\(k=3\)\.k must be of type int"),
        (of_knn(more=1), r"knn\(k=3\) must be exactly bank, k; found bank, k, more"),
        (of_knn(bank=[1.0]), r"knn\(k=3\)\.bank must be of type dict"),
        (at("tempered", "fields", temperature=-1.0), "`temperature` must be positive"),
        (at("tempered", fitted=True), "must be the fitted form of 'tempered'"),
        (at("tempered", signal="os:system"), "unknown signal 'os:system'"),
        (at("tempered", "fields", signal="msp"), "must be of type dict"),
        (at("conductance", "fields", "detector", models=[{"estimator": 0}]), "no signal has a place for 'estimator 1'"),
        (at("conductance", "fields", "detector", models=[{"estimator": 2}]), "must be the estimator 2 of the file"),
        (lambda content: content["signals"].pop("knn(k=3)"), r"no signal has a place for 'knn\(k=3\)\.bank'"),
    ],
)  # fmt: skip
def test_a_changed_description_is_refused(change, message, saved):
    changed(saved, change)
    with pytest.raises((InputError, UnknownNameError), match=message):
        load_signals(saved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.update({BANK: tensors[BANK].float()}), "dtype of its tensor must be torch.float64"),
        (lambda tensors: tensors.update({BANK: tensors[BANK][:-1].clone()}), "shape of its tensor must be"),
        (lambda tensors: tensors.update({BANK: tensors[BANK].flatten()}), "order must be an order of 1 axes"),
        (lambda tensors: tensors.pop(BANK), r"must be the tensor 'knn\(k=3\)\.bank'"),
        (lambda tensors: tensors.update(extra=torch.zeros(2)), "no signal has a place for 'extra'"),
    ],
)
def test_changed_tensors_are_refused(change, message, saved):
    rewritten(saved, change)
    with pytest.raises(InputError, match=message):
        load_signals(saved)


def test_a_tensor_of_another_kind_than_its_field_is_refused(saved):
    rewritten(saved, lambda tensors: tensors.update({BANK: tensors[BANK].long()}))
    changed(saved, lambda content: content["signals"]["knn(k=3)"]["fields"]["bank"].update(dtype="torch.int64"))
    with pytest.raises(InputError, match=r"bank must be a .*; found torch\.int64"):
        load_signals(saved)


@pytest.mark.parametrize("kind", ["tensors", "estimators"])
def test_a_damaged_file_is_named(kind, saved):
    (path,) = saved.glob(f"{kind}-*")
    path.write_bytes(path.read_bytes()[:-9] + b"123456789")
    with pytest.raises(InputError, match=rf"{kind}-.* is not the file that was saved.*{WAY_OUT}"):
        load_signals(saved)
    sha256 = hashlib.sha256(path.write_bytes(b"nothing") and path.read_bytes()).hexdigest()
    changed(saved, lambda content: content["files"].update({path.name: sha256}))
    with pytest.raises(InputError, match=rf"{kind}-.* cannot be read"):
        load_signals(saved)
    path.unlink()
    with pytest.raises(InputError, match=rf"{kind}-.* cannot be read \(No such file"):
        load_signals(saved)


def test_a_file_elsewhere_is_never_read(saved):
    changed(saved, lambda content: content.update(files={"tensors-/../../secret.safetensors": "0"}))
    with pytest.raises(InputError, match="must be the"):
        load_signals(saved)


@pytest.mark.parametrize("content", [b"", b"[1]", b"{", b"\xff\xfe"])
def test_what_is_no_description_is_refused(content, tmp_path):
    with pytest.raises(InputError, match=r"signals\.json does not exist.*save_signals"):
        load_signals(tmp_path)
    (tmp_path / "signals.json").write_bytes(content)
    with pytest.raises(InputError, match=r"signals\.json (is not readable JSON|holds no signals)"):
        load_signals(tmp_path)


class Harmful(LogisticRegression):
    """Fits as its parent, and is of a type that nobody trusts."""


def test_an_estimator_of_a_foreign_type_is_neither_saved_nor_loaded(saved, tmp_path):
    skops = pytest.importorskip("skops.io")
    _, fitted = ready(Conductance(estimator=Harmful(), folds=2))
    with pytest.raises(InputError, match=r"test_store.*Harmful, which is not trusted"):
        save_signals(tmp_path / "other", {"it": fitted})
    assert not list((tmp_path / "other").glob("signals.json"))
    (path,) = saved.glob("estimators-*")
    path.write_bytes(skops.dumps(list(fitted.detector.models)))
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    changed(saved, lambda content: content["files"].update({path.name: sha256}))
    with pytest.raises(InputError, match=r"Harmful, which is not trusted"):
        load_signals(saved)


def test_without_skops_the_install_line_is_named(saved, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "skops.io", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'demur\[signals\]'"):
        load_signals(saved)
    save_signals(tmp_path / "plain", {"msp": MSP()})


@dataclass(frozen=True)
class Homeless:
    """In no table."""

    unit = "none"

    def __call__(self, evidence):
        return evidence.logits[:, 0]


def test_only_what_has_a_name_is_saved(tmp_path):
    with pytest.raises(InputError, match="mine: Homeless can be saved only if"):
        save_signals(tmp_path, {"mine": Homeless()})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("held_out", [0.5], r"it\.detector\.held_out must be a .*; found list"),
        ("held_out", torch.zeros(2, 2), "held_out must be a"),
        ("models", (object(),), r"models\.0 must be a scikit-learn classifier; found object"),
    ],
)
def test_a_field_that_breaks_its_declaration_is_not_saved(field, value, message):
    _, fitted = ready(Conductance(folds=2))
    broken = replace(fitted, detector=replace(fitted.detector, **{field: value}))
    with pytest.raises(InputError, match=message):
        signal_to_plain(broken, "it", Contents())


def test_a_detector_keeps_what_it_said_of_its_reference(tmp_path):
    _, fitted = ready(Conductance(folds=2))
    save_signals(tmp_path, {"it": fitted})
    again = load_signals(tmp_path)["it"].detector
    assert isinstance(again, FittedDetector)
    assert torch.equal(again.held_out, fitted.detector.held_out)
    assert again.facts == fitted.detector.facts
