"""Every table of the results, computed again from the Parquet files by slow obvious code."""

import json
import math
import shutil
from statistics import median_low

import pytest
from scipy.stats import binomtest
from tests import tiny
from tests.analysis.plain_rows import answered, auroc, rows_of, same, share, wrong

from demur.analysis import Results, analyse, write_results

ROBUST = "pgd(eps=0.05, keep='worst', steps=4)"


def facts(folder):
    return json.loads((folder / "run.json").read_text())


def test_accuracy(folder, results):
    for found, split in ((results.accuracy, None), (results.test_accuracy, "test")):
        rows = rows_of(folder, "clean", split)
        assert found.n == len(rows)
        assert same(found.value, share(not wrong(row) for row in rows))
        assert found.low < found.value < found.high


def kept(errors, answers, risk):
    ends = binomtest(errors, answers).proportion_ci(0.95, "exact")
    return "holds" if ends.high <= risk else "broken" if ends.low > risk else "undecided"


def test_conditions_at_the_frozen_threshold(folder, results):
    assert [row.condition for row in results.conditions] == [entry["name"] for entry in facts(folder)["conditions"]]
    for row in results.conditions:
        everyone, test = rows_of(folder, row.condition), rows_of(folder, row.condition, "test")
        accepted = [each for each in test if answered(folder, each)]
        errors = sum(wrong(each) for each in accepted)
        assert row.n == len(everyone)
        assert same(row.accuracy.value, share(not wrong(each) for each in everyone))
        assert (row.answers, row.wrong_answers) == (len(accepted), errors)
        assert same(row.coverage.value, len(accepted) / len(test))
        assert same(row.risk.value, share(wrong(each) for each in accepted))
        told = len(accepted) >= 20 and row.family != "fmn"
        assert row.holds == (kept(errors, len(accepted), 0.1) if told else None), row.condition
        assert row.forwards == sum(each["forwards"] for each in everyone)
        assert row.backwards == sum(each["backwards"] for each in everyone)
    assert {row.holds for row in results.conditions} == {"holds", "broken", "undecided", None}, "all four must be shown"


def test_the_guarantee_and_what_the_test_split_says_of_it(folder, results):
    test = rows_of(folder, "clean", "test")
    accepted = [row for row in test if answered(folder, row)]
    certify = rows_of(folder, "clean", "certify")
    sure = [row for row in certify if answered(folder, row)]
    guarantee = results.guarantee
    assert (guarantee.test_n, guarantee.test_answers) == (len(test), len(accepted))
    assert guarantee.test_wrong == sum(map(wrong, accepted))
    assert (guarantee.certify_n, guarantee.certify_answers) == (len(certify), len(sure))
    assert guarantee.certify_wrong == sum(map(wrong, sure))
    assert same(guarantee.coverage.value, len(accepted) / len(test))
    assert same(guarantee.test_risk.value, share(map(wrong, accepted)))
    assert same(guarantee.risk_without_guard.value, share(map(wrong, test)))


def test_classes(folder, results):
    test = rows_of(folder, "clean", "test")
    for k, row in enumerate(results.per_class):
        own = [each for each in test if each["label"] == k]
        accepted = [each for each in own if answered(folder, each)]
        assert (row.name, row.n) == (tiny.CLASSES[k], len(own))
        assert same(row.accuracy.value, share(not wrong(each) for each in own))
        assert same(row.coverage.value, len(accepted) / len(own))
        assert same(row.risk.value, share(map(wrong, accepted)))
    assert results.worst_class.row == max(results.per_class, key=lambda row: row.risk.value)
    assert results.worst_class.by == "risk"


def test_confusion(folder, results):
    rows = rows_of(folder, "clean")
    expected = [[sum((r["label"], r["predicted"]) == (i, j) for r in rows) for j in range(3)] for i in range(3)]
    assert [list(row) for row in results.confusion] == expected
    assert sum(map(sum, results.confusion)) == tiny.ROWS


