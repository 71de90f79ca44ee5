"""What is exported can be read back, is what the audit would find, and is counted as an obvious loop counts it."""

import io
import json
import sys
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from tests import tiny
from torch import nn

from demur.attacks.core.harness import run
from demur.attacks.core.objective import Objective
from demur.classifier import BoundClassifier
from demur.data import build_index, open_data
from demur.errors import DemurError, InputError, ModelError, RunError
from demur.files import read_json
from demur.pipeline.export import export, export_job, read_arrays
from demur.pipeline.export.export_figures import caption, sheet
from demur.pipeline.export.export_folder import file_slug
from demur.pipeline.export.export_run import attacks_of
from demur.pipeline.export.point_files import Points, attack_points
from demur.randomness import Keys
from demur.registry import build

ROWS = 90
ATTACKS = ("pgd(eps=0.1, steps=4)", "fmn(steps=12)")


def made(out, attacks=ATTACKS, models=None, data=None, **given):
    """The note of an export of the patterns, and its folder."""
    note = export(models or [tiny.classifier()], data or tiny.source(ROWS), attacks, out, batch=16, **given)
    return read_json(note), note.parent


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def entry_of(note, attack, model=0):
    return next(one for one in note["exports"] if (one["attack"], one["model"]) == (attack, model))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return made(tmp_path_factory.mktemp("export") / "out")


def read(folder, entry, what="arrays"):
    return read_arrays(folder / entry["files"][what]["file"])


@pytest.mark.parametrize("suffix", ["safetensors", "npz"])
def test_arrays_that_are_read_back_get_the_same_answers(tmp_path, suffix):
    note, folder = made(tmp_path, suffix=suffix)
    images, labels = tiny.images_and_labels(ROWS)
    for entry in note["exports"]:
        arrays, table = read(folder, entry), pl.read_parquet(folder / entry["files"]["table"]["file"])
        logits = tiny.classifier().logits(arrays["images"]).detach()
        assert torch.equal(logits.argmax(dim=1), arrays["predicted"])
        assert torch.allclose(logits, arrays["logits"], atol=1e-5)
        assert entry["reloaded"]["same"] == entry["reloaded"]["of"] == ROWS
        assert entry["reloaded"]["largest_difference"] <= 1e-5
        place = torch.tensor([int(name) for name in table["sample_id"]])
        assert torch.equal(arrays["labels"], labels[place])
        moved = arrays["images"] - images[place]
        assert torch.allclose(arrays["linf"], moved.flatten(1).abs().amax(dim=1), atol=1e-6)
        assert torch.allclose(arrays["l2"], moved.flatten(1).norm(dim=1), atol=1e-5)
        assert table["predicted"].to_list() == arrays["predicted"].tolist()
        assert {array.shape[0] for array in arrays.values()} == {ROWS}


def test_the_points_are_those_of_an_audit_with_the_same_seed(whole):
    note, folder = whole
    entry = entry_of(note, ATTACKS[0])
    images, labels = tiny.images_and_labels(ROWS)
    attack = build("attack", ATTACKS[0])
    keys = Keys.of(0, [row.sample_id for row in tiny.source(ROWS).read(range(ROWS))], ATTACKS[0])
    found = run(attack, Objective(tiny.classifier(), attack.loss), images, labels, keys, batch=7)
    assert torch.allclose(found.x, read(folder, entry)["images"], atol=1e-6)


def test_shares_are_what_an_obvious_loop_counts(whole):
    note, folder = whole
    images, labels = tiny.images_and_labels(ROWS)
    for entry in note["exports"]:
        attacked = read(folder, entry)["images"]
        right = stood = beaten = 0
        for image, point, label in zip(images, attacked, labels, strict=True):
            before, after = (int(tiny.classifier().logits(one[None]).argmax()) for one in (image, point))
            right += before == label
            stood += after == label
            beaten += before == label and after != label
        assert entry["robust_accuracy"]["value"] == pytest.approx(stood / ROWS)
        assert entry["success"]["value"] == pytest.approx(beaten / right)
        assert (entry["right"], entry["successful"]) == (right, beaten)
        assert 0 < beaten <= right < ROWS
        assert entry["success"]["low"] < entry["success"]["value"] <= entry["success"]["high"]


