"""Looks are counted by the rows they share, by the place of their lines, and once each."""

import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest

from demur.errors import RunError
from demur.ledger import Inquiry, LabelledRows, Ledger, look_numbers, series
from demur.policies import Look, count_look


def labelled(*names, labels=None, groups=None):
    return LabelledRows.of(names, labels or [0] * len(names), groups)


def inquiry(*names, source=None, **changes):
    fields = {"model": "m", "menu": ("msp", "entropy"), "procedure": "p", "rows": labelled(*names)} | changes
    return Inquiry(**fields, source=source)


@pytest.fixture
def ledger(tmp_path):
    return tmp_path / "scores.parquet.looks.jsonl"


def test_an_identical_repeat_is_the_same_look(ledger):
    one, two = inquiry("a", "b", "c"), inquiry("a", "b", "c", menu=("entropy", "msp"))
    assert [count_look(ledger, each, "certified(risk=0.02)") for each in (one, two, one)] == [Look(1, "ledger")] * 3
    assert len(ledger.read_text().splitlines()) == 1


@pytest.mark.parametrize(
    "other",
    [
        inquiry("a", "b", "c", "d"),
        inquiry("a", "b", "c", rows=labelled("a", "b", "c", labels=[0, 0, 1])),
        inquiry("a", "b", "c", rows=labelled("a", "b", "c", groups=["x", "y", "y"])),
        inquiry("a", "b", "c", model="n"),
        inquiry("a", "b", "c", menu=("msp",)),
        inquiry("a", "b", "c", procedure="q"),
        inquiry("c", "x", "y", "z"),
    ],
    ids=["one more label", "a label", "groups", "model", "menu", "procedure", "one row is shared"],
)
def test_whatever_else_decides_is_another_look(ledger, other):
    assert count_look(ledger, inquiry("a", "b", "c"), "s").number == 1
    assert count_look(ledger, other, "s").number == 2
    assert count_look(ledger, other, "t").number == 3
    assert count_look(ledger, inquiry("a", "b", "c"), "s").number == 1


def test_the_order_of_rows_does_not_matter():
    one, two = labelled("a", "b", labels=[1, 2]), labelled("b", "a", labels=[2, 1])
    assert (one.name, one.sha256) == (two.name, two.sha256)
    assert labelled("a", "b", labels=[1, 2]).sha256 != labelled("a", "b", labels=[2, 1]).sha256


def test_new_rows_of_no_source_begin_anew_and_of_the_same_source_spend(ledger):
    assert [count_look(ledger, inquiry(name), "s").number for name in "abc"] == [1, 1, 1]
    assert [count_look(ledger, inquiry(name, source="line 3"), "s").number for name in "def"] == [1, 2, 3]
    assert count_look(ledger, inquiry("g", source="line 4"), "s").number == 1


def test_a_source_that_is_told_at_a_repeat_links_from_then_on(ledger):
    assert count_look(ledger, inquiry("a", "b"), "s").number == 1
    assert count_look(ledger, inquiry("x", "y", source="line 3"), "s").number == 1
    assert count_look(ledger, inquiry("a", "b", source="line 3"), "s").number == 1, "the same look as before"
    assert count_look(ledger, inquiry("q", source="line 3"), "s").number == 3
    assert count_look(ledger, inquiry("x", "y", source="line 3"), "s").number == 1


def test_series_that_meet_count_together_from_then_on_and_keep_the_numbers_they_have(ledger):
    one, two, bridge = inquiry("a", "b"), inquiry("c", "d"), inquiry("b", "c")
    assert [count_look(ledger, each, "s").number for each in (one, two, bridge, inquiry("d"), one, two)] == [
        1, 1, 3, 4, 1, 1,
    ]  # fmt: skip


def slow_numbers(rows, sources):
    """For each look the size of its connected component among itself and those before it, by an obvious loop."""
    found = []
    for last in range(len(rows)):
        inside, before = {last}, -1
        while len(inside) > before:
            before = len(inside)
            for one in range(last):
                for other in list(inside):
                    if rows[one] & rows[other] or (sources[one] and sources[one] == sources[other]):
                        inside.add(one)
        found.append(len(inside))
    return found


