"""What must not raise an alarm: complaints alone, the order of labels, lengths of sequences, a reset, a misspelling."""

import time

import numpy as np
import pytest
from tests.alarms.streams import Clock, images, opened, reference

from demur.alarms import Observation
from demur.alarms.betting_process import Wealth
from demur.errors import InputError


def answers(count, prefix="", sequence=None):
    return [
        Observation(f"{prefix}{k}", True, score=0.5, label="cat", sequence=sequence(k) if sequence else None)
        for k in range(count)
    ]


def test_complaints_alone_raise_nothing_and_what_waits_is_said():
    """A risk of 2 % where 5 % is harm, and nobody says what is right."""
    for seed in range(5):
        clock, draw = Clock(), np.random.default_rng(seed)
        alarms = opened(clock=clock, feedback=1.0, risk=0.05, patience=1e6, seed=seed)
        alarms.observe(answers(500))
        for k in np.flatnonzero(draw.random(500) < 0.02):
            alarms.feedback(str(k), correct=False)
        status = alarms.status().harm
        assert status.state == "quiet"
        assert "questions are older than one that was answered and wait" in status.void
        assert status.numbers["least"] == status.counts["labels"] / 500
        clock.now += 1e6 + 1
        late = alarms.status().harm
        assert (late.state, late.counts["waiting"], late.counts["missing"] > 480) == ("quiet", 0, True)
        assert "labels that should be there are missing" in late.void


def test_labels_are_tested_in_the_order_of_their_questions():
    """Whatever order they come in, the evidence at the end is that of the questions' order."""
    wrong = np.random.default_rng(3).random(120) < 0.1
    expected = Wealth.start(0.05)
    for each in wrong:
        expected = expected.after(float(each))
    for order in (np.arange(120), np.random.default_rng(4).permutation(120), np.argsort(~wrong, kind="stable")):
        alarms = opened(feedback=1.0, risk=0.05)
        alarms.observe(answers(120))
        for k in order:
            assert alarms.feedback(str(k), correct=not wrong[k]).tested
        found = alarms.status().harm
        assert found.evidence == pytest.approx(float(expected.total[0]), rel=1e-12)
        assert found.counts["units"] == 120


def test_a_question_that_nobody_answers_does_not_hide_harm():
    alarms, draw = opened(feedback=1.0, risk=0.02), np.random.default_rng(5)
    alarms.observe(answers(300))
    for k in range(1, 300):
        if k % 10:
            alarms.feedback(str(k), correct=bool(draw.random() > 0.2))
    found = alarms.status().harm
    assert (found.state, found.counts["units"], found.void) == ("alarm", 0, "")
    assert found.evidence == pytest.approx(alarms._queue.least(Wealth.start(0.02)))


def test_labels_that_are_missing_count_as_right_once_they_are_overdue():
    clock = Clock()
    alarms = opened(clock=clock, feedback=1.0, risk=0.05, patience=100.0)
    alarms.observe(answers(6))
    alarms.feedback("4", correct=False)
    clock.now += 101
    expected = Wealth.start(0.05)
    for wrong in (0, 0, 0, 0, 1):
        expected = expected.after(float(wrong))
    found = alarms.status().harm
    assert (found.evidence, found.counts["units"]) == (pytest.approx(float(expected.total[0]), rel=1e-12), 5)
    assert not alarms.feedback("2", correct=False).tested
    assert alarms.feedback("5", correct=True).tested, "nothing after it was tested"
    counts = alarms.status().harm.counts
    assert (counts["labels"], counts["wrong"], counts["missing"], counts["units"]) == (3, 2, 3, 6)


def test_after_a_reset_only_images_that_were_decided_later_count():
    alarms = opened(feedback=1.0)
    alarms.observe(answers(100))
    for k in range(50):
        alarms.feedback(str(k), correct=False)
    assert alarms.status().alarmed == ("harm",)
    alarms.reset("harm", "the lamp is mended")
    for k in range(50, 100):
        assert not alarms.feedback(str(k), correct=False).tested
    found = alarms.status().harm
    assert (found.state, found.counts["units"], found.counts["labels"], found.counts["others"]) == ("quiet", 0, 0, 50)
    alarms.observe(answers(20, "new"))
    for k in range(20):
        assert alarms.feedback(f"new{k}", correct=False).tested
    assert alarms.status().alarmed == ("harm",)


def test_a_reset_leaves_open_sequences_out():
    alarms = opened(feedback=1.0, group="sequence", sequences=9, longest=5, tolerance=0.0)
    withheld = [Observation(str(k), False, "low_confidence", 0.9, "cat", f"s{k // 5}") for k in range(400)]
    alarms.observe(withheld[:303])
    assert alarms.status().alarmed == ("workload",)
    alarms.reset("workload", "new lamps")
    alarms.observe(withheld[303:305])
    assert alarms.status().workload.counts["units"] == 0
    alarms.observe(withheld[305:310])
    assert alarms.status().workload.counts["units"] == 1


def test_a_label_is_one_of_the_guards_classes():
    alarms = opened(feedback=1.0, held_against=reference(classes=("cat", "dog")))
    alarms.observe(answers(64))
    for k in range(64):
        with pytest.raises(InputError, match="'CAT ' is none of the guard's classes, cat, dog"):
            alarms.feedback(str(k), label="CAT ")
    assert alarms.status().harm.counts["labels"] == 0
    assert not alarms.feedback("0", label="dog").correct
    assert not alarms.feedback("1", correct=False).correct


