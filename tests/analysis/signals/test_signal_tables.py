"""Fitted signals, parts, rejections and the map of corruptions, worked out again the slow way."""

import shutil

import numpy as np
import polars as pl
import pytest
from tests import tiny
from tests.analysis.plain_rows import auroc, rows_of, same, share, wrong

from demur.analysis import analyse
from demur.analysis.accuracy.overall import _errors
from demur.files import read_json
from demur.metrics.corruption_error import ALEXNET
from demur.pipeline.plan.plan_tables import Signals
from demur.pipeline.run.loop import run_plan

ENTROPY = "activation_entropy(bins=4, layers=['compare'])"
MUTANTS = "label_change_rate(gamma=0.3, kept=0.1, mutants=5, stopping='never')"
SQUEEZING = "feature_squeezing(strength=0.0)"
FITTED = ("temperature_scaled", ENTROPY, MUTANTS)
SEVERITIES = (2, 3)
FAMILIES = ("gaussian_noise", "brightness", "contrast", "low_light")
CONDITIONS = (
    "clean",
    "pgd(eps=0.05, keep='worst', steps=4)",
    *(f"{name}(severity={[*SEVERITIES]})" for name in FAMILIES),
)


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    plan = tiny.plan(conditions=CONDITIONS)
    plan = plan.model_copy(update={"signals": Signals(use=("entropy", "doctor(variant='beta')", SQUEEZING, *FITTED))})
    folder = tmp_path_factory.mktemp("scored") / "run"
    return run_plan(plan, folder, tiny.Quiet(), tiny.source(rows=3_000), tiny.classifier())


@pytest.fixture(scope="module")
def found(scored):
    return analyse(scored)


def test_fitted_signals_are_scored_on_test_rows_only(scored, found):
    for signal in found.signals:
        rows = rows_of(scored, "clean", "test" if signal.name in FITTED else None)
        errors, others = (
            [row[f"signal.{signal.name}"] for row in rows if wrong(row) is kind] for kind in (True, False)
        )
        error = signal.targets[0]
        assert (error.positives, error.negatives) == (len(errors), len(others))
        assert same(error.auroc.value, auroc(errors, others))
        assert signal.fit_images == (read_json(scored / "run.json")["splits"]["fit"] if signal.name in FITTED else None)
        if signal.name in FITTED:
            baseline = auroc(*([r["signal.msp"] for r in rows if wrong(r) is kind] for kind in (True, False)))
            assert same(error.gain.value, auroc(errors, others) - baseline)


def test_one_signal_stands_for_those_that_rank_alike(found):
    alike = {signal.name: signal.ranks_as for signal in found.signals if signal.ranks_as}
    assert alike["doctor(variant='beta')"] == "msp"
    assert alike.get("temperature_scaled") is None
    counted = [signal.name for signal in found.signals if signal.name != "msp" and signal.name not in alike]
    assert all(contest.candidates == len(counted) for contest in found.contests)
    assert [contest.target for contest in found.contests] == ["error", "attack", "shift"]
    for signal in found.signals:
        for row in signal.targets:
            assert (row.corrected_gain is None) is (signal.name not in counted)


def test_prices_are_those_of_the_signals_and_times_were_taken(found):
    passes = {signal.name: signal.passes for signal in found.signals}
    assert passes["msp"] == passes[ENTROPY] == 0
    assert (passes[SQUEEZING], passes[MUTANTS]) == (2, 6)
    assert all(signal.milliseconds >= 0 for signal in found.signals)


def test_what_signals_decline_at_one_share_of_clean_tune_images(scored, found):
    tune = rows_of(scored, "clean", "tune")
    for row in found.rejections:
        scores = [each[f"signal.{row.signal}"] for each in tune]
        assert sum(score > row.threshold for score in scores) <= row.clean_rate * len(tune) + 1e-9
        assert sum(score >= row.threshold for score in scores) >= row.clean_rate * len(tune) - 1
        assert list(row.abstention_rates) == [condition.condition for condition in found.conditions]
        for name, declined in row.abstention_rates.items():
            test = [each[f"signal.{row.signal}"] for each in rows_of(scored, name, "test")]
            assert same(declined.value, share(score > row.threshold for score in test))
            assert declined.n == len(test)


def test_the_map_has_every_family_and_severity_and_a_picture(scored, found):
    chart = found.corruption_map
    assert [row.family for row in chart.rows] == list(FAMILIES)
    values = []
    for row in chart.rows:
        assert row.thumb.startswith("data:image/webp;base64,")
        for severity, cell in zip(range(1, 6), row.accuracy, strict=True):
            if severity not in SEVERITIES:
                assert cell is None
                continue
            right = share(not wrong(each) for each in rows_of(scored, f"{row.family}(severity={severity})"))
            assert same(cell.value, right)
            values.append(right)
    assert same(chart.mean, sum(values) / len(values))
    assert chart.original.startswith("data:image/webp")
    assert chart.mean_corruption_error is chart.relative_corruption_error is None
    facts = read_json(scored / "facts" / "corruptions.json")
    assert facts["sample_id"] in {row["sample_id"] for row in rows_of(scored, "clean", "test")}
    assert all((scored / "thumbs" / name).stat().st_size <= 6_000 for name in facts["thumbs"].values())