@pytest.mark.parametrize("suffix", ["safetensors", "npz"])
def test_successes_that_8_bits_lose_are_counted_as_an_obvious_loop_counts_them(tmp_path, suffix):
    note, folder = made(tmp_path, ("fmn(steps=40)", "pgd(eps=0.05, steps=3)"), suffix=suffix)
    images, labels = tiny.images_and_labels(ROWS)
    lost = 0
    for entry in note["exports"]:
        attacked, written = read(folder, entry)["images"], read(folder, entry, "rounded")["images"]
        assert written.dtype == torch.uint8
        successful = survived = outside = 0
        for image, point, stored, label in zip(images, attacked, written, labels, strict=True):
            by_hand = torch.tensor(np.rint(point.numpy() * 255).astype(np.uint8))
            assert torch.equal(by_hand, stored)
            before, after, later = (
                int(tiny.classifier().logits(one[None]).argmax()) for one in (image, point, by_hand.float() / 255)
            )
            if before == label and after != label:
                successful += 1
                survived += later != label
                size = (by_hand.float() / 255 - image).abs().max()
                outside += bool(later != label and entry["eps"] and size > entry["eps"] + 1e-6)
        found = entry["rounded"]
        assert (found["successful"], found["survived"]) == (successful, survived)
        assert found["outside"] == (outside if entry["eps"] else None)
        if successful:
            assert found["lost"]["value"] == pytest.approx(1 - survived / successful)
        lost += successful - survived
        assert entry["eps"] is None or 0 < found["outside"] <= survived
    assert lost, "the smallest changes do not all survive rounding"


def test_without_quantised_there_is_no_copy(tmp_path):
    note, folder = made(tmp_path, ATTACKS[:1], quantised=False)
    assert "rounded" not in note["exports"][0]
    assert not list(folder.rglob("*rounded*"))


def test_an_archive_can_be_audited_as_data(tmp_path):
    note, folder = made(tmp_path, ATTACKS[:1], suffix="npz")
    for what in ("arrays", "rounded"):
        source = open_data(f"npz:{folder / note['exports'][0]['files'][what]['file']}?layout=nchw")
        assert len(source) == ROWS
        assert source.input_shape == tiny.SHAPE


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    blind = nn.Sequential(nn.AvgPool2d(2), nn.Upsample(scale_factor=2), tiny.Net()).eval()
    other = BoundClassifier(blind, classes=tiny.CLASSES, input_shape=tiny.SHAPE, name="pooled")
    attacks = ("pgd(eps=0.1, keep='worst', steps=4)", "ensemble(eps=0.05, preset='quick')")
    return (tiny.classifier(), other), made(tmp_path_factory.mktemp("two") / "out", attacks, [tiny.classifier(), other])


def test_the_diagonal_of_the_matrix_is_each_models_own(two):
    _, (note, _) = two
    assert [model["name"] for model in note["models"]] == ["net", "pooled"]
    for found in note["transfer"]:
        for k in range(2):
            own = entry_of(note, found["attack"], k)
            assert found["robust_accuracy"][k][k] == own["robust_accuracy"]
            assert found["success"][k][k] == own["success"]
            assert found["carried"][k][k]["value"] == 1


