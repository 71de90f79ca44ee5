"""What rays make of single rows: company, passes, censoring, zeros, what is no number, what does not stand."""

import math

import pytest
import torch
from tests.attacks.ray_oracle import NORMS, ROWS, Along, Counting, given
from tests.oracles import SHAPE, Bowl, Plane, images

from demur.attacks.core.attack_state import Trouble
from demur.attacks.core.line_search import LineSearch
from demur.attacks.ray import Ray, run_ray
from demur.errors import InputError, UnknownNameError


@pytest.mark.parametrize("norm", NORMS)
def test_rows_do_not_depend_on_their_company(norm):
    oracle = Bowl()
    ray = Ray(norm=norm, direction="random", cap=1.0)
    objective, x, y, keys = given(oracle, images(oracle, 17).double(), ray)
    whole = run_ray(ray, objective, x, y, keys, batch=64)
    order = torch.randperm(17, generator=torch.Generator().manual_seed(2))
    mixed = run_ray(ray, objective, x[order], y[order], keys.rows(order.tolist()), batch=4)
    for name in ("scan", "refine", "low", "high"):
        torch.testing.assert_close(getattr(whole, name)[order], getattr(mixed, name), rtol=0, atol=1e-12)
    for name in ("x", "fooled", "step", "forwards", "backwards", "troubles"):
        torch.testing.assert_close(getattr(whole.outcome, name)[order], getattr(mixed.outcome, name))
    alone = run_ray(ray, objective, x[:1], y[:1], keys.rows([0]))
    torch.testing.assert_close(alone.high, whole.high[:1])
    none = run_ray(ray, objective, x[:0], y[:0], keys.rows([]))
    assert len(none.outcome.x) == 0


@pytest.mark.parametrize("direction", ["sign", "random"])
def test_every_pass_is_counted(direction):
    oracle = Bowl()
    ray = Ray(direction=direction, cap=0.3)
    objective, x, y, keys = given(oracle, images(oracle, 30), ray, wrong=3)
    found = run_ray(ray, objective, x, y, keys, batch=8)
    out = found.outcome
    assert (int(out.forwards.sum()), int(out.backwards.sum())) == (objective.rows, objective.backwards)
    besides = out.forwards - found.scan - found.refine
    flipped = out.step > 0
    assert besides[:3].tolist() == [1, 1, 1]
    assert torch.all((besides >= 2) & (besides <= 3) | ~flipped)
    assert torch.all(besides[out.step < 0] == 1)
    assert torch.all(out.backwards == (direction == "sign"))
    assert torch.equal(out.step[flipped], found.scan[flipped].long())


def test_batches_stay_full():
    oracle = Plane()
    objective, x, y, keys = given(oracle, images(oracle, 60))
    run_ray(Ray(), objective, x, y, keys, batch=8)
    assert sum(size == 8 for size in objective.batches) >= 0.8 * len(objective.batches)
    assert max(objective.batches) == 8


def test_what_is_wrong_already_is_zero_and_what_never_flips_is_censored():
    oracle = Plane()
    ray = Ray(cap=0.02)
    objective, x, y, keys = given(oracle, images(oracle, ROWS), ray, wrong=2)
    found = run_ray(ray, objective, x, y, keys)
    out = found.outcome
    assert out.fooled[:2].all()
    assert out.linf[:2].tolist() == [0.0, 0.0]
    assert (out.step[:2].tolist(), out.forwards[:2].tolist()) == ([0, 0], [1, 1])
    assert found.high[:2].tolist() == [0.0, 0.0]
    far = oracle.nearest(x) > ray.cap + 1e-4
    far[:2] = False
    assert far.any()
    assert not out.fooled[far].any()
    assert (out.step[far] == -1).all()
    assert (found.scan[far] == 16).all()
    assert (found.refine[far] == 0).all()
    assert not out.troubles.any()
    torch.testing.assert_close(found.low[far], torch.full_like(found.low[far], ray.cap))


def test_a_direction_of_zeros_is_censored_and_flagged_and_costs_one_look():
    x = torch.full((3, *SHAPE), 0.4)
    objective, x, y, keys = given(Along(lambda s: 0 * s - 1), x)
    found = run_ray(Ray(), objective, x, y, keys)
    assert found.outcome.troubles.tolist() == [int(Trouble.ZERO_GRADIENT)] * 3
    assert not found.outcome.fooled.any()
    assert found.outcome.forwards.tolist() == [1, 1, 1]
    everywhere = run_ray(Ray(), objective, x, y, keys, weights=torch.zeros(3, 1, 4, 4))
    assert not everywhere.outcome.fooled.any()


@pytest.mark.parametrize("begins", [-1.0, 0.3], ids=["everywhere", "further out"])
def test_answers_that_are_no_numbers_fool_nobody_and_end(begins):
    x = torch.zeros(3, *SHAPE)
    module = Along(lambda s: s - 0.25)
    objective, x, y, keys = given(module, x)
    module.margin = lambda s: torch.where(s > begins, s * torch.nan, s - 0.25)
    found = run_ray(Ray(steps=8), objective, x, y, keys)
    if begins < 0:
        assert not found.outcome.fooled.any()
        assert torch.all(found.outcome.troubles & int(Trouble.NONFINITE_GRADIENT) > 0)
    else:
        assert torch.all(~found.outcome.fooled | (found.outcome.linf - 0.25).abs().lt(1e-4))
    assert found.outcome.x.isfinite().all()


