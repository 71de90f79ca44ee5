"""Sixty classes: pairs instead of a matrix, ranks where there are images for them, and the rest in `tables/`."""

import collections
import json

import numpy as np
import polars as pl
import pytest
import torch
from tests.analysis.plain_rows import rows_of, wrong

import demur
from demur.analysis.accuracy.confusions import MANY
from demur.analysis.accuracy.overall import worst_class, worst_first
from demur.analysis.assemble import tables_of
from demur.analysis.many_classes import shortened
from demur.analysis.run_folder import open_run

CLASSES = tuple(f"kind {k}" for k in range(60))
PLAN = {
    "conditions.use": ["clean", "fgsm(eps=0.02)", "gaussian_noise(severity=1)"],
    "conditions.attacked": 150,
    "epsilon.use": ["ray"],
    "epsilon.images": 150,
    "epsilon.curves": 0,
}


def patterns():
    return np.random.default_rng(5).choice([-1.0, 1.0], (len(CLASSES), 64))


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.compare = torch.nn.Linear(64, len(CLASSES))
        with torch.no_grad():
            self.compare.weight.copy_(torch.from_numpy(patterns()).float())
            self.compare.bias.copy_(-self.compare.weight.sum(dim=1) / 2)

    def forward(self, x):
        return self.compare(x.flatten(1))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    draw = np.random.default_rng(6)
    labels = draw.integers(0, len(CLASSES), 1200)
    labels[:200] = 7
    clear = 0.5 + draw.uniform(0.02, 0.3, (1200, 1)) * patterns()[labels]
    images = (clear + draw.normal(0, 0.3, clear.shape)).clip(0, 1).reshape(-1, 1, 8, 8)
    data = torch.from_numpy(images.astype(np.float32)), torch.from_numpy(labels)
    out = tmp_path_factory.mktemp("many") / "run"
    demur.audit(demur.Classifier(Net().eval(), classes=CLASSES), data, out=out, plan=PLAN, risk=0.3)
    return out


@pytest.fixture(scope="module")
def complete(folder):
    return tables_of(open_run(folder))


def table(folder, name):
    return pl.read_csv(
        folder / "tables" / f"{name}.csv", infer_schema_length=None, schema_overrides={"sample_id": pl.String()}
    )


def test_the_pairs_are_the_most_frequent_and_the_rest_is_counted(folder, complete):
    failed = [row for row in rows_of(folder, "clean") if wrong(row)]
    counts = collections.Counter((CLASSES[row["label"]], CLASSES[row["predicted"]]) for row in failed)
    found = complete.confusions
    assert complete.confusion == ()
    assert (found.n, found.errors, found.kinds) == (1200, len(failed), len(counts))
    assert found.pairs
    for pair in found.pairs:
        own = [row for row in rows_of(folder, "clean") if CLASSES[row["label"]] == pair.label]
        assert pair.n == counts[pair.label, pair.predicted] > 1
        assert pair.share.value == pytest.approx(pair.n / len(own))
        assert pair.share.n == len(own)
        assert pair.share.low < pair.share.value < pair.share.high
    shown = {(pair.label, pair.predicted) for pair in found.pairs}
    assert [pair.n for pair in found.pairs] == sorted((counts[pair] for pair in shown), reverse=True)
    assert max(n for pair, n in counts.items() if pair not in shown) <= min(counts[pair] for pair in shown)
    assert found.rest == len(failed) - sum(counts[pair] for pair in shown)


def test_the_results_keep_classes_with_ranks_and_say_how_many_are_left_out(complete):
    short = shortened(complete)
    (search,), (every,) = short.epsilon, complete.epsilon
    assert len(every.per_class) > MANY
    assert search.per_class == tuple(row for row in every.per_class if row.rank is not None)
    assert any(row.name == "kind 7" for row in search.per_class)
    assert search.classes_left_out == len(every.per_class) - len(search.per_class) > 0
    assert short.trust.classes_left_out == len(complete.trust.classes) - len(short.trust.classes) > 0
    assert short.per_class == complete.per_class


def test_few_classes_are_all_kept(complete):
    few = complete.model_copy(update={"classes": CLASSES[:MANY]})
    assert shortened(few) == few


def test_every_class_is_in_the_tables(folder, complete):
    (search,) = complete.epsilon
    assert table(folder, "epsilon-per-class")["name"].to_list() == [row.name for row in search.per_class]
    classes = table(folder, "classes")
    assert classes["name"].to_list() == list(CLASSES)
    assert classes["accuracy_alone_low"].to_list() == pytest.approx(
        [row.alone["accuracy"].low for row in complete.per_class], nan_ok=True
    )