@pytest.mark.parametrize("seed", range(20))
def test_numbers_are_those_of_an_obvious_loop(seed):
    rng = np.random.default_rng(seed)
    rows = [frozenset(rng.choice(30, rng.integers(1, 4), replace=False).tolist()) for _ in range(14)]
    sources = [rng.choice(["", "", "", "x", "y"]) for _ in rows]
    lines = [
        {"rows": json.dumps(sorted(each)), "source": source or None, "looks": [f"look {at}"]}
        for at, (each, source) in enumerate(zip(rows, sources, strict=True))
    ]

    def ids(name):
        return np.array(json.loads(name), np.uint64)

    looks = [line["looks"][0] for line in lines]
    assert look_numbers(lines, looks, ids) == slow_numbers(rows, sources)
    for _ in range(2):
        assert look_numbers([*lines, lines[3]], looks, ids) == slow_numbers(rows, sources)


def test_looks_of_one_line_count_one_after_another(ledger):
    found = Ledger(ledger)
    assert found.numbers(inquiry("a"), ["s", "t", "u"]) == [1, 2, 3]
    assert found.numbers(inquiry("a"), ["u", "s"]) == [3, 1]
    assert found.numbers(inquiry("a"), ["u", "v"]) == [3, 4]


def test_rows_whose_ids_are_gone_count_as_shared(ledger):
    count_look(ledger, inquiry("a"), "s")
    (kept,) = Ledger(ledger).folder.iterdir()
    assert kept.parent.name == ".scores.parquet.looks"
    kept.unlink()
    assert count_look(ledger, inquiry("b"), "s").number == 2


def test_ids_that_were_changed_are_named(ledger):
    count_look(ledger, inquiry("a"), "s")
    (kept,) = Ledger(ledger).folder.iterdir()
    kept.write_bytes(labelled("b").content)
    with pytest.raises(RunError, match=r"\.ids says whose labels were opened and was changed"):
        count_look(ledger, inquiry("b"), "s")


@pytest.mark.parametrize("damage", ['{"at": ', "[]\n", '{"rows": 1}\n', "null\n", '"text"\n'])
def test_a_damaged_ledger_is_named(ledger, damage):
    ledger.write_text(damage)
    with pytest.raises(RunError, match=r"looks\.jsonl says how often labels were opened and cannot be read"):
        count_look(ledger, inquiry("a"), "s")


@pytest.mark.parametrize("key", ["rows", "looks", "source", "at"])
def test_a_line_that_was_changed_is_named(ledger, key):
    count_look(ledger, inquiry("a"), "s")
    line = json.loads(ledger.read_text())
    for value in ("2026", 7, None, ["x"]):
        ledger.write_text(json.dumps(line | {key: value}) + "\n")
        if value != line[key]:
            with pytest.raises(RunError, match="cannot be read"):
                count_look(ledger, inquiry("b"), "s")


def test_a_ledger_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot write"):
        count_look(tmp_path / "file" / "l.jsonl", inquiry("a"), "s")


def test_a_million_rows_take_eight_bytes_each():
    many = LabelledRows.of([str(number) for number in range(10_000)], [0] * 10_000)
    assert len(many.content) == 80_000
    assert (np.diff(many.ids.astype(object)) > 0).all()


def test_a_series_follows_shared_rows_from_one_to_the_next():
    read = {"1": [1, 2], "2": [2, 3], "3": [3, 4], "9": [9]}
    found = series([(name, None) for name in read], ("1", None), lambda name: np.array(read[name], np.uint64))
    assert {name for name, _ in found} == {"1", "2", "3"}


def _one(place, name):
    return count_look(place, inquiry("a", model=name), "s").number


def test_of_many_looks_at_once_each_has_a_number_of_its_own(ledger):
    with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("fork")) as pool:
        found = list(pool.map(_one, [ledger] * 12, [str(number) for number in range(12)]))
    assert sorted(found) == list(range(1, 13))
    assert [_one(ledger, str(number)) for number in range(12)] == found
