"""The estimate of wrong labels in the results: a warning, pictures, and a correction where labels were given twice."""

import numpy as np
import polars as pl
import pytest
import torch
from tests import tiny
from tests.metrics.label_worlds import flipped

from demur.analysis import analyse
from demur.analysis.accuracy.wrong_labels import _corrected
from demur.analysis.run_folder import open_run
from demur.data import from_tensors
from demur.report import render

NAME = "labels are not wrong at random"


def check(results):
    return next(check for check in results.checks if check.name == NAME)


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    images, labels = tiny.images_and_labels()
    wrong, rows = flipped(labels.numpy(), 3, 0.1, seed=1)
    source = from_tensors(images, torch.from_numpy(wrong), classes=tiny.CLASSES, name="tiny")
    folder = tiny.run(tmp_path_factory.mktemp("planted") / "run", of=source, conditions=("clean",), model=sharp())
    return folder, analyse(folder), rows, labels.numpy()


def sharp():
    return tiny.classifier(sharpness=30.0)


def test_planted_labels_are_found_and_shown(planted):
    _, results, rows, labels = planted
    found = results.wrong_labels
    assert found.evidence
    assert found.share.low <= rows.mean() <= found.share.high
    assert (check(results).state, check(results).bears_on) == ("warn", "labels")
    assert check(results).count == pytest.approx(rows.sum(), rel=0.3)
    places = [int(image.sample_id) for image in found.images]
    assert len(places) == 24
    assert rows[places].mean() > 0.9
    suggestions = [tiny.CLASSES.index(image.suggestion) for image in found.images]
    assert (np.array(suggestions) == labels[places]).mean() > 0.9
    assert all(image.thumb.startswith("data:image/webp") for image in found.images)
    assert "look wrong" in found.sentence
    assert sum(pair.n for pair in found.pairs) >= rows.sum() * 0.5
    page = render(results)
    assert "would acquit itself" in page
    assert found.images[0].thumb in page


def test_nothing_else_follows_the_estimate(planted, monkeypatch):
    """No state, guarantee, gate or error rate: the results are the same without it."""
    folder, results, _, _ = planted
    monkeypatch.setattr("demur.analysis.verdict.checks.labels", lambda run: iter(()))
    monkeypatch.setattr("demur.analysis.assemble.wrong_labels", lambda run: None)
    without = analyse(folder)
    left = {"checks", "wrong_labels"}
    assert without.model_dump_json(exclude=left) == results.model_dump_json(exclude=left)
    assert [each for each in results.checks if each.name != NAME] == list(without.checks)


def test_a_gate_on_warnings_does_not_count_it(planted):
    from demur.analysis.acceptance import _checks

    results = planted[1]
    warned = sum(each.state == "warn" for each in results.checks)
    assert _checks("warned", results)[0][1].value == warned - 1


def test_right_labels_raise_nothing(folder, results):
    found = results.wrong_labels
    assert not found.evidence
    assert (check(results).state, check(results).count) == ("pass", 0)
    assert found.corrected is None
    assert "nobody labelled these images a second time" in render(results)
    assert open_run(folder).label_noise.share.high == found.share.high


def test_two_labels_bound_the_error():
    rows = pl.DataFrame(
        {
            "predicted": [0, 0, 0, 1, 1, 2],
            "label": [0, 0, 1, 1, 0, 0],
            "label2": [0, 1, 0, None, 2, 2],
            "group": [None] * 6,
        },
        schema_overrides={"group": pl.String},
    )
    found = _corrected(rows, np.array([0, 0, 0, 1, -1, 2]))
    assert found.n == 5
    assert found.error.value == pytest.approx(3 / 5)
    assert found.lowest.value == pytest.approx(1 / 5)
    assert found.highest.value == pytest.approx(4 / 5)
    assert (found.suspects, found.confirmations) == (2, 2)
    assert _corrected(rows.with_columns(label2=pl.lit(None)), np.zeros(6)) is None