def test_nobody_is_asked_about_an_image_that_could_not_be_read():
    for group in ("image", "sequence"):
        alarms = opened(feedback=1.0, group=group)
        found = alarms.observe([Observation("a", False, "unreadable", sequence="s"), *answers(1, "b", lambda k: "s")])
        assert [None if each is None else each.id for each in found] == [None, "b0"]


def short_and_long(draw, count):
    """Names of sequences, and of each image whether it goes wrong; of all images 2 in 10 do, unchanged throughout."""
    for s in range(count):
        n, p = (5, 0.5) if draw.random() < 0.8 else (100, 0.14)
        yield f"s{s}", draw.random(n) < p


@pytest.mark.parametrize("alarm", ["workload", "harm"])
def test_short_sequences_that_are_harder_raise_nothing(alarm):
    for seed in range(2):
        alarms = opened(
            group="sequence", feedback=1.0 if alarm == "harm" else 0.0, risk=0.2, seed=seed, sequences=3,
            held_against=reference(images=2000, abstained=400),
        )  # fmt: skip
        for name, bad in short_and_long(np.random.default_rng(seed), 150):
            withheld = bad if alarm == "workload" else np.zeros_like(bad)
            alarms.observe(
                [Observation(f"{name}-{k}", not out, "low_confidence" if out else "", 0.5, "cat", name)
                 for k, out in enumerate(withheld)]
            )  # fmt: skip
            for k, out in enumerate(bad) if alarm == "harm" else ():
                alarms.feedback(f"{name}-{k}", correct=not out)
        assert getattr(alarms.status(), alarm).counts["units"] > 130
        assert alarms.status().alarmed == ()


def test_a_risk_of_groups_is_none_of_images():
    by_group = reference(unit="group")
    assert "counts every image. Give the risk" in opened(group="sequence", held_against=by_group).status().harm.void
    for plan in ({"group": "sequence", "risk": 0.1}, {"group": "image"}):
        assert opened(held_against=by_group, **plan).status().harm.void == ""


def test_only_the_first_piece_of_a_sequence_counts():
    for seed in range(4):
        draw = np.random.default_rng(seed)
        alarms = opened(group="sequence", feedback=0.0, longest=10, seed=seed)
        for s, p in enumerate(draw.beta(0.2, 0.8, 20)):
            alarms.observe(
                [Observation(f"{s}-{k}", bool(draw.random() >= p), "", 0.5, "cat", f"camera {s}") for k in range(300)]
            )
        status = alarms.status()
        assert (status.workload.counts["units"], status.sequences["came_again"]) == (20, 20 * 290)
        assert status.workload.state == "quiet"


def test_units_count_in_the_order_in_which_they_began(tmp_path):
    """A long sequence that is open holds back the short ones that began after it, over a restart too."""
    place, plan = tmp_path / "state.sqlite", {"group": "sequence", "sequences": 9, "longest": 3, "feedback": 0.0}
    alarms = opened(place, **plan)
    alarms.observe([*images(2, prefix="a", sequence=lambda k: "long"), *images(6, sequence=lambda k: f"s{k // 3}")])
    assert (alarms.status().sequences["ended"], alarms.status().workload.counts["units"]) == (2, 0)
    alarms.close()
    alarms = opened(place, **plan)
    alarms.observe(images(1, prefix="b", sequence=lambda k: "long"))
    assert alarms.status().workload.counts["units"] == 3
    alarms.close()


def test_dice_choose_as_many_images_of_a_sequence_as_were_fixed_beforehand_each_alike():
    alarms = opened(group="sequence", feedback=0.25, longest=8, seed=4)
    found = alarms.observe(answers(8 * 500, sequence=lambda k: str(k // 8)))
    chosen = np.array([each is not None for each in found]).reshape(500, 8)
    assert (chosen.sum(axis=1) == 2).all()
    assert (abs(chosen.sum(axis=0) - 125) < 4 * np.sqrt(500 * 0.25 * 0.75)).all()
    few = opened(group="sequence", feedback=0.05, longest=8, seed=4)
    rare = sum(each is not None for each in few.observe(answers(8 * 500, sequence=lambda k: str(k // 8))))
    assert abs(rare - 200) < 4 * np.sqrt(500 * 0.4 * 0.6)


def test_questions_that_are_overdue_are_forgotten_and_stay_counted():
    clock = Clock()
    alarms = opened(clock=clock, feedback=1.0, memory=50, patience=100.0)
    alarms.observe(answers(200))
    clock.now += 101
    assert alarms.status().harm.counts["missing"] == 200
    alarms.observe(answers(10, "b"))
    assert len(alarms.pending(1000)) == 50
    counts = alarms.status().harm.counts
    assert (counts["questions"], counts["missing"], counts["waiting"]) == (210, 200, 10)


def test_a_status_costs_no_more_after_many_questions():
    alarms = opened(feedback=1.0, patience=1e9)
    alarms.status()
    alarms._store.many(
        "INSERT INTO images VALUES (?, ?, 1.8e9, 1, '', 0.5, 'cat', NULL, 1.0, ?, NULL, NULL, NULL, 0)",
        [(k, f"x{k}", k) for k in range(1, 100_001)],
    )
    alarms._questions.book["asked"] = 100_000
    spent = []
    for _ in range(5):
        began = time.perf_counter()
        assert alarms.status().harm.counts["waiting"] == 100_000
        spent.append(time.perf_counter() - began)
    assert min(spent) < 3e-3
