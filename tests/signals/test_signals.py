"""Each signal against a slow reference that copies its definition, in 400 digits."""

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from tests.signals import slow_model_signals as slower
from tests.signals import slow_signals as slowly

from demur.errors import InputError
from demur.evidence import Evidence
from demur.metrics import auroc
from demur.policies import Rule
from demur.registry import build, names, resolve
from demur.signals import Fittable, needs_of
from demur.signals.activation_entropy import ActivationEntropy
from demur.signals.conductance import Conductance
from demur.signals.disagreement import TTA, MCDropout
from demur.signals.ensemble_disagreement import EnsembleDisagreement
from demur.signals.feature_distances import KNN, Mahalanobis, ViM
from demur.signals.feature_squeezing import FeatureSqueezing
from demur.signals.label_change_rate import LabelChangeRate
from demur.signals.odin import ODIN
from demur.signals.pnorm import MaxLogitPNorm, PNorm
from demur.signals.relative_u import RelativeU
from demur.signals.softmax_scores import MSP, Doctor, Energy, Entropy, Margin, MaxLogit
from demur.signals.stack import Stack
from demur.signals.temperature import TemperatureScaled, Tempered
from demur.testing.world import World


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


def slow_doctor_alpha(row):
    g = mpmath.fsum(p**2 for p in probabilities(row))
    return (1 - g) / g


def slow_doctor_beta(row):
    return (1 - max(probabilities(row))) / max(probabilities(row))


def slow_pnorm(p):
    def pnorm(row):
        centred = [z - mpmath.fsum(row) / len(row) for z in row]
        length = mpmath.fsum(abs(z) ** p for z in centred) ** (mpmath.mpf(1) / p) if p else 1
        return -max(centred) / length

    return pnorm


def slow_tempered(slow, temperature):
    return lambda row: slow([z / temperature for z in row])


OF_LOGITS: dict[str, list[tuple[object, Callable]]] = {
    "doctor": [(Doctor(), slow_doctor_alpha), (Doctor(variant="beta"), slow_doctor_beta)],
    "energy": [(Energy(temperature=t), slow_energy(t)) for t in (1.0, 2.0, 0.5)],
    "entropy": [(Entropy(), slow_entropy)],
    "margin": [(Margin(), slow_margin)],
    "max_logit": [(MaxLogit(), slow_max_logit)],
    "msp": [(MSP(), slow_msp)],
    "pnorm": [(PNorm(p=p), slow_pnorm(p)) for p in (0, 1, 3, 5)],
    "tempered": [
        (Tempered(temperature=0.5), slow_tempered(slow_msp, 0.5)),
        (Tempered(signal=Energy(temperature=2.0), temperature=4.0), slow_tempered(slow_energy(2.0), 4)),
    ],
}
"""Signals of logits beside a slow function of one row of them."""