def test_the_failure_table(folder, results):
    def flagged(policy, row):
        if policy.startswith("certified"):
            return not answered(folder, row)
        return 1 - row["signal.msp"] < 0.6 or row["signal.entropy"] > 0.9

    assert len(results.policies) == 2 * len(results.conditions)
    for found in results.policies:
        splits = {"test"} if found.policy.startswith("certified") else {"tune", "certify", "test"}
        test = [row for row in rows_of(folder, found.condition) if row["split"] in splits]
        assert set(found.splits) == {row["split"] for row in test}
        flags = [flagged(found.policy, row) for row in test]
        caught = share(flag for flag, row in zip(flags, test, strict=True) if wrong(row))
        kept = share(not flag for flag, row in zip(flags, test, strict=True) if not wrong(row))
        assert found.n == len(test)
        assert same(found.accuracy.value, share(not wrong(row) for row in test))
        assert same(found.flagged.value, share(flags))
        for number, side in ((found.accuracy_flagged, True), (found.accuracy_unflagged, False)):
            assert same(number.value, share(not wrong(r) for flag, r in zip(flags, test, strict=True) if flag is side))
        assert same(found.errors_caught.value, caught)
        assert same(found.fpr.value, 1 - kept)
        assert same(found.precision.value, share(wrong(r) for flag, r in zip(flags, test, strict=True) if flag))
        assert same(found.balanced_accuracy.value, (caught + kept) / 2)


def targets(folder):
    """The rows a signal should uncertainty and those it should not, by target."""
    clean = rows_of(folder, "clean")
    yield "error", [row for row in clean if wrong(row)], [row for row in clean if not wrong(row)]
    for target, name in (("attack", ROBUST), ("attack_oblivious", "fmn(steps=10)")):
        attacked = rows_of(folder, name)
        ids = {row["sample_id"] for row in attacked}
        right = {row["sample_id"] for row in clean if not wrong(row)}
        yield (
            target,
            [row for row in attacked if wrong(row) and row["sample_id"] in right],
            [row for row in clean if row["sample_id"] in ids],
        )
    corrupted = [row for entry in facts(folder)["conditions"] if entry["kind"] == "corruption"
                 for row in rows_of(folder, entry["name"], "test")]  # fmt: skip
    yield "shift", corrupted, rows_of(folder, "clean", "test")


def test_signals_against_their_targets(folder, results):
    expected = list(targets(folder))
    for signal in results.signals:
        assert [row.target for row in signal.targets] == [name for name, _, _ in expected]
        for row, (_, positive, negative) in zip(signal.targets, expected, strict=True):
            assert (row.positives, row.negatives) == (len(positive), len(negative))

            def area(name, positive=positive, negative=negative):
                return auroc([r[f"signal.{name}"] for r in positive], [r[f"signal.{name}"] for r in negative])

            assert same(row.auroc.value, area(signal.name))
            assert row.auroc.low <= row.auroc.value <= row.auroc.high
            if signal.name == "msp":
                assert row.gain is None
            else:
                assert same(row.gain.value, area(signal.name) - area("msp"))
            assert (row.augrc is None) is (row.target != "error")


def test_augrc_is_the_identity_of_auroc_and_accuracy(folder, results):
    right = share(not wrong(row) for row in rows_of(folder, "clean"))
    for signal in results.signals:
        error = signal.targets[0]
        identity = (1 - error.auroc.value) * right * (1 - right) + (1 - right) ** 2 / 2
        assert error.augrc.value == pytest.approx(identity, abs=1e-12)


def test_coverage_at_the_guaranteed_risk(folder, results):
    rows = rows_of(folder, "clean")
    for signal in results.signals:
        scores = [row[f"signal.{signal.name}"] for row in rows]
        best = 0
        for threshold in scores:
            accepted = [row for row, score in zip(rows, scores, strict=True) if score <= threshold]
            if sum(map(wrong, accepted)) <= 0.1 * len(accepted):
                best = max(best, len(accepted))
        assert same(signal.targets[0].coverage_at_risk.value, best / len(rows))


