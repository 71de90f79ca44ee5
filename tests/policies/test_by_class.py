"""Every class by itself: the climb of an obvious loop, kept at any mixture, refused for the class with too few."""

import numpy as np
import pytest

from demur.errors import InputError
from demur.metrics.binomial import labels_without_error, p_value
from demur.policies import Calibration, CertifiedByClass, ClassCertificate, Refusal, ThresholdGrid, Tolerance
from demur.policies.by_class import Classes
from demur.policies.look import Look

NAMES = ("ok", "scratch", "crack")
FACTORS = np.array([0.4, 1.0, 1.6])


def draw(rng, rows, shares=(0.6, 0.3, 0.1), factors=FACTORS, **more):
    """Errors are rare among the sure, and rarer in some classes than in others."""
    labels = rng.choice(3, rows, p=shares)
    scores = rng.random(rows)
    wrong = rng.random(rows) < 0.6 * np.exp(-6 * (1 - scores)) * factors[labels]
    return Calibration(scores, wrong, **more), Classes(NAMES, labels)


POLICY = CertifiedByClass(risk=0.05)


def fit(rng, rows, policy=POLICY, **more):
    return policy.fit(draw(rng, rows // 2)[0], *draw(rng, rows, **more))


def true_losses(threshold, factors=FACTORS):
    """Of all images of each class, the share answered and wrong."""
    return factors * 0.1 * (np.exp(-6 * (1 - min(threshold, 1.0))) - np.exp(-6))


def slow(tune, certify, labels, risks, level):
    """Every tune threshold from strict to lax, every class, until one class fails."""
    best = None
    for threshold in ThresholdGrid.of(tune.scores).thresholds:
        for k, risk in enumerate(risks):
            inside = labels == k
            errors = int(np.sum(certify.wrong & inside & (certify.scores <= threshold)))
            if p_value(errors, int(inside.sum()), risk) > level:
                return best
        best = float(threshold)
    return best


@pytest.mark.parametrize("risks", [(), ("crack=0.15", "ok=0.02")])
def test_the_threshold_is_that_of_an_obvious_loop(risks):
    policy = CertifiedByClass(risk=0.06, risks=risks)
    each = (0.06, 0.06, 0.06) if not risks else (0.02, 0.06, 0.15)
    rng = np.random.default_rng(0)
    for rows in (1500, 3000):
        tune, (certify, classes) = draw(rng, 200)[0], draw(rng, rows)
        found = policy.fit(tune, certify, classes)
        assert found.threshold == slow(tune, certify, classes.labels, each, Look().risk_level(0.05))
        assert [part.risk for part in found.classes] == list(each)


def test_a_certificate_states_what_was_seen_of_each_class():
    rng = np.random.default_rng(0)
    certify, classes = draw(rng, 3000)
    found = CertifiedByClass(risk=0.05).fit(draw(rng, 500)[0], certify, classes)
    answered = certify.scores <= found.threshold
    for k, part in enumerate(found.classes):
        inside = classes.labels == k
        assert (part.name, part.n) == (NAMES[k], inside.sum())
        assert (part.answered, part.wrong) == ((answered & inside).sum(), (answered & inside & certify.wrong).sum())
        assert part.wrong / part.n <= part.bound <= part.risk
    assert (found.m, found.answered) == (3000, answered.sum())
    assert "Of the images of each class, at most 5 in 100 are answered wrong" in found.sentence


def test_it_is_kept_for_every_class_whatever_the_mixture():
    rng = np.random.default_rng(0)
    for shares in ((0.6, 0.3, 0.1), (0.1, 0.1, 0.8)):
        found = [fit(rng, 2000, shares=shares) for _ in range(200)]
        issued = [each.threshold for each in found if isinstance(each, ClassCertificate)]
        broken = sum((true_losses(threshold) > 0.05).any() for threshold in issued) / len(found)
        assert len(issued) > 150
        assert broken <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / len(found))


def test_a_class_on_the_edge_passes_no_more_often_than_the_level_says():
    """The first threshold answers everything, and one class is wrong a little more often than it may be."""
    rng = np.random.default_rng(0)
    tune = Calibration(np.zeros(10), np.zeros(10, bool))
    passed = []
    for _ in range(600):
        labels = np.arange(900) % 3
        wrong = rng.random(900) < np.array([0.0, 0.0, 0.101])[labels]
        found = CertifiedByClass(risk=0.1, delta=0.2).fit(
            tune, Calibration(np.zeros(900), wrong), Classes(NAMES, labels)
        )
        passed.append(isinstance(found, ClassCertificate))
    assert 0.05 < np.mean(passed) <= 0.2


def test_a_class_with_too_few_labels_is_named_with_what_it_can_prove():
    rng = np.random.default_rng(0)
    found = fit(rng, 400, shares=(0.49, 0.46, 0.05))
    assert isinstance(found, Refusal)
    assert found.reason == "too_few_labels"
    assert f"the class 'crack' has {found.labels_given} labelled images" in found.sentence
    best = 1 - Look().risk_level(0.05) ** (1 / found.labels_given)
    assert f"can prove {100 * best:.3g} % at best" in found.sentence
    assert found.labels_needed == labels_without_error(0.05, Look(2).risk_level(0.05))


def test_a_class_that_is_always_wrong_makes_the_model_too_weak():
    rng = np.random.default_rng(0)
    tune, (_, classes) = Calibration(np.zeros(50), np.zeros(50, bool)), draw(rng, 900)
    same = Calibration(np.zeros(900), classes.labels == 1)
    found = CertifiedByClass(risk=0.1).fit(tune, same, classes)
    assert (found.reason, "'scratch'" in found.sentence) == ("model_too_weak", True)


def test_of_each_group_one_image_of_each_class_counts():
    rng = np.random.default_rng(0)
    certify, classes = draw(rng, 1500)
    groups = np.arange(1500)
    alone = CertifiedByClass(risk=0.1).fit(certify, Calibration(certify.scores, certify.wrong, groups), classes)
    copies = Calibration(*(np.repeat(each, 4) for each in (certify.scores, certify.wrong, groups)))
    found = CertifiedByClass(risk=0.1).fit(certify, copies, Classes(NAMES, np.repeat(classes.labels, 4)))
    assert found.unit == "group"
    assert (found.threshold, found.classes) == (alone.threshold, alone.classes)


def test_rows_near_the_threshold_count_against_it():
    rng = np.random.default_rng(0)
    tune, (certify, classes) = draw(rng, 1000)[0], draw(rng, 3000)
    wide = Calibration(certify.scores, certify.wrong, tolerance=Tolerance(widths=(0.05,)))
    sharp, blunt = (CertifiedByClass(risk=0.05).fit(tune, rows, classes) for rows in (certify, wide))
    assert sharp.threshold - blunt.threshold == pytest.approx(0.05, abs=0.005)


@pytest.mark.parametrize(
    ("risks", "words"),
    [
        (("crack",), "names a class and its share"),
        (("crack=x",), "names a class and its share"),
        (("crack=2",), "`risk`"),
    ],
)
def test_shares_of_classes_that_cannot_be_are_refused(risks, words):
    with pytest.raises(InputError, match=words):
        CertifiedByClass(risks=risks)


def test_an_unknown_class_is_refused():
    with pytest.raises(InputError, match="Did you mean 'crack'"):
        fit(np.random.default_rng(0), 900, CertifiedByClass(risks=("crak=0.1",)))
    with pytest.raises(InputError, match="needs tune rows"):
        CertifiedByClass().fit(Calibration(np.zeros(0), np.zeros(0, bool)), *draw(np.random.default_rng(0), 90))