OF_A_WORLD: dict[str, list[tuple[object, Callable]]] = {
    "activation_entropy": [
        (ActivationEntropy(bins=7), slower.activation_entropy(bins=7)),
        (ActivationEntropy(bins=4, side="upper"), slower.activation_entropy(bins=4, side=lambda away: away)),
        (
            ActivationEntropy(edges=(0.0, 0.3, 1.0, 2.5), side="lower"),
            slower.activation_entropy(edges=[0, 0.3, 1, 2.5], side=lambda away: -away),
        ),
    ],
    "conductance": [
        (Conductance(), slower.conductance(5, slower.by_logistic_regression)),
        (Conductance(folds=3, by_class=True), slower.conductance(3, slower.by_logistic_regression, by_class=True)),
    ],
    "ensemble_disagreement": [(EnsembleDisagreement(), slowly.ensemble_disagreement)],
    "feature_squeezing": [
        (FeatureSqueezing(strength=0.0), slower.feature_squeezing(slower.in_few_colours(5), slower.by_median(2))),
        (
            FeatureSqueezing(bits=2, median=3, strength=0.0, jpeg=40),
            slower.feature_squeezing(slower.in_few_colours(2), slower.by_median(3), slower.through_jpeg(40)),
        ),
    ],
    "knn": [(KNN(), slowly.knn(10)), (KNN(k=3), slowly.knn(3))],
    "label_change_rate": [
        (LabelChangeRate(gamma=0.2, mutants=10, stopping="never"), slower.label_change_rate("nai", 0.2, 10)),
        (
            LabelChangeRate(operator="gf", gamma=0.4, mutants=12, kept=0.7, stopping="never"),
            slower.label_change_rate("gf", 0.4, 12, kept=0.7),
        ),
    ],
    "mahalanobis": [(Mahalanobis(relative=each), slowly.mahalanobis(relative=each)) for each in (False, True)],
    "maxlogit_pnorm": [(MaxLogitPNorm(largest=n), slowly.maxlogit_pnorm(n)) for n in (9, 2)],
    "mc_dropout": [
        (MCDropout(n=5), slowly.mc_dropout(5, mutual=False)),
        (MCDropout(n=3, score="mutual_information"), slowly.mc_dropout(3, mutual=True)),
    ],
    "odin": [(ODIN(), slowly.odin(1000, 0.0014)), (ODIN(temperature=2.0, eps=0.02), slowly.odin(2, 0.02))],
    "relative_u": [
        (RelativeU(), slowly.relative_u(0.5, 1)),
        (RelativeU(balance=0.8, temperature=2.0), slowly.relative_u(0.8, 2)),
    ],
    "stack": [
        (Stack(signals=(MSP(), MaxLogit())), slowly.stack([slowly.msp, lambda z: -z.max()], 1)),
        (Stack(signals=(Entropy(), PNorm(p=2)), penalty=9.0), slowly.stack([slowly.entropy, slowly.pnorm(2)], 9)),
    ],
    "temperature_scaled": [
        (TemperatureScaled(), slowly.temperature_scaled(slowly.msp)),
        (TemperatureScaled(signal=Entropy()), slowly.temperature_scaled(slowly.entropy)),
    ],
    "tta": [(TTA(), slowly.tta(move=1, mirror=True)), (TTA(move=2, mirror=False), slowly.tta(move=2, mirror=False))],
    "vim": [(ViM(), slowly.vim(8)), (ViM(dim=5), slowly.vim(5))],
}
"""Signals of more than logits, beside a slow function of a world that gives the score of each of its images."""

REFERENCES = {**OF_LOGITS, **OF_A_WORLD}
PAIRS = [pytest.param(*pair, id=repr(pair[0])) for pairs in OF_LOGITS.values() for pair in pairs]
SIGNALS = [pytest.param(signal, id=repr(signal)) for pairs in OF_LOGITS.values() for signal, _ in pairs]
WORLDLY = [pytest.param(*pair, id=repr(pair[0])) for pairs in OF_A_WORLD.values() for pair in pairs]
ALL = [pytest.param(signal, id=repr(signal)) for pairs in REFERENCES.values() for signal, _ in pairs]
OF_PROBABILITIES = [pytest.param(signal, id=repr(signal)) for signal in (MSP(), Entropy(), Margin())]

LOGITS = st.tuples(st.integers(1, 6), st.integers(2, 20)).flatmap(
    lambda shape: arrays(np.float32, shape, elements=st.floats(-1e4, 1e4, width=32))
)


def scores(signal, logits):
    return signal(Evidence(None, None, logits=torch.as_tensor(logits), check=False)).numpy()


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


@pytest.fixture(scope="module")
def world():
    return World()


def ready(signal, world):
    return signal.fit(world.reference(), world.labels) if isinstance(signal, Fittable) else signal


