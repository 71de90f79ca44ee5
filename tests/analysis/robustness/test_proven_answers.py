"""What is proven stands beside what was found, on the same images; a contradiction of the two fails the measurement."""

import json
import shutil
from itertools import pairwise

import pytest
from tests import tiny
from tests.analysis import factory_runs
from tests.report.perturbation_results import search
from torch import nn

from demur.analysis import analyse
from demur.analysis.compare_runs import compare
from demur.analysis.csv_tables import csv_tables
from demur.analysis.robustness.guard_breaches import guard_breach
from demur.analysis.robustness.least_distances import least_distances
from demur.analysis.robustness.proven_answers import proven_rows
from demur.analysis.run_folder import Run
from demur.analysis.verdict.proof_checks import proof_checks
from demur.classifier import BoundClassifier
from demur.cli.comparison_words import compare_words
from demur.files import read_json
from demur.pipeline.plan.plan_file import read_plan
from demur.pipeline.run.loop import run_plan
from demur.report import render as page
from demur.report.comparison_page import comparison_page
from demur.report.first_screen import FirstScreen
from demur.report.perturbation_words import perturbation_size

PLAN = {
    "conditions.use": ["clean", "pgd(eps=0.02, keep='worst', steps=8)", "fmn(norm='linf', steps=10)"],
    "conditions.attacked": 120,
    "policies.use": ["certified(risk=0.2)"],
    "signals.certify": "msp",
    "proof.images": 100,
    "proof.eps": [0.0005, 0.02, 0.3],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return factory_runs.run(tmp_path_factory.mktemp("proof") / "run", **PLAN)


@pytest.fixture(scope="module")
def found(folder):
    return analyse(folder)


def check_of(results):
    return next(check for check in results.checks if check.name == "nothing proven is broken")


def test_the_truth_lies_between_what_is_proven_and_what_was_found(found):
    assert found.proof.images == 100
    assert [row.eps for row in found.proof.sizes] == [0.0005, 0.02, 0.3]
    assert [row.attacked for row in found.proof.sizes] == [False, True, True]
    for row in found.proof.sizes:
        assert row.proven.n == row.found.n == 100
        assert row.proven.value <= row.found.value
        assert row.accepted_wrong_found.value <= row.accepted_wrong_proven.value
    assert found.proof.sizes[0].proven.value > 0.3
    for one, other in pairwise(found.proof.sizes):
        assert one.proven.value >= other.proven.value
        assert one.accepted_wrong_proven.value <= other.accepted_wrong_proven.value
    assert found.proof.guard == "msp"
    assert found.proof.sizes[0].accepted_wrong_proven.value < 1 - found.proof.sizes[0].proven.value + 1e-9
    assert sum(row.n for row in found.proof.per_class) == 100
    assert check_of(found).state == "pass"


def changed(folder, tmp_path, change):
    """The run with other facts of the proof, as if the audit had left them so."""
    other = tmp_path / "run"
    shutil.copytree(folder, other)
    facts = read_json(other / "facts/proof.json")
    change(facts)
    (other / "facts/proof.json").write_text(json.dumps(facts))
    tiny.reseal(other)
    return Run(other)


def test_an_image_that_is_proven_and_broken_fails_the_measurement(folder, tmp_path):
    def all_proven(facts):
        facts["sizes"][1]["right"] = [True] * 100

    (check,) = proof_checks(changed(folder, tmp_path, all_proven))
    broken = (
        least_distances(Run(folder), "linf", proven_rows(Run(folder), read_json(folder / "facts/proof.json"))) <= 0.02
    )
    assert (check.state, check.count, check.of) == ("fail", broken.sum(), 100)
    assert check.count > 0


def test_a_radius_beyond_a_point_that_was_found_fails_the_measurement(folder, tmp_path):
    (check,) = proof_checks(changed(folder, tmp_path, lambda facts: facts.update(radii=[0.3] * 100)))
    assert check.state == "fail"


def test_a_guard_that_answers_all_is_as_wrong_as_what_is_not_proven(folder, found):
    """Images that are proven right cannot be answered wrongly, however low the threshold."""
    for row in found.proof.sizes:
        assert row.accepted_wrong_proven.value <= 1 - row.proven.value + 1e-9


class Softened(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = tiny.Net()

    def forward(self, x):
        return self.net(x).softmax(dim=1).log()


def test_a_layer_without_a_bound_is_named(tmp_path):
    plan = read_plan(None, (), factory_runs.PLAN | PLAN)
    model = BoundClassifier(Softened().eval(), classes=factory_runs.CLASSES, input_shape=tiny.SHAPE)
    results = analyse(run_plan(plan, tmp_path / "run", tiny.Quiet(), factory_runs.Modules(), model))
    assert results.proof.reason == "the operation softmax"
    assert results.proof.sizes == ()
    assert not [check for check in results.checks if check.name == "nothing proven is broken"]
    assert "no bound is known for the operation softmax" in page(results)


def test_found_and_proven_are_columns_of_one_table(found):
    text = page(found)
    assert "Right, proven at least" in text
    assert "Accepted and wrong, proven at most" in text
    assert text.count("no attack of this size") == 1


def test_a_run_without_a_proof_has_no_table(tmp_path):
    results = factory_runs.results(tmp_path / "run")
    assert results.proof is None
    assert "Found and proven" not in page(results)


def test_the_first_screen_has_found_and_proven_of_the_guard_at_the_size_of_the_attack(found):
    row = found.proof.sizes[1]
    first = FirstScreen.of(found)
    shares = (row.accepted_wrong_found, row.accepted_wrong_proven)
    least, most = (f"{100 * each.value:.1f} %".replace(".0 %", " %") for each in shares)
    low, high = row.accepted_wrong_found.low, row.accepted_wrong_found.high
    assert first.manipulation[-1].startswith(
        f"Answered and wrong, of 100 images changed by up to ±2 % per pixel: found {least} "
        f"({100 * low:.1f}–{100 * high:.1f}) by attackers who did not know the guard (PGD and FMN); "
        f"proven at most {most} ("
    )
    assert first.manipulation_short.endswith(
        f"at ±2 %, answered and wrong: found {least} by attackers who did not know the guard, proven at most {most}."
    )
    assert (row.attackers, row.knew_guard) == (("PGD", "FMN"), False)
    without = FirstScreen.of(found.model_copy(update={"proof": None}))
    assert "proven" not in " ".join((*without.manipulation, without.manipulation_short))


def test_the_bracket_is_at_the_largest_size_attacked_where_that_of_the_attack_was_not_proven(found):
    proof = found.proof
    assert proof.bracket(0.02).eps == proof.bracket(0.02 + 1e-9).eps == 0.02
    assert proof.bracket(0.1).eps == proof.bracket(None).eps == 0.3
    alone = proof.model_copy(update={"sizes": proof.sizes[:1]})
    assert alone.bracket(None) is None
    assert alone.bracket(0.0005).eps == 0.0005
    unguarded = tuple(row.model_copy(update={"accepted_wrong_proven": None}) for row in proof.sizes)
    assert proof.model_copy(update={"sizes": unguarded}).bracket(0.02) is None


@pytest.mark.parametrize("eps", [0.0005, 0.02, 0.3])
def test_what_is_found_of_the_guard_are_accepted_wrong_answers_near_enough(folder, eps):
    """Image by image: as it is, under attacks of at most the size, and where a search ended within it."""
    run = Run(folder)
    rows = proven_rows(run, read_json(folder / "facts/proof.json"))
    attacks = [entry["name"] for entry in run.conditions("attack") if entry["severity"] <= eps]
    broken, beyond = set(), 0
    for name in ("clean", *attacks):
        table = run.rows(name)
        for at, passed in enumerate(run.accepts(run.guard, table)):
            row = table.row(at, named=True)
            near = name == "clean" or row["distance.linf"] <= eps + 1e-6
            if passed and row["predicted"] != row["label"]:
                broken, beyond = broken | ({row["sample_id"]} if near else set()), beyond + (not near)
    found = guard_breach(run, rows, "linf", eps)
    assert found.value.value == pytest.approx(sum(one in broken for one in rows["sample_id"]) / len(rows))
    assert found.attackers == (("FMN",) if eps < 0.02 else ("PGD", "FMN"))
    assert beyond or eps > 0.0005


def test_shares_and_sizes_by_class_are_those_of_its_images(folder, found):
    facts = read_json(folder / "facts/proof.json")
    rows = proven_rows(Run(folder), facts)
    for label, row in enumerate(found.proof.per_class):
        own = [k for k, each in enumerate(rows["label"].to_list()) if each == label]
        assert row.n == len(own)
        for at, size in enumerate(row.sizes):
            right = [rows[f"right.{at}"][k] for k in own]
            assert size.proven.value == pytest.approx(sum(right) / len(right))


def test_proven_stands_beside_found_in_the_table_of_attacks_and_in_csv(found, tmp_path):
    text = page(found)
    attacks = text.partition('id="attacks"')[2].partition("</table>")[0]
    row = found.proof.sizes[1]
    assert "Proven at least" in attacks
    assert f"{100 * row.proven.value:.1f} %" in attacks
    assert "of the first 100 of the images" in attacks
    assert "Proven at least" not in page(found.model_copy(update={"proof": None}))
    table = csv_tables(found)["proof-class-sizes.csv"]
    assert len(table) == 3 * len(found.classes)
    first = found.proof.per_class[0]
    assert table["name"][0] == first.name
    assert table["proven"][0] == pytest.approx(first.sizes[0].proven.value)


def test_compare_has_what_is_proven_of_the_same_images(folder, tmp_path):
    def lowered(facts):
        facts["sizes"][0]["right"] = [False] * 60 + facts["sizes"][0]["right"][60:]
        facts["sample_ids"] = facts["sample_ids"][:90]
        facts["radii"] = facts["radii"][:90]
        facts["sizes"] = [{key: values[:90] for key, values in size.items()} for size in facts["sizes"]]

    other = changed(folder, tmp_path, lowered)
    told = compare([folder, other.path])
    phases = {each.title: each for each in told.phases if each.kind == "proven"}
    assert [title.startswith("Proven") for title in phases] == [True, False] * 3
    first = read_json(folder / "facts/proof.json")["sizes"][0]["right"][:90]
    one = phases["Proven up to 0.0005 (L∞)"]
    assert one.n == 90
    assert one.cell("A").value.value == pytest.approx(sum(first) / 90)
    assert one.cell("B").value.value == pytest.approx(sum(first[60:]) / 90)
    assert one.difference("B").outcome == "worse"
    guarded = phases["Accepted and wrong up to 0.02 (L∞), proven at most"]
    assert not guarded.larger_is_better
    assert guarded.cell("A").value.n == 90
    said = "\n".join(compare_words(told))
    assert "Proven up to 0.0005 (L∞): A" in said
    assert "Proven, whatever the attack" in comparison_page(told)


def test_what_no_bound_is_known_for_is_told_on_the_first_screen_and_not_compared(folder, found, tmp_path):
    def unbounded(facts):
        facts.update(reason="the operation gelu", sample_ids=[], radii=[], sizes=[])

    other = changed(folder, tmp_path, unbounded)
    assert not [each for each in compare([folder, other.path]).phases if each.kind == "proven"]
    said = FirstScreen.of(analyse(other.path))
    assert said.manipulation[-1] == "Nothing is proven: no bound is known for the operation gelu."
    assert said.manipulation_short.endswith("Nothing is proven: no bound is known for the operation gelu.")


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_minimal_perturbations_by_class_have_proven_beside_found_in_the_same_norm(found, norm):
    text = page(found.model_copy(update={"epsilon": (search(classes=found.classes, norm=norm),)}))
    table = text.partition("The minimal perturbation by class")[2].partition("</table>")[0]
    assert ("Proven: the size up to which half" in table) is (norm == "linf")
    for row in found.proof.per_class:
        line = table.partition(f'<th scope="row">{row.name}</th>')[2].partition("</tr>")[0]
        said = perturbation_size(row.median_radius, "linf")
        assert (said in line.rpartition("<td")[2]) is (norm == "linf")
