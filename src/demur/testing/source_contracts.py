"""What holds for every policy, every source of images and every classifier."""

import itertools
import json
from collections.abc import Callable

import numpy as np
import torch

from demur.adapters import load_model
from demur.classifier import AnyClassifier, BoundClassifier, Classifier
from demur.data import Source, build_index, open_data
from demur.policies import Policy, dump_policy, load_policy
from demur.policies.policy import Scores
from demur.shapes import Images
from demur.testing.rules import check_rules, hooks_on, named

_ROWS = 400


def _scores(policy: Policy, lift: float = 0.0) -> Scores:
    rng = np.random.default_rng(0)
    return {name: rng.exponential(0.5, _ROWS) + lift for name in policy.signals}


def says_what_it_reads(policy: Policy) -> None:
    """Its `signals` are texts, and it reads no other score and not the labels."""
    assert all(isinstance(name, str) and name for name in policy.signals), f"`signals` are {policy.signals!r}"
    accepted = policy.accepts(_scores(policy))
    assert accepted.shape == (_ROWS,), f"answers have the shape {accepted.shape}"
    assert accepted.dtype == np.bool_, f"answers are {accepted.dtype}"


def decides_each_row_alone(policy: Policy) -> None:
    """Each row is decided alone, and the same again."""
    scores = _scores(policy)
    together = policy.accepts(scores)
    alone = [policy.accepts({name: column[row : row + 1] for name, column in scores.items()})[0] for row in range(40)]
    assert np.array_equal(together[:40], alone), "an answer depends on the other rows"
    assert np.array_equal(policy.accepts(scores), together), "asked again, it decides otherwise"


def less_at_more_uncertainty(policy: Policy) -> None:
    """More uncertainty never turns an answer that was withheld into one that is given."""
    accepted = [policy.accepts(_scores(policy, lift)) for lift in (-0.5, 0.0, 0.5, 5.0)]
    for lower, higher in itertools.pairwise(accepted):
        assert not (higher & ~lower).any(), "an answer is given at more uncertainty and withheld at less"


def undefined_is_withheld(policy: Policy) -> None:
    """A row whose score is NaN is never accepted."""
    for name in policy.signals:
        scores = {**_scores(policy, -5.0), name: np.full(_ROWS, np.nan)}
        assert not policy.accepts(scores).any(), f"rows are accepted whose {name} is NaN"


def reasons_where_withheld(policy: Policy) -> None:
    """There is a reason exactly where an answer is withheld."""
    for scores in (_scores(policy), {name: np.full(_ROWS, np.nan) for name in policy.signals}):
        given = policy.reasons(scores) == ""
        assert np.array_equal(given, policy.accepts(scores)), "reasons and decisions differ"


def travels_as_json(policy: Policy) -> None:
    """It survives JSON."""
    assert load_policy(json.loads(json.dumps(dump_policy(policy), allow_nan=False))) == policy


POLICY_RULES: tuple[Callable[[Policy], None], ...] = (
    says_what_it_reads,
    decides_each_row_alone,
    less_at_more_uncertainty,
    undefined_is_withheld,
    reasons_where_withheld,
)


def check_policy(policy: Policy | str) -> None:
    """Hold a fixed or fitted policy to the contract of all: a name such as `"my_rule(bar=0.3)"`, or the policy."""
    thing, called = named("policy", policy)
    check_rules(called, POLICY_RULES, thing)
    if isinstance(policy, str):
        check_rules(called, (travels_as_json,), thing)


def names_classes_and_shape(source: Source) -> None:
    """It has an address, two classes or more without a name twice, and the shape of its images."""
    assert source.address, "`address` is empty"
    assert len(source.classes) >= 2, "fewer than two classes"
    assert len(set(source.classes)) == len(source.classes), "a class name stands twice"
    assert len(source.input_shape) == 3, f"`input_shape` is {source.input_shape}, not (channels, height, width)"
    assert len(source) > 0, "it has no rows"


