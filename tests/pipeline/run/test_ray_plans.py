"""Rays among the conditions of a plan: names, refusals at the door, columns of the record."""

import polars as pl
import pytest
import torch
from tests.oracles import CLASSES, SHAPE, Plane, images

from demur.attacks.core.objective import Objective
from demur.attacks.ray import Ray, run_ray
from demur.classifier import BoundClassifier
from demur.errors import DemurError, InputError
from demur.pipeline.plan.conditions import conditions
from demur.pipeline.preflight import try_attacks
from demur.pipeline.run.record_rows import attack_columns, run_attack
from demur.randomness import Keys
from demur.records import STAGED, frame


def model():
    return BoundClassifier(Plane().eval(), classes=CLASSES, input_shape=SHAPE)


def test_a_ray_is_a_search_for_the_smallest_change():
    found = conditions(["ray", "ray(norm=['linf', 'l2'], direction='gradient')"], SHAPE)[1:]
    assert [c.name for c in found] == [
        "ray",
        "ray(direction='gradient')",
        "ray(direction='gradient', norm='l2')",
    ]
    assert all(c.keep == "nearest" and c.unlimited and c.severity == 0 for c in found)
    assert found[0].attack == Ray()
    assert found[0].sentence.startswith("The smallest change of any pixel along the sign of the loss gradient that")
    assert found[0].sentence.endswith("scanned at 16 sizes")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ray(keep='worst')", "`keep` must be 'nearest'; got 'worst'"),
        ("ray(target='one')", "a ray leads away from the label, so it has no `target`; got 'one'"),
        ("ray(direction='up')", "unknown direction 'up'"),
    ],
)
def test_what_a_ray_cannot_do_is_refused(text, words):
    with pytest.raises(InputError, match=words):
        conditions([text], SHAPE)


def test_a_direction_that_is_not_there_is_told_before_anything_is_measured():
    with pytest.raises(DemurError, match="no_such_module"):
        try_attacks(conditions(["ray(direction='no_such_module:up')"], SHAPE), model())


@pytest.mark.parametrize("weighted", [False, True])
def test_the_record_says_what_either_part_cost(weighted):
    x = images(Plane(), 12)
    y = torch.zeros(12, dtype=torch.long)
    y[:2] = 1
    condition = conditions(["ray(cap=0.05)"], SHAPE)[1]
    weights = torch.linspace(0, 2, 12).view(12, 1, 1, 1) * torch.eye(4) if weighted else None
    keys = Keys.of(0, [str(k) for k in range(12)], condition.name)
    done = run_attack(condition, model(), x, y, keys, batch=5, weights=weights)
    plain = run_attack(condition, model(), x, y, keys, batch=5)
    assert weighted != torch.equal(done.linf, plain.linf)
    columns = attack_columns(condition, done)
    found = run_ray(condition.attack, Objective(model(), "cross_entropy"), x, y, keys, batch=5, weights=weights)
    assert columns["spent.scan"] == found.scan.tolist()
    assert columns["spent.refine"] == found.refine.tolist()
    assert columns["epsilon.minimal"][:2] == [0.0, 0.0]
    assert [value is None for value in columns["epsilon.minimal"]] == columns["epsilon.censored"]
    assert any(columns["epsilon.censored"])
    assert not all(columns["epsilon.censored"])
    shard = frame({"sample_id": [str(k) for k in range(12)], **columns}, pl.DataFrame(), pl.DataFrame())
    assert {name: shard.schema[name] for name in STAGED if name.startswith("spent.")} == {
        "spent.scan": pl.Int32(),
        "spent.refine": pl.Int32(),
    }