def test_the_rest_of_the_matrix_is_what_an_obvious_loop_counts(two):
    models, (note, folder) = two
    images, labels = tiny.images_and_labels(ROWS)
    for found in note["transfer"]:
        for s, t in ((0, 1), (1, 0)):
            source = entry_of(note, found["attack"], s)
            arrays = read(folder, source)
            right = wrong = wrong_of_right = both = carried = 0
            for row in range(ROWS):
                label, point = int(labels[row]), arrays["images"][row]
                if found["attack"].startswith("ensemble") and arrays["linf"][row] > 0.05 + 1e-6:
                    point = images[row]
                clean, asked = (int(models[t].logits(one[None]).argmax()) for one in (images[row], point))
                had = int(models[s].logits(images[row][None]).argmax()) == label
                wrong += asked != label
                right += clean == label
                wrong_of_right += clean == label and asked != label
                both += bool(had and clean == label and arrays["fooled"][row])
                carried += bool(had and clean == label and arrays["fooled"][row] and asked != label)
            assert found["robust_accuracy"][s][t]["value"] == pytest.approx(1 - wrong / ROWS)
            assert found["success"][s][t]["value"] == pytest.approx(wrong_of_right / right)
            assert found["carried"][s][t]["value"] == pytest.approx(carried / both)
            assert both > 0


def test_a_finished_matrix_is_not_asked_for_again(tmp_path, monkeypatch):
    given = {"models": [tiny.classifier(), tiny.classifier(sharpness=8.0)], "limit": 20}
    note, folder = made(tmp_path, ATTACKS[:1], **given)
    with monkeypatch.context() as patch:
        patch.setattr("demur.pipeline.export.export_figures.logits_of", None)
        assert made(tmp_path, ATTACKS[:1], **given)[0] == note
        (folder / "net-2" / "pgd-eps-0.1-steps-4.png").unlink()
        with pytest.raises(TypeError):
            made(tmp_path, ATTACKS[:1], **given)
    assert made(tmp_path, ATTACKS[:1], **given)[0] == note


def test_one_model_has_no_matrix(whole):
    assert whole[0]["transfer"] == []
    assert whole[0]["finished"]


def test_killed_between_shards_the_same_call_comes_to_the_same_bytes(whole, tmp_path, monkeypatch):
    monkeypatch.setattr(export_job, "SHARD", 32)
    _, folder = made(tmp_path / "whole")
    attack, calls = attack_points, []

    def counted(*given):
        calls.append(given)
        if len(calls) in {2, 5}:
            raise KeyboardInterrupt
        return attack(*given)

    monkeypatch.setattr(export_job, "attack_points", counted)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            made(tmp_path / "killed")
    made(tmp_path / "killed")
    assert len(calls) == 2 * 3 + 2, "each of three shards of two attacks once, and the two that were killed"
    assert content(tmp_path / "killed") == content(folder)
    made(tmp_path / "killed")
    assert len(calls) == 8, "what is finished is kept"
    arrays = {name: file for name, file in content(folder).items() if name.endswith("safetensors")}
    assert arrays == {name: file for name, file in content(whole[1]).items() if name.endswith("safetensors")}


def test_a_file_that_changed_is_measured_again(whole, tmp_path):
    _, folder = made(tmp_path)
    before = content(folder)
    (folder / "net" / "fmn-steps-12.safetensors").write_bytes(b"torn")
    (folder / "net" / ".fmn.png.abcdefgh").touch()
    made(tmp_path)
    assert content(folder) == before


def test_another_run_in_the_folder_is_refused_with_what_differs(tmp_path):
    made(tmp_path, ATTACKS[:1], limit=20)
    with pytest.raises(
        RunError, match=r"belongs to another run of attacks \(.*limit: 20 before, 30 now.*--out"
    ) as caught:
        made(tmp_path, ATTACKS[:1], limit=30)
    assert "seed" not in str(caught.value)
    with pytest.raises(RunError, match="seed: 0 before, 1 now"):
        made(tmp_path, ATTACKS[:1], limit=20, seed=1)
    with pytest.raises(RunError, match="fmn"):
        made(tmp_path, ATTACKS, limit=20)


@pytest.mark.parametrize(("file", "owner"), [("plan.toml", "an audit"), ("training.json", "a training")])
def test_a_folder_of_other_work_is_refused(tmp_path, file, owner):
    (tmp_path / file).touch()
    with pytest.raises(RunError, match=f"belongs to {owner}"):
        made(tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.name != "lock"] == [file]


