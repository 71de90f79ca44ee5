"""Contributions are complete and equal captum's; a detector judges each row by what has not seen it."""

import sys

import numpy as np
import pytest
import torch
from scipy.special import expit
from scipy.stats import multivariate_normal
from sklearn.covariance import LedoitWolf
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from torch import nn

from demur.classifier import BoundClassifier
from demur.errors import InputError, MissingExtraError, UnknownNameError
from demur.evidence import Evidence
from demur.metrics import auroc
from demur.signals import needs_of
from demur.signals.conductance import Conductance, Scale
from demur.signals.error_detector import PRESETS, Detector, quadratic
from demur.testing.world import World


class Pooled(nn.Module):
    """Maps that are averaged into a linear head; `deep` squares them on the way to `last`."""

    def __init__(self):
        super().__init__()
        dice = torch.Generator().manual_seed(2)
        self.deep = nn.Conv2d(2, 5, 3)
        self.last = nn.Conv2d(5, 6, 3)
        self.linear = nn.Linear(6, 3)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=dice) * 0.4

    def forward(self, x):
        return self.linear(self.last(torch.relu(self.deep(x)) ** 2).mean(dim=(2, 3)))


@pytest.fixture(scope="module")
def model():
    return BoundClassifier(
        Pooled().eval(), classes=tuple("abc"), input_shape=(2, 8, 8), mean=(0.4, 0.6), std=(0.25, 0.5)
    )


@pytest.fixture(scope="module")
def x():
    return torch.rand(70, 2, 8, 8, generator=torch.Generator().manual_seed(3))


def contributions(model, x, layer="", steps=10):
    seen = Evidence(model, x, (layer,) if layer else (), features=True)
    with torch.no_grad():
        return seen.contributions((layer,) if layer else (), steps)[layer], seen


def risen(model, x):
    with torch.no_grad():
        z, zero = model.logits(x), model.logits(model.origin)
    answers = z.argmax(dim=1)
    return z.gather(1, answers[:, None])[:, 0] - zero[0, answers]


@pytest.mark.parametrize("layer", ["", "last"])
def test_the_closed_form_adds_up_to_what_the_logit_gains_in_one_look(model, x, layer):
    found, seen = contributions(model, x, layer)
    torch.testing.assert_close(found.maps.sum(dim=1).float(), risen(model, x), rtol=1e-4, atol=1e-5)
    assert (seen.forwards, seen.backwards) == (1, 0)
    assert not found.gap.any()


@pytest.mark.parametrize("method", ["riemann_trapezoid", "gausslegendre"])
def test_the_closed_form_equals_captum_by_the_right_method_only(model, x, method):
    attribution = pytest.importorskip("captum.attr")
    conductance = attribution.LayerConductance(model.as_module(), model.as_module().last)
    inside = model.prepare(x)
    answers = model.logits(x).argmax(dim=1)
    slow = conductance.attribute(inside, torch.zeros_like(inside), target=answers, n_steps=10, method=method)
    apart = (contributions(model, x)[0].maps - slow.sum(dim=(2, 3))).abs().max()
    assert apart < 1e-5 if method == "riemann_trapezoid" else apart > 1e-3


def test_a_path_is_walked_where_there_is_no_closed_form(model, x):
    gaps = {}
    for steps in (4, 64):
        found, seen = contributions(model, x, "deep", steps)
        assert found.maps.shape == (70, 5)
        gaps[steps] = found.gap.abs().mean()
        torch.testing.assert_close(
            found.gap.float(), found.maps.sum(dim=1).float() - risen(model, x), atol=1e-4, rtol=1e-4
        )
        assert (seen.forwards, seen.backwards) == (1 + steps + 1, steps + 1)
    assert gaps[64] < gaps[4] / 100, "the error falls with the square of the steps"
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in model.as_module().modules())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.as_module().parameters())


def test_a_path_copies_its_definition(model, x):
    steps, inside = 6, model.prepare(x[:3])
    answers = model.logits(x[:3]).argmax(dim=1)
    slopes, outputs = [], []
    for k in range(steps + 1):
        here = model.as_module().deep(inside * k / steps).detach().requires_grad_()
        z = model.as_module().linear(model.as_module().last(torch.relu(here) ** 2).mean(dim=(2, 3)))
        slopes += torch.autograd.grad(z.gather(1, answers[:, None]).sum(), here)
        outputs.append(here.detach())
    expected = sum(
        ((slopes[k] + slopes[k + 1]) / 2 * (outputs[k + 1] - outputs[k])).sum(dim=(2, 3)) for k in range(steps)
    )
    torch.testing.assert_close(
        contributions(model, x[:3], "deep", steps)[0].maps.float(), expected, rtol=1e-4, atol=1e-5
    )