@pytest.mark.parametrize(("signal", "slow"), WORLDLY)
def test_a_signal_of_more_than_logits_equals_its_slow_reference(signal, slow, world):
    with torch.no_grad():
        asked = World(members=True) if needs_of(signal).members else world
        found = ready(signal, asked)(asked.evidence()).numpy()
    np.testing.assert_allclose(found, slow(asked), rtol=1e-4, atol=1e-5)


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


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("doctor(variant='gamma')", "unknown variant of doctor 'gamma'"),
        ("knn(k=0)", "`k` must be at least 1; got 0"),
        ("maxlogit_pnorm(largest=-1)", "`largest` must be at least 0; got -1"),
        ("mc_dropout(n=1)", "`n` must be at least 2 passes; got 1"),
        ("mc_dropout(score='uncertainty')", "unknown score of mc_dropout 'uncertainty'"),
        ("odin(temperature=0)", "`temperature` must be positive and finite; got 0"),
        ("odin(eps=2)", "`eps` is a fraction of the pixel range, from 0 to 1; got 2"),
        ("pnorm(p=-1)", "`p` must be at least 0; got -1"),
        ("relative_u(balance=0)", r"must lie in \(0, 1\]; got 0"),
        ("relative_u(temperature=-1)", "`temperature` must be positive and finite; got -1"),
        ("tempered(temperature=0)", "`temperature` must be positive and finite; got 0"),
        ("tta(move=0)", "`move` must be at least 1 pixel; got 0"),
        ("vim(dim=-1)", "`dim` must be at least 0; got -1"),
    ],
)
def test_a_field_out_of_its_range_is_refused(name, words):
    with pytest.raises(InputError, match=words):
        build("signal", name)


@pytest.mark.parametrize(
    ("signal", "labels", "words"),
    [
        (KNN(k=200), None, "`k` = 200 neighbours need as many reference images; there are 160"),
        (ViM(dim=3), None, r"`dim` must lie between the classes \(4\) and the width \(16 − 1\); got 3"),
        (ViM(dim=16), None, "got 16"),
        (RelativeU(), "right", "of 160 reference images 0 are wrong"),
        (RelativeU(), "wrong", "of 160 reference images 160 are wrong"),
    ],
)
def test_a_reference_that_teaches_nothing_is_refused(signal, labels, words, world):
    answers = torch.from_numpy(world.reference_logits.argmax(axis=1))
    chosen = {None: world.labels, "right": answers, "wrong": (answers + 1) % 4}[labels]
    with pytest.raises(InputError, match=words), torch.no_grad():
        signal.fit(world.reference(), chosen)


def test_without_errors_maxlogit_pnorm_is_msp(world):
    answers = torch.from_numpy(world.reference_logits.argmax(axis=1))
    with torch.no_grad():
        fitted = MaxLogitPNorm().fit(world.reference(), answers)
        assert fitted.facts == {"p": None}
        assert torch.equal(fitted(world.evidence()), MSP()(world.evidence()))


@pytest.mark.parametrize("p", [0, 1, 3])
def test_the_p_that_ranks_the_errors_best_is_found_and_told(p, world):
    uncertainty = scores(PNorm(p=p), world.reference_logits)
    answers = torch.from_numpy(world.reference_logits.argmax(axis=1))
    labels = torch.where(torch.from_numpy(uncertainty > np.quantile(uncertainty, 0.8)), (answers + 1) % 4, answers)
    with torch.no_grad():
        fitted = MaxLogitPNorm().fit(world.reference(), labels)
        assert fitted.facts == {"p": p}
        assert torch.equal(fitted(world.evidence()), PNorm(p=p)(world.evidence()))


@pytest.mark.parametrize("answers", ["right", "shuffled"])
def test_a_temperature_is_finite_whatever_the_labels(answers, world):
    right = torch.from_numpy(world.reference_logits.argmax(axis=1))
    labels = right if answers == "right" else right.roll(1)
    with torch.no_grad():
        temperature = TemperatureScaled().fit(world.reference(), labels).facts["temperature"]
    assert 1e-3 <= temperature <= 1e5
    assert temperature == 1 or answers != "right", "without an error nothing says how far to sharpen"


@given(gaps=st.lists(st.integers(0, 3_000), min_size=2, max_size=12, unique=True))
def test_two_classes_are_ranked_alike_by_doctor_too(gaps):
    gap = np.sort(gaps)[::-1] / 100
    pair = np.stack([np.zeros_like(gap), gap], axis=1)
    for signal in (Doctor(), Doctor(variant="beta")):
        assert (np.diff(scores(signal, pair)) > 0).all(), signal


def test_a_parameter_travels_in_the_name():
    assert build("signal", "energy(temperature=2)") == Energy(temperature=2)