def test_confusion_is_counted_under_every_condition(folder):
    found = table(folder, "confusion")
    for name in ("clean", "fgsm(eps=0.02)", "gaussian_noise(severity=1)"):
        counts = collections.Counter((CLASSES[r["label"]], CLASSES[r["predicted"]]) for r in rows_of(folder, name))
        own = found.filter(pl.col("condition") == name)
        assert {(row["label"], row["predicted"]): row["count"] for row in own.to_dicts()} == counts


def test_flips_are_the_answers_that_changed(folder):
    before = {row["sample_id"]: row["predicted"] for row in rows_of(folder, "clean")}
    expected = [
        (row["sample_id"], CLASSES[row["label"]], CLASSES[before[row["sample_id"]]], name, CLASSES[row["predicted"]])
        for name in ("fgsm(eps=0.02)", "gaussian_noise(severity=1)")
        for row in rows_of(folder, name)
        if row["predicted"] != before[row["sample_id"]]
    ]
    found = table(folder, "flips").select("sample_id", "label", "clean_answer", "condition", "answer")
    assert sorted(found.rows()) == sorted(expected)
    assert expected


def test_every_threshold_is_in_the_table_of_risk_and_coverage(folder):
    test = rows_of(folder, "clean", "test")
    for signal in ("msp", "energy"):
        found = table(folder, "risk-coverage").filter(pl.col("signal") == signal).to_dicts()
        assert len(found) == len({row[f"signal.{signal}"] for row in test})
        for line in found[::17]:
            given = [row for row in test if row[f"signal.{signal}"] <= line["threshold"]]
            assert line["answers"] == len(given)
            assert line["wrong_answers"] == sum(map(wrong, given))
            assert line["coverage"] == pytest.approx(len(given) / len(test))


def test_minimal_perturbations_are_listed_image_by_image(folder):
    (search,) = (e for e in json.loads((folder / "run.json").read_text())["conditions"] if e["kind"] == "epsilon")
    rows = {row["sample_id"]: row for row in rows_of(folder, search["name"])}
    found = table(folder, "minimal-perturbations").to_dicts()
    assert {line["sample_id"] for line in found} == set(rows)
    for line in found:
        row = rows[line["sample_id"]]
        assert line["never_flipped"] == row["epsilon.censored"]
        assert line["size_of_pixel_range"] == (
            None if row["epsilon.censored"] else pytest.approx(row["epsilon.minimal"])
        )
        assert line["wrong_already"] == (line["size_of_pixel_range"] == 0)


def test_the_most_frequent_wrong_answers_to_a_class_are_named(folder, complete):
    guard = complete.guarantee
    for k, row in enumerate(complete.per_class):
        own = [each for each in rows_of(folder, "clean", "test") if each["label"] == k and wrong(each)]
        given = [each for each in own if guard is None or each[f"signal.{guard.signal}"] <= guard.threshold]
        counts = collections.Counter(CLASSES[each["predicted"]] for each in given)
        assert {answer.name: answer.n for answer in row.wrong_answers}.items() <= counts.items()
        assert [answer.n for answer in row.wrong_answers] == sorted(counts.values(), reverse=True)[:3]


def test_among_tiny_classes_the_worst_is_the_one_most_surely_bad(complete):
    tiny = [row for row in complete.per_class if 0 < row.n < 20]
    listed = worst_first(complete.per_class, "accuracy")
    assert [row.accuracy.high for row in listed] == sorted(row.accuracy.high for row in complete.per_class if row.n)
    assert worst_class(tuple(tiny)).row.accuracy.high == min(row.accuracy.high for row in tiny)


def test_the_page_lists_the_worst_and_says_where_the_others_are(folder):
    page = (folder / "report.html").read_text()
    assert "10 more are in" in page
    assert '<a href="tables/classes.csv">' in page
    assert page.count('<table class="confusion">') == 0
    assert "Most confused pairs" in page


def test_the_tables_are_the_same_bytes_when_written_again(folder, tmp_path):
    before = {path.name: path.read_bytes() for path in (folder / "tables").iterdir()}
    demur.analysis.write_results(folder)
    assert {path.name: path.read_bytes() for path in (folder / "tables").iterdir()} == before
