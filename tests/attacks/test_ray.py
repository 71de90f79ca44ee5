"""Rays against brute force: flat, curved and non-monotone margins, walls of the box, any direction."""

import math

import pytest
import torch
from tests.attacks.ray_oracle import CLEAR, NORMS, ROWS, Along, brute, check, given, unit, way
from tests.oracles import SHAPE, Bowl, Plane, images

from demur.attacks.core.line_search import ROOTS
from demur.attacks.core.projections import of_length_one
from demur.attacks.ray import Ray, run_ray
from demur.errors import InputError


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("direction", ["sign", "gradient", "random"])
@pytest.mark.parametrize("spread", [0.3, 0.8], ids=["inside", "at the walls"])
@pytest.mark.parametrize("oracle", [Plane(), Bowl(), Bowl(low=0.1, high=1.1)], ids=["plane", "bowl", "far bowl"])
def test_the_end_flips_and_a_tolerance_before_it_nothing_does(oracle, spread, direction, norm):
    ray = Ray(direction=direction, norm=norm, cap={"linf": 0.5, "l2": 2.0}[norm])
    objective, x, y, keys = given(oracle, images(oracle, ROWS, spread=spread), ray)
    found = run_ray(ray, objective, x, y, keys, batch=7)
    named, direction = direction, way(ray, objective, x, y, keys)
    check(ray, objective, x, y, found, direction)
    first, spacing = brute(ray, objective, x, y, direction)
    flips = found.outcome.fooled
    assert torch.equal(flips, first.isfinite())
    assert torch.all((found.high <= first + 2e-5 + CLEAR)[flips])
    assert torch.all((found.high >= first - spacing - 1e-6)[flips])
    assert flips.any() or named != "gradient"


