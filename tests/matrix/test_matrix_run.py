"""Models × attacks × detectors on tiny nets: every cell has numbers or a reason, and none is measured twice."""

import csv
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests import tiny
from tests.cli.conftest import refused

from demur.analysis.run_folder import open_run, score
from demur.matrix import matrix_run
from demur.matrix.matrix_plan import MatrixPlan, read_matrix
from demur.metrics import auroc
from demur.records import wrong

PLAN = """
models = [{models}]
data = "{data}"
attacks = ["fgsm(eps=0.1)", "pgd(eps=0.1, keep='worst', steps=3)"]
signals = [{signals}]
attacked = 40
batch = 64
"""
SIGNALS = ("msp", "energy")


@pytest.fixture
def plan(data, good, tmp_path):
    """A function that writes a plan of a matrix."""

    def write(models=(good,), signals=SIGNALS, text=PLAN):
        quoted = [", ".join(f'"{each}"' for each in names) for names in (models, signals)]
        path = tmp_path / "matrix.toml"
        path.write_text(text.format(models=quoted[0], data=data, signals=quoted[1]))
        return path

    return write


def cells(folder="out"):
    return {path.name: json.loads(path.read_text()) for path in sorted(Path(folder).glob("cells/*"))}


@pytest.fixture
def audits(monkeypatch):
    """The plans of the audits that are run, and what is raised instead where something is."""
    run, seen = matrix_run.run_plan, []

    def noting(plan, *arguments, **options):
        seen.append(plan)
        return run(plan, *arguments, **options)

    monkeypatch.setattr(matrix_run, "run_plan", noting)
    return seen


def test_every_combination_has_its_numbers(demur, plan):
    said = demur("matrix", plan(), "--out", "out")
    assert said.status == 0, said.err
    assert said.out.splitlines()[0] == "4 cells: 4 with numbers, 0 without."
    found = list(cells().values())
    assert {(cell["attack"], cell["signal"]) for cell in found} == {
        (attack, signal) for attack in ("fgsm(eps=0.1)", "pgd(eps=0.1, keep='worst', steps=3)") for signal in SIGNALS
    }
    for cell in found:
        run = open_run(Path("out") / cell["run"])
        attacked, clean = run.rows(cell["attack"]), run.rows("clean")
        assert cell["accuracy"]["value"] == pytest.approx(1 - wrong(clean).mean())
        assert cell["robust_accuracy"] == {**cell["robust_accuracy"], "value": 1 - wrong(attacked).mean(), "n": 40}
        before = clean.join(attacked.select("sample_id"), on="sample_id", how="semi")
        right = before.filter(~pl.Series(wrong(before)))["sample_id"].to_list()
        flipped = attacked.filter(pl.Series(wrong(attacked)) & pl.col("sample_id").is_in(right))
        scores = np.concatenate([score(flipped, cell["signal"]), score(before, cell["signal"])])
        assert (cell["flipped"], cell["unattacked"]) == (len(flipped), 40)
        assert cell["attack_auroc"]["value"] == pytest.approx(auroc(scores, np.arange(len(scores)) < len(flipped)))
        assert cell["error_auroc"]["value"] == pytest.approx(auroc(score(clean, cell["signal"]), wrong(clean)))
        assert (cell["wrong"], cell["right"]) == (wrong(clean).sum(), (~wrong(clean)).sum())
        assert cell["attack_auroc"]["low"] <= cell["attack_auroc"]["value"] <= cell["attack_auroc"]["high"]
        assert cell["knowledge"] == "knew the whole model and not the signal"
        assert ("worst" in cell["attack"]) == (cell["points"] == "the worst point of the ball")
    lines = list(csv.DictReader(Path("out/matrix.csv").read_text().splitlines()))
    assert [(line["attack"], line["signal"]) for line in lines] == [
        (attack, signal) for attack in ("fgsm(eps=0.1)", "pgd(eps=0.1, keep='worst', steps=3)") for signal in SIGNALS
    ]
    named = {(cell["attack"], cell["signal"]): cell for cell in found}
    for line in lines:
        own = named[line["attack"], line["signal"]]
        assert float(line["attack_auroc"]) == own["attack_auroc"]["value"]
        assert int(line["attack_auroc_n"]) == own["attack_auroc"]["n"]


def test_a_cell_that_is_there_is_not_measured_again(demur, plan, audits):
    first = demur("matrix", plan(), "--out", "out")
    before = cells()
    again = demur("matrix", plan(), "--out", "out")
    assert again.out == first.out
    assert cells() == before
    assert len(audits) == 1
    more = demur("matrix", plan(signals=(*SIGNALS, "entropy")), "--out", "out")
    assert more.out.startswith("6 cells: 6 with numbers, 0 without.")
    assert [audit.signals.use for audit in audits] == [SIGNALS, ("entropy",)]
    assert before.items() <= cells().items()


