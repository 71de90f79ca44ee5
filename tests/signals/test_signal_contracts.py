"""What holds for every registered signal."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.signals.signal_world import World
from tests.signals.test_signals import REFERENCES

import demur
import demur.signals
from demur.data import build_index
from demur.evidence import Evidence
from demur.randomness import Keys
from demur.registry import build, name_of, names, resolve
from demur.signals import Fittable, Needing, Telling, needs_of

EVERY = [pytest.param(signal, id=name_of("signal", signal)) for pairs in REFERENCES.values() for signal, _ in pairs]
FITTABLE = [param for param in EVERY if isinstance(param.values[0], Fittable)]
ROUNDING = {"rtol": 1e-4, "atol": 1e-5}  # of the net in float32, whose last bits depend on who shares the batch


@pytest.fixture(scope="module")
def ready():
    """A signal, fitted if it must be, and the world it lives in."""
    made = {}

    def make(signal):
        if signal not in made:
            world = World(layers=needs_of(signal).layers)
            with torch.no_grad():
                fitted = signal.fit(world.reference(), world.labels) if isinstance(signal, Fittable) else signal
            made[signal] = fitted, world
        return made[signal]

    return make


def score(signal, seen):
    with torch.no_grad():
        return signal(seen)


@pytest.mark.parametrize("signal", EVERY)
def test_scores_are_finite_float64_and_the_same_twice(signal, ready):
    fitted, world = ready(signal)
    first, second = (score(fitted, world.evidence()) for _ in range(2))
    assert first.dtype == torch.float64
    assert first.shape == (world.rows,)
    assert first.isfinite().all()
    assert torch.equal(first, second)


@pytest.mark.parametrize("signal", EVERY)
def test_who_shares_the_batch_does_not_matter(signal, ready):
    fitted, world = ready(signal)
    together = score(fitted, world.evidence())
    alone = torch.cat([score(fitted, world.evidence(slice(row, row + 1))) for row in range(world.rows)])
    some = score(fitted, world.evidence(slice(3, 8)))
    np.testing.assert_allclose(alone, together, **ROUNDING)
    np.testing.assert_allclose(some, together[3:8], **ROUNDING)


@pytest.mark.parametrize("signal", EVERY)
def test_the_model_is_left_as_it_was(signal, ready):
    fitted, world = ready(signal)
    before = world.classifier.sha256
    score(fitted, world.evidence())
    for layer in world.net.modules():
        assert not layer._forward_hooks
        assert not layer._forward_pre_hooks
        assert not layer.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in world.net.parameters())
    assert world.classifier.sha256 == before
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("signal", EVERY)
def test_a_signal_costs_no_more_than_it_declares(signal, ready):
    fitted, world = ready(signal)
    seen = world.evidence()
    score(fitted, seen)
    forwards, backwards = seen.spent.double()
    assert float((forwards + 1.25 * backwards).max()) <= 1 + needs_of(signal).passes
    if needs_of(signal).passes == 0:
        assert (seen.forwards, seen.backwards) == (1, 0)


@pytest.mark.parametrize("signal", EVERY)
def test_what_a_signal_declares_is_of_the_right_kind(signal, ready):
    fitted, _ = ready(signal)
    assert signal.unit
    assert fitted.unit == signal.unit
    assert type(signal).__doc__.partition("\n")[0].count(": high when ") == 1
    assert isinstance(signal, Needing) or needs_of(signal) == needs_of(build("signal", "msp"))
    if isinstance(fitted, Telling):
        assert json.loads(json.dumps(dict(fitted.facts), allow_nan=False)) == fitted.facts


@pytest.mark.parametrize("signal", FITTABLE)
def test_fitting_follows_from_the_reference_alone(signal, ready):
    fitted, world = ready(signal)
    with torch.no_grad():
        again = signal.fit(world.reference(), world.labels)
        other = signal.fit(replace(world, batch=45).reference(), world.labels)
    found = score(fitted, world.evidence())
    assert torch.equal(score(again, world.evidence()), found)
    np.testing.assert_allclose(score(other, world.evidence()), found, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("signal", EVERY)
def test_a_caller_who_leaves_autograd_on_gets_the_same(signal, ready):
    plain, world = ready(signal)
    fitted = signal.fit(world.reference(), world.labels) if isinstance(signal, Fittable) else signal
    torch.testing.assert_close(fitted(world.evidence()).detach(), score(plain, world.evidence()))
    assert not any(value.requires_grad for value in vars(fitted).values() if isinstance(value, torch.Tensor))


@pytest.mark.parametrize("name", names("signal"))
def test_a_registered_class_is_an_attribute_of_the_room(name):
    made = resolve("signal", name)
    assert getattr(demur.signals, made.__name__) is made
    assert made.__name__ in dir(demur.signals)


def test_an_attribute_that_is_no_signal_is_refused():
    with pytest.raises(AttributeError, match=r"module 'demur\.signals' has no attribute 'Knn'"):
        _ = demur.signals.Knn


def test_the_room_imports_a_signal_when_it_is_used():
    parts = ("import sys, demur.signals as s", "print('demur.signals.vim' in sys.modules)", "s.ViM",
             "print('demur.signals.vim' in sys.modules, 'demur.signals.knn' in sys.modules)")  # fmt: skip
    said = subprocess.run([sys.executable, "-c", "; ".join(parts)], capture_output=True, text=True, check=True).stdout
    assert said.split() == ["False", "True", "False"]


ON_THE_SHIPPED = ["msp", "entropy", "margin", "max_logit", "energy", "doctor", "pnorm", "tempered(temperature=2.0)",
                  "tta(mirror=False)", "odin", "knn", "mahalanobis(relative=True)", "vim", "relative_u",
                  "maxlogit_pnorm", "temperature_scaled", "stack(signals=[msp, knn])", "conductance",
                  "feature_squeezing(strength=0.0)", "label_change_rate(mutants=12)"]  # fmt: skip


@pytest.fixture(scope="module")
def shipped():
    """Evidence of 500 images that the shipped classifier may be fitted on, of 700 others, and the labels of both."""
    source = demur.open_data("fashion")
    model = demur.load_model("fashion", classes=source.classes, input_shape=source.input_shape)
    index = build_index(source, limit=3000)
    labels = torch.from_numpy(index.labels.astype("int64"))

    def look(part):
        read = list(source.read(index.positions[part].tolist()))
        keys = Keys.of(0, [row.sample_id for row in read], "contract")
        return Evidence(model, torch.stack([row.image for row in read]), features=True, keys=keys)

    known, new = slice(0, 500), slice(500, 1200)
    return look(known), labels[known], look(new), labels[new]


@pytest.mark.parametrize("name", ON_THE_SHIPPED)
def test_higher_is_more_uncertainty(name, shipped):
    reference, known, seen, labels = shipped
    signal = build("signal", name)
    with torch.no_grad():
        uncertainty = (signal.fit([reference], known) if isinstance(signal, Fittable) else signal)(seen)
        wrong = seen.logits.argmax(dim=1) != labels
    assert uncertainty[wrong].mean() > uncertainty[~wrong].mean()
