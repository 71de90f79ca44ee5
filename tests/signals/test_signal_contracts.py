"""Every registered signal keeps the contract of `demur.testing`, and a signal that breaks a rule of it is told so."""

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from tests.signals.test_signals import REFERENCES

from demur.evidence import Evidence
from demur.registry import build, name_of
from demur.shapes import Scores
from demur.signals import Needs
from demur.testing import check_signal
from demur.testing.rules import check_rules
from demur.testing.signal_contract import RULES, SignalTrial, higher_where_wrong

EVERY = [pytest.param(signal, id=name_of("signal", signal)) for pairs in REFERENCES.values() for signal, _ in pairs]
ON_THE_SHIPPED = ["msp", "entropy", "margin", "max_logit", "energy", "doctor", "pnorm", "tempered(temperature=2.0)",
                  "tta(mirror=False)", "odin", "knn", "mahalanobis(relative=True)", "vim", "relative_u",
                  "maxlogit_pnorm", "temperature_scaled", "stack(signals=[msp, knn])", "conductance",
                  "feature_squeezing(strength=0.0)", "label_change_rate(mutants=12)"]  # fmt: skip


@pytest.fixture(scope="module")
def trials():
    """Each signal is fitted once for all rules."""
    made = {}

    def of(signal):
        if signal not in made:
            made[signal] = SignalTrial.of(signal)
        return made[signal]

    return of


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("signal", EVERY)
def test_a_signal_keeps_the_contract(signal, rule, trials):
    check_rules(name_of("signal", signal), (rule,), trials(signal))


@pytest.mark.parametrize("name", ON_THE_SHIPPED)
def test_higher_is_more_uncertainty(name):
    higher_where_wrong(build("signal", name))


@dataclass(frozen=True, kw_only=True)
class Faulty:
    """Minus the largest logit, spoilt in one way: high when no class is claimed."""

    unit: ClassVar[str] = "logits"

    fault: str = ""

    @property
    def needs(self):
        return Needs(passes=0.0)

    def __call__(self, evidence: Evidence) -> Scores:
        z = evidence.logits.double().amax(dim=1)
        match self.fault:
            case "sign":
                return z
            case "single":
                return -z.float()
            case "batch":
                return -z + z.mean()
            case "passes":
                return -z - 0 * evidence.logits_of(evidence.images).double().amax(dim=1)
            case "nan":
                return torch.where(z == z.max(), torch.nan, -z)
            case "random":
                return -z + torch.rand(len(z), dtype=torch.float64)
            case "followed" if evidence.images.requires_grad:
                return -z / 0
        return -z


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("sign", "is its sign turned"),
        ("single", "scores are torch.float32"),
        ("batch", "Who shares the batch does not matter"),
        ("passes", "it takes 1 passes and declares 0"),
        ("nan", "a score is NaN or infinite"),
        ("random", "asked again, the scores are others"),
        ("followed", "what is followed is NaN or infinite"),
    ],
)
def test_a_rule_that_is_broken_is_named(fault, words):
    with pytest.raises(AssertionError, match=words):
        check_signal(Faulty(fault=fault))


def test_a_sound_signal_passes():
    check_signal(Faulty())
    check_signal("energy(temperature=2.0)")
    check_signal("knn(k=5)", tells_errors=False)


def test_words_are_part_of_the_contract():
    @dataclass(frozen=True)
    class Silent(Faulty):
        """Minus the largest logit."""

    with pytest.raises(AssertionError, match="says no “…: high when …”"):
        check_signal(Silent())