class Shifted(Counting):
    """Float64 puts the boundary further out than float32 does."""

    def __init__(self, *given, by, **named):
        super().__init__(*given, **named)
        self.by = by

    def exact(self, x):
        return super().exact((x - self.by).clamp(min=0))


@pytest.mark.parametrize(("by", "stands"), [(0.0, True), (6e-5, True), (1e-2, False)])
def test_a_point_that_does_not_stand_moves_out_a_few_tolerances_before_it_is_given_up(by, stands):
    """The margin rises slowly, so every upper end is near and is asked again in float64 there, at .20003."""
    module = Along(lambda s: s - 0.2)
    objective, x, y, keys = given(module, torch.zeros(4, *SHAPE))
    shifted = Shifted(objective.classifier, by=by)
    found = run_ray(Ray(), shifted, x, y, keys)
    out = found.outcome
    assert torch.all(out.fooled == stands)
    assert int(out.forwards.sum()) == shifted.rows
    if stands:
        assert torch.all(out.linf >= 0.2 + by)
        assert torch.all(out.linf <= 0.2 + by + 6e-5)
        assert not out.troubles.any()
        assert by > 0 or torch.equal(out.forwards - found.scan - found.refine, torch.full((4,), 3, dtype=torch.int32))
    else:
        assert torch.all(out.troubles == int(Trouble.UNCONFIRMED))
        assert torch.equal(out.x, x)


def test_no_point_is_moved_beyond_the_cap():
    objective, x, y, keys = given(Along(lambda s: s - 0.2), torch.zeros(4, *SHAPE))
    shifted = Shifted(objective.classifier, by=6e-5)
    found = run_ray(Ray(cap=0.2 + 4.5e-5), shifted, x, y, keys)
    assert (found.scan == 16).all()
    assert not found.outcome.fooled.any()


def test_a_tolerance_beyond_float32_ends_where_numbers_do():
    oracle = Plane()
    ray = Ray(tolerance=1e-12, norm="l2", direction="gradient")
    objective, x, y, keys = given(oracle, images(oracle, 8))
    found = run_ray(ray, objective, x, y, keys)
    flips = found.outcome.fooled
    assert flips.any()
    assert torch.all((found.high - found.low)[flips] <= 1e-6)


def test_a_rule_that_gets_stuck_at_an_end_is_helped_along():
    search = LineSearch(-torch.ones(2), torch.tensor([0.25, 1.0]), 1e-3, lambda bracket, tolerance: bracket.low)
    ids, going = torch.arange(2), torch.tensor([True, True])
    while going.any():
        t = search.next[ids]
        going = search.enter(ids, t - 0.4, t > 0.4)
    assert search.scan.tolist() == [2, 2]
    assert search.refine.tolist() == [10, 10]
    assert torch.all(search.bracket.high - search.bracket.low <= 1e-3)


def test_a_success_of_ones_own_is_what_flips():
    """Confidently wrong: the label's probability is below a tenth. The margin says nothing of that."""

    def sure(evidence, y):
        return 0.1 - evidence.logits.softmax(dim=1).gather(1, y[:, None])[:, 0]

    objective, x, y, keys = given(Along(lambda s: 20 * (s - 0.2)), torch.zeros(3, *SHAPE), success=sure)
    found = run_ray(Ray(), objective, x, y, keys)
    torch.testing.assert_close(found.outcome.linf, torch.full((3,), 0.2 + math.log(9) / 20), rtol=0, atol=1.5e-5)
    objective, x, y, keys = given(Along(lambda s: 2e4 * (s + 1e-5)), torch.zeros(3, *SHAPE), success=sure)
    unsure = run_ray(Ray(), objective, x, y, keys)
    torch.testing.assert_close(unsure.outcome.linf, torch.full((3,), math.log(9) / 2e4 - 1e-5), rtol=0, atol=1e-5)
    assert torch.all(unsure.refine <= 7)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"direction": "signs"}, "Did you mean 'sign'"),
        ({"direction": "my.module:"}, "package.module:function"),
        ({"norm": "l1"}, "norm"),
        ({"cap": 8}, "Did you mean 8/255"),
        ({"cap": -1}, r"`cap` must lie in \(0, 1\]"),
        ({"cap": -1, "norm": "l2"}, "`cap` must be positive"),
        ({"steps": 0}, "at least 1"),
        ({"tolerance": 0.0}, "`tolerance` must be positive"),
        ({"root": "brent"}, "Known: bisection, chandrupatla, itp"),
        ({"loss": "entropy"}, "loss"),
    ],
)
def test_a_field_out_of_range_is_refused(fields, words):
    with pytest.raises((InputError, UnknownNameError), match=words):
        Ray(**fields)
