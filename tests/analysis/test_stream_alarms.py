"""Simulated streams against geometric delays, a slow copy of the definition, and what a run cannot be asked."""

import math

import numpy as np
import polars as pl
import pytest
from tests.analysis.perturbation_runs import entry, written

from demur.analysis.run_folder import Run, open_run
from demur.analysis.stream_alarms import StreamNumber, StreamPlan, stream_alarms
from demur.errors import InputError, UnknownNameError
from demur.files import write_json
from demur.metrics import Estimate
from demur.policies import StreamMonitor, Threshold, dump_policy
from demur.records import frame

SIGNALS = ("msp", "energy")
KINDS = {"noise": "corruption", "nudge": "attack", "few": "attack", "strangers": "unknown"}


def table(condition, scores, split):
    ids = [f"{split}{at:05}" for at in range(len(scores))]
    columns = {
        "sample_id": ids,
        "split": [split] * len(ids),
        "label": [0] * len(ids),
        "condition": [condition] * len(ids),
    }
    own = pl.DataFrame({f"signal.{name}": np.asarray(scores, np.float64) + at for at, name in enumerate(SIGNALS)})
    return frame(columns | {"predicted": [0] * len(ids), "norm": ["none"] * len(ids)}, pl.DataFrame(), own)


def made(folder, tune, test, policies=(), **changed):
    """A run of these scores; those of the second signal lie one higher."""
    tables = {"clean": pl.concat([table("clean", tune, "tune"), table("clean", test, "test")])}
    tables |= {name: table(name, scores, "test") for name, scores in changed.items()}
    entries = [entry(name, KINDS.get(name, "clean"), len(rows)) for name, rows in tables.items()]
    facts = {
        "splits": {"tune": len(tune), "test": len(test)},
        "signals": [{"name": name, "unit": "none", "sentence": f"What {name} says"} for name in SIGNALS],
    }
    written(folder, tables, entries, **facts)
    write_json(folder / "facts" / "policies.json", list(policies))
    return Run(folder)