@pytest.mark.parametrize("root", ROOTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_closed_forms_are_met_to_the_tolerance(root, dtype):
    for oracle, norm in ((Plane(), "linf"), (Plane(), "l2"), (Bowl(), "l2")):
        ray = Ray(direction="sign" if norm == "linf" else "gradient", norm=norm, root=root, tolerance=1e-5)
        objective, x, y, keys = given(oracle, images(oracle, ROWS).to(dtype), ray)
        found = run_ray(ray, objective, x, y, keys, batch=10)
        exact = oracle.nearest(x, norm)
        inside = (oracle.nearest_in_box(x, norm) - exact).abs() < 1e-6
        gap = (found.outcome.size(norm) - exact)[inside]
        assert inside.sum() > 5
        assert torch.all(gap > -1e-6)
        assert torch.all(gap < 1e-5 + 4e-5)  # what counts as a clear flip lies 1e-5 of the largest logit further out


def test_on_a_black_background_the_size_is_that_of_the_clipped_change():
    oracle = Plane()
    x = images(oracle, ROWS)
    x[:, :, :2] = 0
    ray = Ray(norm="l2", direction="gradient")
    objective, x, y, keys = given(oracle, x, ray)
    found = run_ray(ray, objective, x, y, keys)
    check(ray, objective, x, y, found, way(ray, objective, x, y, keys))
    flips = found.outcome.fooled
    torch.testing.assert_close(found.outcome.l2[flips], oracle.nearest_in_box(x, "l2")[flips], rtol=0, atol=1e-4)
    assert torch.all(found.outcome.l2[flips] < 0.99 * found.high[flips])


def bump(*windows):
    """Positive inside the windows, continuous."""

    def margin(s):
        inside = [torch.minimum(s - low, high - s) for low, high in windows]
        return 20 * torch.stack(inside).amax(dim=0)

    return margin


def test_of_several_flips_the_first_that_the_scan_can_see_is_found():
    """Scan points lie at .157, .25 and .397: the flip at .22 is seen though the answer returns at .3."""
    x = torch.zeros(5, *SHAPE)
    ray = Ray()
    objective, x, y, keys = given(Along(bump((0.22, 0.3), (0.6, 2.0))), x)
    found = run_ray(ray, objective, x, y, keys)
    torch.testing.assert_close(found.outcome.linf, torch.full((5,), 0.22), rtol=0, atol=2e-5)
    assert torch.all(found.outcome.linf > 0.22)
    assert found.scan.tolist() == [13] * 5


def test_a_flip_that_returns_between_two_points_of_the_scan_is_missed_as_documented():
    x = torch.zeros(5, *SHAPE)
    objective, x, y, keys = given(Along(bump((0.26, 0.39), (0.6, 2.0))), x)
    found = run_ray(Ray(), objective, x, y, keys)
    torch.testing.assert_close(found.outcome.linf, torch.full((5,), 0.6), rtol=0, atol=2e-5)
    finer = run_ray(Ray(steps=40), objective, x, y, keys)
    torch.testing.assert_close(finer.outcome.linf, torch.full((5,), 0.26), rtol=0, atol=2e-5)
    assert "not seen" in Ray().resolution


def test_the_scan_is_geometric_up_to_the_cap():
    x = torch.zeros(1, 3, 4, 5)
    torch.testing.assert_close(Ray().sizes(x), 1024.0 ** torch.linspace(-1, 0, 16))
    assert float(Ray(norm="l2").sizes(x)[-1]) == pytest.approx(math.sqrt(60))
    assert Ray(cap=0.25).sizes(x)[[0, -1]].tolist() == pytest.approx([0.25 / 1024, 0.25])
    assert Ray(steps=1, cap=0.3).sizes(x).tolist() == pytest.approx([0.3])


@pytest.mark.parametrize("norm", NORMS)
def test_a_direction_however_short_is_made_one_long(norm):
    short = torch.linspace(-1, 2, 16).view(1, *SHAPE) * 1e-30
    torch.testing.assert_close(of_length_one(short, norm), unit(short.double(), norm).float())
    assert not of_length_one(torch.zeros(1, *SHAPE), norm).any()


@pytest.mark.parametrize("norm", NORMS)
def test_weights_turn_the_direction_and_its_length_is_made_one_again(norm):
    oracle = Bowl()
    ray = Ray(norm=norm)
    objective, x, y, keys = given(oracle, images(oracle, ROWS), ray)
    weights = torch.linspace(0, 2, 16).view(1, 1, 4, 4).repeat(ROWS, 1, 1, 1)
    weights[::2] = weights[::2].flip(2)
    found = run_ray(ray, objective, x, y, keys, weights=weights)
    direction = unit(way(ray, objective, x, y, keys) * weights, norm)
    check(ray, objective, x, y, found, direction)
    first, spacing = brute(ray, objective, x, y, direction)
    assert torch.equal(found.outcome.fooled, first.isfinite())
    assert torch.all(((found.high - first).abs() <= spacing + CLEAR)[found.outcome.fooled])
    untouched = (weights == 0).expand_as(x)
    assert torch.equal(found.outcome.x[untouched], x[untouched])
    assert not torch.allclose(found.high, run_ray(ray, objective, x, y, keys).high)


def test_a_direction_of_ones_own_by_path_or_as_a_tensor():
    oracle = Plane()
    ray = Ray(direction="tests.attacks.test_ray:darker", norm="l2", cap=4.0)
    objective, x, y, keys = given(oracle, images(oracle, ROWS), ray)
    by_path = run_ray(ray, objective, x, y, keys, batch=5)
    as_tensor = run_ray(Ray(norm="l2", cap=4.0), objective, x, y, keys, direction=darker(x, y, x))
    torch.testing.assert_close(by_path.high, as_tensor.high)
    check(ray, objective, x, y, by_path, unit(darker(x, y, x), "l2"))
    assert int(by_path.outcome.backwards.sum()) == ROWS
    assert not as_tensor.outcome.backwards.any()


def darker(x, y, gradient):
    """Towards black, some pixels faster."""
    return -x * torch.linspace(1, 3, 16).view(1, *SHAPE)


def too_short(x, y, gradient):
    return gradient[:1]


@pytest.mark.parametrize(
    ("direction", "words"),
    [
        ("tests.attacks.test_ray:too_short", "one tensor of the images' own shape"),
        ("tests.attacks.test_ray:darkest", "Did you mean 'darker'"),
        ("tests.attacks.no_such_file:darker", "`direction` names a Python module"),
    ],
)
def test_a_function_that_gives_no_direction_is_told(direction, words):
    objective, x, y, keys = given(Plane(), images(Plane(), 3))
    with pytest.raises(InputError, match=words):
        run_ray(Ray(direction=direction), objective, x, y, keys)


@pytest.mark.parametrize("norm", NORMS)
def test_interpolation_takes_half_of_the_passes_of_bisection(norm):
    oracle = Bowl()
    mean = {}
    for root in ROOTS:
        ray = Ray(norm=norm, root=root, direction="gradient")
        objective, x, y, keys = given(oracle, images(oracle, 60), ray)
        found = run_ray(ray, objective, x, y, keys)
        mean[root] = float(found.refine[found.outcome.fooled].double().mean())
    assert mean["chandrupatla"] <= min(8, mean["bisection"] / 2)
    assert mean["itp"] <= 0.7 * mean["bisection"]


@pytest.mark.parametrize("weighted", [False, True])
def test_following_a_ray_shows_the_label_fade_where_the_search_says_it_flips(weighted):
    oracle = Plane()
    ray = Ray(norm="l2")
    objective, x, y, keys = given(oracle, images(oracle, 9), ray)
    weights = torch.rand(9, 1, 4, 4, generator=torch.Generator().manual_seed(0)) if weighted else None
    eps = torch.linspace(0, 2, 21)
    confidence, standing = ray.follow(objective, x, y, keys, eps, batch=4, weights=weights)
    direction = way(ray, objective, x, y, keys) * (1 if weights is None else weights)
    for row in range(9):
        at = (x[row] + eps[:, None, None, None] * unit(direction, "l2")[row]).clamp(0, 1)
        slow = objective.classifier.logits(at).softmax(dim=1)[:, oracle.label]
        torch.testing.assert_close(confidence[row], slow.detach())
    high = run_ray(ray, objective, x, y, keys, weights=weights).high
    assert torch.equal(standing, eps[None] < high[:, None])