def test_fewer_families_give_no_map(results):
    assert results.corruption_map is None


def parts_of(folder, condition):
    entries = [entry for entry in read_json(folder / "manifest.json") if entry["condition"] == condition]
    return pl.concat([pl.read_parquet(folder / "parts" / f"{entry['shard']}.parquet") for entry in entries])


def test_parts_are_kept_beside_the_records_and_make_the_score(scored):
    for condition in ("clean", "contrast(severity=2)"):
        rows, parts = rows_of(scored, condition), parts_of(scored, condition)
        assert parts["sample_id"].to_list() == [row["sample_id"] for row in rows]
        assert all(dtype == pl.Float64 for name, dtype in parts.schema.items() if name != "sample_id")
        squeezed = parts.select(f"part.{SQUEEZING}.bits", f"part.{SQUEEZING}.median").to_numpy().max(axis=1)
        np.testing.assert_array_equal(squeezed, [row[f"signal.{SQUEEZING}"] for row in rows])
        changed = parts[f"part.{MUTANTS}.changes"].to_numpy()
        np.testing.assert_allclose(changed / 5, [row[f"signal.{MUTANTS}"] for row in rows])
        each = [
            name for name in parts.columns if name.startswith(f"part.{MUTANTS}.") and name.rpartition(".")[2].isdigit()
        ]
        assert len(each) == 5
        np.testing.assert_array_equal(parts.select(each).to_numpy().sum(axis=1), changed)
    columns = pl.read_parquet(next((scored / "records").glob("*.parquet"))).columns
    assert not [name for name in columns if name.startswith("part.")]


def test_parts_cost_no_pass_beyond_those_of_the_score(scored, found):
    dearest = 1 + sum(signal.passes for signal in found.signals)
    assert max(row["forwards"] for row in rows_of(scored, "clean")) <= dearest


def test_each_part_is_ranked_by_itself(scored, found):
    test, parts = rows_of(scored, "clean"), parts_of(scored, "clean")
    errors = {row.part: row for row in found.parts if row.target == "error"}
    is_test = [row["split"] == "test" for row in test]
    for part, column, chosen in (
        ("bits", f"part.{SQUEEZING}.bits", [True] * len(test)),
        ("compare", f"part.{ENTROPY}.compare", is_test),
        ("5", f"part.{MUTANTS}.changes", is_test),
    ):
        values = [(v, wrong(r)) for v, r, use in zip(parts[column], test, chosen, strict=True) if use]
        slow = auroc([v for v, bad in values if bad], [v for v, bad in values if not bad])
        assert same(errors[part].auroc.value, slow)
    assert [row.part for row in found.parts if row.component_kind == "mutants" and row.target == "error"] == [
        "1",
        "2",
        "3",
        "5",
    ]


def test_curves_of_squeezers_run_from_nothing_to_everything(found):
    assert {roc.part for roc in found.rocs} == {"bits", "median", "all together"}
    area = {
        row.part: row.auroc.value for row in found.parts if row.component_kind == "squeezers" and row.target == "error"
    }
    for roc in found.rocs:
        x, y = np.array(roc.points).T
        assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)
        assert (np.diff(x) >= 0).all()
        assert (np.diff(y) >= 0).all()
        if roc.target == "error" and roc.part in area:
            assert np.trapezoid(y, x) == pytest.approx(area[roc.part], abs=0.03)


def test_a_run_without_parts_or_times_still_reads(scored, tmp_path):
    bare = tmp_path / "bare"
    shutil.copytree(scored, bare)
    shutil.rmtree(bare / "parts")
    shutil.rmtree(bare / "timings")
    (bare / "facts" / "corruptions.json").unlink()
    found = analyse(tiny.reseal(bare))
    assert found.parts == found.rocs == ()
    assert all(signal.milliseconds is None for signal in found.signals)
    assert all(row.thumb is None for row in found.corruption_map.rows)


def test_an_interrupted_run_keeps_the_same_parts(scored, tmp_path):
    again = tmp_path / "again"
    shutil.copytree(scored, again)
    entries = read_json(again / "manifest.json")
    (again / "records" / f"{entries[-1]['shard']}.parquet").unlink()
    (again / "parts" / f"{entries[-1]['shard']}.parquet").unlink()
    plan = tiny.plan(conditions=CONDITIONS)
    plan = plan.model_copy(update={"signals": Signals(use=("entropy", "doctor(variant='beta')", SQUEEZING, *FITTED))})
    run_plan(plan, again, tiny.Quiet(), tiny.source(rows=3_000), tiny.classifier())
    for path in (scored / "parts").iterdir():
        assert (again / "parts" / path.name).read_bytes() == path.read_bytes()


def test_corruption_errors_need_all_fifteen_and_the_classes_of_imagenet(monkeypatch):
    class Known:
        classes = tuple(map(str, range(1000)))

    share_of = type("Share", (), {"value": 0.25})
    cells = {name: dict.fromkeys(range(1, 6), share_of) for name in ALEXNET}
    errors = _errors(Known, cells)
    assert set(errors) == set(ALEXNET)
    assert all(values == [0.75] * 5 for values in errors.values())
    assert _errors(type("Few", (), {"classes": ("a", "b")}), cells) == {}
    cells["fog"].pop(3)
    assert _errors(Known, cells) == {}
