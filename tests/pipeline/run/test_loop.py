"""The loop on a set of seconds: what is recorded, from which rows, and what depends on what."""

import json

import numpy as np
import polars as pl
import pytest
import torch
from tests import tiny

from demur.corruptions.noises import GaussianNoise
from demur.data import build_index
from demur.errors import DataError, InputError, ModelError, RunError, UnknownNameError
from demur.files import read_json
from demur.pipeline.drawn_rows import attacked_rows
from demur.pipeline.plan.conditions import conditions
from demur.pipeline.plan.plan_file import Plan
from demur.pipeline.plan.plan_tables import ModelPlan, Policies, Signals
from demur.pipeline.plan.resolve import resolve
from demur.pipeline.run.begun import default_folder
from demur.pipeline.run.loop import run_plan
from demur.randomness import Keys
from demur.records import read, shard_entries

CLEAN = {"conditions": ("clean",)}
THREE = ("certified(risk=0.1)", "certified(risk=0.001)", "rule")


def test_every_sample_has_one_row_per_condition(finished):
    table, facts = read(finished), read_json(finished / "run.json")
    everyone, attacked = read(finished, "clean")["sample_id"], facts["attacked"]
    assert len(everyone) == tiny.ROWS
    assert attacked == 120
    for condition in facts["conditions"]:
        rows = table.filter(pl.col("condition") == condition["name"])
        assert len(rows) == (attacked if condition["kind"] == "attack" else tiny.ROWS)
        assert rows["sample_id"].is_unique().all()
        assert rows["severity"].unique().to_list() == pytest.approx([condition["severity"]])
        for name in ("predicted", "margin", "forwards", "signal.msp", "signal.energy", "logit.0", "logit.2"):
            assert rows[name].null_count() == 0
    assert set(table["condition"]) == {condition["name"] for condition in facts["conditions"]}


def test_clean_rows_are_what_the_net_says(finished):
    rows = read(finished, "clean")
    images, labels = tiny.images_and_labels()
    with torch.no_grad():
        logits = torch.cat([tiny.Net().eval()(part) for part in images.split(64)]).double()
    at = rows["sample_id"].cast(pl.Int64).to_numpy()
    np.testing.assert_array_equal(at, np.arange(tiny.ROWS))
    np.testing.assert_array_equal(rows["label"].to_numpy(), labels)
    np.testing.assert_array_equal(rows["predicted"].to_numpy(), logits.argmax(dim=1))
    np.testing.assert_allclose(rows.select("logit.0", "logit.1", "logit.2").to_numpy(), logits, atol=1e-4)
    np.testing.assert_allclose(rows["signal.max_logit"].to_numpy(), -logits.amax(dim=1), atol=1e-4)
    own = logits[torch.arange(tiny.ROWS), labels]
    others = logits.clone().scatter(1, labels[:, None], -torch.inf).amax(dim=1)
    np.testing.assert_allclose(rows["margin"].to_numpy(), own - others, atol=1e-4)
    assert rows["forwards"].unique().to_list() == [1]
    assert rows["backwards"].unique().to_list() == [0]


def test_corrupted_rows_are_drawn_by_seed_sample_and_condition(finished):
    name = "gaussian_noise(severity=4)"
    rows = read(finished, name)
    images, _ = tiny.images_and_labels()
    keys = Keys.of(0, rows["sample_id"].to_list(), name)
    with torch.no_grad():
        logits = tiny.Net().eval()(GaussianNoise(severity=4)(images, keys))
    np.testing.assert_allclose(rows["logit.1"].to_numpy(), logits[:, 1], atol=1e-4)


def test_attacks_take_test_rows_with_the_smallest_hashes(finished):
    index = build_index(tiny.source())
    test = [row for row in range(len(index)) if index.splits[row] == "test"]
    smallest = sorted(test, key=lambda row: index.contents[row])[:120]
    expected = [index.sample_ids[row] for row in sorted(smallest)]
    for name in ("fgsm(eps=0.05)", "pgd(eps=0.1, steps=4)", "fmn(steps=10)"):
        rows = read(finished, name)
        assert rows["sample_id"].to_list() == expected
        assert set(rows["split"]) == {"test"}


def test_a_larger_subset_contains_a_smaller_one_and_stops_at_the_test_rows():
    index = build_index(tiny.source())
    few, many, all_ = (set(attacked_rows(index, count).tolist()) for count in (20, 90, 10**6))
    assert few < many < all_ == set(index.rows_of("test").tolist())


