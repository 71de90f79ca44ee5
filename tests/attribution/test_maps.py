"""Maps equal captum's, finite differences, slow loops and closed forms, and hold to one contract."""

import sys
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients as CaptumIntegrated
from captum.attr import LayerGradCam
from tests.attribution.map_nets import CLASSES, KINDS, MEAN, STD, Affine, Deep, keys, maps_of, wrapped
from tests.classifier.classifier_nets import SHAPE, images, seeded
from torch import nn

from demur.attribution.grad_cam import GradCAM
from demur.attribution.gradient_maps import Gradient, GradientXInput, IntegratedGradients, SmoothGrad
from demur.errors import InputError, MissingExtraError
from demur.randomness import Keys
from demur.registry import build, names
from demur.testing import check_map
from demur.testing.image_contracts import maps_of_rows_alone, shows_without_a_trace

CHEAP = {"smooth_grad": "smooth_grad(n=3)", "integrated_gradients": "integrated_gradients(steps=4)"}
EVERY = [CHEAP.get(name, name) for name in names("map")]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", EVERY)
def test_a_map_is_finite_not_negative_and_leaves_no_trace(name, kind):
    classifier = KINDS[kind]()
    x = images().double() if kind == "double" else images()
    shows_without_a_trace(build("map", name), classifier, x, CLASSES % len(classifier.classes))


@pytest.mark.parametrize("kind", ["logits", "lone", "probabilities"])
@pytest.mark.parametrize("name", EVERY)
def test_who_shares_the_batch_does_not_matter(name, kind):
    maps_of_rows_alone(build("map", name), KINDS[kind](), images(), CLASSES)


@pytest.mark.parametrize("name", EVERY)
def test_a_map_keeps_the_contract(name):
    check_map(name)


@dataclass(frozen=True)
class Faulty:
    """Brightness, spoilt in one way."""

    sentence: ClassVar[str] = "where it is bright"
    gradients: ClassVar[int] = 0

    fault: str = ""

    def __call__(self, classifier, images, classes, keys):
        heat = images.mean(dim=1)
        match self.fault:
            case "negative":
                return heat - heat.mean()
            case "batch":
                return heat * len(images)
            case "passes":
                classifier.logits(images)
            case "cell":
                return heat.mean(dim=(1, 2), keepdim=True)
        return heat


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("negative", "a cell is negative"),
        ("batch", "Who shares the batch does not matter"),
        ("passes", "four images more take 4 passes; it declares 0 for each"),
        ("cell", "a map has a single cell"),
    ],
)
def test_a_rule_that_is_broken_is_named(fault, words):
    with pytest.raises(AssertionError, match=words):
        check_map(Faulty(fault))
    check_map(Faulty())


@pytest.mark.parametrize("name", EVERY)
def test_each_row_explains_the_class_it_is_asked_for(name):
    classifier, x = wrapped(), images()
    mixed = maps_of(name, classifier, x, CLASSES)
    for k in range(4):
        only = maps_of(name, classifier, x, torch.full((5,), k))
        torch.testing.assert_close(mixed[k == CLASSES], only[k == CLASSES])
        others = (k != CLASSES) & (mixed.amax(dim=(1, 2)) > 0)
        assert not torch.isclose(mixed[others], only[others]).all(dim=2).all(dim=1).any()


@pytest.mark.parametrize("name", EVERY)
def test_a_map_costs_what_it_says(name):
    classifier, map_, passes = wrapped(), build("map", name), []
    handle = classifier.as_module().register_forward_hook(lambda _m, _i, out: passes.append(len(out)))
    resolved = map_.with_layer(classifier) if isinstance(map_, GradCAM) else map_
    passes.clear()
    resolved(classifier, images(), CLASSES, keys(5))
    handle.remove()
    assert sum(passes) == 5 * map_.gradients


@pytest.mark.parametrize("kind", ["one number", "one sigmoid"])
def test_one_number_speaks_against_the_first_class_as_it_speaks_for_the_second(kind):
    classifier, x = KINDS[kind](), images()
    against, speaks = (GradCAM()(classifier, x, torch.full((5,), k), keys(5)) for k in (0, 1))
    assert not ((against > 0) & (speaks > 0)).any()
    assert ((against > 0) | (speaks > 0)).all(dim=(1, 2)).any()


def test_a_sure_probability_still_has_a_gradient():
    module = seeded(Deep(nn.Softmax(dim=1)))
    with torch.no_grad():
        module.head.weight *= 12
    sure = wrapped(module, output="probabilities")
    x = images()
    classes = sure.logits(x).argmax(dim=1)
    assert (sure.logits(x).softmax(dim=1).amax(dim=1) == 1).any()
    assert (Gradient()(sure, x, classes, keys(5)).amax(dim=(1, 2)) > 1).all()


# --- against references


