"""Policies, sources and classifiers of demur keep the contracts, and one that breaks a rule is told so."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import nn

import demur
from demur.data import Row
from demur.policies import Rule, Threshold
from demur.testing import check_data, check_model, check_policy


@pytest.mark.parametrize("name", ["rule", "rule(confidence=0.9, entropy=0.2)", "threshold(signal='energy')"])
def test_a_policy_keeps_the_contract(name):
    check_policy(name)


@dataclass(frozen=True)
class Faulty:
    """A threshold, spoilt in one way."""

    fault: str = ""
    signals: tuple[str, ...] = ("msp",)

    def accepts(self, scores):
        u = scores["msp"]
        match self.fault:
            case "nan":
                return ~(u > 0.4)
            case "sign":
                return u > 0.4
            case "batch":
                return u <= np.nanmedian(u)
        return u <= 0.4

    def reasons(self, scores):
        return np.where((scores["msp"] <= 0.4) | (self.fault == "reason"), "", "low_confidence")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("nan", "rows are accepted whose msp is NaN"),
        ("sign", "given at more uncertainty"),
        ("batch", "an answer depends on the other rows"),
        ("reason", "reasons and decisions differ"),
    ],
)
def test_a_policy_that_breaks_a_rule_is_told_so(fault, words):
    with pytest.raises(AssertionError, match=words):
        check_policy(Faulty(fault))
    check_policy(Faulty())
    check_policy(Threshold())
    check_policy(Rule())


@pytest.fixture
def few():
    x = torch.rand(24, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return demur.from_tensors(x, torch.arange(24) % 3, classes="abc", name="few")


class Spoilt:
    """A source whose rows are changed on the way."""

    def __init__(self, inner, change):
        self._inner, self._change = inner, change
        self.address, self.classes, self.input_shape = inner.address, inner.classes, inner.input_shape

    def __len__(self):
        return len(self._inner)

    def read(self, positions):
        return (self._change(row) for row in self._inner.read(positions))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda row: replace(row, image=row.image * 255), "exceeds 1: divide by 255"),
        (lambda row: replace(row, sample_id="same"), "a sample id stands twice"),
        (lambda row: replace(row, label=3), "the label of"),
        (lambda row: replace(row, image=torch.rand(1, 8, 8)), "is another when it is read again"),
        (lambda row: replace(row, image=row.image.double()), "is torch.float64"),
        (lambda row: Row(row.sample_id, None, row.label), "needs an image or an error"),
    ],
)
def test_a_source_that_breaks_a_rule_is_told_so(few, change, words):
    with pytest.raises(AssertionError, match=words):
        check_data(Spoilt(few, change))
    check_data(Spoilt(few, lambda row: row))


@pytest.mark.parametrize("address", ["digits"])
def test_a_source_keeps_the_contract(address):
    check_data(address)


def test_the_shipped_classifier_keeps_the_contract():
    check_model("fashion", classes=tuple("abcdefghij"), input_shape=(1, 28, 28))


class Detached(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(64, 3)

    def forward(self, x):
        return self.head(x.flatten(1).detach().round()) + 0 * x.flatten(1)[:, :3]


class Together(Detached):
    def forward(self, x):
        return self.head(x.flatten(1) - x.flatten(1).mean(dim=0))


@pytest.mark.parametrize(
    ("net", "words"), [(Detached, "the gradient is zero everywhere"), (Together, "no batch statistics, no drop-out")]
)
def test_a_classifier_that_breaks_a_rule_is_told_so(net, words):
    classifier = demur.Classifier(net().eval(), classes="abc", input_shape=(1, 8, 8))
    with pytest.raises(AssertionError, match=words):
        check_model(classifier)