def test_other_images_make_other_cells(demur, plan, audits):
    demur("matrix", plan(), "--out", "out")
    path = plan()
    path.write_text(path.read_text().replace("attacked = 40", "attacked = 30"))
    said = demur("matrix", path, "--out", "out")
    assert len(audits) == 2
    assert "of 30 images" in said.out
    assert len(cells()) == 8


def test_an_interrupted_matrix_continues(demur, plan, monkeypatch, factory, good):
    """The first model's cells stay; the second is measured by the same command."""
    other = f"{good}?classes={','.join(tiny.CLASSES)}"
    path = plan(models=(good, other))
    run = matrix_run.run_plan

    def interrupted(audit, *arguments, **options):
        if audit.model.address == other:
            raise KeyboardInterrupt
        return run(audit, *arguments, **options)

    monkeypatch.setattr(matrix_run, "run_plan", interrupted)
    assert demur("matrix", path, "--out", "out").status == 130
    kept = cells()
    assert {cell["model"] for cell in kept.values()} == {good}
    seen = []
    monkeypatch.setattr(
        matrix_run, "run_plan", lambda audit, *a, **o: (seen.append(audit.model.address), run(audit, *a, **o))
    )
    said = demur("matrix", path, "--out", "out")
    assert said.status == 0, said.err
    assert seen == [other]
    assert kept.items() <= cells().items()
    assert len(cells()) == 8


def test_what_cannot_be_measured_is_a_row_with_its_reason(demur, plan):
    """`knn` has no images to be fitted on among 400; the others are measured all the same."""
    said = demur("matrix", plan(signals=("msp", "knn")), "--out", "out")
    assert said.status == 1
    assert said.out.startswith("4 cells: 2 with numbers, 2 without.")
    assert "✖ knn" in said.out
    by_signal = {cell["signal"]: cell for cell in cells().values()}
    assert by_signal["msp"]["state"] == "finished"
    (failed,) = {cell["reason"] for cell in cells().values() if cell["state"] == "failed"}
    assert "must be fitted" in failed
    assert by_signal["knn(k=10)" if "knn(k=10)" in by_signal else "knn"]["attack_auroc"] is None
    lines = list(csv.DictReader(Path("out/matrix.csv").read_text().splitlines()))
    assert [line["state"] for line in lines] == ["finished", "failed", "finished", "failed"]
    assert lines[1]["reason"] == failed


def test_a_model_that_fails_leaves_the_others_alone(demur, plan, factory, good, tmp_path):
    (tmp_path / "torn.py").write_text(
        "import torch\nfrom tests.tiny import Net\n\nclass Torn(Net):\n    def forward(self, x):\n"
        "        return super().forward(x) * (float('nan') if len(x) > 2 else 1)\n\ndef torn():\n    return Torn()\n"
    )
    said = demur("matrix", plan(models=("module:torn:torn", good)), "--out", "out")
    assert said.status == 1
    assert said.out.startswith("8 cells: 4 with numbers, 4 without.")
    failed = [cell for cell in cells().values() if cell["state"] == "failed"]
    assert {cell["model"] for cell in failed} == {"module:torn:torn"}
    assert all("finite" in cell["reason"] for cell in failed)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("fgsm(", "fgsn(", ["unknown attack 'fgsn'", "fgsm"]),
        ("fgsm(eps=0.1)", "fgsm(eps=8)", ["eps"]),
        ("fgsm(eps=0.1)", "low_light(severity=2)", ["unknown attack 'low_light'"]),
        ('"energy"', '"energi"', ["unknown signal 'energi'"]),
        ('"energy"', '"msp"', ["'msp'", "twice"]),
        ("attacked", "attackd", ["unknown key of a matrix 'attackd'"]),
        ("attacked = 40", "attacked = 0", ["attacked"]),
        ("data =", "dta =", ["dta"]),
        ("models = [", 'models = ["module:nowhere:net", ', ["nowhere"]),
    ],
)
def test_an_invalid_choice_is_refused_before_anything_runs(demur, plan, audits, old, new, words):
    path = plan()
    path.write_text(path.read_text().replace(old, new))
    refused(demur("matrix", path, "--out", "out"), *words)
    assert not audits
    assert not Path("out").exists()


def test_json_is_the_whole_of_stdout(demur, plan):
    said = demur("matrix", plan(signals=("msp",)), "--out", "out", "--json")
    found = json.loads(said.out)
    assert {f"{cell['attack']}" for cell in found} == {"fgsm(eps=0.1)", "pgd(eps=0.1, keep='worst', steps=3)"}
    assert sorted(found, key=str) == sorted(cells().values(), key=str)


def test_a_swept_attack_is_one_column_for_each_size(plan, monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(tmp_path)
    path = plan()
    path.write_text(path.read_text().replace("fgsm(eps=0.1)", "fgsm(eps=[0.05, 0.1])"))
    axes = read_matrix(path)
    assert [each.name for each in axes.attacks][:2] == ["fgsm(eps=0.05)", "fgsm(eps=0.1)"]
    assert isinstance(axes.plan, MatrixPlan)
