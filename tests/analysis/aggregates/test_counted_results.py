"""Rows that were counted tell what rows that were held do: exactly, or to the resolution that is said."""

import json
import math
import shutil
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from tests import tiny, unknown_runs

import demur
from demur.analysis import analyse, write_results
from demur.analysis.acceptance import judge_gates
from demur.analysis.aggregates import image_sample, kept_aggregates
from demur.analysis.aggregates.binned_tables import WORDS
from demur.analysis.aggregates.shard_counts import batch_rows, batches, count_shards
from demur.analysis.row_sample import RowSample
from demur.analysis.run_folder import open_run
from demur.classifier import BoundClassifier
from demur.cli import main
from demur.errors import RunError
from demur.files import json_bytes
from demur.metrics import score_grid
from demur.records import read, shard_entries
from demur.seal import write_sealed

CLASSES = tuple(f"kind {k}" for k in range(5))
ROWS = 800
PLAN = {
    "conditions.use": [
        "clean",
        "pgd(eps=0.05, keep='worst', steps=2)",
        "gaussian_noise(severity=[1, 3])",
        "gaussian_blur(severity=2)",
        "low_light(severity=2)",
        "contrast(severity=2)",
    ],
    "conditions.attacked": 30,
    "signals.use": ["msp", "energy", "entropy"],
}
EXACT = (
    *("accuracy", "test_accuracy", "conditions", "per_class", "worst_class", "confusion", "confusions", "policies"),
    *(
        "corruption_map",
        "out_of_scope",
        "random_risk",
        "oracle",
        "checks",
        "constant",
        "positive",
        "state",
        "next_step",
    ),
    *("gates", "breaks", "provenance"),
)


def patterns():
    return np.random.default_rng(5).choice([-1.0, 1.0], (len(CLASSES), 64))


class Net(torch.nn.Module):
    """How much an image agrees with each pattern; it fails on the one image whose corner is a quarter."""

    def __init__(self):
        super().__init__()
        self.compare = torch.nn.Linear(64, len(CLASSES))
        with torch.no_grad():
            self.compare.weight.copy_(torch.from_numpy(patterns()).float())
            self.compare.bias.copy_(-self.compare.weight.sum(dim=1) / 2)

    def forward(self, x):
        if (x[:, 0, 0, 0] == 0.25).any():
            raise ValueError("a quarter")
        return self.compare(x.flatten(1))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    draw = np.random.default_rng(6)
    labels = draw.integers(0, len(CLASSES), ROWS)
    clear = 0.5 + draw.uniform(0.0, 0.12, (ROWS, 1)) * patterns()[labels]
    images = (clear + draw.normal(0, 0.2, clear.shape)).clip(0, 1).reshape(-1, 1, 8, 8).astype(np.float32)
    images[7, 0, 0, 0] = 0.25
    data = torch.from_numpy(images), torch.from_numpy(labels)
    out = tmp_path_factory.mktemp("counted") / "run"
    subject = demur.Classifier(Net().eval(), classes=CLASSES)
    demur.audit(subject, data, out=out, plan=PLAN, risk=0.1)
    return out


@pytest.fixture
def copied(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "run")


@pytest.fixture(scope="module")
def held(folder, tmp_path_factory):
    return write_results(shutil.copytree(folder, tmp_path_factory.mktemp("held") / "run"), rows="all")


