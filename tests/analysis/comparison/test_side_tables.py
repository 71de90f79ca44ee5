"""Classes, curves and costs of several runs, computed again by slow obvious code."""

import math
from statistics import mean

import numpy as np
import pytest
from scipy.stats import binomtest
from tests.analysis import hardened_runs as made
from tests.analysis import perturbation_runs
from tests.analysis.plain_rows import rows_of, same, wrong

from demur.analysis.compare_runs import compare
from demur.files import write_json


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("sides")
    return [
        made.run(root / "plain"),
        made.run(root / "hard", seed=1, accuracy=0.5, strength=3.0),
        made.run(root / "third", seed=2, without=(made.PGD,)),
    ]


@pytest.fixture(scope="module")
def found(folders):
    return compare(folders)


def least(folder, names):
    """The least change of each attacked image that fooled, of some attacks."""
    distance = {row["sample_id"]: 0.0 if wrong(row) else math.inf for row in rows_of(folder, "clean")}
    for name in names:
        for row in rows_of(folder, name):
            if name == made.ENSEMBLE:
                change = math.inf if row["epsilon.censored"] else row["epsilon.minimal"]
            else:
                change = row["distance.linf"] if wrong(row) else math.inf
            distance[row["sample_id"]] = min(distance[row["sample_id"]], change)
    return {row["sample_id"]: distance[row["sample_id"]] for row in rows_of(folder, names[0])}


def flags_by_class(folder, names):
    """Right answers to clean images, and what stands at 0.1, by image; and the class of each image."""
    clean = {row["sample_id"]: not wrong(row) for row in rows_of(folder, "clean")}
    stands = {i: size > 0.1 + 1e-6 for i, size in least(folder, names).items()}
    return clean, stands, {row["sample_id"]: row["label"] for row in rows_of(folder, "clean")}


def test_classes_against_slow_counts(found, folders):
    parts = {"B": (made.ENSEMBLE, made.FGSM, made.PGD), "C": (made.ENSEMBLE, made.FGSM)}
    sides = {
        letter: (flags_by_class(folders[0], names), flags_by_class(folder, names))
        for (letter, names), folder in zip(parts.items(), folders[1:], strict=True)
    }
    large = 0
    for (clean, stands, labels), _ in sides.values():
        for own in (clean, stands):
            counts = [sum(labels[i] == k for i in own) for k in range(5)]
            large += sum(count >= 6 for count in counts)
    assert [changes.second for changes in found.class_changes] == ["B", "C"]
    outcomes = set()
    for changes in found.class_changes:
        first, second = sides[changes.second]
        assert changes.attacked_title == "Worst case up to 0.1 (L∞)"
        assert [row.name for row in changes.classes] == list(perturbation_runs.CLASSES)
        for k, row in enumerate(changes.classes):
            for at, share in enumerate((row.clean, row.attacked)):
                own = [i for i in first[at] if first[2][i] == k]
                if share is None:
                    assert not own
                    continue
                one, other = [first[at][i] for i in own], [second[at][i] for i in own]
                assert (share.n, share.first, share.second) == (len(own), mean(one), mean(other))
                if len(own) < 6:
                    assert share.difference is None
                    continue
                alone = [sum(a > b for a, b in zip(one, other, strict=True))]
                alone.append(sum(a < b for a, b in zip(one, other, strict=True)))
                chance = binomtest(alone[0], sum(alone)).pvalue if sum(alone) else 1.0
                assert share.difference.p_value == pytest.approx(min(1.0, large * chance))
                assert same(share.difference.difference.value, mean(other) - mean(one))
                outcomes.add(share.difference.outcome)
    assert outcomes == {"worse", "noise"}


