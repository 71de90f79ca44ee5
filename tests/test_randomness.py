import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from demur.randomness import Keys

NAMES = [f"image {row}" for row in range(200)]
LIKE = torch.empty(200, 3, 5, 7)


def test_a_row_draws_the_same_numbers_whatever_its_company():
    keys = Keys.of(3, NAMES, "pgd")
    order = [7, 0, 199, 31]
    for draw in (Keys.uniform, Keys.normal):
        together = draw(keys, LIKE, "start")
        assert torch.equal(draw(keys.rows(order), LIKE[order], "start"), together[order])
        assert torch.equal(draw(Keys.of(3, [NAMES[31]], "pgd"), LIKE[:1], "start"), together[31:32])


@given(seed=st.integers(0, 2**40), name=st.text(max_size=5), condition=st.text(max_size=5), draw=st.text(max_size=5))
def test_every_part_of_a_key_matters(seed, name, condition, draw):
    like = torch.empty(1, 8)
    base = Keys.of(seed, [name], condition).uniform(like, draw)
    others = [
        Keys.of(seed + 1, [name], condition).uniform(like, draw),
        Keys.of(seed, [name + "x"], condition).uniform(like, draw),
        Keys.of(seed, [name], condition + "x").uniform(like, draw),
        Keys.of(seed, [name], condition).uniform(like, draw + "x"),
    ]
    assert not any(torch.equal(base, other) for other in others)


def test_parts_do_not_run_into_each_other():
    assert Keys.of(1, ["2a"], "b") != Keys.of(12, ["a"], "b")
    assert Keys.of(1, ["ab"], "c") != Keys.of(1, ["a"], "bc")


def test_uniform_numbers_fill_the_half_open_unit_interval():
    values = Keys.of(0, NAMES, "c").uniform(LIKE, "d")
    assert values.min() >= 0
    assert values.max() < 1
    assert values.double().mean().item() == pytest.approx(0.5, abs=4 / math.sqrt(12 * values.numel()))
    counts = torch.histc(values, 10, 0, 1)
    assert ((counts - values.numel() / 10).abs() < 5 * math.sqrt(values.numel() / 10)).all()


def test_normal_numbers_have_the_moments_of_the_law():
    values = Keys.of(0, NAMES, "c").normal(LIKE, "d").double()
    assert values.mean().item() == pytest.approx(0, abs=4 / math.sqrt(values.numel()))
    assert values.std().item() == pytest.approx(1, abs=0.02)
    assert (values**4).mean().item() == pytest.approx(3, abs=0.2)


def test_rows_are_uncorrelated():
    values = Keys.of(0, NAMES, "c").normal(torch.empty(200, 1000), "d").numpy()
    correlation = np.corrcoef(values)[~np.eye(200, dtype=bool)]
    assert np.abs(correlation).max() < 6 / math.sqrt(1000)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_numbers_come_shaped_and_typed_as_asked(dtype):
    like = torch.empty(4, 2, 3, dtype=dtype)
    values = Keys.of(0, NAMES[:4], "c").uniform(like, "d")
    assert values.shape == like.shape
    assert values.dtype == dtype


def test_drawing_changes_nothing():
    keys = Keys.of(0, NAMES[:2], "c")
    before = torch.random.get_rng_state()
    first = keys.normal(torch.empty(2, 9), "d")
    assert torch.equal(keys.normal(torch.empty(2, 9), "d"), first)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_one_key_per_row_is_required():
    with pytest.raises(ValueError, match="got 2 keys for 3 rows"):
        Keys.of(0, NAMES[:2], "c").uniform(torch.empty(3, 1), "d")