def test_a_path_comes_to_what_captum_comes_to_with_many_steps(model, x):
    attribution = pytest.importorskip("captum.attr")
    conductance = attribution.LayerConductance(model.as_module(), model.as_module().deep)
    inside, answers = model.prepare(x[:8]), model.logits(x[:8]).argmax(dim=1)
    slow = conductance.attribute(inside, torch.zeros_like(inside), target=answers, n_steps=500)
    torch.testing.assert_close(
        contributions(model, x[:8], "deep", 100)[0].maps.float(), slow.sum(dim=(2, 3)), rtol=0.01, atol=1e-3
    )


def test_several_layers_share_one_path_and_a_lone_image_has_its_own(model, x):
    together = Evidence(model, x, ("deep", "last"), features=True)
    alone = Evidence(model, x[:1], ("deep",), features=True)
    with torch.no_grad():
        found, one = together.contributions(("deep", "last"), 5), alone.contributions(("deep",), 5)
        assert together.contributions(("deep", "last"), 5) is found
    assert list(found) == ["deep", "last"]
    assert (together.forwards, together.backwards) == (1 + 6, 6)
    for layer in found:
        torch.testing.assert_close(found[layer].maps, contributions(model, x, layer, 5)[0].maps)
    torch.testing.assert_close(one["deep"].maps, found["deep"].maps[:1], rtol=1e-4, atol=1e-6)


def test_a_path_has_its_price_and_the_closed_form_none():
    assert needs_of(Conductance()).passes == 0
    assert needs_of(Conductance(layer="deep", steps=4)).passes == 5 * 2.25
    with pytest.raises(InputError, match="`steps` of the path must be at least 1; got 0"):
        Conductance(steps=0)
    assert Conductance(layer="deep", layers=("deep", "last")).of_layers == ("deep", "last")


