"""The pictures an audit keeps: which images, that they are of these images, and that there are never too many."""

import io

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from tests import tiny, unknown_runs

from demur.files import read_json
from demur.pipeline.run.picture_choice import (
    MOST_CHANGED,
    MOST_CLEAN,
    changed_choice,
    clean_choice,
    pictures_each,
)
from demur.records import read, wrong


def facts(folder):
    return read_json(folder / "facts" / "pictures.json")


def tile(folder, place):
    """What stands at a place of the sheets, (height, width) of bytes."""
    found = facts(folder)
    size, each = found["tile"], found["tile"]["columns"] * found["tile"]["rows"]
    content = (folder / "thumbs" / found["sheets"][place // each]).read_bytes()
    sheet = np.asarray(Image.open(io.BytesIO(content)).convert("L")).astype(int)
    row, column = divmod(place % each, size["columns"])
    return sheet[row * size["height"] :, column * size["width"] :][: size["height"], : size["width"]]


def pixels(image):
    return (image[0] * 255).round().numpy().astype(int)


def by_id():
    images, _ = tiny.images_and_labels()
    return {f"{at:06d}": image for at, image in enumerate(images)}


def distance(picture, image):
    return np.abs(picture - pixels(image)).mean()


def test_a_picture_is_of_the_image_that_is_named(finished):
    images, found = by_id(), facts(finished)
    for place, name in list(enumerate(found["clean"]))[:40]:
        apart = [distance(tile(finished, place), images[other]) for other in (name, *found["clean"][40:44])]
        assert np.argmin(apart) == 0


def test_a_changed_picture_is_what_the_condition_made_of_it(finished):
    assert "multiplied by 0.4" in read_json(finished / "run.json")["conditions"][-1]["sentence"]
    images = by_id()
    entry = next(each for each in facts(finished)["changed"] if each["condition"] == "low_light(severity=3)")
    for at, name in enumerate(entry["sample_ids"]):
        picture = tile(finished, entry["first"] + at)
        dark = images[name] * 0.4
        assert distance(picture, dark) < distance(picture, images[name])


def test_what_is_kept_of_a_condition_are_its_surest_flips(finished):
    clean = read(finished, "clean")
    right = set(clean.filter(~pl.Series(wrong(clean)))["sample_id"])
    for entry in facts(finished)["changed"]:
        rows = read(finished, entry["condition"])
        flips = rows.filter(pl.Series(wrong(rows)) & pl.col("sample_id").is_in(right)).sort("signal.msp", "sample_id")
        assert entry["sample_ids"] == flips["sample_id"].head(8).to_list()


def test_dear_attacks_are_not_made_again(finished, tmp_path):
    long = tiny.run(tmp_path / "run", conditions=("clean", "pgd(eps=0.1, steps=80, keep='worst')"))
    (entry,) = facts(long)["changed"]
    assert entry["sample_ids"]
    assert entry["first"] is None
    assert all(each["first"] is not None for each in facts(finished)["changed"])


def test_images_of_none_of_the_classes_are_kept_too(tmp_path):
    folder = unknown_runs.run(tmp_path / "run", conditions=("clean",))
    (entry,) = facts(folder)["changed"]
    rows = read(folder, "unknown").sort("signal.msp", "sample_id")
    assert entry["sample_ids"] == rows["sample_id"].head(8).to_list()
    first = unknown_runs.images()[int(entry["sample_ids"][0].rpartition(":")[2])]
    assert distance(tile(folder, entry["first"]), first) < 20


def test_a_lost_sheet_is_drawn_again(finished, tmp_path):
    folder = tiny.run(tmp_path / "run")
    (folder / "thumbs" / "sheet-0.webp").write_bytes(b"")
    assert tiny.hashes(tiny.run(tmp_path / "run")) == tiny.hashes(finished)


def table(classes, each, share):
    """Clean rows of many classes; the share that is wrong is taken for the next class."""
    draw, rows = np.random.default_rng(0), classes * each
    labels = np.arange(rows) % classes
    predicted = np.where(draw.uniform(size=rows) < share, (labels + 1) % classes, labels)
    columns = {"label": labels, "predicted": predicted, "signal.msp": draw.uniform(size=rows)}
    names = [f"{at:06d}" for at in range(rows)]
    return pl.DataFrame({"sample_id": names, "error": pl.Series([None] * rows, dtype=pl.String()), **columns})


def test_the_ten_surest_errors_of_every_class_are_kept():
    rows = table(10, 400, 0.2)
    kept = set(clean_choice(rows, range(len(rows))))
    for label in range(10):
        own = rows.with_row_index().filter((pl.col("label") == label) & (pl.col("predicted") != label))
        assert set(own.sort("signal.msp")["index"].head(10)) <= kept


@pytest.mark.parametrize("classes", [2, 100, 1000])
def test_there_are_never_too_many(classes):
    rows = table(classes, 5000 // classes, 0.3)
    kept = clean_choice(rows, range(len(rows)))
    assert len(kept) == len(set(kept)) <= MOST_CLEAN
    assert len(kept) > 200


@pytest.mark.parametrize("conditions", [1, 23, 150, 400])
def test_conditions_share_what_there_is(conditions):
    assert conditions * pictures_each(conditions) <= MOST_CHANGED
    assert (pictures_each(conditions) == 0) == (conditions > 160)


def test_rows_with_an_error_are_never_shown():
    rows = table(3, 100, 0.5).with_columns(
        error=pl.when(pl.int_range(300) < 150).then(pl.lit("torn")), predicted=pl.col("predicted")
    )
    assert min(clean_choice(rows, range(300))) >= 150
    assert changed_choice(rows, rows.with_columns(predicted=(pl.col("label") + 1) % 3), 300) == (
        rows.filter(pl.col("error").is_null() & (pl.col("predicted") == pl.col("label")))
        .sort("signal.msp", "sample_id")["sample_id"]
        .to_list()
    )


def test_large_images_of_two_or_more_channels_fit():
    from demur.pipeline.run.picture_sheets import _pixels

    for channels in (1, 2, 3, 4):
        (made,) = _pixels(torch.rand(1, channels, 300, 200))
        assert made.shape == (64, 43, 3)
