"""Guarantees by class, at sites, of groups and at a fixed coverage, from images to the page: every count by hand."""

import numpy as np
import pytest
from tests import tiny
from tests.analysis import factory_runs
from tests.analysis.plain_rows import rows_of, same, share, wrong

from demur.analysis import analyse
from demur.errors import InputError, UnknownNameError
from demur.files import read_json, write_json
from demur.report.first_screen import FirstScreen
from demur.report.page import _contents, environment
from demur.report.state_words import guarantee_holds, reportable, statement


def shown(results):
    """The section of guarantees as it is read, which the page has."""
    assert "guarantees" in dict(_contents(results))
    return environment().get_template("sections/guarantees.html").render(results=reportable(results))


def certificate(folder, place=0):
    return read_json(folder / "facts" / "policies.json")[place]["policy"]["certificate"]


class TestByClass:
    @pytest.fixture(scope="class")
    @classmethod
    def folder(cls, tmp_path_factory):
        out = tmp_path_factory.mktemp("by-class") / "run"
        policies = ["certified_by_class(risk=0.08, risks=['defective=0.1'])", "certified(risk=0.1)"]
        return factory_runs.run(out, policies__use=policies)

    @pytest.fixture(scope="class")
    @classmethod
    def results(cls, folder):
        return analyse(folder)

    def test_every_class_is_counted_on_both_splits(self, folder, results):
        threshold = certificate(folder)["threshold"]
        assert (results.guarantee.kind, results.guarantee.threshold) == ("class", threshold)
        for k, part in enumerate(results.guarantee.parts):
            for split, told in (
                ("certify", (part.certify_n, part.certify_answers, part.certify_wrong)),
                ("test", (part.test_n, part.test_answers, part.test_wrong)),
            ):
                own = [row for row in rows_of(folder, "clean", split) if row["label"] == k]
                given = [row for row in own if row["signal.msp"] <= threshold]
                assert told == (len(own), len(given), sum(map(wrong, given)))
        assert [part.risk for part in results.guarantee.parts] == [0.08, 0.08, 0.1]
        assert 0.3 < results.guarantee.coverage.value < 1

    def test_the_headline_is_about_every_class(self, results):
        """Also where a class is named that must not be missed: its own share is part of the guarantee."""
        first = FirstScreen.of(results)
        assert first.verdict.headline == "Of the images of each class, at most the stated share are answered wrong"
        assert "of all answers" not in first.verdict.note
        assert results.coverage_loss is None
        assert "the worst class is “" in first.check
        assert not any("Any single class" in item for item in results.out_of_scope)

    def test_every_guarantee_of_the_plan_is_told(self, results):
        assert [(row.policy, row.issued) for row in results.guarantees] == [
            ("certified_by_class(risk=0.08, risks=['defective=0.1'])", True),
            ("certified(risk=0.1)", True),
        ]
        text = shown(results)
        assert all(row.sentence.replace("'", "&#39;") in text for row in results.guarantees)
        assert "Of all images of each class, answered or not, those answered wrong" in text

    def test_a_class_that_fails_the_test_split_is_noticed(self, results):
        first, *others = results.guarantee.parts
        for errors, state in ((first.test_n // 3, "broken"), (round(first.test_n * first.risk), "undecided")):
            parts = (first.model_copy(update={"test_wrong": errors}), *others)
            assert guarantee_holds(results.guarantee.model_copy(update={"parts": parts})) == state
        fine = tuple(part.model_copy(update={"test_wrong": 0}) for part in results.guarantee.parts)
        assert guarantee_holds(results.guarantee.model_copy(update={"parts": fine})) == "holds"

    def test_predictive_values_at_the_stated_prevalence_are_those_of_its_answers(self, folder, results):
        guarded = next(row for row in results.direction.at if row.with_guard)
        given = [r for r in rows_of(folder, "clean", "test") if r["signal.msp"] <= certificate(folder)["threshold"]]
        test = rows_of(folder, "clean", "test")
        inside = factory_runs.CLASSES.index("defective")
        rate = {
            flag: share((r["predicted"] == inside) and (r in given) for r in test if (r["label"] == inside) == flag)
            for flag in (True, False)
        }
        hit, alarm = 0.02 * rate[True], 0.98 * rate[False]
        assert same(guarded.ppv.value, hit / (hit + alarm))


class TestBySite:
    @pytest.fixture(scope="class")
    @classmethod
    def folder(cls, tmp_path_factory):
        out = tmp_path_factory.mktemp("by-site") / "run"
        return factory_runs.run(out, policies__use=["certified_by_site(risk=0.1)"])

    @pytest.fixture(scope="class")
    @classmethod
    def results(cls, folder):
        return analyse(folder)

    def test_every_site_is_counted_with_its_own_threshold(self, folder, results):
        thresholds = {each["site"]: each["certificate"]["threshold"] for each in certificate(folder)["sites"]}
        assert set(thresholds) == {part.name for part in results.guarantee.parts} == {"Hamburg", "Leipzig"}
        assert len(set(thresholds.values())) == 2
        for part in results.guarantee.parts:
            own = [row for row in rows_of(folder, "clean", "test") if row["meta.site"] == part.name]
            given = [row for row in own if row["signal.msp"] <= thresholds[part.name]]
            assert part.threshold == thresholds[part.name]
            assert (part.test_n, part.test_answers, part.test_wrong) == (len(own), len(given), sum(map(wrong, given)))

    def test_a_site_without_a_threshold_gets_no_answers(self, folder, results):
        assert list(results.guarantee.refused_sites) == ["Turin"]
        answers = sum(part.test_answers for part in results.guarantee.parts)
        assert results.guarantee.test_answers == answers
        turin = next(row for row in results.slices if row.value == "Turin")
        assert turin.coverage.value == 0

    def test_the_page_names_sites_and_has_no_single_threshold(self, results):
        assert results.guarantee.threshold is None
        assert statement(results.guarantee).endswith("answers are wrong at each of 2 sites")
        assert "images of “defective” are answered and wrong" in FirstScreen.of(results).verdict.headline
        assert "No threshold at <b>Turin</b>, where the guard abstains" in shown(results)

    def test_a_column_the_data_lack_is_refused_before_anything_is_measured(self, tmp_path):
        with pytest.raises(UnknownNameError, match=r"unknown column of certified_by_site.*Did you mean 'site'"):
            factory_runs.run(tmp_path / "run", policies__use=["certified_by_site(column='sit')"])
        assert not (tmp_path / "run" / "records").exists()


def grouped(sizes, rows=1200):
    """The patterns in groups of these sizes, over and over."""
    names = np.repeat(np.arange(rows), np.resize(sizes, rows))[:rows]
    return tiny.source(rows, groups=[f"lot{name}" for name in names])


def test_groups_that_stay_whole_cannot_be_the_sites(tmp_path):
    with pytest.raises(InputError, match=r"no group has images both to certify and to test.*column='camera'"):
        tiny.run(tmp_path / "run", grouped([4]), policies=("certified_by_site(column='group')",))


def test_large_groups_are_bet_on_and_the_risk_of_images_stands_beside(tmp_path):
    folder = tiny.run(tmp_path / "run", grouped([3, 5]), conditions=("clean",), policies=("certified(risk=0.2)",))
    results, made = analyse(folder), certificate(folder)
    certify = rows_of(folder, "clean", "certify")
    given = [row for row in certify if row["signal.msp"] <= made["threshold"]]
    guarantee = results.guarantee
    assert (guarantee.weighting, guarantee.unit, guarantee.images) == ("group", "group", len(certify))
    assert guarantee.certify_n == len({row["group"] for row in certify})
    assert abs(guarantee.certify_answers - len(given)) <= made["near"]
    assert same(guarantee.image_risk.value, share(map(wrong, given)))
    assert guarantee.image_risk.low < guarantee.image_risk.value < guarantee.image_risk.high
    assert FirstScreen.of(results).verdict.headline.endswith("answers are wrong, each group counting equally")
    assert "The guarantee counts each group equally, whatever its number of images" in shown(results)


def test_one_group_of_all_images_is_named_as_the_reason(tmp_path):
    policies = ("certified(risk=0.2)", "certified_by_class", "capacity")
    folder = tiny.run(
        tmp_path / "run", tiny.source(400, groups=["lot"] * 400), conditions=("clean",), policies=policies
    )
    results = analyse(folder)
    assert results.state == "too_few_labels"
    assert all("one and the same group, 'lot'" in row.sentence for row in results.guarantees)
    assert "all images are of one group, “lot”" in FirstScreen.of(results).verdict.headline


def test_so_few_groups_that_a_split_is_empty_are_refused(tmp_path):
    source = tiny.source(400, groups=["lot"] * 399 + ["another"])
    results = analyse(tiny.run(tmp_path / "run", source, conditions=("clean",), policies=("certified(risk=0.2)",)))
    assert results.state == "too_few_labels"
    assert "2 groups are too few to give every split some" in results.refusal.sentence


def test_a_refusal_of_groups_begins_with_what_they_can_prove(tmp_path):
    folder = tiny.run(tmp_path / "run", grouped([30]), conditions=("clean",), policies=("certified(risk=0.05)",))
    results = analyse(folder)
    groups = len({row["group"] for row in rows_of(folder, "clean", "certify")})
    least = 1 - (0.05 * 0.9 * 0.9) ** (1 / groups)
    opening = f"The smallest risk that {groups} groups can prove is {100 * least:.3g} %."
    assert results.refusal.sentence.startswith(opening)
    assert same(results.refusal.provable, least)


class TestCapacity:
    @pytest.fixture(scope="class")
    @classmethod
    def folder(cls, tmp_path_factory):
        out = tmp_path_factory.mktemp("capacity") / "run"
        return tiny.run(out, conditions=("clean",), policies=("capacity(coverage=0.7)", "certified(risk=0.0001)"))

    def test_the_risk_at_a_coverage_is_what_one_test_shows(self, folder):
        guarantee, made = analyse(folder).guarantee, certificate(folder)
        assert (guarantee.kind, guarantee.risk) == ("capacity", made["bound"])
        assert abs(guarantee.certify_answers / guarantee.certify_n - 0.7) < 0.08
        assert guarantee.certify_wrong / guarantee.certify_answers < guarantee.risk < 0.1

    def test_a_weaker_statement_is_left_out_where_something_is_certified(self, folder):
        results = analyse(folder)
        assert read_json(folder / "facts" / "policies.json")[1]["average_loss"] is None or results.guarantee
        assert results.average_loss is None


def test_the_weaker_statement_stands_beside_a_refusal_and_never_in_the_headline(tmp_path):
    folder = tiny.run(tmp_path / "run", conditions=("clean",), policies=("certified(risk=0.01)",))
    results = analyse(folder)
    assert results.state != "issued"
    weaker, test = results.average_loss, rows_of(folder, "clean", "test")
    given = [row for row in test if row["signal.msp"] <= weaker.threshold]
    certify = rows_of(folder, "clean", "certify")
    errors = sum(wrong(row) for row in certify if row["signal.msp"] <= weaker.threshold)
    assert errors + 1 <= 0.01 * (len(certify) + 1) < errors + 3
    assert same(weaker.answered.value, len(given) / len(test))
    assert same(weaker.wrong.value, sum(map(wrong, given)) / len(test))
    first = FirstScreen.of(results)
    told = " ".join([first.verdict.headline, first.verdict.note, first.verdict.answer, first.next_step])
    assert "on average" not in told
    assert "A weaker statement, which is no guarantee of this kind" in shown(results)


def test_a_class_with_too_few_labels_is_the_headline_of_the_refusal(tmp_path):
    policies = ("certified_by_class(risk=0.005)",)
    results = analyse(tiny.run(tmp_path / "run", conditions=("clean",), policies=policies))
    first = FirstScreen.of(results)
    assert (results.state, results.refusal.kind) == ("too_few_labels", "class")
    assert first.verdict.headline == "No guarantee for every class"
    assert "the class '" in first.verdict.note


def test_a_stored_certificate_that_is_none_is_refused(tmp_path):
    folder = tiny.run(tmp_path / "run", conditions=("clean",), policies=("certified_by_class(risk=0.2)",))
    path = folder / "facts" / "policies.json"
    entries = read_json(path)
    entries[0]["policy"]["certificate"]["classes"] = 3
    write_json(path, entries)
    tiny.reseal(folder)
    with pytest.raises(InputError, match="classes of a stored certificate must be a list; got 3"):
        analyse(folder)