def test_an_audit_in_the_folder_of_an_export_is_refused(tmp_path):
    made(tmp_path, ATTACKS[:1], limit=20)
    with pytest.raises(RunError, match="belongs to an export of attacks"):
        tiny.run(tmp_path, conditions=["clean"])


def test_a_limit_takes_the_smallest_hashes_of_readable_images(tmp_path):
    broken = tiny.Broken(tiny.source(ROWS), {3, 5, 8})
    note, folder = made(tmp_path, ATTACKS[:1], data=broken, limit=84)
    index = build_index(broken)
    ranked = sorted(
        (content, name)
        for content, name, error in zip(index.contents, index.sample_ids, index.errors, strict=True)
        if error is None
    )
    table = pl.read_parquet(folder / note["exports"][0]["files"]["table"]["file"])
    assert set(table["sample_id"]) == {name for _, name in ranked[:84]}
    assert table["sample_id"].to_list() == sorted(table["sample_id"], key=int)
    assert (note["images"], note["unreadable"]) == (84, 3)


def test_groups_are_the_unit_of_the_intervals(tmp_path):
    groups = [f"patient {row // 3}" for row in range(ROWS)]
    note, _ = made(tmp_path, ATTACKS[:1], data=tiny.source(ROWS, groups=groups))
    found = note["exports"][0]
    assert (found["robust_accuracy"]["unit"], found["robust_accuracy"]["n"]) == ("group", ROWS // 3)
    assert found["rounded"]["lost"]["unit"] == "group"


def test_a_target_is_counted_apart(tmp_path):
    note, folder = made(tmp_path, ("pgd(eps=0.2, steps=8, target='bar')",))
    entry = note["exports"][0]
    arrays = read(folder, entry)
    aimed = arrays["labels"] != tiny.CLASSES.index("bar")
    reached = arrays["predicted"][aimed] == tiny.CLASSES.index("bar")
    assert entry["reached"]["value"] == pytest.approx(float(reached.float().mean()))
    with pytest.raises(DemurError, match=r"unknown target 'bear'. Did you mean 'bar'\?"):
        made(tmp_path / "bear", ("pgd(eps=0.2, target='bear')",))


def test_the_sheet_shows_every_pixel_as_it_was(whole):
    note, folder = whole
    page = np.asarray(
        Image.open(io.BytesIO((folder / entry_of(note, ATTACKS[0])["files"]["preview"]["file"]).read_bytes()))
    )
    assert page.shape[2] == 3
    clean, attacked = torch.rand(2, 1, 1, 8, 8)
    page = np.asarray(Image.open(io.BytesIO(sheet(clean, attacked, ["disc as bar"]))))
    tiles = [page[6:70:8, start : start + 64 : 8, 0] for start in (6, 6 + 64 + 2, 6 + 2 * (64 + 2))]
    assert (tiles[0] == np.rint(clean[0, 0].numpy() * 255)).all()
    assert (tiles[1] == np.rint(attacked[0, 0].numpy() * 255)).all()
    moved = (attacked - clean)[0, 0].numpy()
    assert abs(tiles[2] - (127.5 + 127.5 * moved / abs(moved).max())).max() <= 1


@pytest.mark.parametrize("channels", [2, 3, 5])
def test_any_number_of_channels_has_a_sheet(channels):
    x = torch.rand(3, channels, 70, 9)
    assert sheet(x, x, ["nothing changed"] * 3).startswith(b"\x89PNG")


def test_a_name_of_any_script_has_a_caption():
    x = torch.rand(1, 1, 8, 8)
    assert sheet(x, x, [caption("猫" * 40, "犬")])
    assert caption("猫", "Été") == "? as Été"


def test_a_model_that_answers_otherwise_each_time_is_counted(tmp_path, monkeypatch):
    ask = export_job.logits_of

    def moody(*given):
        logits = ask(*given)
        return logits.roll(1, dims=1)

    monkeypatch.setattr("demur.pipeline.export.export_job.logits_of", moody)
    note, _ = made(tmp_path, ATTACKS[:1], quantised=False)
    found = note["exports"][0]["reloaded"]
    assert found["same"] == 0
    assert found["largest_difference"] > 0.1


def test_models_that_cannot_be_compared_are_refused(tmp_path):
    small = BoundClassifier(
        nn.Sequential(nn.Conv2d(1, 3, 4), nn.Flatten()).eval(),
        classes=tiny.CLASSES,
        input_shape=(1, 4, 4),
        name="small",
    )
    with pytest.raises(ModelError, match=r"Net has \(1, 8, 8\) and 3, small has \(1, 4, 4\) and 3. Leave small out"):
        made(tmp_path / "out", models=[tiny.classifier(), small])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("attack", "words"),
    [
        ("foolbox(attack=LinfPGD, eps=0.1)", "needs an optional dependency.*pip install"),
        ("callable(path='nowhere.at_all:nudge', eps=0.1)", "cannot import 'nowhere.at_all'"),
    ],
)
def test_what_an_attack_needs_and_is_not_there_is_said_before_anything_is_measured(
    tmp_path, monkeypatch, attack, words
):
    monkeypatch.setitem(sys.modules, "foolbox", None)
    with pytest.raises(InputError, match=words):
        made(tmp_path / "out", (*ATTACKS, attack))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("attacks", "words"),
    [
        ((), "no attack was named"),
        (("pdg(eps=0.1)",), r"unknown attack 'pdg'. Did you mean 'pgd'\?"),
        (("pgd(eps=8)",), r"Did you mean 8/255\?"),
        (("clean",), "'clean' is a condition of an audit and no attack"),
        (("low_light(severity=2)",), "'low_light' is a condition of an audit and no attack"),
    ],
)
def test_attacks_that_cannot_be(tmp_path, attacks, words):
    with pytest.raises(InputError, match=words):
        made(tmp_path / "out", attacks)
    assert not (tmp_path / "out").exists()


