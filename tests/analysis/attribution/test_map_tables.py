"""What is said of where a model looks, computed again from the Parquet files by slow obvious code."""

import math
import shutil
from pathlib import Path
from statistics import fmean, median_low

import numpy as np
import pytest
from tests import tiny
from tests.analysis import attribution_runs
from tests.analysis.attribution_runs import FMN, GRAD_CAM, KNOW_NOTHING, LOCALISATIONS, MEASURES, RAY, SMOOTH
from tests.analysis.plain_rows import auroc, exact_median_ends, ranked_alike, rows_of, same, wrong

from demur.analysis.attribution.region_tables import attribution
from demur.analysis.run_folder import Run
from demur.files import read_json, write_json
from demur.metrics import proportion
from demur.metrics.delong import auroc_gain, auroc_interval
from demur.metrics.jackknife import mean_interval
from demur.pipeline.plan.plan_tables import AttributionPlan, EpsilonPlan
from demur.records import groups

GOLDEN = Path(__file__).parents[2] / "golden" / "run-v1"
MAPS = (GRAD_CAM, SMOOTH)


@pytest.fixture(scope="module")
def found(looked):
    return attribution(Run(looked))


def map_of(found, name):
    (row,) = (row for row in found.maps if row.name == name)
    return row


def known(rows, column):
    return [row for row in rows if row[column] is not None]


def is_mean(quantity, numbers):
    """The interval itself is tested elsewhere: here it must have been given these numbers."""
    flags = set(numbers) <= {0, 1}
    expected = proportion(np.array(numbers) > 0) if flags else mean_interval(np.array(numbers))
    ends = same(quantity.low, expected.low) and same(quantity.high, expected.high)
    return quantity.n == len(numbers) and math.isclose(quantity.value, fmean(numbers)) and ends


def test_runs_without_maps_and_searches_have_no_such_section():
    assert attribution(Run(GOLDEN)) is None


def test_the_maps_of_the_plan_in_its_order(found):
    assert [row.name for row in found.maps] == list(MAPS)
    assert found.epsilon_of == RAY


@pytest.mark.parametrize("name", MAPS)
def test_a_map(looked, found, name):
    row, rows = map_of(found, name), rows_of(looked, name)
    assert (row.condition, row.sentence, row.height, row.width) == (name, name, 4, 6)
    assert (row.n, row.empty) == (100, sum(each["explain.empty"] for each in rows))
    assert [measure.measure for measure in row.measures] == list(MEASURES)
    assert row.measures[0].sentence == "area_50 in words"
    assert [way.measure for way in row.localisations] == list(LOCALISATIONS)


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("measure", MEASURES)
def test_a_measure(looked, found, name, measure):
    (row,) = (each for each in map_of(found, name).measures if each.measure == measure)
    rows = known(rows_of(looked, name), f"explain.{measure}")
    numbers = [each[f"explain.{measure}"] for each in rows]
    assert row.median.n == len(rows) == 100 - (4 if name == GRAD_CAM else 0)
    assert same(row.median.value, median_low(numbers))
    assert (row.median.low, row.median.high) == exact_median_ends(numbers)
    for kind in KNOW_NOTHING:
        assert same(getattr(row, kind), median_low(each[f"explain.{kind}.{measure}"] for each in rows))


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("measure", MEASURES)
def test_whether_a_measure_goes_with_the_smallest_change_and_tells_of_errors(looked, found, name, measure):
    (row,) = (each for each in map_of(found, name).measures if each.measure == measure)
    rows = known(rows_of(looked, name), f"explain.{measure}")
    changes = {each["sample_id"]: attribution_runs.change(each) for each in rows_of(looked, RAY)}
    right = [each for each in rows if changes.get(each["sample_id"], 0) > 0]
    pairs = [(each[f"explain.{measure}"], changes[each["sample_id"]]) for each in right]
    assert any(math.isinf(size) for _, size in pairs), "or the test shows nothing"
    assert row.perturbation_correlation.n == len(pairs)
    assert same(row.perturbation_correlation.value, ranked_alike(pairs))

    uncertainty = [MEASURES[measure] * each[f"explain.{measure}"] for each in rows]
    by_id = {each["sample_id"]: each["signal.msp"] for each in rows_of(looked, "clean")}
    msp, failed = [by_id[each["sample_id"]] for each in rows], [wrong(each) for each in rows]

    def area(scores):
        kinds = ([s for s, flag in zip(scores, failed, strict=True) if flag is kind] for kind in (True, False))
        return auroc(*kinds)

    assert same(row.auroc.value, area(uncertainty))
    assert same(row.gain.value, area(uncertainty) - area(msp))
    assert same(row.auroc.low, auroc_interval(uncertainty, failed).low)
    assert same(row.gain.high, auroc_gain(uncertainty, msp, failed).high)
    assert row.auroc.n == row.gain.n == len(rows)


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("way", LOCALISATIONS)
def test_a_place_is_told_of_marked_images_only(looked, found, name, way):
    (row,) = (each for each in map_of(found, name).localisations if each.measure == way)
    rows = known(rows_of(looked, name), f"explain.{way}")
    assert 0 < len(rows) < 100
    assert is_mean(row.value, [each[f"explain.{way}"] for each in rows])
    for kind in KNOW_NOTHING:
        assert is_mean(getattr(row, kind), [each[f"explain.{kind}.{way}"] for each in rows])