def test_the_curve_is_of_what_all_runs_tried(found, folders):
    (curves,) = found.standing
    assert (curves.norm, curves.n, curves.is_line) == ("linf", 120, True)
    assert set(curves.among) == {made.ENSEMBLE, made.FGSM}
    for curve, folder in zip(curves.curves, folders, strict=True):
        own = least(folder, (made.ENSEMBLE, made.FGSM)).values()
        assert curve.points[0].eps == 0
        assert len(curve.points) > 20
        for point in curve.points:
            stands = mean(size > point.eps + (1e-6 if point.eps else 0) for size in own)
            assert point.standing.value == pytest.approx(stands, abs=1e-9)
            assert point.standing.low <= point.standing.value <= point.standing.high
    sizes = [[point.eps for point in curve.points] for curve in curves.curves]
    assert sizes[0] == sizes[1] == sizes[2]
    assert 0.1 in sizes[0]


def test_without_a_search_there_are_points_at_the_sizes_of_attacks(tmp_path):
    folders = [made.run(tmp_path / str(k), seed=k, without=(made.ENSEMBLE,)) for k in (0, 1)]
    (curves,) = compare(folders).standing
    assert not curves.is_line
    assert [point.eps for point in curves.curves[0].points] == [0.0, 0.1]


def test_changes_confined_to_a_region_make_no_curve(tmp_path):
    folders = [perturbation_runs.run(tmp_path / str(k), seed=k) for k in (0, 1)]
    curves = {each.norm: each for each in compare(folders).standing}
    assert perturbation_runs.OBJECT not in curves["l2"].among
    assert perturbation_runs.DDN in curves["l2"].among


def test_risk_against_coverage_is_of_all_clean_images(found, folders):
    assert (found.risks.signal, found.risks.n) == ("msp", 240)
    for curve, folder in zip(found.risks.curves, folders, strict=True):
        rows = sorted((row["signal.msp"], wrong(row)) for row in rows_of(folder, "clean"))
        for point in curve.points:
            kept = [error for score, error in rows if score <= point.threshold]
            assert point.coverage == pytest.approx(len(kept) / 240)
            assert point.risk == pytest.approx(sum(kept) / len(kept))
        assert curve.points[-1].coverage == 1


def bench(folder, seconds, device="cpu", batch=1):
    def timing(value):
        return {"value": value, "low": 0.9 * value, "high": 1.1 * value, "n": 30, "reason": None}

    row = {"name": "model", "batch": batch, "throughput": 1 / seconds, "peak": None, "asks": 30}
    row |= {name: timing(seconds) for name in ("p50", "p95", "p99")}
    row |= {"overhead": {"value": None, "low": None, "high": None, "n": 30, "reason": "the model alone"}}
    facts = {"device": device, "threads": 1, "seconds": 1.0, "images": "test", "versions": {}, "left_out": []}
    write_json(folder / "timings" / "bench.json", facts | {"rows": [row]})


def timed(tmp_path, **second):
    folders = [made.run(tmp_path / str(k), seed=k) for k in (0, 1, 2)]
    bench(folders[0], 0.002)
    bench(folders[1], 0.004, **second)
    return compare(folders).costs


def test_parameters_and_latency_stand_beside_each_other(tmp_path):
    parameters, latency = timed(tmp_path)
    assert [cell.value for cell in parameters.cells] == [9, 10, 11]
    assert [(cell.letter, cell.value) for cell in latency.cells] == [("A", 0.002), ("B", 0.004)]
    assert latency.cell("B").low == pytest.approx(0.0036)
    assert latency.cell("C") is None
    assert latency.note == "on cpu, 1 thread; other load at the time is not known"


def test_times_of_other_devices_are_not_to_be_compared(tmp_path):
    assert timed(tmp_path, device="cuda")[1].note.endswith("not to be compared")


def test_times_of_other_batches_have_no_row(tmp_path):
    assert len(timed(tmp_path, batch=8)) == 1


def test_a_signal_that_learned_from_labels_is_not_compared(tmp_path):
    learned = made.SIGNAL | {"bank": {"rows": 9}}
    folders = [made.run(tmp_path / str(k), seed=k, facts={"signals": [learned]}) for k in (0, 1)]
    found = compare(folders)
    assert found.risks is None
    assert "selective" not in {phase.kind for phase in found.phases}
    assert np.isfinite(found.phases[0].cells[0].value.value)