def test_curves(folder, results):
    test = rows_of(folder, "clean", "test")
    assert [curve.signal for curve in results.curves] == [signal.name for signal in results.signals]
    for curve in results.curves:
        assert 2 <= len(curve.points) <= 200
        assert same(curve.points[-1].coverage, 1)
        for point in curve.points:
            accepted = [row for row in test if row[f"signal.{curve.signal}"] <= point.threshold]
            assert same(point.coverage, len(accepted) / len(test))
            assert same(point.risk, share(map(wrong, accepted)))
    right = sum(not wrong(row) for row in test)
    for point in results.oracle.points:
        accepted = round(point.coverage * len(test))
        assert same(point.risk, max(0, accepted - right) / accepted)
    assert same(results.random_risk, share(map(wrong, test)))


def test_histograms_count_every_row_once(folder, results):
    test = rows_of(folder, "clean", "test")
    errors = sum(map(wrong, test))
    corrupted = sum(len(rows_of(folder, r.condition, "test")) for r in results.conditions if r.kind == "corruption")
    for histogram in results.histograms:
        assert sum(histogram.right) == len(test) - errors
        assert sum(histogram.wrong) == errors
        assert sum(histogram.corrupted) == corrupted
        assert sum(histogram.attacked) == 120
        assert len(histogram.edges) == len(histogram.right) + 1
        assert list(histogram.edges) == sorted(histogram.edges)
        low, high = histogram.edges[3], histogram.edges[4]
        name = f"signal.{histogram.signal}"
        assert histogram.right[3] == sum(not wrong(row) and low <= row[name] < high for row in test)


def test_reliability(folder, results):
    rows = rows_of(folder, "clean")
    expected = 0.0
    for part in results.calibration.bins:
        own = [row for row in rows if part.low < 1 - row["signal.msp"] <= part.high]
        assert part.n == len(own)
        assert same(part.accuracy.value, share(not wrong(row) for row in own))
        if own:
            confidence = sum(1 - row["signal.msp"] for row in own) / len(own)
            assert same(part.confidence, confidence)
            expected += len(own) / len(rows) * abs(part.accuracy.value - confidence)
    assert sum(part.n for part in results.calibration.bins) == len(rows)
    assert same(results.calibration.ece.value, expected)


def test_nll_and_brier(folder, results):
    nll, brier, rows = 0.0, 0.0, rows_of(folder, "clean")
    for row in rows:
        weights = [math.exp(row[f"logit.{k}"]) for k in range(3)]
        p = [weight / sum(weights) for weight in weights]
        nll -= math.log(p[row["label"]])
        brier += sum((p[k] - (k == row["label"])) ** 2 for k in range(3))
    assert results.calibration.nll.value == pytest.approx(nll / len(rows), rel=1e-9)
    assert results.calibration.brier.value == pytest.approx(brier / len(rows), rel=1e-9)


def test_manipulation(folder, results):
    found, worst = results.manipulation, rows_of(folder, ROBUST)
    attacked = {row["sample_id"] for row in worst}
    least = {row["sample_id"]: 0.0 if wrong(row) else math.inf for row in rows_of(folder, "clean")}
    for entry in facts(folder)["conditions"]:
        if entry["kind"] == "attack":
            for row in rows_of(folder, entry["name"]):
                least[row["sample_id"]] = min(least[row["sample_id"]], row["distance.linf"] if wrong(row) else math.inf)
    assert same(found.median_distance.value, median_low([least[name] for name in attacked]))
    assert found.eps == pytest.approx(0.05)
    assert found.attacked_samples == len(worst) == 120
    assert found.wrong_answers == sum(wrong(row) and answered(folder, row) for row in worst)
    alive = {row["sample_id"] for row in worst}
    for entry in facts(folder)["conditions"]:
        if entry["kind"] == "attack":
            for row in rows_of(folder, entry["name"]):
                if wrong(row) and row["distance.linf"] <= 0.05 + 1e-6:
                    alive.discard(row["sample_id"])
    assert 0 < len(alive) < 120, "the fixture must show both"
    assert same(found.robust_accuracy.value, len(alive) / 120)


