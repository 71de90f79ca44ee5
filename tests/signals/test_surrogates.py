"""What autograd follows in place of each registered signal: it has a gradient, and steps along it move the score."""

import numpy as np
import pytest
import torch
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tests.signals.test_signals import REFERENCES

from demur.evidence import Evidence, surrogate_of
from demur.registry import name_of, names
from demur.signals import needs_of
from demur.signals.activation_entropy import ActivationEntropy
from demur.signals.activation_histograms import counts_in, soft_counts_in
from demur.signals.conductance import Conductance
from demur.signals.error_detector import PRESETS, Detector
from demur.signals.estimator_slopes import with_gradient
from demur.signals.feature_squeezing import FeatureSqueezing
from demur.signals.label_change_rate import LabelChangeRate
from demur.signals.regression import NormalScores
from demur.signals.stack import Stack
from demur.testing.signal_contract import SignalTrial, score
from demur.testing.world import World

MORE = [
    Conductance(layer="conv", steps=4),
    Conductance(estimator="gbm"),
    ActivationEntropy(layers=("conv", "wide"), fusion="learned"),
    FeatureSqueezing(bits=0, median=0, strength=0.1),
]
SIGNALS = [signal for pairs in REFERENCES.values() for signal, _ in pairs] + MORE
EVERY = [pytest.param(signal, id=name_of("signal", signal)) for signal in SIGNALS]
STEP = 1e-2
OTHER_VALUES = (LabelChangeRate,)
"""Signals whose surrogate has values of its own."""
FLAT = {"pnorm(p=1)": 0.7}
"""Of the largest logit over the sum of all sizes nothing changes where it alone is positive."""

WEAK = {"conductance(layer='conv', steps=4)": 0.1}
"""Slopes along a path are taken as they are at the image."""


@pytest.fixture(scope="module")
def trials():
    made = {}

    def of(signal):
        if signal not in made:
            made[signal] = SignalTrial.of(signal)
        return made[signal]

    return of


def seen(trial, images):
    """Evidence as an attack makes it, with the same draws for every image whatever its bytes."""
    needs, world = needs_of(trial.signal), trial.world
    return Evidence(world.classifier, images, needs.layers, features=True, keys=world.keys, check=False)


def test_every_signal_is_here():
    assert {name_of("signal", signal).partition("(")[0] for signal in SIGNALS} == set(names("signal"))


@pytest.mark.parametrize("signal", EVERY)
def test_it_has_a_gradient_and_steps_along_it_move_the_score(signal, trials):
    trial = trials(signal)
    x, name = trial.world.images, name_of("signal", signal)
    with torch.enable_grad(), trial.world.classifier.frozen():
        leaf = x.clone().requires_grad_()
        values = surrogate_of(trial.fitted, seen(trial, leaf))
        (slope,) = torch.autograd.grad(values.sum(), leaf)
    assert values.shape == (len(x),)
    assert slope.isfinite().all()
    assert (slope.flatten(1).abs().amax(dim=1) > 0).float().mean() >= FLAT.get(name, 1.0)
    before, up, down = (
        score(trial.fitted, seen(trial, (x + step * slope.sign()).clamp(0, 1))) for step in (0, STEP, -STEP)
    )
    assert (up - down).mean() > WEAK.get(name, 0.2) * before.std()
    assert (up >= down).float().mean() > 0.55
    if isinstance(signal, OTHER_VALUES):
        assert np.corrcoef(values.detach().numpy(), before.numpy())[0, 1] > 0.3
    else:
        torch.testing.assert_close(values.detach(), before, rtol=1e-6, atol=1e-6)


def columns(rows=120):
    draw = np.random.default_rng(0)
    x = draw.normal(size=(rows, 3))
    return torch.from_numpy(x), torch.from_numpy(x[:, 0] + 0.5 * x[:, 1] + draw.normal(size=rows) > 0.5)


@pytest.mark.parametrize("estimator", [*sorted(PRESETS), GaussianProcessClassifier()], ids=str)
def test_a_detector_is_followed_through_any_estimator(estimator):
    x, wrong = columns()
    detector = Detector(estimator=estimator, folds=2).fit(x, wrong)
    leaf = x[:60].clone().requires_grad_()
    values = detector.surrogate(leaf)
    (slope,) = torch.autograd.grad(values.sum(), leaf)
    torch.testing.assert_close(values.detach(), detector(x[:60]), rtol=1e-9, atol=1e-9)
    width = 1e-5 if estimator in ("logistic", "mlp", "lda") else 0.5
    steps = width * torch.eye(3, dtype=torch.float64)
    exact = torch.stack([(detector(x[:60] + d) - detector(x[:60] - d)) / (2 * width) for d in steps], dim=1)
    if width < 0.1:
        torch.testing.assert_close(slope, exact, rtol=1e-4, atol=1e-6)
    else:
        assert torch.nn.functional.cosine_similarity(slope, exact, dim=1).mean() > 0.4