def test_maps_against_each_other(looked, found):
    assert map_of(found, GRAD_CAM).agreements == ()
    (row,) = map_of(found, SMOOTH).agreements
    rows = known(rows_of(looked, SMOOTH), f"explain.agreement.{GRAD_CAM}")
    assert (row.other, row.n) == (GRAD_CAM, len(rows))
    assert is_mean(row.correlation, [each[f"explain.agreement.{GRAD_CAM}"] for each in rows])
    assert is_mean(row.overlap, [each[f"explain.overlap.{GRAD_CAM}"] for each in rows])


def test_classes_of_a_map(looked, found):
    rows = rows_of(looked, GRAD_CAM)
    table = map_of(found, GRAD_CAM).per_class
    assert [row.name for row in table] == list(attribution_runs.CLASSES)
    for k, row in enumerate(table):
        own = [each for each in rows if each["label"] == k]
        areas = [each["explain.area_50"] for each in known(own, "explain.area_50")]
        assert (row.n, row.area.n) == (len(own), len(areas))
        assert same(row.area.value, median_low(areas) if areas else math.nan)
    cat, dog, eel, fox = table
    assert {cat.rank, dog.rank} == {1, 2}
    assert (cat.rank < dog.rank) is (cat.area.value < dog.area.value)
    assert 0 < eel.area.n < 6
    assert eel.rank is None
    assert fox.rank is None
    assert fox.area.reason == "no images"


def test_the_sanity_of_a_map(found):
    row = map_of(found, GRAD_CAM).sanity
    assert (row.n, row.state) == (6, "warn"), "no interval of six images"
    assert is_mean(row.correlation, [0.1, 0.2, -0.1, 0.3, 0.15, 0.05])
    assert map_of(found, SMOOTH).sanity is None


@pytest.mark.parametrize(
    ("correlation", "state"),
    [
        ([0.9] * 10, "fail"),
        ([0.5] * 10, "fail"),
        ([0.1, 0.9] * 5, "warn"),
        ([0.1] * 10, "pass"),
        ([0.7, 0.9] * 5, "fail"),
        ([0.1, 0.2] * 5, "pass"),
        ([0.1] * 5, "warn"),
        ([None] * 10, "warn"),
    ],
)
def test_a_map_must_surely_change_with_the_weights(looked, tmp_path, correlation, state):
    copy = tmp_path / "run"
    shutil.copytree(looked, copy)
    write_json(
        copy / "facts" / "sanity.json",
        [
            {
                "map": GRAD_CAM,
                "sample_ids": attribution_runs.named(len(correlation)),
                "correlation": correlation,
                "limit": 0.5,
            }
        ],
    )
    found = map_of(attribution(Run(copy)), GRAD_CAM).sanity
    assert found.state == state
    assert {"pass": "the map changes", "warn": "not shown to change", "fail": "hardly changes"}[state] in found.sentence


