"""Every attack of a plan by every signal, worked out again the slow way; who is blind on plain shares."""

import numpy as np
import polars as pl
import pytest
from tests.analysis.plain_rows import auroc, rows_of, same, share, wrong

from demur.analysis.run_folder import Run
from demur.analysis.run_folder import share as share_of
from demur.analysis.signals.attack_detection import _of_attack, _of_signal, attack_detections, is_below
from demur.analysis.signals.ranking_targets import Target


def fooled_and_clean(folder, condition):
    """Rows that were right and are wrong, and all images of the attack as they were."""
    attacked = rows_of(folder, condition)
    clean = {row["sample_id"]: row for row in rows_of(folder, "clean")}
    before = [clean[row["sample_id"]] for row in attacked]
    return [row for row, own in zip(attacked, before, strict=True) if wrong(row) and not wrong(own)], before


def test_every_attack_is_held_against_every_signal(results, folder):
    attacks = [row.condition for row in results.conditions if row.kind == "attack"]
    assert [found.condition for found in results.detections] == attacks
    assert len(attacks) > 2
    for found in results.detections:
        fooled, clean = fooled_and_clean(folder, found.condition)
        assert [row.signal for row in found.signals] == [signal.name for signal in results.signals]
        for row in found.signals:
            column = f"signal.{row.signal}"
            assert (row.positives, row.negatives) == (len(fooled), len(clean))
            assert same(row.auroc.value, auroc([each[column] for each in fooled], [each[column] for each in clean]))


def test_what_is_abstained_on_is_by_the_threshold_of_the_signal(results, folder):
    thresholds = {row.signal: row.threshold for row in results.rejections}
    for found in results.detections:
        kinds = [[row for row in rows if row["split"] == "test"] for rows in fooled_and_clean(folder, found.condition)]
        for row in found.signals:
            for rows, shown in zip(kinds, (row.abstention, row.clean_abstention), strict=True):
                above = [each[f"signal.{row.signal}"] > thresholds[row.signal] for each in rows]
                assert same(shown.value, share(above))
                assert shown.n == len(rows)


def test_without_a_threshold_nothing_is_said_of_abstention(folder):
    rows = [row for found in attack_detections(Run(folder), ()) for row in found.signals]
    assert all(row.abstention is row.clean_abstention is None and not row.blind for row in rows)


def test_the_point_kept_is_part_of_what_is_measured(results, folder):
    points = {found.condition: (found.point, found.flatters) for found in results.detections}
    keeps = {entry["name"]: entry["keep"] for entry in Run(folder).conditions("attack")}
    for name, (point, flatters) in points.items():
        one_step = name.startswith("fgsm")
        assert point == ("only" if one_step else keeps[name])
        assert flatters is (not one_step and keeps[name] != "worst")
    assert {point for point, _ in points.values()} == {"only", "first", "worst", "nearest"}


ENTRY = {"name": "any", "severity": 0.1, "kind": "attack", "keep": "first", "family": "any"}


@pytest.mark.parametrize(
    ("facts", "knowledge"),
    [
        ({"blind": False}, "knew the whole model"),
        ({"blind": True}, "saw its answers alone"),
        ({"blind": False, "gradient_free": True}, "saw its answers alone"),
        ({"gradient_free": True, "label_only": True}, "saw the answered class alone"),
        ({"control": True, "gradient_free": True}, "drew at random"),
        ({"stages": [{"control": True}, {"blind": True}, {"blind": False}]}, "knew the whole model"),
        ({"stages": [{"control": True}, {"blind": True}], "blind": True}, "saw its answers alone"),
        (None, "knew the whole model"),
    ],
)
def test_what_the_attacker_knew_is_that_of_its_best_informed_stage(folder, facts, knowledge):
    run = Run(folder)
    name = run.conditions("attack")[0]["name"]
    found = _of_attack(run, {**ENTRY, "name": name, "attack": facts}, {}, 1)
    assert (found.knowledge, found.point) == (knowledge, "first")


def shares(ours, theirs, n, several=1):
    tables = pl.DataFrame({"group": pl.Series([None] * n, dtype=pl.String), "sample_id": map(str, range(n))})
    return [share_of(np.arange(n) < count, tables, several) for count in (ours, theirs)]


def test_blindis_below_beyond_chance_and_never_above():
    assert is_below(*shares(0, 30, 400))
    assert is_below(*shares(0, 6, 400)), "by the lower end of the higher share"
    assert not is_below(*shares(30, 0, 400))
    assert not is_below(*shares(18, 20, 400))
    assert not is_below(*shares(0, 4, 400))


def test_of_many_signals_alike_one_is_seldom_called_blind():
    rng = np.random.default_rng(0)
    alone = together = 0
    for _ in range(60):
        counts = rng.binomial(400, 0.06, (30, 2))
        alone += any(is_below(*shares(*pair, 400)) for pair in counts)
        together += any(is_below(*shares(*pair, 400, 30)) for pair in counts)
    assert alone >= 6
    assert together <= 3


def made_up(fooled, clean, split="test"):
    """Scores of fooled and of clean images."""
    n = len(fooled) + len(clean)
    rows = pl.DataFrame(
        {
            "sample_id": [str(at) for at in (*range(len(fooled)), *range(len(clean)))],
            "split": [split] * n,
            "group": pl.Series([None] * n, dtype=pl.String),
            "signal.any": [*fooled, *clean],
        }
    )
    return Target("attack", rows, np.arange(n) < len(fooled), np.array(rows["sample_id"].to_list()))


def test_a_signal_that_falls_under_attack_is_blind_and_one_that_rises_is_not():
    rng = np.random.default_rng(1)
    clean = rng.normal(size=400)
    for shift, blind in ((-4.0, True), (0.0, False), (4.0, False)):
        found = _of_signal(made_up(clean + shift, clean), {"name": "any"}, 1.5, 10)
        assert (found.blind, found.positives, found.negatives) == (blind, 400, 400)
        assert found.clean_abstention.value == (clean > 1.5).mean()
        assert found.abstention.value == (clean + shift > 1.5).mean()


def test_blind_is_judged_for_all_signals_and_attacks_at_once():
    clean = np.arange(400) / 400
    target = made_up(clean - 0.03, clean)
    assert _of_signal(target, {"name": "any"}, 0.95, 1).blind
    assert not _of_signal(target, {"name": "any"}, 0.95, 1000).blind


def test_only_test_rows_say_who_is_blind_and_where_a_fitted_signal_ranks():
    scores = np.random.default_rng(2).normal(size=400)
    target = made_up(scores - 4, scores, split="tune")
    assert _of_signal(target, {"name": "any"}, 1.5, 10).positives == 400
    found = _of_signal(target, {"name": "any", "bank": {"rows": 10}}, 1.5, 10)
    assert (found.positives, found.negatives, found.blind) == (0, 0, False)
    assert np.isnan(found.auroc.value)
    assert found.abstention.n == 0
