import json

import pytest

from demur.errors import RunError
from demur.report.figure_files import print_spec
from demur.report.learning_figure import learning_chart, write_learning_figure

HEAD = "epoch,train_loss,held_out_images,held_out_loss,accuracy,f1 a,f1 b,f1 c,f1 d,f1 e\n"
TABLE = (
    f"{HEAD}1,2.0,40,1.9,0.3,0.1,0.2,0.3,0.4,\n2,1.0,40,1.1,0.6,0.5,0.4,0.7,0.6,\n3,0.5,40,0.8,0.75,0.9,0.5,0.7,0.6,\n"
)


def written(tmp_path, text=TABLE):
    (tmp_path / "curves.csv").write_text(text)
    target = write_learning_figure(tmp_path / "curves.csv", tmp_path / "curves.svg")
    return None if target is None else target.read_text()


def chart(text):
    names, *lines = (line.split(",") for line in text.splitlines())
    return learning_chart([dict(zip(names, line, strict=True)) for line in lines])


def rows(spec, at):
    panel = spec["vconcat"][at]
    names = [part["data"]["name"] for part in (panel, *panel["layer"]) if "data" in part]
    return [row for name in names for row in spec["datasets"][name]]


def test_losses_and_shares_are_those_of_the_table():
    spec = chart(TABLE).spec
    found = {(row["epoch"], row["series"]): row["value"] for row in rows(spec, 0)}
    assert found[2, "training, random views"] == 1.0
    assert found[3, "images set aside"] == 0.8
    assert len(found) == 6
    found = {(row["epoch"], row["line"]): (row["value"], row["series"]) for row in rows(spec, 1)}
    assert found[3, "accuracy"] == (0.75, "right answers")
    assert found[1, "f1 b"] == (0.2, "F1 of b")
    assert found[2, "f1 a"] == (0.5, "F1 of the other classes")
    assert len(found) == 3 * 5  # a class without F1 has no line


def test_robustness_against_one_step_stands_beside_that_against_ten():
    """Where the first stays and the second falls, the step of the training was learned by heart."""
    head = HEAD.replace("accuracy,", "accuracy,attacked_images,robust_accuracy,one_step_accuracy,")
    spec = chart(f"{head}1,2.0,40,1.9,0.3,30,0.2,0.25,,,,,\n2,1.0,40,1.1,0.6,30,,0.5,,,,,\n").spec
    found = {(row["epoch"], row["series"]): row["value"] for row in rows(spec, 1)}
    assert found[1, "right under ten steps"] == 0.2
    assert [found[epoch, "right under one step"] for epoch in (1, 2)] == [0.25, 0.5]
    assert (2, "right under ten steps") not in found
    scale = spec["vconcat"][1]["layer"][1]["encoding"]["color"]["scale"]
    assert scale["domain"] == ["right answers", "right under ten steps", "right under one step"]
    assert len(set(scale["range"])) == 3


def test_the_three_classes_that_end_lowest_have_a_colour_of_their_own():
    scale = chart(TABLE).spec["vconcat"][1]["layer"][1]["encoding"]["color"]["scale"]
    assert scale["domain"] == ["right answers", "F1 of b", "F1 of d", "F1 of c", "F1 of the other classes"]
    assert len(set(scale["range"])) == 5


def test_the_file_says_what_it_shows_and_asks_for_nothing(tmp_path):
    text = written(tmp_path)
    assert "<title>Learning curves, 3 epochs, 40 images set aside.</title>" in text
    assert "0.5 nats in training; 75.0% right on images set aside; F1 from 0.500 (b) to 0.900" in text
    assert "var(--" not in text
    assert "shares, of 40 images set aside" in text.partition("</desc>")[2]
    assert text == written(tmp_path)


@pytest.mark.parametrize("text", [TABLE[: TABLE.index("2,1.0")], f"{HEAD}1,2.0,0,,,,,,,\n2,1.5,0,,,,,,,\n"])
def test_one_epoch_or_no_images_set_aside_are_drawn_too(text, tmp_path):
    assert "epoch" in written(tmp_path, text)
    panels = chart(text).spec["vconcat"]
    assert len(panels) == (1 if ",0,," in text else 2)


def test_without_an_epoch_there_is_no_figure(tmp_path):
    assert written(tmp_path, HEAD) is None
    assert not (tmp_path / "curves.svg").exists()


@pytest.mark.parametrize("text", ["epoch,loss\n1,2\n", TABLE.replace("2.0", "much"), None])
def test_a_table_that_is_none_is_named(text, tmp_path):
    if text is not None:
        (tmp_path / "curves.csv").write_text(text)
    with pytest.raises(RunError, match=r"curves\.csv is no table of a training"):
        write_learning_figure(tmp_path / "curves.csv", tmp_path / "curves.svg")


def test_printed_colours_are_those_of_the_light_theme():
    assert "var(" not in json.dumps(print_spec(chart(TABLE)))
