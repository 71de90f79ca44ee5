"""Alarms as a whole: what is counted, asked, refused and latched; restart, `kill -9`, sequences, threads."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from tests.alarms.streams import SHA, Clock, images, opened, reference

from demur.alarms import AlarmPlan, Alarms, ContradictionError, Observation, UnknownImageError
from demur.alarms.alarm_store import AlarmStore
from demur.alarms.betting_process import Wealth
from demur.alarms.unit_book import UnitBook
from demur.alarms.workload_test import WorkloadTest
from demur.errors import InputError, RunError, UnknownNameError

ROOT = Path(__file__).parents[2]


def test_the_workload_is_tested_image_by_image():
    alarms, stream = opened(feedback=0.0), images(400, abstain=0.4)
    expected = WorkloadTest.of(4065, 805, 1, 0.03)
    for image in stream:
        expected = expected.after(float(not image.accepted))
    for start in range(0, 400, 7):
        alarms.observe(stream[start : start + 7])
    found = alarms.status()
    assert found.workload.evidence == pytest.approx(float(expected.evidence), rel=1e-12)
    assert (found.images, found.abstained) == (400, sum(not image.accepted for image in stream))
    assert found.reasons == {"low_confidence": found.abstained}
    assert found.harm.void == "The plan asks for no feedback."


def test_an_alarm_stays_until_it_is_reset_with_a_reason_and_says_what_it_does_not_know():
    alarms = opened(feedback=0.0)
    with pytest.raises(InputError, match="is quiet"):
        alarms.reset("workload", "new lamps")
    alarms.observe(images(600, abstain=0.6))
    raised = alarms.status()
    assert raised.alarmed == ("workload",)
    assert 0 < raised.workload.at < 200
    assert raised.workload.since.startswith("2027-01-15T")
    assert "says nothing of wrong answers" in raised.workload.sentence
    assert "harm" not in raised.workload.sentence
    alarms.observe(images(3000, abstain=0.05, prefix="b"))
    assert alarms.status().workload.state == "alarm"
    for reason in ("", " ", "x" * 1001):
        with pytest.raises(InputError, match="with a reason"):
            alarms.reset("workload", reason)
    with pytest.raises(UnknownNameError):
        alarms.reset("martingale", "no alarm")
    alarms.reset("workload", "new lamps")
    after = alarms.status()
    assert (after.workload.state, after.workload.evidence > 0.4, after.workload.since) == ("quiet", True, None)
    assert after.resets[0] == {"alarm": "workload", "time": "2027-01-15T08:00:00+00:00", "reason": "new lamps"}
    json.dumps(after.plain, allow_nan=False)


def test_dice_ask_about_images_whatever_their_score_and_say_with_which_probability():
    alarms, stream = opened(feedback=0.25), images(4000)
    questions = alarms.observe(stream)
    chosen = np.array([each is not None for each in questions])
    scores = np.array([image.score for image in stream])
    assert {each.probability for each in questions if each} == {0.25}
    assert abs(chosen.mean() - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 4000)
    assert abs(scores[chosen].mean() - scores[~chosen].mean()) < 4 * 0.29 / np.sqrt(750)
    assert [each.id for each in alarms.pending(5)] == [each.id for each in questions if each][:5]


def test_wrong_answers_are_tested_where_dice_chose_and_nowhere_else():
    alarms, stream, dice = opened(feedback=0.5), images(300), np.random.default_rng(5)
    questions, expected = alarms.observe(stream), Wealth.start(0.02)
    for image, question in zip(stream, questions, strict=True):
        right = bool(dice.random() > 0.3)
        found = alarms.feedback(image.id, label="cat" if right else "dog")
        assert (found.correct, found.tested) == (right, question is not None and image.accepted)
        if found.tested:
            expected = expected.after(float(not right))
    status = alarms.status()
    assert status.harm.evidence == pytest.approx(float(expected.total[0]), rel=1e-12)
    assert status.harm.counts["others"] == 300 - expected.units
    assert status.harm.counts["labels"] == status.harm.counts["units"] == expected.units
    assert status.alarmed == ("harm",)
    assert "those that did not come count as right" in status.harm.sentence


def test_feedback_that_cannot_be_is_refused_and_changes_nothing():
    alarms = opened(feedback=1.0)
    alarms.observe([Observation("a", True, label="cat", score=0.1), Observation("b", True, label="cat", score=0.2)])
    with pytest.raises(UnknownImageError, match="no image 'z' was decided here"):
        alarms.feedback("z", correct=True)
    for wrong in ({}, {"correct": 1}, {"label": ""}, {"label": "x" * 201}, {"label": "dog", "correct": True}):
        with pytest.raises(InputError):
            alarms.feedback("a", **wrong)
    assert alarms.status().harm.counts["labels"] == 0
    assert not alarms.feedback("a", correct=False).repeated
    assert alarms.feedback("a", label="dog").repeated, "what is right may be told later"
    evidence = alarms.status().harm.evidence
    for other in ({"correct": True}, {"label": "cat"}, {"label": "cow"}):
        with pytest.raises(ContradictionError, match="'dog' is right"):
            alarms.feedback("a", **other)
    assert alarms.status().harm.evidence == evidence
    assert [each.id for each in alarms.pending()] == ["b"]


def test_missing_feedback_is_counted_bounded_and_voids_the_harm_alarm():
    clock = Clock()
    alarms = opened(clock=clock, feedback=1.0, patience=100.0)
    alarms.observe(images(100, abstain=0.0))
    for k in range(70):
        alarms.feedback(str(k), correct=k != 0)
    fresh = alarms.status().harm
    assert (fresh.counts["waiting"], fresh.counts["missing"], fresh.void) == (30, 0, "")
    clock.now += 101
    late = alarms.status().harm
    assert (late.counts["waiting"], late.counts["missing"]) == (0, 30)
    assert (late.numbers["least"], late.numbers["most"]) == (0.01, 0.31)
    assert late.numbers["least_low"] < 0.01 < 0.31 < late.numbers["most_high"]
    assert "30 of 100 labels that should be there are missing, more than 20 in 100" in late.void
    assert alarms.pending()[0].id == "70"
    for k in range(70, 85):
        alarms.feedback(str(k), correct=True)
    assert alarms.status().harm.counts["missing"] == 15
    assert alarms.status().harm.void == ""


def test_an_id_is_of_one_image_and_nothing_of_a_refused_call_counts():
    alarms = opened()
    alarms.observe(images(5))
    before = alarms.status().plain
    for bad in (images(1), [*images(2, prefix="c"), Observation("", True)], [Observation("x" * 1001, True)],
                [Observation("d", True, sequence=3)]):  # fmt: skip
        with pytest.raises(InputError):
            alarms.observe(bad)
    assert alarms.status().plain == before
    assert alarms.observe([]) == []


@pytest.mark.parametrize("group", ["image", "sequence"])
def test_a_restart_changes_nothing(tmp_path, group):
    stream = images(240, abstain=0.3, sequence=lambda k: f"s{k // 9}")
    place, clock, plan = tmp_path / "state.sqlite", Clock(), {"group": group, "feedback": 1.0}
    whole = opened(clock=clock, **plan)
    for part in (stream[:100], stream[100:]):
        parts = opened(place, clock=clock, **plan)
        for alarms in (whole, parts):
            alarms.observe(part)
            for image in part[::2]:
                alarms.feedback(image.id, correct=int(image.id) % 10 != 0)
        before = parts.status()
        parts.close()
    again = opened(place, clock=clock, **plan)
    assert again.status() == before
    for name in ("workload", "harm"):
        assert getattr(before, name) == getattr(whole.status(), name)
    again.close()


def test_a_state_is_of_one_guard_one_plan_one_process(tmp_path):
    place = tmp_path / "state.sqlite"
    first = opened(place)
    first.observe(images(3))
    with pytest.raises(InputError, match="in use by another process"):
        opened(place)
    first.close()
    with pytest.raises(InputError, match=r"are of the guard abababababab…, and this is cdcdcdcdcdcd…"):
        opened(place, sha256="cd" * 32)
    for changed in ({"alpha": 0.05}, {"tolerance": 0.1}, {"group": "sequence"}, {"risk": 0.1}):
        with pytest.raises(InputError, match=f"were begun with `{next(iter(changed))}`"):
            opened(place, **changed)
    more = opened(place, feedback=0.5)
    assert more.status().images == 3
    more.close()


def test_a_file_that_is_no_state_is_refused(tmp_path):
    text, other = tmp_path / "notes.txt", tmp_path / "other.sqlite"
    text.write_text("nothing of the kind " * 100)
    base = sqlite3.connect(other)
    base.execute("CREATE TABLE facts (name TEXT)")
    base.execute("CREATE TABLE mine (name TEXT)")
    base.commit()
    base.close()
    for place in (text, other, tmp_path / "none" / "state.sqlite", tmp_path):
        with pytest.raises(InputError, match="Name"):
            opened(place)


def test_a_damaged_state_is_named(tmp_path):
    place = tmp_path / "state.sqlite"
    alarms = opened(place)
    alarms.observe(images(300))
    alarms.close()
    with pytest.raises(RunError, match="cannot be read"):
        alarms.pending()
    content = bytearray(place.read_bytes())
    content[4096:] = b"\x5a" * (len(content) - 4096)
    place.write_bytes(content)
    with pytest.raises((InputError, RunError), match=r"state\.sqlite"):
        opened(place)


def test_where_the_state_cannot_be_written_nothing_is_counted(tmp_path):
    alarms = opened(tmp_path / "state.sqlite")
    alarms.observe(images(10))
    before = alarms.status().plain
    alarms._store.execute("PRAGMA max_page_count=1")
    with pytest.raises(RunError, match="what was written before is whole"):
        alarms.observe(images(3000, prefix="more"))
    assert alarms.status().plain == before
    alarms._store.execute("PRAGMA max_page_count=100000")
    alarms.observe(images(20, prefix="more"))
    assert alarms.status().images == 30
    alarms.close()


CHILD = """
import sys
from pathlib import Path
from tests.alarms.streams import images, opened
alarms, stream, k = opened(Path(sys.argv[1]), seed=3, feedback=0.5), images(100_000), 0
while True:
    questions = alarms.observe(stream[k : k + 3])
    print(k + 3, *(each.id for each in questions if each), flush=True)
    for each in questions:
        if each:
            alarms.feedback(each.id, correct=True)
            print("label", each.id, flush=True)
    k += 3