@pytest.mark.shared
@pytest.mark.skipif("DEMUR_SHARED" not in os.environ, reason="DEMUR_SHARED is not set")
@pytest.mark.parametrize(
    ("rows", "accuracy", "figures", "abstained"),
    [
        (500, 0.806, {"msp": 0.853, "entropy": 0.855, "max_logit": 0.820, "energy": 0.816}, 0.066),
        pytest.param(
            *(5000, 0.810, {"msp": 0.862, "entropy": 0.863, "max_logit": 0.826, "energy": 0.823}, 0.060),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_figures_of_resnet20_on_cifar10(rows, accuracy, figures, abstained):
    from demur.adapters import load_model
    from demur.data import open_data

    shared = Path(os.environ["DEMUR_SHARED"])
    source = open_data(f"parquet:{shared}/data/cifar10/test.parquet")
    model = load_model(
        f"zoo:resnet20@{shared}/models/cifar10_resnet20.safetensors?mean=.485,.456,.406&std=.229,.224,.225",
        classes=source.classes,
        input_shape=source.input_shape,
    )
    assert len(source) == 5000
    read = list(source.read(range(rows)))
    images, labels = torch.stack([row.image for row in read]), np.array([row.label for row in read])
    with torch.no_grad():
        logits = torch.cat([model.logits(part) for part in images.split(250)])
    wrong = logits.argmax(dim=1).numpy() != labels
    found = {name: auroc(scores(build("signal", name), logits), wrong) for name in OF_LOGITS}
    assert 1 - wrong.mean() == pytest.approx(accuracy, abs=1e-3)
    assert {name: float(found[name]) for name in figures} == pytest.approx(figures, abs=1e-3)
    uncertainties = {name: scores(build("signal", name), logits) for name in ("msp", "entropy")}
    accepted = Rule(confidence=0.6, entropy=1.0).accepts(uncertainties)
    assert 1 - accepted.mean() == pytest.approx(abstained, abs=1e-3)


def test_mahalanobis_reads_a_direction_that_varies_a_ten_thousandth_as_much_as_another():
    rng = np.random.default_rng(0)
    known, new = (rng.normal(size=(rows, 2)) * (1.0, 0.01) for rows in (20_000, 5))
    labels = torch.zeros(len(known), dtype=torch.int64)
    fitted = Mahalanobis().fit([SimpleNamespace(features=torch.from_numpy(known))], labels)
    found = fitted(SimpleNamespace(features=torch.from_numpy(new)))
    middle = known.mean(axis=0)
    inverse = np.linalg.inv(slowly.shrunk(known - middle))
    np.testing.assert_allclose(found, [(h - middle) @ inverse @ (h - middle) for h in new], rtol=1e-6)


def test_mahalanobis_says_nothing_of_features_that_do_not_vary():
    features = torch.ones(30, 4)
    fitted = Mahalanobis(relative=True).fit([SimpleNamespace(features=features)], torch.arange(30) % 3)
    assert torch.equal(fitted(SimpleNamespace(features=torch.rand(6, 4))), torch.zeros(6, dtype=torch.float64))


def test_mahalanobis_reads_nothing_but_rounding_out_of_what_varies_by_rounding():
    """Features on one line: a point is as far as its part along the line, in standard deviations, whatever else."""
    rng, line = np.random.default_rng(0), np.array([0.3, -0.7, 1.1, 0.45])
    known = np.array([1.0, -1.0] * 20)[:, None] * line
    fitted = Mahalanobis().fit([SimpleNamespace(features=torch.from_numpy(known))], torch.zeros(40, dtype=torch.int64))
    spread = slowly.shrunk(known)
    assert np.linalg.eigvalsh(spread)[:3] == pytest.approx(0, abs=1e-15), "nothing was shrunk"
    assert np.abs(np.linalg.eigvalsh(spread)[:3]).max() > 0, "and rounding is left"
    new = rng.normal(size=(9, 4))
    exact = (new @ line / np.linalg.norm(line)) ** 2 / np.linalg.eigvalsh(spread)[-1]
    np.testing.assert_allclose(fitted(SimpleNamespace(features=torch.from_numpy(new))), exact, rtol=1e-9)
