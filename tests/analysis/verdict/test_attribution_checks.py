"""Checks of maps, and of searches against each other, made to fire."""

import math

import numpy as np
import pytest
from tests.analysis import attribution_runs
from tests.analysis.attribution_runs import FMN, GRAD_CAM, RAY, SMOOTH

from demur.analysis.run_folder import Run
from demur.analysis.verdict.checks import directions, map_checks

LINE = 0.5


def told(found):
    return [(check.name, check.state, check.count, check.of) for check in found]


def test_runs_without_maps_are_not_asked_about_them(folder):
    run = Run(folder)
    assert list(map_checks(run)) == []
    assert list(directions(run)) == []


def mapped(tmp_path, empty, sanity=None):
    maker = attribution_runs.Maker(tmp_path / "run")
    for name, n in ((GRAD_CAM, 100), (SMOOTH, 50)):
        maker.map(name, n, set(), empty=set(range(empty)))
    return Run(maker.finish(**({} if sanity is None else {"sanity": sanity})))


@pytest.mark.parametrize(("empty", "state"), [(0, "pass"), (3, "pass"), (4, "warn"), (50, "warn")])
def test_empty_maps_are_counted_over_all_maps(tmp_path, empty, state):
    assert told(map_checks(mapped(tmp_path, empty))) == [("maps are not empty", state, 2 * empty, 150)]


LITTLE, MUCH, UNSURE = [0.1] * 20, [0.9] * 20, [0.1, 0.9] * 10


@pytest.mark.parametrize(
    ("left", "state", "stuck"),
    [
        ((LITTLE, LITTLE), "pass", []),
        ((LITTLE, MUCH), "warn", [SMOOTH]),
        ((UNSURE, LITTLE), "warn", [GRAD_CAM]),
        ((MUCH, [None] * 20), "warn", [GRAD_CAM, SMOOTH]),
    ],
)
def test_maps_that_are_not_shown_to_change_are_named(tmp_path, left, state, stuck):
    names = (GRAD_CAM, SMOOTH)
    sanity = [
        {"map": name, "sample_ids": attribution_runs.named(20), "correlation": found, "limit": 0.5}
        for name, found in zip(names, left, strict=True)
    ]
    _, check = map_checks(mapped(tmp_path, 0, sanity))
    assert told([check]) == [("maps change with the weights", state, len(stuck), 2)]
    assert [name for name in names if name in check.sentence] == stuck


def searched(tmp_path, attack, lines=(LINE,), kind="epsilon", **facts):
    """Rays that end at `lines` on every image, and an attack that ends where it is said."""
    maker = attribution_runs.Maker(tmp_path / "run")
    maker.wrong[:] = False
    for number, line in enumerate(lines):
        maker.search(f"ray(n={number})", 100, np.full(attribution_runs.ROWS, line), family="ray")
    maker.search(FMN, 80, np.resize(attack, attribution_runs.ROWS), kind=kind, **facts)
    return list(directions(Run(maker.finish())))


def few(share, far, near=LINE):
    """A hundred and more sizes of which the first are `far`, so many of a hundred among the first eighty."""
    return np.where(np.arange(attribution_runs.ROWS) < share, far, near)


@pytest.mark.parametrize(
    ("attack", "state", "count"),
    [
        (few(0, 9), "pass", 0),
        (few(80, 1.04 * LINE), "pass", 0),
        (few(80, 0.1), "pass", 0),
        (few(4, 1.1 * LINE), "pass", 4),
        (few(5, 1.1 * LINE), "warn", 5),
        (few(80, math.inf), "warn", 80),
    ],
)
@pytest.mark.parametrize("kind", ["epsilon", "attack"])
def test_an_attack_that_goes_further_than_a_line_is_weak(tmp_path, attack, state, count, kind):
    (check,) = searched(tmp_path, attack, kind=kind)
    assert told([check]) == [("attacks go no further than lines", state, count, 80)]
    assert "FMN" in check.sentence


def test_the_shortest_of_several_lines_counts(tmp_path):
    (check,) = searched(tmp_path, few(80, 0.9 * LINE), lines=(LINE, 0.2, math.inf))
    assert check.count == 80


@pytest.mark.parametrize(
    "facts", [{"norm": "linf"}, {"kind": "attack", "unlimited": False}, {"kind": "attack", "target": "next"}]
)
def test_other_norms_bounded_attacks_and_targets_are_not_compared(tmp_path, facts):
    assert searched(tmp_path, few(80, math.inf), **facts) == []


def test_a_side_of_a_region_is_no_line_over_the_whole_image(tmp_path):
    maker = attribution_runs.Maker(tmp_path / "run")
    maker.search(RAY, 80, np.full(attribution_runs.ROWS, 0.1), family="ray", region=GRAD_CAM, part="object")
    maker.search(FMN, 80, np.full(attribution_runs.ROWS, 0.5))
    assert list(directions(Run(maker.finish()))) == []
