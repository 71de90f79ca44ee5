"""What a plan is expected to take: passes and bytes near those of the audit, sharing out, prices, refusals."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
from tests import tiny

from demur.cli.estimate_command import estimate_words, refuse_without_estimate
from demur.errors import InputError
from demur.pipeline.estimate import plan_estimate
from demur.pipeline.estimate.plan_estimate import FITTING, READING, REPORT, Machines, Stage, Trial, _on, estimate
from demur.pipeline.estimate.probe import stands_for
from demur.pipeline.plan.conditions import conditions
from demur.pipeline.run.prepare import StandIns
from demur.pipeline.run.resources import Resources
from demur.records import read, shard_entries


@pytest.fixture(scope="module")
def said():
    return []


@pytest.fixture(scope="module")
def expected(said):
    given = StandIns(source=tiny.source(), classifier=tiny.classifier())
    return estimate(tiny.plan(), Machines(workers=2, price=0.5), said.append, given)


def stage(found, name):
    return next(each for each in found.stages if each.name == name)


def spent(run, kind):
    """Rows, passes and bytes of the conditions of a kind in a finished run."""
    facts = json.loads((run / "run.json").read_text())["conditions"]
    names = [entry["name"] for entry in facts if entry["kind"] == kind]
    tables = [read(run, name) for name in names]
    passes = sum(int(table["forwards"].sum()) + int(table["backwards"].sum()) for table in tables)
    shards = [entry["shard"] for entry in shard_entries(run) if entry["condition"] in names]
    size = sum((run / "records" / f"{shard}.parquet").stat().st_size for shard in shards)
    return sum(map(len, tables)), passes, size


@pytest.mark.parametrize(("kind", "factor"), [("clean", 1.01), ("corruption", 1.01), ("attack", 1.5)])
def test_rows_passes_and_bytes_are_near_those_of_the_audit(expected, finished, kind, factor):
    rows, passes, size = spent(finished, kind)
    found = stage(expected, kind)
    assert found.rows == rows
    assert passes / factor <= found.passes <= passes * factor
    assert size / 1.3 <= found.bytes <= size * 1.3


def test_every_stage_has_its_seconds_and_the_whole_is_their_sum(expected):
    assert all(each.seconds > 0 for each in expected.stages)
    assert expected.processor_hours * 3600 == pytest.approx(sum(each.seconds for each in expected.stages))
    assert expected.passes == sum(each.passes for each in expected.stages)
    assert expected.hours < expected.processor_hours
    assert expected.cost == pytest.approx(0.5 * expected.hours)
    assert expected.memory > 10**8
    assert expected.not_counted


def test_what_is_tried_is_told(expected, said):
    assert "reading the images" in said
    tried = [text for text in said if text.startswith("trying ")]
    severities = [text for text in tried if "gaussian_noise" in text]
    assert len(severities) == 1
    assert any("keep='worst'" in text for text in tried)


def test_the_table_has_every_stage_and_what_is_not_counted(expected):
    words = estimate_words(expected)
    assert all(each.name in words for each in expected.stages)
    assert "On 1 machine with 2 processes, the model on the CPU: " in words
    assert "Cost: " in words
    assert expected.not_counted[0] in words
    assert json.loads(json.dumps(expected.facts))["passes"] == expected.passes


def stages():
    alone = [Stage(name=name, rows=0, passes=0, seconds=10, bytes=0) for name in (READING, "checks of model and data")]
    last = Stage(name=REPORT, rows=0, passes=0, seconds=20, bytes=5)
    trials = Stage(name="trials of the measurement", rows=0, passes=0, seconds=60, bytes=0)
    shared = [
        Stage(name=name, rows=9, passes=1, seconds=seconds, bytes=7, shared=True)
        for name, seconds in (("clean", 600), ("attack", 3000))
    ]
    return [*alone, *shared, trials, last]


def test_one_machine_shares_shards_and_does_the_rest_beside_them():
    found = _on(Machines(workers=4), stages(), Trial())
    assert found.hours * 3600 == pytest.approx(10 + 10 + 20 + 150 + (3000 + 60) / 4)
    assert found.processor_hours * 3600 == pytest.approx(3700)
    assert found.bytes == 19
    assert found.cost is None


def test_many_machines_read_all_images_twice_and_are_paid_while_they_measure():
    found = _on(Machines(workers=2, machines=5, price=3.6), stages(), Trial())
    parts, alone = 3600 / 10 + 40, 100
    assert found.hours * 3600 == pytest.approx(parts + alone)
    assert found.cost == pytest.approx((5 * parts + alone) / 1000)
    assert found.processor_hours * 3600 == pytest.approx(3700 + 5 * 40)


@pytest.mark.parametrize(("machines", "passes"), [(1, 1), (5, 3)])
def test_images_are_read_by_as_many_processes_as_an_audit_reads_them_with(machines, passes):
    long = [replace(each, seconds=400) if each.name == READING else each for each in stages()]
    on = Machines(workers=4, machines=machines)
    one, four = (_on(on, long, Trial(resources=Resources(workers=each))) for each in (1, 4))
    assert (one.readers, four.readers) == (1, 4)
    assert (one.hours - four.hours) * 3600 == pytest.approx(passes * 300)
    assert one.processor_hours == pytest.approx(four.processor_hours)
    again = 2 * machines if machines > 1 else 0
    assert (one.processor_hours - _on(on, stages(), Trial()).processor_hours) * 3600 == pytest.approx(390 * (1 + again))
    assert "The images are read by 4 processes" in estimate_words(four)
    assert ("of each machine in both phases" in estimate_words(four)) == (machines > 1)
    assert "demur index" in estimate_words(one)


def test_signals_are_fitted_by_each_part_and_once_more_where_they_are_kept():
    fitting = Stage(name=FITTING, rows=0, passes=0, seconds=500, bytes=0)
    plain, fitted = (_on(Machines(workers=2, machines=5), of, Trial()) for of in (stages(), [*stages(), fitting]))
    assert (fitted.hours - plain.hours) * 3600 == pytest.approx(2 * 500)
    assert (fitted.processor_hours - plain.processor_hours) * 3600 == pytest.approx(6 * 500)


def test_a_device_is_named_and_shared_by_no_processes():
    given = Trial(memory=10**9, device="cuda", resources=Resources().settled(alone=True))
    found = _on(Machines(), stages(), given)
    assert (found.workers, found.facts["device"]) == (1, "cuda")
    assert "with 1 process, the model on cuda: " in estimate_words(found)
    assert "Memory: 1 GB each process, of the memory of cuda" in estimate_words(found)


def test_severities_of_a_corruption_stand_for_each_other_and_attacks_for_themselves():
    found = conditions(["low_light(severity=[1, 2])", "pgd(eps=[0.1, 0.2])"], tiny.SHAPE)
    assert len({stands_for(each) for each in found}) == 1 + 1 + 2


@pytest.mark.parametrize("given", [{"machines": 0}, {"workers": 0}, {"price": -1.0}, {"price": float("nan")}])
def test_numbers_that_cannot_be_are_refused(given):
    with pytest.raises(InputError, match="must be"):
        Machines(**given)


@pytest.mark.parametrize(
    ("option", "name"),
    [({"json": True}, "--json"), ({"price": 0.5}, "--price-per-hour"), ({"device": "cuda"}, "--device")],
)
def test_what_only_an_estimate_counts_with_is_refused_without_one(option, name):
    with pytest.raises(InputError, match=name):
        refuse_without_estimate(estimate=False, **option)
    refuse_without_estimate(estimate=True, **option)
    refuse_without_estimate(estimate=False, machines=False, price=None)


@pytest.mark.parametrize(
    ("rows", "others", "expected"),
    [
        (1_000, 0, 1.0),
        (3_000, 0, 4.0),
        (3_000, 3_000, 16.0),
        (300_000, 0, 300_000 * 50_000 / 1_500**2),
        (300_000, 100_000, 400_000 * 100_000 / 1_500**2),
    ],
)
def test_the_search_for_near_duplicates_grows_with_unknown_images_too(monkeypatch, rows, others, expected):
    """A search of all images that takes a second, and a quarter of that among half as many."""
    unknown = SimpleNamespace(index=range(others)) if others else None
    job = SimpleNamespace(index=range(rows), unknown=unknown)
    took = {min(rows, 1_500): 1.0, min(rows, 1_500) // 2: 0.25}
    monkeypatch.setattr(plan_estimate, "timed", lambda device, search: (took[search.args[1]], None))
    assert plan_estimate._similar(job, lambda text: None) == pytest.approx(expected)