def test_eps_may_be_a_fraction_and_a_list():
    found = attacks_of(["pgd(eps=[2/255, 8/255])"], (3, 32, 32))
    assert [condition.severity for condition in found] == [2 / 255, 8 / 255]
    assert [file_slug(condition.name) for condition in found] == ["pgd-eps-2_255", "pgd-eps-8_255"]


@pytest.mark.parametrize(
    "text", ["pgd(eps=0.1, steps=4)", "deepfool(steps=5)", "noise(eps=0.1, steps=9)", "fmn(steps=6)"]
)
def test_nothing_costs_more_than_was_said(tmp_path, text):
    note, folder = made(tmp_path, (text,), quantised=False)
    arrays = read(folder, note["exports"][0])
    said = attacks_of([text], tiny.SHAPE)[0].attack.passes
    assert said / 5 < (arrays["forwards"] + arrays["backwards"]).max() <= said


def test_attacks_from_elsewhere_are_exported_with_what_they_lost_and_why(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(export_job, "SHARD", 32)
    (tmp_path / "moods.py").write_text(
        "bad = []\n\ndef dark(model, x, y):\n    bad or bad.append(x[0].clone())\n"
        "    if any((row == bad[0]).all() for row in x):\n        raise ValueError('a bad start')\n    return x * 0.8\n"
    )
    note, folder = made(tmp_path / "out", ("callable(path='moods:dark', eps=0.2)",))
    entry = note["exports"][0]
    crashed = entry["crashes"]["ValueError: a bad start"]
    assert 1 == crashed == entry["flags"]["crashed"]
    flags = read(folder, entry)["flags"]
    assert int((flags == 32).sum()) == crashed


def test_the_table_says_of_each_row_what_the_record_does(whole):
    note, folder = whole
    table = pl.read_parquet(folder / entry_of(note, ATTACKS[1])["files"]["table"]["file"])
    assert {"sample_id", "split", "group", "epsilon.minimal", "clean.predicted", "fooled", "rounded.predicted"} <= set(
        table.columns
    )
    assert json.loads(json.dumps(note)) == note
    assert replace(Points(torch.empty(0), table)).successful.sum() == entry_of(note, ATTACKS[1])["successful"]