def test_the_gallery_holds_the_surest_errors(folder, results):
    errors = sorted((row for row in rows_of(folder, "clean") if wrong(row)), key=lambda row: row["signal.msp"])[:24]
    assert [picture.sample_id for picture in results.gallery] == [row["sample_id"] for row in errors]
    for picture, row in zip(results.gallery, errors, strict=True):
        assert same(picture.confidence, 1 - row["signal.msp"])
        assert (picture.label, picture.predicted) == (tiny.CLASSES[row["label"]], tiny.CLASSES[row["predicted"]])
        assert picture.is_answered is answered(folder, row)
        assert picture.thumb.startswith("data:image/webp;base64,")
        assert len(picture.thumb) < 8_500


def test_provenance(folder, results):
    found = results.provenance
    rows = [row for entry in facts(folder)["conditions"] for row in rows_of(folder, entry["name"])]
    assert found.forwards == sum(row["forwards"] for row in rows)
    assert found.backwards == sum(row["backwards"] for row in rows)
    assert found.plan_toml == (folder / "plan.toml").read_text()
    assert found.failed_samples == 0
    assert found.groups is None
    assert "assumed independent" in found.independence


def quantities(tree):
    if isinstance(tree, dict):
        if {"value", "low", "high", "n", "unit"} <= set(tree):
            yield tree
        for branch in tree.values():
            yield from quantities(branch)
    elif isinstance(tree, list):
        for branch in tree:
            yield from quantities(branch)


@pytest.mark.parametrize(("line", "found"), [("", {}), ("[purpose]\nowner = 'QA'", {"owner": "QA"})])
def test_the_purpose_is_the_plan_s_and_none_where_a_plan_has_none(folder, tmp_path, line, found):
    copy = shutil.copytree(folder, tmp_path / "run")
    plan = (copy / "plan.toml").read_text()
    assert "[purpose]\n" in plan
    (copy / "plan.toml").write_text(plan.replace("[purpose]", line, 1))
    assert analyse(tiny.reseal(copy)).purpose == found


def test_results_travel_as_json(folder, results, tmp_path):
    text = results.model_dump_json()
    assert Results.model_validate_json(text).model_dump_json() == text
    constants = []
    found = list(quantities(json.loads(text, parse_constant=constants.append)))
    assert not constants, "JSON has neither NaN nor Infinity"
    assert len(found) > 200
    assert all(each["unit"] == "image" for each in found)
    assert any(each["value"] is None for each in found), "the fixture must show an undefined number"
    assert all(each["reason"] for each in found if None in {each["value"], each["low"], each["high"]})


def test_results_are_written_beside_the_records(tmp_path):
    folder = tiny.run(tmp_path / "run", conditions=("clean",))
    written = write_results(folder)
    again = Results.model_validate_json((folder / "results.json").read_bytes())
    assert again.model_dump_json() == written.model_dump_json()
    assert written.manipulation is None


def test_a_group_where_given_is_the_unit_everywhere(tmp_path):
    groups = [f"patient {k // 3}" for k in range(tiny.ROWS)]
    folder = tiny.run(tmp_path / "run", tiny.source(groups=groups))
    found = write_results(folder)
    assert found.provenance.groups == tiny.ROWS // 3
    assert found.guarantee is None or found.guarantee.unit == "group"
    for each in quantities(json.loads(found.model_dump_json())):
        assert each["unit"] == "group" or each["n"] == 0, each
    splits = {}
    for row in rows_of(folder, "clean"):
        assert splits.setdefault(row["group"], row["split"]) == row["split"], "a group was split between splits"
