"""Numbers that rows draw step by step: of the right law, unrelated, and nobody's but the row's."""

import math

import pytest
import torch

from demur.randomness import Keys, uniform

ROWS, VALUES = 200, 3 * 16 * 16
SEEDS = Keys.of(0, [str(row) for row in range(ROWS)], "uniform").seeds("attack")
LIKE = torch.empty(ROWS, 3, 16, 16)


def correlation(a, b):
    return float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]).double())[0, 1])


@pytest.mark.parametrize("step", [0, 1, 2, 1000])
def test_numbers_fill_the_half_open_unit_interval_evenly(step):
    values = uniform(SEEDS, "draw", LIKE, step)
    assert values.shape == LIKE.shape
    assert values.min() >= 0
    assert values.max() < 1
    count = values.numel()
    assert values.double().mean().item() == pytest.approx(1 / 2, abs=4 / math.sqrt(12 * count))
    assert values.double().var().item() == pytest.approx(1 / 12, abs=4 / math.sqrt(180 * count))
    bins = torch.histc(values, 32, 0, 1)
    assert float(((bins - count / 32) ** 2 / (count / 32)).sum()) < 31 + 5 * math.sqrt(62)


def test_rows_steps_draws_and_pixels_are_unrelated():
    limit = 5 / math.sqrt(LIKE.numel())
    values = uniform(SEEDS, "draw", LIKE, 3)
    assert abs(correlation(values, uniform(SEEDS, "draw", LIKE, 4))) < limit
    assert abs(correlation(values, uniform(SEEDS, "other", LIKE, 3))) < limit
    assert abs(correlation(values[1:], values[:-1])) < limit
    assert abs(correlation(values[..., 1:], values[..., :-1])) < limit
    flat = torch.corrcoef(values.flatten(1).double()) - torch.eye(ROWS)
    assert float(flat.abs().max()) < 6 / math.sqrt(VALUES)


def test_neighbouring_seeds_and_steps_share_no_stream():
    """A counter shifted by one must not turn up as the next pixel of a neighbour."""
    one = uniform(torch.arange(8), "draw", torch.empty(8, 64), 0)
    two = uniform(torch.arange(8), "draw", torch.empty(8, 64), 1)
    assert len(torch.cat([one, two]).flatten().unique()) > 0.999 * 16 * 64


def test_a_row_draws_the_same_whatever_its_company_and_however_its_step_is_given():
    steps = torch.arange(ROWS) % 7
    together = uniform(SEEDS, "draw", LIKE, steps)
    order = torch.tensor([17, 3, 199, 0])
    assert torch.equal(uniform(SEEDS[order], "draw", LIKE[order], steps[order]), together[order])
    for row in (0, 5, 6):
        alone = uniform(SEEDS[row : row + 1], "draw", LIKE[:1], int(steps[row]))
        assert torch.equal(alone[0], together[row])
    assert uniform(SEEDS[:0], "draw", LIKE[:0], steps[:0]).shape == (0, 3, 16, 16)


def test_both_precisions_draw_the_same_numbers():
    double = uniform(SEEDS, "draw", LIKE.double(), 5)
    assert double.dtype == torch.float64
    assert torch.equal(double.float(), uniform(SEEDS, "draw", LIKE, 5))


def test_one_number_a_row_will_do():
    values = uniform(SEEDS, "radius", torch.empty(ROWS), 2)
    assert values.shape == (ROWS,)
    assert len(values.unique()) == ROWS
