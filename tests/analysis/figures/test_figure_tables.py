"""What only figures show, each against a slow count of the rows of a real run."""

import json

import numpy as np
import polars as pl
import pytest
from scipy.stats import entropy as scipy_entropy
from scipy.stats import spearmanr
from tests import tiny, unknown_runs

from demur.analysis import analyse
from demur.analysis.figures.confused_pairs import confused_pairs
from demur.analysis.run_folder import Run
from demur.pipeline.plan.plan_tables import Signals
from demur.records import read, wrong

LAYERED = Signals(use=("msp", "activation_entropy(layers=['compare'])"))


@pytest.fixture(scope="module")
def found(results):
    return results.figures


@pytest.fixture(scope="module")
def test_rows(folder):
    return read(folder, "clean").filter(pl.col("split") == "test")


def probabilities(rows):
    logits = rows.select(f"logit.{k}" for k in range(3)).to_numpy().astype(float)
    exps = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exps / exps.sum(axis=1, keepdims=True)


def test_entropy_of_right_and_wrong_answers(found, test_rows):
    shares, failed = scipy_entropy(probabilities(test_rows), axis=1), wrong(test_rows)
    assert sum(found.entropy.right_counts) == found.entropy.right.n == (~failed).sum()
    assert sum(found.entropy.wrong_counts) == found.entropy.wrong.n == failed.sum()
    low, high = found.entropy.edges[3:5]
    assert found.entropy.right_counts[3] == ((shares >= low) & (shares < high) & ~failed).sum()
    expected = np.quantile(shares[failed], (0.05, 0.25, 0.5, 0.75, 0.95))
    np.testing.assert_allclose(found.entropy.wrong.quantiles, expected, rtol=1e-4)
    assert found.entropy.correlation.value == pytest.approx(spearmanr(shares, failed).statistic, abs=1e-9)
    assert found.entropy.correlation.low < found.entropy.correlation.value < found.entropy.correlation.high


def test_points_are_images_and_not_too_many(found, test_rows):
    assert len(found.entropy.points) == min(400, len(test_rows))
    sure = set(np.round(probabilities(test_rows).max(axis=1), 5).tolist())
    assert {point.confidence for point in found.entropy.points} <= sure


def test_each_picture_lies_in_the_bin_that_counts_it(results, folder):
    clean, columns = read(folder, "clean"), results.figures.pictures.clean
    rows = {row["sample_id"]: row for row in clean.to_dicts()}
    for histogram in results.histograms:
        for name, at in zip(columns.sample_ids, columns.bins[histogram.signal], strict=True):
            row = rows[name]
            assert (at == -1) == (row["split"] != "test")
            if at >= 0:
                value = np.clip(row[f"signal.{histogram.signal}"], histogram.edges[0], histogram.edges[-1])
                lane = histogram.right if row["label"] == row["predicted"] else histogram.wrong
                assert histogram.edges[at] <= value <= histogram.edges[at + 1]
                assert lane[at] > 0


def test_pictures_say_what_the_rows_say(results, folder):
    rows = {row["sample_id"]: row for row in read(folder, "clean").to_dicts()}
    columns = results.figures.pictures.clean
    assert columns.places == tuple(range(len(columns.places)))
    for at, name in enumerate(columns.sample_ids):
        assert (columns.labels[at], columns.predicted[at]) == (rows[name]["label"], rows[name]["predicted"])
        assert columns.confidence[at] == pytest.approx(1 - rows[name]["signal.msp"], abs=1e-4)
        assert columns.answered[at] == (rows[name]["signal.msp"] <= results.guarantee.threshold)


def test_flips_are_counted_in_full(results, folder):
    clean = read(folder, "clean")
    right = set(clean.filter(~pl.Series(wrong(clean)))["sample_id"])
    assert results.figures.pictures.changed
    for each in results.figures.pictures.changed:
        rows = read(folder, each.condition)
        assert each.flips == sum(name in right for name in rows.filter(pl.Series(wrong(rows)))["sample_id"])
        lane = "attacked" if "worst" in each.condition else None
        assert each.outcome == ("corrupted" if "severity" in each.condition else lane)


def test_errors_of_every_class(results, folder):
    rows = read(folder, "clean")
    failed = rows.filter(pl.Series(wrong(rows)))["label"].to_list()
    assert results.figures.pictures.errors == tuple(failed.count(label) for label in range(3))


