"""A model that fails on a batch is asked again about halves of it; rows on which it fails alone are counted."""

import json

import numpy as np
import polars as pl
import pytest
import torch
from tests import tiny

from demur.analysis import analyse
from demur.attacks.core.objective import Objective
from demur.errors import DataError, FaultError, ForeignError, ModelError, RunError
from demur.pipeline.halving import halves
from demur.pipeline.run import loop
from demur.pipeline.run.measured_shard import MEASURES
from demur.records import BATCH_SIZE, read

ROWS = 300
PGD = "pgd(eps=0.05, steps=4)"
NOISE = "gaussian_noise(severity=3)"
PLAN = {
    "conditions": ("clean", PGD, NOISE),
    "policies": ("certified(risk=0.3)",),
    "attacked": 40,
    "checks": {"preprocessing": 0},
}
OUT_OF_MEMORY = RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: not enough memory: you tried")


class Faulty(tiny.Net):
    """Does something else than answering with batches that a rule is true of."""

    def __init__(self, rule, deed) -> None:
        super().__init__()
        self.rule, self.deed, self.calls = rule, deed, 0

    def forward(self, x):
        self.calls += 1
        return self.deed(super().forward, x) if self.rule(self, x) else super().forward(x)


def raising(error):
    def deed(_forward, _x):
        raise error

    return deed


def bad(x):
    """Which images end on a pixel that no other images have."""
    return x[:, 0, -1, -1] == MARK


MARK, LOST = 0.7182818, (7, 70, 170)


def marked():
    images, labels = tiny.images_and_labels(ROWS)
    images[list(LOST), 0, -1, -1] = MARK
    return tiny.from_tensors(images, labels, classes=tiny.CLASSES, name="tiny")


def any_bad(_net, x):
    return bool(bad(x).any())


def nan_on_bad(forward, x):
    answer = forward(x)
    answer[bad(x)] = torch.nan
    return answer


def without_bad(forward, x):
    return forward(x[~bad(x)])


def audit(path, rule, deed, **changes):
    net = Faulty(lambda *_: False, deed)
    model = tiny.BoundClassifier(net.eval(), classes=tiny.CLASSES, input_shape=tiny.SHAPE)
    net.rule = rule
    return tiny.run(path / "run", of=marked(), model=model, **(PLAN | changes))


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return audit(tmp_path_factory.mktemp("sound"), lambda *_: False, None)


def logged(run, what="the model failed and was run again"):
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["event"] == what]


DEEDS = {
    "NaN": (nan_on_bad, "1 of 1 images gave NaN or infinity"),
    "a dropped row": (without_bad, "must answer every image once; it gave 0 rows for 1"),
    "an error": (raising(ValueError("not this one")), "ValueError: not this one ("),
    "an end": (raising(SystemExit(0)), "SystemExit: 0 ("),
    "memory": (raising(OUT_OF_MEMORY), "not enough memory"),
}


@pytest.mark.parametrize("name", DEEDS)
def test_rows_on_which_the_model_fails_are_counted_with_the_reason(name, sound, tmp_path):
    deed, reason = DEEDS[name]
    run = audit(tmp_path, any_bad, deed)
    clean, whole = read(run, "clean"), read(sound, "clean")
    lost = clean.filter(pl.col("error").is_not_null())
    assert lost["sample_id"].to_list() == [f"{row:06d}" for row in LOST]
    assert all(reason in error for error in lost["error"])
    assert lost[BATCH_SIZE].to_list() == [1, 1, 1]
    assert lost["predicted"].null_count() == lost["signal.msp"].null_count() == lost["logit.0"].null_count() == 3
    kept = clean.filter(pl.col("error").is_null())
    other = whole.join(lost, on="sample_id", how="anti", maintain_order="left")
    assert kept["sample_id"].equals(other["sample_id"])
    assert kept["predicted"].equals(other["predicted"])
    assert np.allclose(kept["signal.msp"], other["signal.msp"], atol=1e-6)
    assert logged(run)[-1]["why"]


