"""`/metrics` counts what happened, in a registry of its own, and has the scores in calibration quantiles."""

import re

import numpy as np
import pytest
from tests.serve.conftest import serving
from tests.serve.pictures import form, pngs

from demur.serve.calibration_bars import Calibration, Tally, calibrations

PICTURES = pngs(40)


def metrics(client):
    """Name with labels → value."""
    lines = client.get("/metrics").text.splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


def test_it_counts_what_happened(loaded):
    with serving(loaded) as (_, client), serving(loaded) as (_, beside):
        decisions = client.post("/predict", **form(PICTURES)).json()["decisions"]
        client.post("/predict", **form([PICTURES[0], b"none"]))
        client.post("/predict", json={"images": ["%"]})
        client.get("/nowhere")
        found = metrics(client)
        answered = sum(each["accepted"] for each in decisions) + 1
        assert 0 < 41 - answered < 41
        assert found['demur_requests_total{code="200",method="POST",route="/predict"}'] == 2
        assert found['demur_requests_total{code="422",method="POST",route="/predict"}'] == 1
        assert found['demur_requests_total{code="404",method="GET",route="other"}'] == 1
        assert found['demur_images_total{guard="tiny",outcome="answered"}'] == answered
        assert found['demur_images_total{guard="tiny",outcome="abstained"}'] == 42 - answered
        assert found['demur_abstentions_total{guard="tiny",reason="low_confidence"}'] == 41 - answered
        assert found['demur_abstentions_total{guard="tiny",reason="unreadable"}'] == 1
        assert found['demur_batch_images_sum{guard="tiny"}'] == 42
        assert found['demur_request_seconds_count{route="/predict"}'] == 3
        assert found['demur_queue_images{guard="tiny"}'] == 0
        assert found['demur_guard_expired{guard="tiny"}'] == 0
        model = loaded.guard.sha256
        assert found[f'demur_guard_info{{guard="tiny",model_sha256="{model}",sha256="{loaded.sha256}"}}'] == 1
        scores = [each["scores"]["msp"] for each in decisions] + [decisions[0]["scores"]["msp"]]
        name = 'demur_uncertainty_bucket{guard="tiny",le="%s",signal="msp"}'
        for bound in loaded.calibration["msp"].quantiles:
            assert found[name % f"{bound:.6g}"] == sum(score <= bound for score in scores)
        assert found[name % "+Inf"] == 41
        assert found['demur_uncertainty_sum{guard="tiny",signal="msp"}'] == pytest.approx(sum(scores))
        assert not any("/predict" in key for key in metrics(beside))  # another server counts for itself


def test_the_exposition_is_what_prometheus_reads(client):
    from prometheus_client.parser import text_string_to_metric_families

    families = {family.name: family for family in text_string_to_metric_families(client.get("/metrics").text)}
    assert families["demur_uncertainty"].type == "histogram"
    assert families["demur_alarm"].type == "gauge" if "demur_alarm" in families else True
    assert re.match(r"text/plain; version=", client.get("/metrics").headers["Content-Type"])


def test_quantiles_are_scores_with_so_many_below_them():
    scores = np.sort(np.random.default_rng(0).random(2000))
    found = Calibration(scores).quantiles
    shares = [(scores <= bound).mean() for bound in found]
    assert shares == pytest.approx([0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.8, 0.85, 0.9, 0.95, 0.99, 0.999], abs=1e-9)
    assert Calibration(np.array([])).quantiles == ()
    assert Calibration(np.ones(9)).quantiles == (1.0,)
    assert calibrations({"msp": np.array([2.0, np.nan, 1.0])}, ("msp", "knn"))["msp"].scores.tolist() == [1, 2]


def test_a_tally_is_a_cumulative_count():
    tally = Tally((1.0, 2.0))
    tally.add(np.array([0.5, 1.0, 1.5, np.nan, 7.0]))
    tally.add(np.array([2.0]))
    assert tally.buckets == [("1", 2.0), ("2", 4.0), ("+Inf", 5.0)]
    assert tally.sum == 12.0