"""


def test_whoever_is_killed_loses_nothing_of_what_was_returned(tmp_path):
    place = tmp_path / "state.sqlite"
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(place)], cwd=ROOT, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])},
    ) as child:  # fmt: skip
        lines = [child.stdout.readline().split() for _ in range(400)]
        child.send_signal(signal.SIGKILL)
        lines += [line.split() for line in child.stdout.read().split("\n")[:-1]]
    counts = [line for line in lines if line[0] != "label"]
    labelled = {line[1] for line in lines if line[0] == "label"}
    alarms = opened(place, feedback=0.5)
    status, rows = alarms.status(), alarms._store.rows("SELECT id FROM images WHERE probability IS NOT NULL")
    assert status.images in {int(counts[-1][0]), int(counts[-1][0]) + 3}
    assert {name for line in counts for name in line[1:]} <= {row[0] for row in rows}
    told = {row[0] for row in alarms._store.rows("SELECT id FROM images WHERE correct IS NOT NULL")}
    assert labelled <= told
    assert len(told - labelled) <= 1
    assert len(labelled) > 20
    expected = WorkloadTest.of(4065, 805, 1, 0.03)
    for image in images(100_000)[: status.images]:
        expected = expected.after(float(not image.accepted))
    assert status.workload.evidence == pytest.approx(float(expected.evidence), rel=1e-12)
    alarms.close()


def test_sequences_are_the_units_and_end_when_another_begins():
    names = np.repeat(["a", "b", "c", "a", "d"], [4, 5, 6, 2, 3])
    stream = images(20, abstain=0.5, sequence=lambda k: str(names[k]))
    for unit in ("image", "group"):
        held_against = reference(unit=unit)
        alarms = opened(group="sequence", feedback=0.0, longest=6, held_against=held_against)
        alarms.observe(stream)
        expected = WorkloadTest.of(4065, 805, 1, 0.03)
        for some in (stream[:4], stream[4:9], stream[9:15]):
            weight = len(some) / 6 if unit == "image" else 1
            expected = expected.after(np.mean([not image.accepted for image in some]), weight)
        status = alarms.status()
        assert status.workload.evidence == pytest.approx(float(expected.evidence), rel=1e-12)
        assert status.sequences == {"open": 1, "ended": 3, "came_again": 2, "unnamed": 0}
        assert (
            "2 images that came under the name of a sequence that had ended are in no bet" in status.workload.sentence
        )
        drawn = status.martingale.counts["scores"] - 1000
        assert drawn == 3 if unit == "group" else drawn <= 3


def test_the_score_of_a_sequence_is_that_of_any_of_its_images_alike():
    store = AlarmStore(None)
    book = UnitBook(AlarmPlan(group="sequence"), store, np.random.default_rng(0))
    drawn = []
    for k in range(3 * 600 + 1):
        place = book.place(Observation(str(k), True, score=float(k % 3), sequence=str(k // 3)), 0.0)
        assert place.unit == k // 3 + 1
        drawn += [unit.score for unit in place.over]
    counts = np.bincount(np.array(drawn, int))
    assert counts.sum() == 600
    assert (abs(counts - 200) < 4 * np.sqrt(600 * 2 / 9)).all()


def test_sequences_end_by_length_and_by_silence_and_several_may_be_open():
    clock = Clock()
    alarms = opened(clock=clock, group="sequence", sequences=2, longest=5, silence=60.0)
    alarms.observe(images(8, sequence=lambda k: "ab"[k % 2]))
    assert alarms.status().sequences["ended"] == 0
    alarms.observe(images(2, prefix="more", sequence=lambda k: "ab"[k % 2]))
    assert alarms.status().sequences["ended"] == 2
    alarms.observe(images(1, prefix="last", sequence=lambda k: "c"))
    assert alarms.status().workload.void == ""
    alarms.observe(images(3, prefix="none"))
    status = alarms.status()
    assert status.sequences == {"open": 1, "ended": 2, "came_again": 0, "unnamed": 3}
    for alarm in (status.workload, status.harm):
        assert alarm.void.startswith("3 images came without a sequence, and nothing is tested of them")
    clock.now += 61
    assert alarms.status().sequences["ended"] == 3


def test_labels_of_a_sequence_count_once_when_it_is_over_and_complete():
    clock = Clock()
    alarms = opened(clock=clock, group="sequence", feedback=1.0, patience=100.0, silence=1e6, longest=8)
    alarms.observe(images(4, abstain=0.0, sequence=lambda k: "first"))
    for k in range(3):
        assert alarms.feedback(str(k), correct=k != 0).tested
    assert alarms.status().harm.counts["units"] == 0, "it is not over"
    found = alarms._queue.least(alarms._evidence.harm)
    assert found == pytest.approx(Wealth.start(0.02).least_after(np.array([1 / 8]), np.ones(1))), (
        "the rest may be right"
    )
    alarms.observe(images(1, abstain=0.0, prefix="x", sequence=lambda k: "second"))
    assert alarms.status().harm.counts["units"] == 0, "a label is awaited"
    clock.now += 101
    status = alarms.status()
    assert status.harm.counts["units"] == 1, "a label is missing"
    expected = Wealth.start(0.02).after(1 / 4, 4 / 8)  # what is missing counts as right
    assert status.harm.evidence == pytest.approx(float(expected.total[0]), rel=1e-12)
    late = alarms.feedback("3", correct=False)
    assert not late.tested
    assert late.sentence.startswith("It came late")
    assert alarms.status().harm.counts["units"] == 1


def test_old_decisions_without_a_question_are_forgotten_and_questions_never():
    alarms = opened(feedback=0.1, memory=50)
    questions = [each for each in alarms.observe(images(200)) if each]
    assert alarms.feedback(questions[0].id, correct=True).id == questions[0].id
    plain = next(str(k) for k in range(100) if str(k) not in {each.id for each in questions})
    with pytest.raises(UnknownImageError):
        alarms.feedback(plain, correct=True)
    kept = next(str(k) for k in range(199, 150, -1) if str(k) not in {each.id for each in questions})
    assert not alarms.feedback(kept, correct=True).tested


def test_threads_take_turns():
    alarms, stream = opened(feedback=0.5), images(400)
    with ThreadPoolExecutor(8) as pool:
        questions = [
            q for part in pool.map(alarms.observe, [stream[k : k + 10] for k in range(0, 400, 10)]) for q in part if q
        ]
        list(pool.map(lambda each: alarms.feedback(each.id, correct=True), questions))
    status = alarms.status()
    assert status.images == 400
    assert status.harm.counts["questions"] == status.harm.counts["labels"]


def test_one_image_costs_less_than_a_millisecond(tmp_path):
    alarms, spent = opened(tmp_path / "state.sqlite"), []
    for image in images(400):
        began = time.perf_counter()
        alarms.observe([image])
        spent.append(time.perf_counter() - began)
    alarms.close()
    assert np.median(spent) < 1e-3


@pytest.mark.parametrize(
    "wrong",
    [
        {"alpha": 0.0}, {"alpha": 0.6}, {"tolerance": -0.1}, {"feedback": 1.5}, {"missing": float("nan")},
        {"risk": 0.0}, {"risk": 1.0}, {"sequences": 0}, {"longest": 1.5}, {"memory": True}, {"silence": 0.0},
        {"patience": float("inf")}, {"group": "camera"},
    ],
    ids=str,
)  # fmt: skip
def test_a_plan_that_cannot_be_is_refused(wrong):
    with pytest.raises(InputError):
        AlarmPlan(**wrong)


def test_what_can_be_found_is_said_before_anything_is_seen():
    said = opened().status().detectable
    assert said.startswith("From the first image on a rise from 19.8 in 100 to 28.")
    assert re.search(r"a rise to 2[45]\.\d in 100 or less is beyond it, because 4,065 reference images", said)
    labels = int(said.partition("A risk of 4 in 100 is found after about ")[2].partition(" labels")[0])
    assert 450 < labels < 750
    assert f"these are the labels of {labels / (0.05 * 3260 / 4065):,.0f} images" in said
    few = opened(held_against=reference(images=30, abstained=29)).status().detectable
    assert few.startswith("From 30 reference images no rise can be told from chance")
    assert "labels" not in opened(feedback=0.0).status().detectable


@pytest.mark.parametrize(
    "plan", [{"tolerance": 0.0}, {"tolerance": 1.0}, {"alpha": 0.5}, {"feedback": 0.0}, {"risk": 0.9}], ids=str
)
@pytest.mark.parametrize(("count", "abstained"), [(1, 0), (1, 1), (4065, 0), (4065, 4065), (3_000_000, 600_000)])
def test_at_the_edges_of_what_is_possible_there_is_a_status(plan, count, abstained):
    alarms = opened(held_against=reference(images=count, abstained=abstained), **plan)
    alarms.observe(images(50, abstain=0.5))
    json.dumps(alarms.status().plain, allow_nan=False)


def test_the_risk_of_the_plan_goes_before_that_of_the_certificate():
    assert opened(risk=0.1).status().harm.numbers["risk"] == 0.1
    assert opened().status().harm.numbers["risk"] == 0.02


@pytest.mark.parametrize("wrong", [{"images": 0, "abstained": 0}, {"abstained": 5000}, {"several": 0}, {"risk": 0.0}])
def test_a_reference_that_cannot_be_is_refused(wrong):
    with pytest.raises(InputError):
        reference(**wrong)


def test_alarms_open_for_a_guard_by_its_hash():
    assert Alarms.open(None, reference(), AlarmPlan(), guard_sha256=SHA).status().guard_sha256 == SHA