@pytest.fixture(scope="module")
def counted(folder, tmp_path_factory):
    """Of a sample of a quarter of the clean images and a fifth of the corrupted ones."""
    run = shutil.copytree(folder, tmp_path_factory.mktemp("counted") / "run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(image_sample, "CLEAN_ROWS", ROWS // 4)
        patch.setattr(image_sample, "CORRUPTED_ROWS", 5 * ROWS // 5)
        return write_results(run, rows="counted")


def plain(found):
    """Comparable, where NaN is NaN."""
    dumped = found.model_dump(mode="json") if hasattr(found, "model_dump") else found
    if isinstance(found, tuple):
        return [plain(each) for each in found]
    return "nan" if isinstance(dumped, float) and math.isnan(dumped) else dumped


def test_the_audit_has_what_is_to_be_told(held, counted):
    assert held.state == counted.state == "issued"
    assert held.aggregates is None
    assert any(check.name == "the model answers" and check.count for check in held.checks)
    assert len(held.corruption_map.rows) == 4
    found = counted.aggregates
    assert (found.rows, found.images) == (ROWS * 6 + 30, ROWS)
    assert 0.15 * ROWS < found.sampled_corrupted < 0.25 * ROWS < found.sampled < 0.35 * ROWS


@pytest.mark.parametrize("name", EXACT)
def test_what_is_counted_is_what_the_rows_say_to_the_digit(held, counted, name):
    own, theirs = plain(getattr(counted, name)), plain(getattr(held, name))
    if name == "checks":  # those of single rows are of the sample
        same = {"unseen images confirm the guarantee", "readable images"}
        own, theirs = ([check for check in found if check["name"] in same] for found in (own, theirs))
        assert len(own) == 2
    assert own == theirs


def test_passes_are_those_of_all_rows(folder, held, counted):
    passes = {row.kind: row.passes for row in counted.effort.rows}
    assert passes == {row.kind: row.passes for row in held.effort.rows}
    spent = dict.fromkeys(passes, 0)
    for entry in json.loads((folder / "run.json").read_bytes())["conditions"]:
        rows = read(folder, entry["name"])
        spent[entry["kind"]] += int(rows["forwards"].sum() + rows["backwards"].sum())
    assert passes == spent


def test_the_guarantee_is_told_of_all_test_rows(held, counted):
    own, theirs = counted.guarantee, held.guarantee
    slack = counted.aggregates.slack["coverage at a risk"]
    assert abs(own.attainable - theirs.attainable) <= slack + 1e-12
    assert plain(own.model_copy(update={"attainable": theirs.attainable})) == plain(theirs)


@pytest.mark.parametrize("metric", ["auroc", "augrc", "aurc", "eaurc", "aupr", "fpr95", "coverage_at_risk"])
def test_a_number_read_off_the_grid_is_within_the_slack_that_is_said(held, counted, metric):
    name = (WORDS | {"coverage_at_risk": "coverage at a risk"})[metric]
    slack, seen = counted.aggregates.slack[name], 0
    for own, theirs in zip(counted.signals, held.signals, strict=True):
        for mine, other in zip(own.targets, theirs.targets, strict=True):
            if mine.target not in {"error", "shift"} or getattr(other, metric) is None:
                continue
            assert (mine.positives, mine.negatives) == (other.positives, other.negatives)
            assert abs(getattr(mine, metric).value - getattr(other, metric).value) <= slack + 1e-12
            seen += 1
    assert seen >= 3
    assert slack < 0.03


def test_the_interval_of_an_auroc_is_that_of_the_rows(held, counted):
    for own, theirs in zip(counted.signals, held.signals, strict=True):
        mine, other = (next(row for row in each.targets if row.target == "error") for each in (own, theirs))
        np.testing.assert_allclose((mine.auroc.low, mine.auroc.high), (other.auroc.low, other.auroc.high), atol=0.003)
        assert mine.auroc.n == other.auroc.n == ROWS - 1


RANKED = {"error": ("fpr95", "aurc", "augrc", "aupr", "coverage_at_risk"), "shift": ("auroc", "fpr95")}


def test_a_number_read_off_the_grid_is_as_unsure_as_that_of_the_sample_and_no_surer(held, counted):
    for own, theirs in zip(counted.signals, held.signals, strict=True):
        for mine, other in zip(own.targets, theirs.targets, strict=True):
            for metric in RANKED.get(mine.target, ()):
                told, whole = getattr(mine, metric), getattr(other, metric)
                assert told.low <= whole.value <= told.high
                assert whole.high - whole.low < told.high - told.low < 5 * (whole.high - whole.low)


@pytest.mark.parametrize(
    ("measure", "rule"),
    [
        ("fpr95", "<= {}"),
        ("aurc", "<= {}"),
        ("augrc", "<= {}"),
        ("coverage_at_risk", ">= {}"),
        ("shift_auroc", ">= {}"),
    ],
)
def test_gates_on_rankings_are_decided_of_counted_rows(counted, measure, rule):
    bars = (1.0, 0.0001) if rule == "<= {}" else (0.01, 0.9999)
    outcomes = [judge_gates({f"signals.msp.{measure}": rule.format(bar)}, counted)[0].outcome for bar in bars]
    assert outcomes == ["pass", "fail"]


def test_where_cells_hide_more_than_the_sample_does_its_own_number_stands(copied, held, monkeypatch):
    for name in ("RIGHT", "WRONG", "REST"):
        monkeypatch.setattr(score_grid, name, 2)
    monkeypatch.setattr(score_grid, "_ALONE", 1)
    found = write_results(copied, rows="counted")
    mine, other = (next(row for row in each.signals[0].targets if row.target == "error") for each in (found, held))
    assert plain(mine.auroc) == plain(other.auroc)
    assert plain(mine.fpr95) == plain(other.fpr95)
    assert "AUROC" not in found.aggregates.slack


def test_a_curve_is_exact_at_its_points(folder, counted):
    rows = open_run(folder).rows("clean", "test")
    wrong = (rows["predicted"] != rows["label"]).to_numpy()
    for curve in counted.curves:
        scores = rows[f"signal.{curve.signal}"].to_numpy()
        for point in curve.points[::9]:
            answered = scores <= point.threshold
            assert point.coverage == answered.mean()
            assert point.risk == wrong[answered].mean()


def test_histograms_count_every_row_once(held, counted):
    for own, theirs in zip(counted.histograms, held.histograms, strict=True):
        np.testing.assert_allclose(own.edges, theirs.edges, rtol=0.02, atol=0.02)
        for part in ("right", "wrong", "corrupted", "attacked"):
            assert sum(getattr(own, part)) == sum(getattr(theirs, part)) > 0
            assert np.abs(np.cumsum(getattr(own, part)) - np.cumsum(getattr(theirs, part))).max() <= 12


def test_calibration_is_that_of_all_rows(held, counted):
    own, theirs = counted.calibration, held.calibration
    for name in ("ece", "nll", "brier"):
        mine, other = getattr(own, name), getattr(theirs, name)
        assert (mine.value, mine.n) == (pytest.approx(other.value, rel=1e-6), other.n)
        np.testing.assert_allclose((mine.low, mine.high), (other.low, other.high), rtol=0.05)
    assert [part.n for part in own.bins] == [part.n for part in theirs.bins]
    assert [plain(part.accuracy) for part in own.bins] == [plain(part.accuracy) for part in theirs.bins]


def test_files_with_a_line_for_each_pair_are_of_all_rows(copied, held):
    write_results(copied, rows="all")
    whole = (copied / "tables" / "confusion.csv").read_text()
    write_results(copied, rows="counted")
    assert (copied / "tables" / "confusion.csv").read_text() == whole
    steps = pl.read_csv(copied / "tables" / "risk-coverage.csv")
    test = held.provenance.splits["test"]
    assert steps.group_by("signal").agg(pl.col("answers").max())["answers"].is_between(test - 1, test).all()


def test_what_was_counted_is_kept_until_the_records_change(copied, monkeypatch):
    first = write_results(copied, rows="counted")
    monkeypatch.setattr(kept_aggregates, "count_shards", lambda *_: pytest.fail("counted again"))
    again = write_results(copied, rows="counted")
    changing = {"label_access"}
    assert again.model_dump_json(exclude=changing) == first.model_dump_json(exclude=changing)
    monkeypatch.undo()
    (copied / "aggregates" / "rows.parquet").write_bytes(b"")
    mended = write_results(copied, rows="counted")
    assert mended.model_dump_json(exclude=changing) == first.model_dump_json(exclude=changing)
    write_sealed(copied, {"manifest.json": (copied / "manifest.json").read_bytes() + b"\n"})
    monkeypatch.setattr(kept_aggregates, "count_shards", lambda *_: pytest.fail("counted again"))
    with pytest.raises(pytest.fail.Exception, match="counted again"):
        write_results(copied, rows="counted")


def test_many_rows_are_counted_without_being_asked(copied, monkeypatch):
    assert write_results(copied).aggregates is None
    monkeypatch.setattr(kept_aggregates, "MOST_ROWS", 1000)
    assert analyse(copied).aggregates is not None
    assert not (copied / "aggregates").exists()
    assert write_results(copied).aggregates is not None
    assert write_results(copied, rows="all").aggregates is None


def test_so_are_rows_of_many_logits(copied, monkeypatch):
    clean, classes = open_run(copied).planned_rows["clean"], len(open_run(copied).classes)
    monkeypatch.setattr(kept_aggregates, "MOST_LOGITS", clean * classes)
    assert analyse(copied).aggregates is None
    monkeypatch.setattr(kept_aggregates, "MOST_LOGITS", clean * classes - 1)
    assert analyse(copied).aggregates is not None


def test_images_of_no_group_are_independent_where_others_would_have_one(copied, held, counted):
    facts = json.loads((copied / "run.json").read_bytes())
    write_sealed(copied, {"run.json": json_bytes({**facts, "groups": 9})})
    found = write_results(copied, rows="counted")
    for name in {"accuracy", "conditions", "per_class", "confusions", "policies", "constant"}:
        assert plain(getattr(found, name)) == plain(getattr(held, name))
    assert found.calibration == counted.calibration


def test_shards_that_are_not_what_the_manifest_says_are_named(folder):
    run, entries = open_run(folder), json.loads((folder / "manifest.json").read_bytes())
    clean = next(entry for entry in run.conditions() if entry["kind"] == "clean")
    shorter = [{**entry, "rows": entry["rows"] - 1} for entry in entries]
    with pytest.raises(RunError, match=r"c000-s0000\.parquet to c000-s0001.* must have 798 rows of 'clean'.* have 800"):
        list(batches(run, shorter, clean))
    foreign = [{**entry, "shard": entry["shard"].replace("c000", "c002")} for entry in entries]
    with pytest.raises(RunError, match=r"of 'clean'.* they have 800 of 'gaussian_noise"):
        list(batches(run, foreign, clean))
    gone = [{**entry, "shard": entry["shard"].replace("c000", "c099")} for entry in entries]
    with pytest.raises(RunError, match=r"c099-s0000\.parquet .* cannot be read"):
        list(batches(run, gone, clean))


def test_clean_rows_are_kept_however_many_corruptions_there_are(folder, monkeypatch):
    monkeypatch.setattr(image_sample, "CORRUPTED_ROWS", 100)
    tables, logits = image_sample.sample_tables(open_run(folder), shard_entries(folder))
    assert len(tables["clean"]) == len(logits) == ROWS
    corrupted = [
        set(table["sample_id"]) for name, table in tables.items() if name.startswith(("gauss", "low", "contr"))
    ]
    assert len(corrupted) == 5
    assert all(each == corrupted[0] for each in corrupted)
    assert 5 < len(corrupted[0]) < 50
    monkeypatch.setattr(image_sample, "CLEAN_LOGITS", 200 * len(CLASSES))
    tables, _ = image_sample.sample_tables(open_run(folder), shard_entries(folder))
    assert 150 < len(tables["clean"]) < 300
    assert set(tables["clean"]["sample_id"]) >= corrupted[0] | set(
        tables[next(n for n in tables if "pgd" in n)]["sample_id"]
    )


def test_a_condition_without_shards_is_counted_as_no_rows(folder):
    run = replace(
        open_run(folder),
        sample=RowSample(*image_sample.sample_tables(open_run(folder), shard_entries(folder)), pl.DataFrame()),
    )
    entries = shard_entries(folder)
    name = next(entry["name"] for entry in run.conditions("corruption"))
    every = count_shards(run, entries)
    found = count_shards(run, [entry for entry in entries if entry["condition"] != name])
    assert found.rows.equals(every.rows.filter(pl.col("condition") != name))
    assert found.effort.filter(pl.col("condition") == name)["rows"].to_list() == [0]


def test_fewer_rows_are_read_together_where_each_has_many_logits():
    assert batch_rows(0) == batch_rows(10) > batch_rows(1_000) == 8_000
    assert batch_rows(1_000_000) == 512


def test_the_page_says_what_is_exact_and_what_is_of_a_sample(copied, monkeypatch):
    monkeypatch.setattr("sys.argv", ["demur", "report", str(copied), "--rows", "counted"])
    with pytest.raises(SystemExit):
        main()
    page = (copied / "report.html").read_text()
    assert f"All {ROWS * 6 + 30:,} rows were counted" in page
    assert "Exact, of all rows: accuracy of conditions and classes" in page
    assert "AUROC 0.00" in page


def test_the_page_of_rows_that_were_held_says_nothing_of_counting(folder):
    assert "rows were counted" not in (folder / "report.html").read_text()


class Fails(torch.nn.Module):
    """The patterns' net, which fails on boards of one strength whatever they are asked with."""

    def __init__(self):
        super().__init__()
        self.net = tiny.Net()

    def forward(self, images):
        boards = (images[:, 0, 0, 0] + images[:, 0, 0, 1] - 1).abs() < 1e-6
        if bool((boards & ((images[:, 0, 0, 0] - 0.5).abs() > 0.45)).any()):
            raise RuntimeError("a board")
        return self.net(images)


def test_what_failed_of_unknown_images_is_told_of_all_of_them(tmp_path, monkeypatch):
    monkeypatch.setattr(image_sample, "OWN_ROWS", 20)
    model = BoundClassifier(Fails().eval(), classes=tiny.CLASSES, input_shape=tiny.SHAPE)
    out = unknown_runs.run(tmp_path / "run", model=model, conditions=("clean",))
    run = open_run(out)
    found = kept_aggregates.counted_run(run, keep=False).run
    assert len(run.failures("unknown")) > 5
    assert len(found.rows("unknown")) < unknown_runs.ROWS == len(run.rows("unknown")) + len(run.failures("unknown"))
    for entry in run.facts["conditions"]:
        name = entry["name"]
        assert (found.planned(name), found.passes_of(name), found.rebatched(name)) == (
            run.planned(name),
            run.passes_of(name),
            run.rebatched(name),
        )
    held, counted = (write_results(shutil.copytree(out, tmp_path / rows), rows=rows) for rows in ("all", "counted"))
    told = [{check.name: (check.count, check.of, check.state) for check in each.checks} for each in (held, counted)]
    assert told[1] == told[0]
    assert counted.aggregates.rows == sum(run.planned(entry["name"]) for entry in run.facts["conditions"])
