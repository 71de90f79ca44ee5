"""Each signal against a slow reference that copies its definition, in 400 digits."""

import os
from collections.abc import Callable
from pathlib import Path

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from demur.errors import InputError
from demur.evidence import Evidence
from demur.metrics import auroc
from demur.policies import Rule
from demur.registry import build, names, resolve
from demur.signals.energy import Energy
from demur.signals.entropy import Entropy
from demur.signals.margin import Margin
from demur.signals.max_logit import MaxLogit
from demur.signals.msp import MSP


def probabilities(row):
    total = mpmath.fsum(mpmath.exp(z) for z in row)
    return [mpmath.exp(z) / total for z in row]


def slow_msp(row):
    return 1 - max(probabilities(row))


def slow_entropy(row):
    return -mpmath.fsum(p * mpmath.log(p) for p in probabilities(row))


def slow_margin(row):
    first, second = sorted(probabilities(row), reverse=True)[:2]
    return 1 - (first - second)


def slow_max_logit(row):
    return -max(row)


def slow_energy(temperature):
    def energy(row):
        return -temperature * mpmath.log(mpmath.fsum(mpmath.exp(z / temperature) for z in row))

    return energy


REFERENCES: dict[str, list[tuple[object, Callable]]] = {
    "energy": [(Energy(temperature=t), slow_energy(t)) for t in (1.0, 2.0, 0.5)],
    "entropy": [(Entropy(), slow_entropy)],
    "margin": [(Margin(), slow_margin)],
    "max_logit": [(MaxLogit(), slow_max_logit)],
    "msp": [(MSP(), slow_msp)],
}
PAIRS = [pytest.param(*pair, id=repr(pair[0])) for pairs in REFERENCES.values() for pair in pairs]
SIGNALS = [pytest.param(signal, id=repr(signal)) for pairs in REFERENCES.values() for signal, _ in pairs]
OF_PROBABILITIES = [pytest.param(signal, id=repr(signal)) for signal in (MSP(), Entropy(), Margin())]

LOGITS = st.tuples(st.integers(1, 6), st.integers(2, 20)).flatmap(
    lambda shape: arrays(np.float32, shape, elements=st.floats(-1e4, 1e4, width=32))
)


def scores(signal, logits):
    return signal(Evidence(None, None, logits=torch.as_tensor(logits))).numpy()


def test_every_registered_signal_has_a_reference():
    assert set(REFERENCES) == set(names("signal"))
    for name, pairs in REFERENCES.items():
        assert all(type(signal) is resolve("signal", name) for signal, _ in pairs)


@pytest.mark.parametrize(("signal", "slow"), PAIRS)
@pytest.mark.parametrize("scale", [0.1, 3.0, 40.0, 300.0, 1e4])
def test_a_signal_equals_its_slow_reference(signal, slow, scale):
    rng = np.random.default_rng(7)
    logits = np.concatenate(
        [rng.normal(0, scale, (12, 5)), rng.permuted(np.tile([scale, 0, -scale, 0.0, scale / 2], (4, 1)), axis=1)]
    ).astype(np.float32)
    with mpmath.workdps(400):
        expected = [float(slow([mpmath.mpf(float(z)) for z in row])) for row in logits]
    np.testing.assert_allclose(scores(signal, logits), expected, rtol=1e-12, atol=3e-15)


@pytest.mark.parametrize(("signal", "slow"), PAIRS)
@pytest.mark.parametrize("classes", [2, 20])
def test_a_signal_equals_its_reference_at_any_class_count(signal, slow, classes):
    logits = np.random.default_rng(classes).normal(0, 4, (6, classes)).astype(np.float32)
    with mpmath.workdps(60):
        expected = [float(slow([mpmath.mpf(float(z)) for z in row])) for row in logits]
    np.testing.assert_allclose(scores(signal, logits), expected, rtol=1e-12)


@pytest.mark.parametrize("signal", SIGNALS)
@given(logits=LOGITS)
def test_a_signal_is_finite_and_scores_each_row_alone(signal, logits):
    together = scores(signal, logits)
    assert together.dtype == np.float64
    assert together.shape == (len(logits),)
    assert np.isfinite(together).all()
    alone = np.concatenate([scores(signal, row[None]) for row in logits])
    np.testing.assert_array_equal(alone, together)