def test_rows_in_another_batch_than_planned_say_so_and_others_are_the_same_to_the_bit(sound, tmp_path):
    clean, whole = read(audit(tmp_path, any_bad, raising(ValueError("no"))), "clean"), read(sound, "clean")
    assert BATCH_SIZE not in whole.columns
    batches = np.arange(ROWS) // 64
    touched = np.isin(batches, [row // 64 for row in LOST])
    assert clean[BATCH_SIZE].is_not_null().to_list() == touched.tolist()
    assert clean[BATCH_SIZE].drop_nulls().max() == 32
    same = pl.Series(~touched)
    assert clean.filter(same).select(whole.columns).equals(whole.filter(same))


def test_images_that_failed_are_compared_nowhere_and_too_many_fail_the_check(tmp_path):
    results = analyse(audit(tmp_path, any_bad, nan_on_bad))
    (check,) = (check for check in results.checks if check.name == "the model answers")
    assert check.state == "warn"
    assert (check.count, check.of) in {(1, 40), (3, ROWS)}
    assert "gave NaN" in check.sentence
    assert results.accuracy.n == ROWS - 3
    assert {row.condition: row.accuracy.n for row in results.conditions}[NOISE] == ROWS - 3
    assert results.provenance.failed_samples == 0, "they could be read"
    moved = next(check for check in results.checks if check.name == "batches are as planned")
    assert moved.state == "warn"
    assert 0 < moved.count < moved.of


def test_a_model_that_fails_on_many_is_a_failed_measurement(tmp_path):
    results = analyse(audit(tmp_path, lambda _net, x: bool(many(x).any()), nan_on_many))
    (check,) = (check for check in results.checks if check.name == "the model answers")
    assert check.state == "fail"
    assert check.count > 0.01 * check.of
    assert results.state == "measurement_failed"


def many(x):
    return (x[:, 0, 0, 0] * 1000).long() % 9 == 0


def nan_on_many(forward, x):
    answer = forward(x)
    answer[many(x)] = torch.inf
    return answer


def test_a_model_that_fails_on_most_is_refused_by_name(tmp_path):
    with pytest.raises(ModelError, match=r"failed on .* images.*ValueError: never again .*continues"):
        audit(tmp_path, lambda net, _x: net.calls > 60, raising(ValueError("never again")))


def test_an_error_that_comes_once_costs_nothing(sound, tmp_path):
    run = audit(tmp_path, lambda net, _x: net.calls == 309, raising(ConnectionError("just now")))
    for condition in ("clean", PGD, NOISE):
        assert read(run, condition)["error"].null_count() == len(read(sound, condition))
    assert logged(run) or BATCH_SIZE in read(run, PGD).columns


def test_too_little_memory_for_a_batch_is_enough_for_halves(sound, tmp_path):
    run = audit(tmp_path, lambda _net, x: len(x) > 20, raising(OUT_OF_MEMORY))
    for condition in ("clean", PGD, NOISE):
        rows, whole = read(run, condition), read(sound, condition)
        assert rows["error"].null_count() == len(whole)
        assert rows["predicted"].equals(whole["predicted"])
        assert 5 <= rows[BATCH_SIZE].min() <= rows[BATCH_SIZE].max() <= 20
    checks = analyse(run).checks
    assert next(check for check in checks if check.name == "batches are as planned").count == 2 * ROWS + 40
    assert not any(check.name == "the model answers" for check in checks)


class NoBackward(torch.autograd.Function):
    """Too little memory for gradients of more than twelve rows."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        if len(gradient) > 12:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return gradient


def test_an_attack_that_runs_out_of_memory_half_way_goes_on_with_halves(sound, tmp_path):
    run = audit(tmp_path, lambda *_: True, lambda forward, x: forward(NoBackward.apply(x)))
    rows, whole = read(run, PGD), read(sound, PGD)
    assert rows["predicted"].equals(whole["predicted"])
    assert rows["forwards"].equals(whole["forwards"])
    assert rows[BATCH_SIZE].null_count() == 0
    assert BATCH_SIZE not in read(run, "clean").columns


def test_an_objective_asks_about_halves_and_says_how_large():
    net = Faulty(lambda *_: False, raising(OUT_OF_MEMORY))
    model = tiny.BoundClassifier(net.eval(), classes=tiny.CLASSES, input_shape=tiny.SHAPE)
    x, y = (part[:16] for part in tiny.images_and_labels(16))
    whole, classes = Objective(model), torch.tensor([[0, 1]] * 16)
    expected = whole.logits(x), whole.climb(x, y)[1], whole.jacobian(x, y, classes)[1], whole.answer(x, y).logits
    net.rule = lambda _net, x: len(x) > 4
    halved = Objective(model)
    found = halved.logits(x), halved.climb(x, y)[1], halved.jacobian(x, y, classes)[1], halved.answer(x, y).logits
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, atol=1e-6)
    assert set(halved.halves) == {8, 4}
    assert halved.climbing("margin").halves is halved.halves
    assert whole.halves == []


def test_an_interruption_and_what_is_not_the_model_s_are_not_asked_again(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        audit(tmp_path, lambda net, _x: net.calls > 50, raising(KeyboardInterrupt()))
    assert logged(tmp_path / "run") == []
    parts = [np.arange(4)]
    for error in (DataError("gone"), RunError("full"), ZeroDivisionError()):
        with pytest.raises(type(error)):
            list(halves(parts, raising_of_nobody(error)))


def raising_of_nobody(error):
    """As if demur itself raised it."""
    space = {"__name__": "demur.pipeline.nobody", "error": error}
    exec("def work(part):\n    raise error", space)
    return space["work"]


def test_halves_come_in_order():
    found = list(halves([np.arange(5), np.arange(5, 8)], lambda part: part.tolist() if 3 not in part else failed()))
    assert [part.tolist() for part, _, _ in found] == [[0, 1], [2], [3], [4], [5, 6, 7]]
    assert [rows for _, rows, why in found if not why] == [[0, 1], [2], [4], [5, 6, 7]]


def failed():
    raise ValueError("three")


def test_a_fault_of_demur_s_own_leaves_its_traceback_in_the_log(tmp_path, monkeypatch):
    monkeypatch.setitem(MEASURES, "corruption", lambda *_: raising_of_nobody(IndexError("own"))(None))
    with pytest.raises(FaultError, match=r"unexpected fault: IndexError: own.*log.jsonl"):
        audit(tmp_path, lambda *_: False, None)
    (line,) = logged(tmp_path / "run", "fault")
    assert "Traceback" in line["traceback"]
    assert "IndexError: own" in line["traceback"]


def test_an_error_of_a_plug_in_beside_the_model_is_named(tmp_path, monkeypatch):
    def broken(*_):
        raise SystemExit(0)

    monkeypatch.setattr(loop, "seconds_per_image", broken)
    with pytest.raises(ForeignError, match=r"test_halving.py:.*in broken"):
        audit(tmp_path, lambda *_: False, None)
    assert logged(tmp_path / "run", "fault")


def test_rows_that_failed_as_they_are_are_not_attacked_and_told_of(tmp_path):
    """Each attack asks about the others in whole batches, instead of looking for the rows again."""
    run = audit(tmp_path, any_bad, nan_on_bad)
    clean, attacked = read(run, "clean"), read(run, PGD)
    lost = set(clean.filter(pl.col("error").is_not_null())["sample_id"]) & set(attacked["sample_id"])
    failed = attacked.filter(pl.col("error").is_not_null())
    assert lost
    assert set(failed["sample_id"]) == lost
    assert all("gave NaN or infinity" in error for error in failed["error"])
    assert attacked.filter(pl.col("error").is_null())[BATCH_SIZE].null_count() == len(attacked) - len(failed)
    assert attacked["sample_id"].is_sorted(), "in planned order"
    assert not [line for line in logged(run) if line["what"].startswith("c001")]