@pytest.mark.parametrize("named", [{"with_mean": False}, {"with_std": False}, {"with_mean": False, "with_std": False}])
def test_a_scaler_is_followed_in_what_it_does(named):
    x, wrong = columns()
    x = 3 * x + 2
    model = make_pipeline(StandardScaler(**named), LogisticRegression()).fit(x.numpy(), wrong.numpy())
    leaf = x[:20].clone().requires_grad_()
    values = with_gradient(model, leaf)
    torch.testing.assert_close(values.detach(), torch.from_numpy(model.predict_proba(x[:20].numpy())[:, 1]))
    (slope,) = torch.autograd.grad(values.sum(), leaf)
    steps = 1e-5 * torch.eye(3, dtype=torch.float64)
    sides = [
        [torch.from_numpy(model.predict_proba((x[:20] + way * d).numpy())[:, 1]) for way in (1, -1)] for d in steps
    ]
    exact = torch.stack([(up - down) / 2e-5 for up, down in sides], dim=1)
    torch.testing.assert_close(slope, exact, rtol=1e-4, atol=1e-6)


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_an_estimator_of_another_kind_of_answer_is_not_taken_for_its_formula():
    x, wrong = columns()
    model = PRESETS["mlp"]().set_params(activation="tanh").fit(x.numpy(), wrong.numpy())
    leaf = x[:5].clone().requires_grad_()
    values = with_gradient(model, leaf)
    torch.testing.assert_close(values.detach(), torch.from_numpy(model.predict_proba(x[:5].numpy())[:, 1]).double())
    assert torch.autograd.grad(values.sum(), leaf)[0].abs().sum() > 0


def test_a_curve_is_followed_with_the_slope_of_its_piece():
    curve = NormalScores.of(torch.randn(500, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) ** 3)
    x = torch.linspace(-9, 9, 101, dtype=torch.float64).requires_grad_()
    values = curve.with_gradient(x)
    torch.testing.assert_close(values.detach(), curve(x.detach()))
    (slope,) = torch.autograd.grad(values.sum(), x)
    exact = (curve(x.detach() + 1e-7) - curve(x.detach() - 1e-7)) / 2e-7
    torch.testing.assert_close(slope, exact, rtol=1e-4, atol=1e-5)
    level = NormalScores.of(torch.ones(9, dtype=torch.float64))
    assert not level.with_gradient(x).any()


def test_soft_bins_count_what_lies_well_inside_them():
    edges = torch.tensor([0.0, torch.finfo(torch.float32).tiny, 1.0, 2.0, torch.finfo(torch.float32).max]).double()
    values = torch.tensor([[0.0, 0.0, 0.0, 0.6, 1.5, 1.5, 5.0, 90.0]])
    torch.testing.assert_close(soft_counts_in(values, edges), counts_in(values, edges), rtol=0, atol=0.3)
    plain = torch.tensor([0.0, 1.0, 2.0, 3.0]).double()
    torch.testing.assert_close(soft_counts_in(values, plain)[:, :2], counts_in(values, plain)[:, :2], rtol=0, atol=0.9)


def test_a_stack_follows_the_surrogates_of_its_signals(trials):
    trial = trials(
        Stack(signals=(LabelChangeRate(gamma=0.2, mutants=10, stopping="never"), FeatureSqueezing(strength=0.0)))
    )
    leaf = trial.world.images.clone().requires_grad_()
    with trial.world.classifier.frozen():
        values = surrogate_of(trial.fitted, seen(trial, leaf))
    assert torch.autograd.grad(values.sum(), leaf)[0].abs().sum() > 0


@pytest.mark.parametrize("named", [{"bits": 2}, {"strength": 0.1}, {"jpeg": 40}], ids=str)
def test_what_rounds_is_followed_as_if_it_changed_nothing(named):
    signal, world = FeatureSqueezing(**{"bits": 0, "median": 0, "strength": 0.0, **named}), World()
    ((_, squeeze),) = signal.squeezers.items()
    with world.classifier.frozen():
        leaf, plain = (world.images.clone().requires_grad_() for _ in range(2))
        squeezed = squeeze(world.images).requires_grad_()
        (slope,) = torch.autograd.grad(signal(Evidence(world.classifier, leaf, check=False)).sum(), leaf)
        p, q = (world.net(x).double().softmax(dim=1) for x in (plain, squeezed))
        slow = torch.autograd.grad((p - q).abs().sum(), (plain, squeezed))
    torch.testing.assert_close(slope, slow[0] + slow[1], rtol=1e-4, atol=1e-5)
    assert slow[1].abs().max() > 1e-3