def test_how_many_of_the_surest_errors_have_a_picture(results, folder):
    rows, found = read(folder, "clean"), results.figures.pictures
    kept = set(found.clean.sample_ids)
    for label in range(3):
        own = rows.filter((pl.col("label") == label) & (pl.col("predicted") != label)).sort("signal.msp", "sample_id")
        flags = [name in kept for name in own["sample_id"]]
        assert found.surest[label] == (flags.index(False) if False in flags else len(flags)) >= 10


def test_what_lies_beyond_the_threshold(found, folder, test_rows):
    over = (test_rows["signal.msp"] > found.threshold).to_numpy()
    shares = {row.outcome: row.share for row in found.beyond}
    assert list(shares) == ["right", "wrong", "corrupted", "attacked"]
    assert shares["wrong"].value == pytest.approx(over[wrong(test_rows)].mean())
    assert shares["right"].value == pytest.approx(over[~wrong(test_rows)].mean())
    corrupted = [read(folder, entry["name"]) for entry in Run(folder).conditions("corruption")]
    scores = pl.concat(corrupted).filter(pl.col("split") == "test")["signal.msp"]
    assert shares["corrupted"].value == pytest.approx((scores > found.threshold).mean())
    assert shares["corrupted"].n == len(test_rows)
    assert shares["corrupted"].low < shares["corrupted"].value < shares["corrupted"].high


def test_a_policy_stands_on_the_curve_of_its_signal(found, results):
    curve = next(roc for roc in found.rocs if roc.signal == "msp")
    point = next(each for each in found.operating_points if each.policy.startswith("certified"))
    alarms, hits = np.array(curve.points).T
    assert (curve.points[0], curve.points[-1]) == ((0, 0), (1, 1))
    assert (np.diff(alarms) >= 0).all()
    assert np.interp(point.right_refused.value, alarms, hits) == pytest.approx(point.wrong_refused.value, abs=0.06)
    caught = next(row for row in results.policies if row.policy == point.policy and row.condition == "clean")
    assert point.wrong_refused.value == pytest.approx(caught.errors_caught.value)


def test_pairs_of_the_clean_images_and_of_the_hardest_attack(found, folder, results):
    clean, attacked = found.pairs
    assert sum(count for *_, count in clean.pairs) == clean.n == len(read(folder, "clean"))
    assert all(results.confusion[label][answer] == count for label, answer, count in clean.pairs)
    assert wrong(read(folder, attacked.condition)).mean() == max(
        wrong(read(folder, entry["name"])).mean() for entry in Run(folder).conditions("attack")
    )


def test_many_classes_have_their_fullest_pairs(folder, monkeypatch):
    monkeypatch.setattr("demur.analysis.figures.confused_pairs.FEW_CLASSES", 2)
    monkeypatch.setattr("demur.analysis.figures.confused_pairs._PAIRS", 2)
    clean = confused_pairs(Run(folder))[0]
    failed = read(folder, "clean").filter(pl.col("label") != pl.col("predicted"))
    counts = failed.group_by("label", "predicted").len().sort("len", descending=True)["len"].to_list()
    assert [count for *_, count in clean.pairs] == counts[:2]
    assert clean.left_out == sum(counts[2:])


def test_layers_have_the_spread_of_their_parts(tmp_path):
    noisy = ("clean", "gaussian_noise(severity=[1, 5])")
    run = tiny.run(tmp_path / "run", of=tiny.source(3200), conditions=noisy, signals=LAYERED)
    rows = analyse(run).figures.layers
    assert {row.condition for row in rows} == {"clean", "gaussian_noise(severity=5)"}
    for row in rows:
        table = Run(run).unfitted_rows(row.condition)
        values = table[f"part.{row.signal}.{row.layer}"].to_numpy()
        np.testing.assert_allclose(row.spread.quantiles[2], np.median(values), rtol=1e-4)


def test_unknown_images_have_pictures_without_labels(tmp_path):
    (changed,) = analyse(unknown_runs.run(tmp_path / "run", conditions=("clean",))).figures.pictures.changed
    assert changed.flips is None
    assert set(changed.images.labels) == {None}


def test_a_run_without_pictures_still_reads(folder, tmp_path):
    old = tiny.run(tmp_path / "run")
    (old / "facts" / "pictures.json").unlink()
    seal = json.loads((old / "seal.json").read_text())
    del seal["files"]["facts/pictures.json"]
    from demur import seal as seals

    seals._write(old, seal["files"])
    found = analyse(old)
    assert found.figures.pictures is None
    assert found.figures.entropy == analyse(folder).figures.entropy
