"""Every signal on a small vision transformer: it works, or says by name why it does not."""

import pytest
import torch
from tests import small_vit, tiny

from demur.classifier import BoundClassifier
from demur.errors import ModelError
from demur.evidence import Evidence
from demur.lipschitz import lipschitz_facts, upper_bound
from demur.metrics import auroc
from demur.randomness import Keys
from demur.registry import build, names
from demur.signals import Fittable, needs_of
from demur.signals.mutants import Mutation

ROWS = 240
NEEDS_MEMBERS = "ensemble_disagreement"


@pytest.fixture(scope="module")
def classifier():
    return BoundClassifier(small_vit.trained(), classes=tiny.CLASSES, input_shape=tiny.SHAPE)


@pytest.fixture(scope="module")
def data():
    return tiny.images_and_labels(ROWS)


def evidence(classifier, x, begin, end, needs):
    keys = Keys.of(0, [str(row) for row in range(begin, end)], "vit")
    return Evidence(classifier, x[begin:end], needs.layers, features=needs.features, keys=keys, check=False)


@pytest.mark.parametrize("name", [name for name in names("signal") if name != NEEDS_MEMBERS])
def test_a_signal_scores_a_transformer(name, classifier, data):
    x, y = data
    signal = build("signal", name)
    needs = needs_of(signal)
    with torch.no_grad():
        if isinstance(signal, Fittable):
            signal = signal.fit([evidence(classifier, x, 0, 140, needs)], y[:140])
        scores = signal(evidence(classifier, x, 140, ROWS, needs))
        wrong = classifier.logits(x[140:]).argmax(dim=1) != y[140:]
    assert scores.isfinite().all()
    assert len(scores.unique()) > 2
    if name in {"msp", "entropy", "margin"}:
        assert auroc(scores.double().numpy(), wrong.numpy()) > 0.6


def test_a_signal_of_ensembles_says_that_it_is_none(classifier, data):
    with pytest.raises(ModelError, match="SmallViT is a single model"):
        build("signal", NEEDS_MEMBERS)(evidence(classifier, data[0], 0, 4, needs_of(build("signal", NEEDS_MEMBERS))))


def test_mutants_are_spoilt_in_the_blocks_and_not_in_the_patches_alone(classifier):
    filters = classifier.filters
    assert next(iter(filters)) == "patches"
    assert sum(name.startswith("blocks.") for name in filters) == 8
    assert "head" not in filters
    mutation = Mutation(operator="nai", gamma=0.05, seed=0)
    struck = {change.layer for number in range(20) for change in mutation.mutant(filters, number)}
    assert {"patches", "blocks.0.qkv", "blocks.1.fc2"} <= struck


def test_norms_of_layers_are_there_and_the_bound_says_why_it_is_not(classifier):
    found = upper_bound(classifier)
    assert found.upper is None
    assert "`scaled_dot_product_attention`, which has no constant" in found.reason
    assert {"patches", "blocks.0.qkv", "blocks.1.fc2", "head"} <= {row.name for row in found.rows}
    x, y = tiny.images_and_labels(2)
    facts = lipschitz_facts(classifier, x, y, ["0", "1"])
    assert facts["upper"] is None
    assert min(facts["lower"]) > 0