@pytest.mark.parametrize("signal", SIGNALS)
@given(logits=LOGITS, seed=st.integers(0, 99))
def test_the_order_of_classes_does_not_matter(signal, logits, seed):
    order = np.random.default_rng(seed).permutation(logits.shape[1])
    np.testing.assert_allclose(scores(signal, logits[:, order]), scores(signal, logits), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("signal", OF_PROBABILITIES)
@given(logits=LOGITS, shift=st.floats(-1e3, 1e3))
def test_signals_of_probabilities_ignore_a_constant_added_to_all_logits(signal, logits, shift):
    exact = logits.astype(np.float64)
    np.testing.assert_allclose(scores(signal, exact + shift), scores(signal, exact), rtol=1e-7, atol=1e-9)


def test_energy_and_max_logit_follow_a_constant_added_to_all_logits():
    logits = np.random.default_rng(0).normal(0, 3, (20, 7))
    for signal in (Energy(), Energy(temperature=2), MaxLogit()):
        np.testing.assert_allclose(scores(signal, logits + 5), scores(signal, logits) - 5, atol=1e-12)


@given(gaps=st.lists(st.integers(0, 60_000), min_size=2, max_size=12, unique=True), flip=st.booleans())
def test_two_classes_are_ranked_alike_by_msp_entropy_and_margin(gaps, flip):
    gap = np.sort(gaps)[::-1] / 100
    pair = np.stack([np.zeros_like(gap), gap], axis=1)
    logits = pair[:, ::-1].copy() if flip else pair
    for signal in (MSP(), Entropy(), Margin()):
        assert (np.diff(scores(signal, logits)) > 0).all(), signal


@pytest.mark.parametrize("signal", OF_PROBABILITIES)
def test_the_order_of_confident_images_survives_where_one_minus_p_is_zero(signal):
    gaps = torch.tensor([600.0, 300.0, 100.0, 60.0, 45.0, 40.0, 30.0, 25.0, 20.0])
    logits = torch.stack([gaps, torch.zeros(9), torch.full((9,), -3.0)], dim=1)
    assert (1 - logits.softmax(dim=1).amax(dim=1) == 0).all(), "float32 must not be able to tell these apart"
    assert (np.diff(scores(signal, logits)) > 0).all()


def test_the_ends_of_the_scales():
    even, sure = torch.zeros(1, 8), torch.tensor([[800.0, *[0.0] * 7]])
    assert scores(MSP(), even) == pytest.approx(7 / 8)
    assert scores(Entropy(), even) == pytest.approx(np.log(8))
    assert scores(Margin(), even) == pytest.approx(1)
    assert [float(scores(signal, sure)[0]) for signal in (MSP(), Entropy(), Margin())] == pytest.approx([0, 0, 0])


@pytest.mark.parametrize("temperature", [0, -1, float("inf"), float("nan")])
def test_energy_refuses_a_temperature_that_is_none(temperature):
    with pytest.raises(InputError, match="`temperature` must be positive and finite"):
        Energy(temperature=temperature)


def test_a_parameter_travels_in_the_name():
    assert build("signal", "energy(temperature=2)") == Energy(temperature=2)


@pytest.mark.shared
@pytest.mark.skipif("DEMUR_SHARED" not in os.environ, reason="DEMUR_SHARED is not set")
def test_figures_of_resnet20_on_cifar10():
    from demur.adapters import load_model
    from demur.data import open_data

    shared = Path(os.environ["DEMUR_SHARED"])
    source = open_data(f"parquet:{shared}/data/cifar10/test.parquet")
    model = load_model(
        f"zoo:resnet20@{shared}/models/cifar10_resnet20.safetensors?mean=.485,.456,.406&std=.229,.224,.225",
        classes=source.classes,
        input_shape=source.input_shape,
    )
    rows = list(source.read(range(len(source))))
    images, labels = torch.stack([row.image for row in rows]), np.array([row.label for row in rows])
    with torch.no_grad():
        logits = torch.cat([model.logits(part) for part in images.split(250)])
    wrong = logits.argmax(dim=1).numpy() != labels
    found = {name: auroc(scores(build("signal", name), logits), wrong) for name in names("signal")}
    assert len(labels) == 5000
    assert round(1 - wrong.mean(), 3) == 0.810
    assert {name: round(found[name], 3) for name in ("msp", "entropy", "max_logit", "energy")} == {
        "msp": 0.862,
        "entropy": 0.863,
        "max_logit": 0.826,
        "energy": 0.823,
    }
    doubts = {name: scores(build("signal", name), logits) for name in ("msp", "entropy")}
    assert round(1 - Rule(confidence=0.6, entropy=1.0).accepts(doubts).mean(), 3) == 0.060