def test_the_signal_of_layers_says_how_incomplete_its_path_is(model, x):
    labels = model.logits(x).argmax(dim=1)
    labels[::3] = (labels[::3] + 1) % 3
    layers = ("deep", "last")
    reference = [Evidence(model, part, layers, features=True) for part in x.split(40)]
    with torch.no_grad():
        fitted = Conductance(layers=layers, steps=5).fit(reference, labels)
        single = Conductance(layer="deep", steps=5).fit(reference, labels)
        gap = contributions(model, x, "deep", 5)[0].gap
        parts = fitted.parts(Evidence(model, x[:4], layers, features=True))
        lone = single.parts(Evidence(model, x[:4], ("deep",), features=True))
    assert single.facts["completeness_error"] == pytest.approx(float(gap.abs().max()), rel=1e-4)
    assert single.facts["completeness_share"] == pytest.approx(
        float(gap.abs().mean() / risen(model, x).abs().mean()), rel=1e-3
    )
    assert fitted.facts["completeness_share"] == pytest.approx(single.facts["completeness_share"] / 2, rel=1e-3)
    assert fitted.facts["rows"] == 70
    assert list(parts) == ["completeness_error deep", "completeness_error last", "class_maps"]
    torch.testing.assert_close(parts["completeness_error deep"], gap[:4], rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(lone["completeness_error"], gap[:4], rtol=1e-3, atol=1e-5)


def test_scales_are_of_the_class_answered_where_it_is_answered_often_enough():
    values = torch.arange(40.0).view(20, 2).double()
    answers = torch.tensor([0] * 12 + [1] * 8)
    scaled = Scale.of(values, answers, classes=2)(values, answers)
    assert scaled[:12].mean() == pytest.approx(0)
    assert scaled[12:, 0].tolist() == ((values[12:, 0] - 19) / 38).tolist()
    plain = Scale.of(values, answers)(values, answers)
    assert (plain.amax(dim=0) - plain.amin(dim=0)).tolist() == [1, 1]
    assert Scale.of(torch.ones(3, 1), answers[:3])(torch.ones(3, 1), answers[:3]).isfinite().all()


@pytest.fixture(scope="module")
def columns():
    """Three columns, of which two tell right from wrong."""
    dice = np.random.default_rng(0)
    wrong = dice.uniform(size=300) < 0.25
    x = dice.normal(size=(300, 3)) + wrong[:, None] * [1.2, 0, -0.8]
    return torch.from_numpy(x), torch.from_numpy(wrong)


@pytest.mark.parametrize("estimator", [*PRESETS, GaussianNB(), LogisticRegression()], ids=str)
def test_any_estimator_finds_errors_it_has_not_seen(columns, estimator):
    x, wrong = columns
    fitted = Detector(estimator=estimator).fit(x, wrong)
    assert len(fitted.models) == 5
    assert fitted.held_out.isfinite().all()
    assert fitted.facts["held_out_auroc"] == auroc(fitted.held_out.numpy(), wrong.numpy()) > 0.7
    assert torch.equal(Detector(estimator=estimator).fit(x, wrong)(x), fitted(x))


@pytest.mark.parametrize("estimator", [RandomForestClassifier(random_state=0), "gbm"], ids=["forest", "gbm"])
def test_no_row_is_judged_by_an_estimator_that_learned_from_it(estimator):
    """Of pure noise a forest, and boosted trees, remember nearly everything and have learned nothing."""
    dice = np.random.default_rng(1)
    x, wrong = torch.from_numpy(dice.normal(size=(400, 5))), torch.from_numpy(dice.uniform(size=400) < 0.3)
    fitted = Detector(estimator=estimator).fit(x, wrong)
    assert auroc(fitted(x).numpy(), wrong.numpy()) > 0.9
    assert fitted.facts["held_out_auroc"] < 0.6


def test_boosted_trees_are_boosted(columns):
    """Shallow trees, a hundred of them, each on what the ones before left."""
    models = Detector(estimator="gbm").fit(*columns).models
    assert all(isinstance(model, HistGradientBoostingClassifier) for model in models)
    assert {model.n_iter_ for model in models} == {100}


def test_rows_of_a_group_share_a_fold():
    """Rows come in pairs of twins; a forest would recognise the other one."""
    dice = np.random.default_rng(2)
    x, wrong = dice.normal(size=(200, 5)).repeat(2, axis=0), (dice.uniform(size=200) < 0.3).repeat(2)
    groups = [str(row // 2) for row in range(400)]
    tensors = torch.from_numpy(x), torch.from_numpy(wrong)
    forest = Detector(estimator=RandomForestClassifier(random_state=0))
    assert forest.fit(*tensors).facts["held_out_auroc"] > 0.9
    assert forest.fit(*tensors, groups).facts["held_out_auroc"] < 0.65


@pytest.mark.parametrize(("count", "width"), [(300, 3), (30, 40)], ids=["more rows", "more columns"])
def test_a_quadratic_detector_is_bayes_rule_on_two_shrunk_normal_laws(count, width):
    """Beside densities by scipy; one column is the same in all wrong answers: their own covariance is singular."""
    dice = np.random.default_rng(3)
    wrong = np.arange(count) % 3 == 0
    x = dice.normal(size=(count, width)) @ dice.normal(size=(width, width))
    x[wrong, 0] = 0.5
    model, new = quadratic(x, wrong), dice.normal(size=(20, width))
    laws = [LedoitWolf().fit(x[wrong == kind]) for kind in (False, True)]
    scores = [
        multivariate_normal(law.location_, law.covariance_).logpdf(new) + np.log((wrong == kind).mean())
        for kind, law in enumerate(laws)
    ]
    np.testing.assert_allclose(model.predict_proba(new)[:, 1], expit(scores[1] - scores[0]), rtol=1e-6, atol=1e-12)


def test_a_quadratic_detector_learns_from_fewer_errors_than_columns_and_refuses_errors_that_are_all_the_same():
    """As of the maps of a large net, some of which no wrong answer moves."""
    dice = np.random.default_rng(4)
    wrong = np.arange(150) % 5 == 0
    x = dice.normal(size=(150, 200)) + wrong[:, None] * 0.4
    x[wrong, :50] = 0
    assert Detector(estimator="qda").fit(torch.from_numpy(x), torch.from_numpy(wrong)).facts["held_out_auroc"] > 0.9
    x[wrong] = 0
    with pytest.raises(InputError, match=r"24 of one kind are the same in all 200 columns.*estimator"):
        Detector(estimator="qda").fit(torch.from_numpy(x), torch.from_numpy(wrong))


def test_a_detector_needs_right_and_wrong_answers(columns):
    x, wrong = columns
    few = torch.zeros_like(wrong)
    few[:4] = True
    with pytest.raises(InputError, match="of 300 reference images 4 are answered wrongly"):
        Detector().fit(x, few)
    with pytest.raises(InputError, match=r"folds.*there are 2 groups"):
        Detector().fit(x, wrong, ["one" if row % 2 else "two" for row in range(300)])


def test_estimators_and_folds_that_cannot_be_are_refused():
    with pytest.raises(UnknownNameError, match="Did you mean 'logistic'"):
        Detector(estimator="logistics")
    with pytest.raises(InputError, match="`folds` must be at least 2; got 1"):
        Conductance(folds=1)


def test_without_scikit_learn_a_detector_names_its_install_line(columns, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.model_selection", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'demur\[signals\]'"):
        Detector().fit(*columns)


def test_a_model_without_a_linear_head_is_refused():
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.Tanh()).eval()
    model = BoundClassifier(net, classes=tuple("abcd"), input_shape=(1, 8, 8), features="1")
    with torch.no_grad(), pytest.raises(InputError, match="reads the linear last layer, and the model has none"):
        Evidence(model, World().images, features=True).contributions()
