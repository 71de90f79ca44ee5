"""What autograd follows in place of each registered signal: it has a gradient, and steps along it move the score."""

import pytest
import torch
from tests.signals.test_signals import REFERENCES

from demur.evidence import Evidence, Surrogated, surrogate_of
from demur.registry import name_of
from demur.signals import needs_of
from demur.testing.signal_contract import SignalTrial, score

EVERY = [pytest.param(signal, id=name_of("signal", signal)) for pairs in REFERENCES.values() for signal, _ in pairs]
ROWS, STEP = 40, 1e-2


@pytest.fixture(scope="module")
def trials():
    made = {}

    def of(signal):
        if signal not in made:
            made[signal] = SignalTrial.of(signal)
        return made[signal]

    return of


def followed(trial, images):
    """The surrogate of some images and its gradient, as an attack asks for them."""
    needs = needs_of(trial.signal)
    with torch.enable_grad(), trial.world.classifier.frozen():
        leaf = images.clone().requires_grad_()
        evidence = Evidence(trial.world.classifier, leaf, needs.layers, features=True, check=False)
        values = surrogate_of(trial.fitted, evidence)
        (slope,) = torch.autograd.grad(values.sum(), leaf)
    return values.detach(), slope


@pytest.mark.parametrize("signal", EVERY)
def test_it_has_a_gradient_and_steps_along_it_move_the_score(signal, trials):
    trial = trials(signal)
    evidence = trial.world.evidence()
    x, before = evidence.images, score(trial.fitted, evidence)
    values, slope = followed(trial, x)
    size = slope.flatten(1).abs().amax(dim=1)
    print(name_of("signal", signal), isinstance(trial.fitted, Surrogated), float((size>0).float().mean()))
    print('  gap', float((values-before).abs().max()), float(before.std()))
    for h in (1e-3,1e-2,3e-2,1e-1):
        up=score(trial.fitted, Evidence(trial.world.classifier,(x+h*slope.sign()).clamp(0,1)))
        down=score(trial.fitted, Evidence(trial.world.classifier,(x-h*slope.sign()).clamp(0,1)))
        print('   ',h, float((up>=down).float().mean()), float((up>down).float().mean()), float((up-before).mean()/before.std()), float((down-before).mean()/before.std()))