def test_attacked_rows_obey_their_ball(finished):
    table = read(finished)
    bounded = table.filter(pl.col("condition").str.starts_with("pgd") | pl.col("condition").str.starts_with("fgsm"))
    assert (bounded["distance.linf"] <= bounded["severity"] + 1e-6).all()
    assert bounded["distance.l2"].min() >= 0
    assert set(bounded["norm"]) == {"linf"}
    nearest = read(finished, "fmn(steps=10)")
    found = nearest.filter(~pl.col("epsilon.censored"))
    np.testing.assert_array_equal(found["epsilon.minimal"], found["distance.linf"])
    assert (found["predicted"] != found["label"]).all()
    assert (
        nearest.filter(pl.col("epsilon.censored"))["epsilon.minimal"].null_count() == nearest["epsilon.censored"].sum()
    )


def test_the_facts_say_what_was_run(finished):
    facts = read_json(finished / "run.json")
    index = build_index(tiny.source())
    assert facts["splits"] == {split: len(index.rows_of(split)) for split in ("fit", "tune", "certify", "test")}
    assert facts["model_sha256"] == tiny.classifier().sha256
    assert facts["data_sha256"] == index.sha256
    assert facts["classes"] == list(tiny.CLASSES)
    assert [signal["name"] for signal in facts["signals"]] == ["msp", "entropy", "margin", "max_logit", "energy"]
    assert all(signal["sentence"].count(": high when ") == 1 and signal["unit"] for signal in facts["signals"])
    assert facts["plan_sha256"] == resolve(tiny.plan(), tiny.source()).plan.sha256
    door = read_json(finished / "facts" / "preflight.json")
    assert [check["state"] for check in door] == ["pass", "pass"]
    events = [json.loads(line)["event"] for line in (finished / "log.jsonl").read_text().splitlines()]
    assert events == ["started", "certify and test labels opened", "finished"]


def changed_labels(split, share=0.5):
    """Labels of which a share is moved on by one within a split."""
    index, (_, labels) = build_index(tiny.source()), tiny.images_and_labels()
    rows = index.rows_of(split)
    moved = labels.clone()
    moved[rows[: int(len(rows) * share)]] = (labels[rows[: int(len(rows) * share)]] + 1) % 3
    return tiny.source(labels=moved)


@pytest.fixture(scope="module")
def guaranteed(tmp_path_factory):
    """What is fitted with the labels as they are: a guarantee, a refusal and a rule."""
    folder = tiny.run(tmp_path_factory.mktemp("fitted") / "run", policies=THREE, **CLEAN)
    return read_json(folder / "facts" / "policies.json")


@pytest.mark.parametrize(("split", "moved"), [("test", []), ("tune", [1]), ("certify", [0, 1])])
def test_policies_are_fitted_on_tune_and_certify_only(guaranteed, tmp_path, split, moved):
    """Labels of tune rows place no threshold, so they move what a refusal says and not the guarantee."""
    folder = tiny.run(tmp_path / "run", changed_labels(split, 0.3), policies=THREE, **CLEAN)
    found = read_json(folder / "facts" / "policies.json")
    assert ["policy" in entry for entry in guaranteed] == [True, False, True]
    assert [k for k in range(3) if found[k] != guaranteed[k]] == moved


def test_policies_are_frozen_before_any_other_condition(tmp_path, monkeypatch):
    tiny.interrupt(monkeypatch, lambda condition: condition.name != "clean")
    with pytest.raises(KeyboardInterrupt):
        tiny.run(tmp_path)
    assert (tmp_path / "facts" / "policies.json").exists()
    assert {entry["condition"] for entry in shard_entries(tmp_path)} == {"clean"}


def test_an_unreadable_image_is_a_row_with_a_reason(tmp_path):
    unreadable = {int(row) for row in build_index(tiny.source()).rows_of("test")[:2]}
    folder = tiny.run(
        tmp_path,
        tiny.Broken(tiny.source(), unreadable),
        conditions=("clean", "fgsm(eps=0.05)", "low_light(severity=1)"),
        attacked=999,
    )
    for name in ("clean", "low_light(severity=1)"):
        rows = read(folder, name)
        bad = rows.filter(pl.col("error").is_not_null())
        assert {int(key) for key in bad["sample_id"]} == unreadable
        assert set(bad["error"]) == {"torn file"}
        assert len(rows) == tiny.ROWS
        assert bad["label"].null_count() == bad["split"].null_count() == 0
        for column in ("predicted", "margin", "logit.0", "signal.msp", "signal.energy", "forwards"):
            assert bad[column].null_count() == 2
            assert rows[column].null_count() == 2
    assert not {int(key) for key in read(folder, "fgsm(eps=0.05)")["sample_id"]} & unreadable