@pytest.mark.parametrize("layer", ["first", "second"])
def test_grad_cam_is_captums(layer):
    module, x = seeded(Deep()), images()
    theirs = LayerGradCam(module, module.get_submodule(layer)).attribute(x.requires_grad_(), CLASSES)
    ours = GradCAM(layer=layer)(wrapped(module), x.detach(), CLASSES, keys(5))
    torch.testing.assert_close(ours, theirs[:, 0].relu().detach(), rtol=1e-5, atol=1e-6)
    assert ours.shape == (5, *{"first": (8, 8), "second": (3, 3)}[layer])


@pytest.mark.parametrize("layer", ["first", "second"])
def test_grad_cam_weighs_maps_by_finite_differences(layer):
    module, x = seeded(Deep()).double(), images().double()
    shift = 1e-6

    def logit(which, by):
        def push(_module, _inputs, out):
            moved = out.clone()
            moved[:, which] += by
            return moved

        handle = module.get_submodule(layer).register_forward_hook(push)
        with torch.no_grad():
            found = module(x).gather(1, CLASSES[:, None])[:, 0]
        handle.remove()
        return found

    maps = module.first(x) if layer == "first" else module.second(module.first(x).relu())
    cells = maps.shape[2] * maps.shape[3]
    slopes = [(logit(k, shift) - logit(k, -shift)) / (2 * shift * cells) for k in range(maps.shape[1])]
    slow = (torch.stack(slopes, dim=1)[..., None, None] * maps).sum(dim=1).relu().detach()
    torch.testing.assert_close(GradCAM(layer=layer)(wrapped(module), x, CLASSES, keys(5)), slow, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("sign", ["absolute", "positive"])
@pytest.mark.parametrize("name", ["gradient", "gradient_x_input"])
def test_gradients_are_finite_differences(name, sign):
    classifier, x = wrapped(mean=MEAN, std=STD).double, images(2).double()
    slow, shift = torch.zeros_like(x), 1e-6
    with torch.no_grad():
        for place in np.ndindex(*SHAPE):
            up, down = x.clone(), x.clone()
            up[(slice(None), *place)] += shift
            down[(slice(None), *place)] -= shift
            rise = classifier.logits(up) - classifier.logits(down)
            slow[(slice(None), *place)] = rise.gather(1, CLASSES[:2, None])[:, 0] / (2 * shift)
    slow = slow if name == "gradient" else (x * slow).sum(dim=1, keepdim=True)
    slow = (slow.abs() if sign == "absolute" else slow.clamp(min=0)).amax(dim=1)
    found = maps_of(f"{name}(sign='{sign}')", classifier, x, CLASSES[:2])
    torch.testing.assert_close(found, slow, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("n", "sigma"), [(1, 0.3), (4, 0.15), (4, 0.05)])
@pytest.mark.parametrize("sign", ["absolute", "positive"])
def test_smooth_grad_is_the_slow_loop(n, sigma, sign):
    classifier, x = wrapped(mean=MEAN, std=STD), images()
    slow = []
    for row, key in enumerate(keys(5).values):
        total = torch.zeros(SHAPE)
        for copy in range(n):
            noise = Keys((key,)).normal(x[:1], f"smooth_grad {copy}")
            noisy = (x[row : row + 1] + sigma * noise).requires_grad_()
            (slope,) = torch.autograd.grad(classifier.logits(noisy)[0, CLASSES[row]], noisy)
            total += slope[0]
        mean = total / n
        slow.append((mean.abs() if sign == "absolute" else mean.clamp(min=0)).amax(dim=0))
    found = SmoothGrad(n=n, sigma=sigma, sign=sign)(classifier, x, CLASSES, keys(5))
    torch.testing.assert_close(found, torch.stack(slow), rtol=1e-4, atol=1e-4)


def test_less_noise_comes_closer_to_the_plain_gradient():
    classifier, x = wrapped(), images()
    plain = Gradient()(classifier, x, CLASSES, keys(5))
    gaps = [
        float((SmoothGrad(n=4, sigma=s)(classifier, x, CLASSES, keys(5)) - plain).abs().mean()) for s in (1e-4, 0.3)
    ]
    assert gaps[0] < gaps[1] / 10


@pytest.mark.parametrize("steps", [1, 7, 50])
def test_integrated_gradients_are_a_plain_loop_and_black_is_zero_before_normalisation(steps):
    classifier, x = wrapped(mean=MEAN, std=STD), images()
    ours = IntegratedGradients(steps=steps).attributions(classifier, x, CLASSES)
    theirs = CaptumIntegrated(classifier.logits).attribute(x, torch.zeros_like(x), CLASSES, n_steps=steps)
    torch.testing.assert_close(ours, theirs.float(), rtol=1e-4, atol=1e-5)
    places, weights = np.polynomial.legendre.leggauss(steps)
    for row in range(2):
        total = torch.zeros(SHAPE)
        for place, weight in zip(places, weights, strict=True):
            point = ((1 + place) / 2 * x[row : row + 1]).float().requires_grad_()
            (slope,) = torch.autograd.grad(classifier.logits(point)[0, CLASSES[row]], point)
            total += float(weight) / 2 * slope[0]
        torch.testing.assert_close(ours[row], x[row] * total, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["logits", "probabilities"])
def test_integrated_gradients_add_up_to_the_rise_from_black(kind):
    module = seeded(Deep(nn.Softmax(dim=1) if kind == "probabilities" else None))
    module.bend = nn.Softplus().eval()  # a net without kinks, so that more steps come as close as one likes
    classifier, x = wrapped(module, mean=MEAN, std=STD, output=kind).double, images().double()
    with torch.no_grad():
        rise = classifier.logits(x) - classifier.logits(torch.zeros_like(x))
    rise = rise - rise.mean(dim=1, keepdim=True) if kind == "probabilities" else rise
    rise = rise.gather(1, CLASSES[:, None])[:, 0]
    assert rise.abs().min() > 0.1
    for steps, tolerance in ((50, 1e-3), (400, 1e-8)):
        whole = IntegratedGradients(steps=steps).attributions(classifier, x, CLASSES).sum(dim=(1, 2, 3))
        torch.testing.assert_close(whole, rise, rtol=tolerance, atol=tolerance)
    coarse = IntegratedGradients(steps=2).attributions(classifier, x, CLASSES).sum(dim=(1, 2, 3))
    assert (coarse - rise).abs().max() > 0.01


REFERENCES = {
    "grad_cam": test_grad_cam_is_captums,
    "gradient": test_gradients_are_finite_differences,
    "gradient_x_input": test_gradients_are_finite_differences,
    "integrated_gradients": test_integrated_gradients_are_a_plain_loop_and_black_is_zero_before_normalisation,
    "smooth_grad": test_smooth_grad_is_the_slow_loop,
}
"""The test that holds each map to something slow and obvious."""


@pytest.mark.parametrize("sign", ["absolute", "positive"])
def test_on_a_linear_net_every_map_has_a_closed_form(sign):
    module, x = seeded(Affine()), images()
    classifier = wrapped(module, mean=MEAN, std=STD)
    slope = module.head.weight.detach().view(4, *SHAPE)[CLASSES] / torch.tensor(STD).view(1, 3, 1, 1)
    keep = torch.abs if sign == "absolute" else torch.relu
    steep, added = keep(slope).amax(dim=1), keep((x * slope).sum(dim=1))
    for map_, known in {
        Gradient(sign=sign): steep,
        SmoothGrad(sign=sign, n=3): steep,
        GradientXInput(sign=sign): added,
        IntegratedGradients(sign=sign, steps=3): added,
    }.items():
        torch.testing.assert_close(maps_of(map_, classifier, x, CLASSES), known, rtol=1e-4, atol=1e-4)


def test_a_layer_that_speaks_against_the_class_gives_an_empty_map():
    module = seeded(Deep())
    with torch.no_grad():
        module.head.weight[:2] = -module.head.weight[:2].abs()
        module.head.weight[2:] = module.head.weight[2:].abs()
    heat = GradCAM(layer="bend")(wrapped(module), images(), CLASSES, keys(5))
    assert (heat.amax(dim=(1, 2)) > 0).tolist() == [False, True, True, False, False]
    assert heat.isfinite().all()


@pytest.mark.parametrize("name", [*EVERY, "grad_cam(layer='stem')"])
def test_a_row_whose_gradient_is_infinite_shows_nothing(name):
    class Root(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.head = nn.Conv2d(3, 2, 1, bias=False), nn.Linear(2, 4)

        def forward(self, x):
            return self.head(self.stem(x).abs().sqrt().mean(dim=(2, 3)))

    x = images(2)
    x[0] = 0
    heat = maps_of(name, wrapped(seeded(Root())), x, torch.tensor([1, 1]))
    assert heat.isfinite().all()
    if "smooth" not in name:  # noise lifts the black image off the root
        assert not heat[0].any()
    assert heat[1].any() or "grad_cam" in name


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("smooth_grad(n=0)", "`n` counts noisy copies and must be at least 1; got 0"),
        ("smooth_grad(sigma=0)", r"`sigma` is a share of the pixel range and must lie in \(0, 1\]; got 0"),
        ("smooth_grad(sigma=15)", "got 15"),
        ("integrated_gradients(steps=0)", "`steps` of the integral must be at least 1"),
        *((f"{name}(sign='both')", "`sign` must be 'absolute' or 'positive'; got 'both'")
          for name in names("map") if name != "grad_cam"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_are_refused(name, said):
    with pytest.raises(InputError, match=said):
        build("map", name)


def test_without_captum_integrated_gradients_name_their_install_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'demur\[explain\]'"):
        IntegratedGradients()(wrapped(), images(), CLASSES, keys(5))
