"""Components of trust side by side: taken from where they were measured, and ranked so that 1 is the most trusted."""

import math

import pytest
from tests.analysis.attribution_runs import CLASSES, GRAD_CAM, RAY

from demur.analysis.attribution.region_tables import attribution
from demur.analysis.attribution.trust_components import EVERYTHING, trust
from demur.analysis.robustness.censored_quantiles import CensoredQuantile
from demur.analysis.robustness.minimal_perturbation import ClassSearch, MinimalPerturbation
from demur.analysis.run_folder import Run


@pytest.fixture(scope="module")
def found(looked):
    return attribution(Run(looked))


def reached(value, n=30, above=()):
    return CensoredQuantile(value=value, low=math.nan, high=math.nan, above=above, n=n)


def class_search(name, median):
    return ClassSearch(name=name, n=median.n, wrong=0, censored=0, lower=median, median=median, upper=median, rank=None)


def search(medians, condition=RAY):
    whole = reached(0.4, n=110)
    return MinimalPerturbation(
        condition=condition, sentence="", norm="l2", cap=2.0, n=110, wrong=0, censored=0, lower=whole, median=whole,
        upper=whole, right_median=reached(0.5, n=90), minimum=0.1, maximum=2.0, scan=5.0, refinement=6.0,
        per_class=tuple(map(class_search, CLASSES, medians)), ranking=None, confusions=(), curve=(), comparisons=(),
    )  # fmt: skip


FAR = search([reached(2.0, above=("value",)), reached(0.2), reached(9.0, n=5), reached(1.9)])
NEAR = search([reached(0.1)] * 4, condition="another")


def test_nothing_measured_is_no_trust():
    assert trust((), None) is None


def test_components_come_from_the_first_of_each_kind(found):
    row = trust((FAR, NEAR), found)
    assert (row.epsilon_of, row.difference_of, row.compactness_of) == (RAY, GRAD_CAM, GRAD_CAM)
    assert (row.epsilon_norm, row.difference_norm) == ("l2", "l2")
    assert [each.name for each in row.classes] == list(CLASSES)
    for each, far, side, look in zip(
        row.classes, FAR.per_class, found.regions[0].per_class, found.maps[0].per_class, strict=True
    ):
        assert each.n == max(far.n, side.n, look.n)
        assert each.epsilon is far.median
        assert (each.difference, each.difference_rank) == (side.difference, side.rank)
        assert (each.compactness, each.compactness_rank) == (look.area, look.rank)
    model = row.model
    assert (model.name, model.n) == (EVERYTHING, 110)
    assert model.epsilon is FAR.median
    assert model.difference is found.regions[0].difference
    assert model.compactness is found.maps[0].measures[0].median
    assert (model.epsilon_rank, model.difference_rank, model.compactness_rank) == (None, None, None)


def test_the_class_that_flips_last_is_first_and_few_images_have_no_place(found):
    """Above the cap of 2 is farther than any number, and five images say nothing."""
    assert [each.epsilon_rank for each in trust((FAR,), found).classes] == [1, 3, None, 2]


def test_the_side_of_the_object_and_a_compact_map_come_first(found):
    cat, dog, *_ = trust((), found).classes
    ordered = sorted((cat, dog), key=lambda row: row.compactness_rank)
    assert ordered[0].compactness.value < ordered[1].compactness.value
    ordered = sorted((cat, dog), key=lambda row: row.difference_rank)
    assert not ordered[0].difference.value < ordered[1].difference.value


def test_what_was_not_measured_is_left_open(found):
    row = trust((FAR,), None)
    assert (row.epsilon_of, row.difference_of, row.difference_norm, row.compactness_of) == (RAY, None, None, None)
    assert all(each.difference is each.compactness is None for each in (row.model, *row.classes))
    row = trust((), found.model_copy(update={"regions": ()}))
    assert (row.epsilon_of, row.epsilon_norm, row.difference_of, row.compactness_of) == (None, None, None, GRAD_CAM)
    assert all(each.epsilon is each.difference is None for each in (row.model, *row.classes))
    assert row.model.n == 100
    row = trust((), found.model_copy(update={"maps": ()}))
    assert (row.difference_of, row.compactness_of) == (GRAD_CAM, None)


def test_a_plan_whose_maps_leave_out_the_measure_of_compactness_has_none_of_the_model(found):
    look = found.maps[0].model_copy(update={"measures": found.maps[0].measures[1:]})
    assert trust((), found.model_copy(update={"maps": (look,)})).model.compactness is None