def test_the_seed_moves_what_is_random_and_nothing_else(tmp_path):
    chosen = {
        "conditions": (
            "clean",
            "pgd(eps=0.05, steps=2, keep='worst')",
            "gaussian_noise(severity=1)",
            "low_light(severity=2)",
        )
    }
    runs = [tiny.run(tmp_path / str(k), seed=seed, **chosen) for k, seed in enumerate((0, 1, 0))]
    tables = [read(run).drop("split") for run in runs]
    for name in chosen["conditions"]:
        own = conditions([name], tiny.SHAPE)[-1].name
        first, second, third = (table.filter(pl.col("condition") == own) for table in tables)
        assert first.equals(third)
        assert first.equals(second) is not name.startswith(("pgd", "gaussian"))
    assert (tiny.hashes(runs[0])) == tiny.hashes(runs[2])


def test_a_limit_keeps_the_smallest_hashes(tmp_path):
    folder = tiny.run(tmp_path, limit=300, **CLEAN)
    kept = {int(key) for key in read(folder)["sample_id"]}
    assert len(kept) == 300
    assert kept != set(range(300))


def test_the_same_plan_finds_its_folder_again():
    plan = Plan(model=ModelPlan(address="zoo:resnet20@some/where/Net-W.safetensors?mean=1"))
    assert default_folder(plan).parts[0] == "runs"
    assert default_folder(plan).name == f"resnet20-fashion-{plan.sha256[:8]}"
    assert default_folder(plan) == default_folder(Plan(model=plan.model))
    assert default_folder(plan) != default_folder(plan.at_risk(0.1))


def test_a_folder_of_another_model_or_other_data_is_refused(tmp_path):
    tiny.run(tmp_path, **CLEAN)
    with pytest.raises(RunError, match="was begun with another model"):
        tiny.run(tmp_path, model=tiny.classifier(sharpness=9.0), **CLEAN)
    with pytest.raises(RunError, match="was begun with another data"):
        tiny.run(tmp_path, changed_labels("test", 0.1), **CLEAN)


def test_resolving_writes_every_default_out():
    plan = resolve(Plan(signals=Signals(use=("energy(temperature=1.0)", "energy"))), tiny.source()).plan
    assert plan.signals.use == ("msp", "energy", "entropy")  # entropy: the default rule reads it
    assert plan.conditions.use[0] == "clean"
    assert "pgd(eps=0.05, keep='worst', steps=20)" in plan.conditions.use
    assert resolve(plan, tiny.source()).plan == plan


@pytest.mark.parametrize(
    ("policy", "error", "words"),
    [
        ("certified(risk=2)", InputError, "risk"),
        ("certified(rsk=0.1)", UnknownNameError, "Did you mean 'risk'?"),
        ("rule(confidence=60)", InputError, "Write 60 % as 0.6"),
    ],
)
def test_a_policy_that_cannot_be_is_refused_before_anything_is_measured(tmp_path, policy, error, words):
    with pytest.raises(error) as caught:
        run_plan(
            tiny.plan(conditions=("clean",)).model_copy(update={"policies": Policies(use=(policy,))}),
            tmp_path / "run",
            tiny.Quiet(),
            tiny.source(),
            tiny.classifier(),
        )
    assert words in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_model_that_belongs_to_other_data_is_refused_at_the_door(tmp_path):
    images, labels = tiny.images_and_labels(60)
    from demur.data import from_tensors

    wide = from_tensors(images.repeat(1, 1, 1, 2), labels, classes=tiny.CLASSES)
    with pytest.raises(DataError, match=r"\(1, 8, 8\) and tensors has \(1, 8, 16\)"):
        tiny.run(tmp_path, wide, **CLEAN)
    more = from_tensors(images, labels, classes=(*tiny.CLASSES, "other"))
    with pytest.raises(DataError, match="1 of 4 are none of its 3"):
        tiny.run(tmp_path, more, **CLEAN)
    assert not list(tmp_path.iterdir())


def test_bytes_for_pixels_are_refused(tmp_path):
    from demur.data import from_tensors

    images, labels = tiny.images_and_labels(60)
    with pytest.raises(DataError, match=r"images must lie in \[0, 1\]. They look like bytes: divide by 255"):
        tiny.run(tmp_path, from_tensors(images * 255, labels, classes=tiny.CLASSES), **CLEAN)


def test_a_layer_in_training_mode_is_refused():
    from demur.classifier import BoundClassifier

    with pytest.raises(ModelError, match="evaluation mode"):
        BoundClassifier(tiny.Net().train(), classes=tiny.CLASSES, input_shape=tiny.SHAPE)


def test_progress_counts_all_the_work(tmp_path):
    progress = tiny.Quiet()
    run_plan(tiny.plan(), tmp_path, progress, tiny.source(), tiny.classifier())
    assert progress.done == progress.rows == 1200 * 4 + 120 * (2 * 3 + 3 * 9 + 21)