def normal(rows, seed, shift=0.0):
    return np.random.default_rng(seed).normal(size=rows) + shift


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Of the noise one image in ten has a score that no clean one has; of the nudge every one."""
    share = np.where(np.arange(2000) % 10 == 0, 9.0, -9.0)
    changed = {"noise": share, "nudge": np.full(900, 9.0), "few": np.full(29, 9.0), "strangers": normal(40, 3, 5.0)}
    return made(tmp_path_factory.mktemp("streams") / "run", normal(5000, 1), normal(5000, 2), **changed)


def test_a_window_of_one_has_geometric_delays(run):
    plan = StreamPlan(windows=(1,), budget=0.05, streams=600, before=400, after=60)
    stays, follows = stream_alarms(run, plan).monitors
    assert (stays.memory, follows.memory, follows.threshold) == (None, 500, stays.threshold)
    expected = 1000 * 0.05 * 0.95  # it is above, and was not before
    assert stays.false_alarms.value == pytest.approx(expected, rel=0.15)
    assert stays.false_alarms.low < stays.false_alarms.value < stays.false_alarms.high
    assert stays.above.value == pytest.approx(0.05, rel=0.15)
    none, nudge, noise = stays.changes[:3]
    assert [each.condition for each in stays.changes] == ["clean", "nudge", "noise", "strangers"]
    assert [each.images for each in stays.changes] == [5000, 900, 2000, 40]
    for found, chance in ((none, 0.05), (noise, 0.1)):
        assert found.median.low <= math.ceil(math.log(0.5) / math.log(1 - chance)) <= found.median.high
        assert found.late.low <= math.ceil(math.log(0.1) / math.log(1 - chance)) <= found.late.high
        assert found.found.low <= 1 - (1 - chance) ** 60 <= found.found.high
        assert found.found.streams == 600 - found.in_alarm_before
    assert (nudge.found.value, nudge.median.value, nudge.late.value, nudge.in_alarm_at_end.value) == (1, 1, 1, 1)
    assert none.in_alarm_before == pytest.approx(30, abs=17)
    assert noise.in_alarm_at_end.value == pytest.approx(0.1, abs=0.04)


def slow(run, plan, monitor, rows):
    """Stream by stream and score by score: (alarms begun before, delay or ∞, in alarm before and at the end)."""
    fitted = monitor.fit(run.rows("clean", "tune")["signal.msp"].to_numpy(), plan.seed)
    clean, found = run.rows("clean", "test")["signal.msp"].to_numpy(), []
    for stream in range(plan.streams):
        parts = [
            scores[np.random.default_rng([plan.seed, stream, part]).integers(len(scores), size=images)]
            for part, (scores, images) in enumerate(((clean, plan.before), (rows, plan.after)))
        ]
        state, begun, delay, before = fitted.start(), 0, math.inf, False
        for at, score in enumerate(np.concatenate(parts)):
            was = state.in_alarm
            state, _ = fitted.advance(state, score)
            begins = state.in_alarm and not was
            begun += begins and at < plan.before
            before = state.in_alarm if at == plan.before - 1 else before
            if begins and at >= plan.before:
                delay = min(delay, at - plan.before + 1)
        found.append((begun, delay, before, state.in_alarm))
    return found


@pytest.mark.parametrize("memory", [None, 40])
def test_what_is_told_is_what_a_slow_copy_finds(run, memory):
    plan = StreamPlan(
        conditions=("noise",), windows=(12,), budget=0.2, memory=40, streams=25, before=60, after=70, seed=3
    )
    row = stream_alarms(run, plan).monitors[0 if memory is None else 1]
    monitor = StreamMonitor(window=12, budget=0.2, memory=memory)
    told = row.changes[1]
    found = slow(run, plan, monitor, run.rows("noise", "test")["signal.msp"].to_numpy())
    assert row.false_alarms.value == pytest.approx(sum(each[0] for each in found) / 25 / 49 * 1000)
    assert told.in_alarm_before == sum(each[2] for each in found) > 0
    delays = sorted(each[1] for each in found if not each[2])
    assert told.found.value == pytest.approx(sum(math.isfinite(each) for each in delays) / len(delays))
    middle = delays[math.ceil(len(delays) / 2) - 1]
    assert (told.median.value, "value" in told.median.above) == (min(middle, 70), math.isinf(middle))
    assert told.in_alarm_at_end.value == pytest.approx(sum(each[3] for each in found) / 25)


def test_a_change_that_is_never_found_takes_longer_than_the_stream(tmp_path):
    run = made(tmp_path / "run", normal(500, 1), np.zeros(300), noise=np.zeros(300))
    plan = StreamPlan(windows=(20,), streams=30, before=40, after=50)
    found = stream_alarms(run, plan).monitors[0].changes[1]
    assert (found.found.value, found.median.value, found.late.value) == (0, 50, 50)
    assert found.median.above == ("value", "low", "high")


def test_the_same_seed_draws_the_same_streams_and_another_others(run):
    plan = {"conditions": ("noise",), "streams": 20, "before": 60, "after": 60}
    one, same, other = (stream_alarms(run, StreamPlan(seed=seed, **plan)) for seed in (0, 0, 1))
    assert one.model_dump_json() == same.model_dump_json()
    assert [row.changes for row in one.monitors] != [row.changes for row in other.monitors]


def test_the_signal_is_that_of_the_policy_or_the_baseline(tmp_path, run):
    assert stream_alarms(run, StreamPlan(streams=10, before=50, after=9)).signal == "msp"
    policy = {"name": "threshold", "policy": dump_policy(Threshold(signal="energy", uncertainty=0.5))}
    other = made(tmp_path / "run", normal(500, 1), normal(300, 2), [policy], noise=normal(300, 3))
    plan = {"streams": 10, "before": 50, "after": 9}
    chosen, named = stream_alarms(other, StreamPlan(**plan)), stream_alarms(other, StreamPlan(signal="msp", **plan))
    assert (chosen.signal, named.signal) == ("energy", "msp")
    assert chosen.monitors[0].threshold == pytest.approx(named.monitors[0].threshold + 1)


def test_a_condition_of_few_images_is_left_out_with_the_reason(run):
    found = stream_alarms(run, StreamPlan(streams=10, before=50, after=9))
    assert found.skipped == {"few": "29 test images with a score, at least 30 are needed"}
    with pytest.raises(InputError, match="no change to draw a stream from: few: 29 test images"):
        stream_alarms(run, StreamPlan(conditions=("few",), streams=10, before=50, after=9))


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        ({"signal": "mpsp"}, "unknown signal 'mpsp'"),
        ({"conditions": ("nois",)}, "unknown condition 'nois'"),
        ({"conditions": ("clean",)}, "unknown condition 'clean'"),
        ({"streams": 9}, "`streams` must be at least 10"),
        ({"after": 0}, "`after` must be at least 1"),
        ({"windows": (50, 200), "before": 199}, "`before` must hold a window, 200 images"),
        ({"windows": (0,)}, "`window` is a number of images"),
        ({"windows": (5001,), "before": 6000}, "at least 5001 clean images"),
    ],
)
def test_what_cannot_be_simulated_is_refused(run, plan, words):
    with pytest.raises((InputError, UnknownNameError), match=words):
        stream_alarms(run, StreamPlan(**plan))


def test_a_run_without_test_images_or_without_a_change_is_refused(tmp_path):
    with pytest.raises(InputError, match="has no test images"):
        stream_alarms(made(tmp_path / "one", normal(500, 1), [], noise=normal(300, 1)), StreamPlan())
    with pytest.raises(InputError, match="it has clean images alone"):
        stream_alarms(made(tmp_path / "two", normal(500, 1), normal(300, 2)), StreamPlan())


def test_no_interval_is_invented():
    found = StreamNumber.of(Estimate(value=math.inf, low=3, high=math.inf, n=7), cap=90)
    assert (found.value, found.low, found.high, found.above) == (90, 3, 90, ("value", "high"))
    assert math.isnan(StreamNumber.of(Estimate.undefined("no streams")).value)


def test_a_real_audit_is_simulated(folder):
    plan = StreamPlan(streams=10, before=60, after=30, windows=(10,), budget=0.05)
    found = stream_alarms(open_run(folder), plan)
    kinds = {each["name"]: each["kind"] for each in open_run(folder).facts["conditions"]}
    named = {change.condition for change in found.monitors[0].changes} | set(found.skipped)
    assert named == {name for name, kind in kinds.items() if kind in {"clean", "attack", "corruption", "unknown"}}