def rows_are_sound(source: Source) -> None:
    """Images are float32 in [0, 1] of one shape, labels count classes, and sample ids are unique."""
    rows = list(source.read(range(len(source))))
    assert len(rows) == len(source), f"it reads {len(rows)} rows and says {len(source)}"
    assert len({row.sample_id for row in rows}) == len(rows), "a sample id stands twice"
    for row in rows:
        assert 0 <= row.label < len(source.classes), f"the label of {row.sample_id!r} is {row.label}"
        assert (row.image is None) == (row.error is not None), f"{row.sample_id!r} needs an image or an error"
        if row.image is not None:
            assert tuple(row.image.shape) == source.input_shape, f"{row.sample_id!r} is {tuple(row.image.shape)}"
            assert row.image.dtype == torch.float32, f"{row.sample_id!r} is {row.image.dtype}"
            assert float(row.image.min()) >= 0, f"a pixel of {row.sample_id!r} is negative"
            assert float(row.image.max()) <= 1, f"a pixel of {row.sample_id!r} exceeds 1: divide by 255"


def same_in_any_order(source: Source) -> None:
    """Rows are the same again, in any order."""
    places = list(range(min(len(source), 20)))
    first, again = list(source.read(places)), list(source.read(places[::-1]))[::-1]
    for one, other in zip(first, again, strict=True):
        assert (one.sample_id, one.label, one.group) == (other.sample_id, other.label, other.group)
        same = one.image is None or (other.image is not None and torch.equal(one.image, other.image))
        assert same, f"the image of {one.sample_id!r} is another when it is read again"


def can_be_indexed(source: Source) -> None:
    """It can be indexed, which every audit does first."""
    assert len(build_index(source)) > 0


DATA_RULES: tuple[Callable[[Source], None], ...] = (
    names_classes_and_shape,
    rows_are_sound,
    same_in_any_order,
    can_be_indexed,
)


def check_data(source: Source | str) -> None:
    """Hold a source of labelled images to the contract of all: an address such as `"mine:folder"`, or the source.

    Every image is read, so give it a small one.
    """
    opened = open_data(source) if isinstance(source, str) else source
    check_rules(opened.address, DATA_RULES, opened)


def answers_in_logits(classifier: BoundClassifier, x: Images) -> None:
    """Logits are finite, one for each class, and the same again."""
    with torch.no_grad():
        z, again = classifier.logits(x), classifier.logits(x)
    assert z.shape == (len(x), len(classifier.classes)), f"logits have the shape {tuple(z.shape)}"
    assert z.isfinite().all(), "a logit is NaN or infinite"
    torch.testing.assert_close(z, again, rtol=1e-5, atol=1e-6)


def answers_each_row_alone(classifier: BoundClassifier, x: Images) -> None:
    """Who shares the batch does not matter: no batch statistics, no drop-out."""
    with torch.no_grad():
        together = classifier.logits(x)
        alone = torch.cat([classifier.logits(x[row : row + 1]) for row in range(len(x))])
    torch.testing.assert_close(alone, together, rtol=1e-3, atol=1e-4)


def leads_back_to_the_image(classifier: BoundClassifier, x: Images) -> None:
    """Logits have a finite gradient with respect to the images that is not zero everywhere."""
    images = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(classifier.logits(images).logsumexp(dim=1).sum(), images)
    assert slope.isfinite().all(), "a gradient is NaN or infinite"
    assert bool(slope.any()), "the gradient is zero everywhere: something in the model detaches or rounds"


def model_untouched(classifier: BoundClassifier, x: Images) -> None:
    """It stays in evaluation mode, without hooks, and with the same weights."""
    before = classifier.sha256
    with torch.no_grad():
        classifier.logits(x)
    assert classifier.sha256 == before, "a weight changed"
    assert not any(part.training for part in classifier.as_module().modules()), "a part is in training mode"
    assert hooks_on(classifier.as_module()) == 0, "a hook is left"


MODEL_RULES: tuple[Callable[[BoundClassifier, Images], None], ...] = (
    answers_in_logits,
    answers_each_row_alone,
    leads_back_to_the_image,
    model_untouched,
)


def check_model(
    model: AnyClassifier | str, *, classes: tuple[str, ...] = (), input_shape: tuple[int, int, int] = (3, 32, 32)
) -> None:
    """Hold a classifier to the contract of all: an address such as `"mine:net"`, or the classifier.

    Args:
        model: what to check.
        classes: of the data it is for, where it does not say them itself.
        input_shape: of the images it is for, where it does not say it itself.
    """
    found = load_model(model, classes=classes, input_shape=input_shape) if isinstance(model, str) else model
    classifier = found.bind(classes=classes, input_shape=input_shape) if isinstance(found, Classifier) else found
    noise = torch.rand(6, *classifier.input_shape, generator=torch.Generator().manual_seed(0))
    check_rules(classifier.name or "the model", MODEL_RULES, classifier, noise.to(classifier.device))
