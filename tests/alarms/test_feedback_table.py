"""The table of feedback: what is in it, what is left out, and that no spreadsheet runs it."""

import pytest
from tests.alarms.streams import images, opened

from demur import records
from demur.alarms import Observation, feedback_table, write_feedback
from demur.data.text_table import read_table
from demur.errors import InputError


def test_it_has_what_dice_chose_and_a_class_was_told_of(tmp_path):
    state = tmp_path / "state.sqlite"
    alarms = opened(state, feedback=0.5)
    questions = alarms.observe(images(40, abstain=0.5))
    told = [each.id for each in questions if each][:-2]
    for k, name in enumerate(told):
        alarms.feedback(name, label="dog" if k % 3 else "cat")
    other = next(str(k) for k, each in enumerate(questions) if each is None)
    alarms.feedback(other, label="cat")
    alarms.close()
    found = write_feedback(state, tmp_path / "out.csv")
    table = read_table(tmp_path / "out.csv")
    assert table.columns["path"] == told
    assert table.columns["label"] == ["dog" if k % 3 else "cat" for k in range(len(told))]
    withheld = sum(not image.accepted for image in images(40, abstain=0.5) if image.id in told)
    assert (found.rows, found.withheld, found.missing, found.others) == (len(told), withheld, 2, 1)


def test_a_right_answer_has_the_class_of_the_model_and_a_cell_is_no_formula(tmp_path):
    state = tmp_path / "state.sqlite"
    alarms = opened(state, feedback=1.0)
    alarms.observe([Observation("=1+1.png", True, label="a, cat")])
    alarms.feedback("=1+1.png", correct=True)
    alarms.close()
    write_feedback(state, tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == 'path,label\n\'=1+1.png,"a, cat"\n'
    assert read_table(tmp_path / "out.csv").columns == {"path": ["=1+1.png"], "label": ["a, cat"]}
    assert feedback_table.FORMULA == records.FORMULA


def test_a_state_that_is_in_use_or_not_there_is_refused(tmp_path):
    alarms = opened(tmp_path / "state.sqlite")
    for state in (tmp_path / "state.sqlite", tmp_path / "none.sqlite"):
        with pytest.raises(InputError):
            write_feedback(state, tmp_path / "out.csv")
    alarms.close()
    assert not (tmp_path / "none.sqlite").exists()