def without(looked, tmp_path, *names):
    """A copy of the run that never had some conditions."""
    copy = tmp_path / "run"
    shutil.copytree(looked, copy)
    facts = read_json(copy / "run.json")
    facts["conditions"] = [entry for entry in facts["conditions"] if entry["name"] not in names]
    write_json(copy / "run.json", facts)
    return Run(copy)


def test_another_search_takes_the_place_of_the_ray(looked, tmp_path):
    found = attribution(without(looked, tmp_path, RAY))
    changes = {row["sample_id"]: attribution_runs.change(row) for row in rows_of(looked, FMN)}
    rows = [row for row in rows_of(looked, SMOOTH) if changes.get(row["sample_id"], 0) > 0]
    pairs = [(row["explain.gini"], changes[row["sample_id"]]) for row in rows]
    assert found.epsilon_of == FMN
    assert same(map_of(found, SMOOTH).measures[1].perturbation_correlation.value, ranked_alike(pairs))


def test_without_any_search_nothing_is_held_against_it(looked, tmp_path):
    found = attribution(without(looked, tmp_path, RAY, FMN))
    assert found.epsilon_of is None
    assert {measure.perturbation_correlation for row in found.maps for measure in row.measures} == {None}


def test_without_marks_nothing_is_said_of_places(tmp_path):
    maker = attribution_runs.Maker(tmp_path / "run")
    maker.clean()
    maker.map(GRAD_CAM, 30, set(), empty=set())
    assert attribution(Run(maker.finish())).maps[0].localisations == ()


def test_what_an_audit_writes_is_what_is_read(tmp_path):
    name = "gradient_x_input"
    sections = {
        "epsilon": EpsilonPlan(use=("ray(norm='l2')",), images=40, curves=0),
        "attribution": AttributionPlan(maps=(name,), regions=(name,), occlude=("mean",), images=40),
    }
    found = attribution(Run(tiny.run(tmp_path / "run", conditions=("clean",), limit=300, **sections)))
    (look,), (region,) = found.maps, found.regions
    assert (found.epsilon_of, look.name, look.n, look.height, look.width) == (RAY, name, 40, 8, 8)
    assert all(0 < measure.median.n == measure.auroc.n <= 40 - look.empty for measure in look.measures)
    assert all(0 < measure.perturbation_correlation.n < 40 for measure in look.measures)
    assert (region.region, region.norm) == (name, "l2")
    assert 0 < region.n == region.object.n == region.whole.n < 40
    assert [(each.part, each.fill) for each in region.occlusions] == [("object", "mean"), ("background", "mean")]
    assert all(0 < each.n <= 40 for each in region.occlusions)
    assert look.sanity.sentence


def test_images_of_a_group_are_one(tmp_path):
    run = Run(attribution_runs.looked(tmp_path / "run", grouped=True))
    found = map_of(attribution(run), SMOOTH)
    units = groups(run.rows(SMOOTH))
    for measure in found.measures:
        for quantity in (measure.median, measure.perturbation_correlation, measure.auroc, measure.gain):
            assert quantity.unit == "group"
            assert quantity.n <= len(set(units)) < 100
    assert found.localisations[0].value.unit == found.agreements[0].overlap.unit == "group"
    sane = map_of(attribution(run), GRAD_CAM).sanity
    assert (sane.n, sane.correlation.n, sane.correlation.unit) == (6, 3, "group")
    assert sane.state == "warn", "no interval of three groups"
    numbers = run.rows(SMOOTH)[f"explain.overlap.{GRAD_CAM}"].to_numpy().astype(float)
    expected = mean_interval(numbers, units)
    assert same(found.agreements[0].overlap.low, expected.low)
