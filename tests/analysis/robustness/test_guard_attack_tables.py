"""What attackers of the guard found is told by attacker, size and class, with alarms where the attack was too weak."""

import json
import shutil
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from tests import tiny

from demur.analysis import analyse
from demur.analysis.acceptance import judge_gates
from demur.analysis.compare_runs import compare
from demur.analysis.csv_tables import table_files
from demur.analysis.guard_shapes import ATTACKERS
from demur.analysis.robustness.accepted_distances import accepted_wrong_distances, accepted_wrong_found, wrong_distances
from demur.analysis.robustness.guard_breaches import guard_breach
from demur.analysis.robustness.guarded_rows import guarded_rows
from demur.analysis.robustness.least_distances import least_distances
from demur.analysis.robustness.proven_answers import proven_rows
from demur.analysis.run_folder import Run
from demur.analysis.verdict.guard_attack_checks import guard_attack_checks
from demur.analysis.verdict.proof_checks import proof_checks
from demur.errors import RunError
from demur.files import read_json
from demur.pipeline.plan.plan_tables import GuardAttackPlan, ProofPlan, Signals
from demur.report import render
from demur.report.comparison_page import comparison_page
from demur.report.first_screen import FirstScreen

IMAGES, SIZES = 60, (0.04, 0.08)
WITHHELD = {"msp": [0.9] * IMAGES, "entropy": [9.0] * IMAGES}
"""Scores that no bound lets pass."""

CONDITIONS = ("clean", "pgd(eps=0.08, keep='worst', steps=4)", "pgd(eps=0.04, steps=4)")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.run(
        tmp_path_factory.mktemp("guarded") / "run",
        conditions=CONDITIONS,
        policies=("certified(risk=0.05, second=entropy, budget=0.02)",),
        signals=Signals(use=("msp", "entropy"), certify="msp"),
        guard_attack=GuardAttackPlan(images=IMAGES, eps=SIZES, steps=6),
        proof=ProofPlan(images=IMAGES),
    )


@pytest.fixture(scope="module")
def results(folder):
    return analyse(folder)


@pytest.fixture(scope="module")
def found(results):
    return results.guard_attack


def by_hand(folder, at):
    """Label, and for each attacker the answer and whether it is given, from the JSON files and the thresholds alone."""
    facts = read_json(folder / f"facts/guard_attack_{at}.json")
    certificate = read_json(folder / "facts/policies.json")[0]["policy"]["certificate"]
    bounds = {"msp": certificate["threshold"], "entropy": certificate["second"]["uncertainty"]}
    clean = {row["sample_id"]: row for row in Run(folder).rows("clean").iter_rows(named=True)}
    labels = [clean[name]["label"] for name in facts["sample_ids"]]
    points = {"clean": [], **{name: [] for name in ATTACKERS}}
    for at, name in enumerate(facts["sample_ids"]):
        row = clean[name]
        points["clean"].append((row["predicted"], all(row[f"signal.{key}"] <= bounds[key] for key in bounds)))
        for attacker, each in facts["attackers"].items():
            given = all(each["scores"][key][at] <= bounds[key] for key in bounds)
            points[attacker].append((each["predicted"][at], given))
    return labels, points


def wrong_and_given(labels, points):
    return np.array([answer != label and given for label, (answer, given) in zip(labels, points, strict=True)])


@pytest.mark.parametrize("at", range(len(SIZES)))
def test_shares_are_those_counted_by_hand(folder, found, at):
    labels, points = by_hand(folder, at)
    rows = {row.attacker: row for row in found.attackers if row.eps == SIZES[at]}
    assert list(rows) == list(ATTACKERS)
    for name, row in rows.items():
        wrong = np.array([answer != label for label, (answer, _) in zip(labels, points[name], strict=True)])
        broken = wrong_and_given(labels, points[name])
        assert row.wrong.value == pytest.approx(wrong.mean())
        assert row.found.value == pytest.approx(broken.mean())
        assert row.accepted.n == wrong.sum()
        assert row.accepted.value == pytest.approx(broken.sum() / wrong.sum())
    unaware = [wrong_and_given(labels, points[name]) for name in ("clean", "minimal", "confident")]
    assert found.sizes[at].unaware.value == pytest.approx(np.logical_or.reduce(unaware).mean())
    right = np.array(
        [answer == label and given for label, (answer, given) in zip(labels, points["clean"], strict=True)]
    )
    run = Run(folder)
    broken = accepted_wrong_found(run, guarded_rows(run)[at].clean, SIZES[at])
    assert found.sizes[at].robust.value == pytest.approx((right & ~broken).mean())
    assert at == 0 or (right & broken).any()
    assert found.forced[0].withheld.value == pytest.approx(1 - np.mean([given for _, given in points["clean"]]))


def test_who_knows_more_finds_no_less(found):
    rows = {(row.eps, row.attacker): row for row in found.attackers}
    for size in found.sizes:
        own = [rows[size.eps, name].found.value for name in ATTACKERS]
        assert max(own[:2]) <= own[2] <= size.found.value <= size.model_wrong.value
        assert size.unaware.value <= size.found.value
    assert rows[0.08, "joint"].found.value > rows[0.08, "confident"].found.value > 0
    assert found.sizes[0].found.value <= found.sizes[1].found.value
    assert [row.knowledge for row in found.attackers[:4]] == [
        "the model, not the guard",
        "the model, not the guard",
        "the model and the guard",
        "answers and scores alone",
    ]


def test_the_headline_is_about_the_reported_size(results, found):
    assert results.manipulation.eps == found.eps == 0.08
    assert found.found == found.sizes[1].found
    assert found.images == found.found.n == IMAGES
    assert sum(row.n for row in found.per_class) == IMAGES
    weights = [row.n * row.found.value for row in found.per_class]
    assert sum(weights) / IMAGES == pytest.approx(found.found.value)


def test_a_guard_of_two_signals_has_each_of_them_alone(found):
    """What gets past both gets past each, so that alone a signal lets no less through."""
    for size in found.sizes:
        alone = [row for row in found.alone if row.eps == size.eps]
        assert [row.signal for row in alone] == ["msp", "entropy"]
        knowing = [row.found.value for row in found.attackers if row.eps == size.eps]
        assert all(max(knowing) <= row.found.value <= size.model_wrong.value for row in alone)


def test_no_auroc_stands_without_what_the_attacker_knew(found):
    assert len(found.detections) == len(SIZES) * len(ATTACKERS) * 2
    assert all(row.knowledge for row in found.detections)
    areas = {(row.eps, row.attacker, row.signal): row.auroc.value for row in found.detections}
    assert areas[0.08, "minimal", "msp"] > areas[0.08, "joint", "msp"]


def test_more_is_withheld_the_further_one_may_go(folder, found):
    for eps in SIZES:
        rows = [row for row in found.forced if row.eps == eps]
        assert [row.alpha for row in rows] == [0, 0.125, 0.25, 0.5, 1]
        for near, far in pairwise(rows):
            assert near.withheld.value <= far.withheld.value
            assert near.robust.value >= far.robust.value
        assert rows[-1].withheld.value > rows[0].withheld.value
        assert rows[-1].robust.value < rows[0].robust.value
    at = {(row.eps, row.alpha): row.withheld.value for row in found.forced}
    assert at[0.04, 1] == pytest.approx(at[0.08, 0.5], abs=0.05)
    sizes = guarded_rows(Run(folder))
    assert all(not each.withheld[1.0][~Run(folder).accepts(Run(folder).guard, each.clean)].any() for each in sizes)


def test_where_nothing_can_be_withheld_every_share_of_the_size_is_told(changed):
    def steady(facts):
        for each in facts["abstention"]:
            each |= {name: [] for name in each if isinstance(each[name], list)}
            each |= {kind: {"msp": [], "entropy": []} for kind in ("scores", "surrogate_gap")}

    rows = [row for row in analyse(changed(steady)).guard_attack.forced if row.eps == SIZES[1]]
    assert [row.alpha for row in rows] == [0, 0.125, 0.25, 0.5, 1]
    assert len({row.withheld.value for row in rows}) == 1


def test_answers_stay_and_scores_mislead(folder, found):
    for row in found.confidence:
        assert row.attacked.value > row.clean.value
    for each in guarded_rows(Run(folder)):
        assert each.confidence["predicted"].to_list() == each.clean["predicted"].to_list()


def test_what_was_found_of_an_image_is_its_nearest_point_that_is_given(folder):
    run = Run(folder)
    (small, large), rows = guarded_rows(run), run.rows("clean")
    distances = accepted_wrong_distances(run, rows)
    flags = accepted_wrong_found(run, rows, 0.04)
    assert (flags == (distances <= 0.04 + 1e-6)).all()
    reached = {
        name
        for table in (rows, run.rows("pgd(eps=0.04, steps=4)"), *small.attackers.values(), *large.attackers.values())
        for name, given, wrong, distance in zip(
            table["sample_id"],
            run.accepts(run.guard, table),
            (table["predicted"] != table["label"]).to_list(),
            table["distance.linf"] if table is not rows else [0.0] * len(table),
            strict=True,
        )
        if given and wrong and distance <= 0.04 + 1e-6
    }
    near = run.rows("pgd(eps=0.08, keep='worst', steps=4)").filter(pl.col("distance.linf") <= 0.04)
    assert reached <= set(rows.filter(pl.Series(flags))["sample_id"]) <= reached | set(near["sample_id"])


def test_the_first_screen_tells_of_the_attacker_who_knows(results, found):
    first = FirstScreen.of(results.model_copy(update={"proof": None}))
    assert f"accepted and wrong: found {words(found.found.value)} (" in first.manipulation[-1]
    assert first.manipulation[-1].endswith(") by an attacker who knows the guard.")
    assert first.manipulation_short == first.manipulation[-1]
    assert "none knew the guard" not in first.manipulation_note
    text = render(results)
    assert '<section id="guard-attack"' in text
    assert text.count("knew the model and the guard") == len(SIZES)


def words(share):
    return f"{100 * share:.1f} %".replace(".0 %", " %")


def test_what_such_an_attacker_found_is_the_lower_end_of_the_bracket(folder, results, found):
    for size, proven in zip(found.sizes, results.proof.sizes, strict=True):
        assert (proven.eps, proven.knew_guard, proven.accepted_wrong_found) == (size.eps, True, size.found)
        assert proven.accepted_wrong_found.value <= proven.accepted_wrong_proven.value
    first = FirstScreen.of(results)
    assert "by an attacker who knows the guard; proven at most" in first.manipulation[-1]
    assert f"found {words(found.found.value)} by an attacker who knows the guard, proven" in first.manipulation_short
    run = Run(folder)
    beyond = guard_breach(run, run.rows("clean"), "linf", 0.08)
    assert not beyond.knew_guard, "most of these images were never attacked so"


@pytest.mark.parametrize(("eps", "knew"), [(0.03, False), (0.04, True), (0.06, False), (0.08, True), (0.2, False)])
def test_who_knows_the_guard_is_credited_at_the_sizes_of_the_attack_alone(folder, eps, knew):
    """What the smaller ball gave says nothing of what such an attacker finds in a larger one."""
    run = Run(folder)
    rows = guarded_rows(run)[0].clean
    breach = guard_breach(run, rows, "linf", eps)
    assert breach.knew_guard is knew
    assert breach.value.value == accepted_wrong_found(run, rows, eps, aimed=knew).mean()


@pytest.mark.parametrize("lost", [1, IMAGES // 2])
def test_the_attacker_who_knows_is_told_where_more_images_are_proven_than_had_their_guard_attacked(changed, lost):
    """An attack on fewer images is no lower end of what is proven of more, and must not vanish for that."""
    results = analyse(changed(lambda facts: without_rows(facts, lost)))
    size, proven = results.guard_attack.sizes[1], results.proof.bracket(0.08)
    assert (size.found.n, proven.accepted_wrong_found.n, proven.knew_guard) == (IMAGES - lost, IMAGES, False)
    first, joint = FirstScreen.of(results), f"accepted and wrong: found {words(size.found.value)} ("
    assert joint in first.manipulation[1]
    assert first.manipulation[1].endswith(") by an attacker who knows the guard.")
    assert "by attackers who did not know the guard (PGD); proven at most" in first.manipulation[2]
    most = words(proven.accepted_wrong_proven.value)
    assert first.manipulation_short == f"{first.manipulation[1]} Proven, of {IMAGES} at ±8 %: at most {most}."


def without_rows(facts, lost):
    """As if the model had failed on the last images."""
    facts["sample_ids"] = facts["sample_ids"][:-lost]
    for points in (*facts["attackers"].values(), facts["confidence"]):
        cut_to(points, range(IMAGES - lost))
    for each in facts["abstention"]:
        kept = [place for place, row in enumerate(each["rows"]) if row < IMAGES - lost]
        cut_to(each, kept)
        each["rows"] = [each["rows"][place] for place in kept]


def cut_to(points, places):
    for name in ("predicted", "distance", "forwards", "backwards", "zero_score_gradient"):
        points[name] = [points[name][place] for place in places]
    for kind in ("scores", "surrogate_gap"):
        points[kind] = {name: [values[place] for place in places] for name, values in points[kind].items()}


def test_every_table_is_a_file(folder, results):
    names = {name.removeprefix("tables/") for name in table_files(Run(folder), results)}
    kinds = ("", "-sizes", "-attackers", "-detections", "-signals", "-abstention", "-confidence", "-classes", "-images")
    assert {f"guard-attack{kind}.csv" for kind in kinds} <= names


def checks_of(run):
    return {check.name: check for check in guard_attack_checks(run)}


def test_the_alarms_of_a_whole_attack(folder, results):
    found = checks_of(Run(folder))
    assert {name: check.state for name, check in found.items() if check.state == "fail"} == {}
    assert found["the joint attack is never weaker"].of == len(SIZES) * IMAGES
    assert found["surrogates follow their scores"].state == "pass"
    assert found["scores have a gradient"].state == "pass"
    assert {check.bears_on for check in found.values()} == {"the guard under attack"}
    assert set(found) <= {check.name for check in results.checks}


@pytest.fixture
def changed(folder, tmp_path):
    """The run as if the audit had left other facts of the larger size."""

    def change(edit):
        other = shutil.copytree(folder, tmp_path / "run")
        path = other / "facts/guard_attack_1.json"
        facts = read_json(path)
        edit(facts)
        path.write_text(json.dumps(facts))
        return tiny.reseal(other)

    return change


def test_a_joint_attack_that_is_weaker_voids_the_section(changed):
    def forgetful(facts):
        facts["attackers"]["joint"]["scores"] = WITHHELD

    results = analyse(changed(forgetful))
    (check,) = [check for check in results.checks if check.name == "the joint attack is never weaker"]
    assert (check.state, results.state) == ("fail", "issued")
    assert check.count > 0
    assert results.void("the guard under attack")
    assert results.void("attacks") is None
    assert "knows the guard" not in FirstScreen.of(results).manipulation_short
    assert "Not to be used" in render(results)


@pytest.mark.parametrize(("right", "state"), [(0, "fail"), (IMAGES - 5, "warn"), (IMAGES, "pass")])
def test_scores_without_a_gradient_are_told_where_the_guard_alone_holds(folder, changed, right, state):
    """Answers that stay right, however sure, are held by the model: there a score without a slope holds nothing."""
    labels = dict(Run(folder).rows("clean").select("sample_id", "label").iter_rows())

    def flat(facts):
        own = [labels[name] for name in facts["sample_ids"]]
        predicted = [(label + (at >= right)) % 3 for at, label in enumerate(own)]
        points = {"predicted": predicted, "zero_score_gradient": [True] * IMAGES, "scores": WITHHELD}
        facts["attackers"]["joint"] |= points

    smaller = guarded_rows(Run(folder))[0].attackers["joint"]
    withheld = (smaller["predicted"] != smaller["label"]) & ~pl.Series(Run(folder).accepts(Run(folder).guard, smaller))
    check = checks_of(Run(changed(flat)))["scores have a gradient"]
    assert (check.count, check.of, check.state) == (IMAGES - right, IMAGES - right + withheld.sum(), state)


def test_a_surrogate_that_leads_elsewhere_is_told(changed):
    def turned(facts):
        for points in facts["attackers"].values():
            points["surrogate_gap"]["entropy"] = [-2 * score for score in points["scores"]["entropy"]]

    check = checks_of(Run(changed(turned)))["surrogates follow their scores"]
    assert (check.state, check.count, check.of) == ("warn", 1, 4)
    assert "(entropy)" in check.sentence


def test_guessing_that_finds_more_than_gradients_is_told(changed):
    def lucky(facts):
        facts["attackers"]["joint"], facts["attackers"]["score_free"] = (
            {**facts["attackers"]["minimal"], "scores": WITHHELD},
            facts["attackers"]["joint"],
        )

    assert checks_of(Run(changed(lucky)))["gradients beat guessing at the guard"].state == "warn"


def test_auroc_that_falls_is_told(changed):
    def fallen(facts):
        for name, score in (("minimal", 0.66), ("joint", 1e-9)):
            facts["attackers"][name]["scores"]["msp"] = [score] * IMAGES

    check = checks_of(Run(changed(fallen)))["detection holds when the guard is known"]
    assert check.state == "warn"
    assert "msp from 1.00 to 0.00" in check.sentence


def test_a_guard_that_claims_more_than_the_model_can_is_told(changed):
    """Next to no change makes every answer wrong, and none of these wrong answers is given."""

    def secure(facts):
        for points in facts["attackers"].values():
            points["scores"] = WITHHELD
        points = facts["attackers"]["minimal"]
        points |= {"distance": [1e-4] * IMAGES, "predicted": [3] * IMAGES}

    states = [check.state for check in guard_attack_checks(Run(changed(secure))) if "claims no more" in check.name]
    assert states[1] == "warn"


def test_points_without_a_score_are_left_out_of_what_a_signal_is_worth(changed):
    """NaN is withheld, as the guard at run time does, and no rank; the other rows keep theirs."""

    def unscored(facts):
        for points in (facts["confidence"], *facts["attackers"].values()):
            points["scores"]["msp"][:5] = [None] * 5

    run = Run(changed(unscored))
    found, size = analyse(run.path).guard_attack, guarded_rows(run)[1]
    msp, other = (row for row in found.confidence if row.eps == size.eps)
    assert (msp.clean.n, msp.attacked.n, other.attacked.n) == (IMAGES - 5, IMAGES - 5, IMAGES)
    rest = size.confidence[5:]
    wrong = rest["predicted"] != rest["label"]
    assert msp.attacked.value == pytest.approx(aurc(rest["signal.msp"].to_numpy(), wrong.to_numpy()))
    for row in (row for row in found.detections if row.eps == size.eps):
        points = size.attackers[row.attacker]
        flipped = (points["predicted"] != points["label"]) & (size.clean["predicted"] == points["label"])
        scores = points.filter(flipped)[f"signal.{row.signal}"].to_numpy()
        scores, clean = scores[~np.isnan(scores)], size.clean[f"signal.{row.signal}"].to_numpy()
        assert (row.positives, row.negatives) == (len(scores), IMAGES)
        pairs = (scores[:, None] > clean) + 0.5 * (scores[:, None] == clean)
        assert row.auroc.value == pytest.approx(pairs.mean())
    render(analyse(run.path))


def test_a_signal_that_scores_no_point_is_worth_nothing_that_is_known(changed):
    def unscored(facts):
        for points in (facts["confidence"], *facts["attackers"].values()):
            points["scores"]["msp"] = [None] * IMAGES

    results = analyse(changed(unscored))
    (row,) = (row for row in results.guard_attack.confidence if (row.eps, row.signal) == (SIZES[1], "msp"))
    assert np.isnan(row.attacked.value)
    assert row.attacked.reason.startswith("no image has a score")
    render(results)


@pytest.mark.parametrize(("word", "given"), [("-inf", True), ("inf", False), (None, False)])
def test_infinite_scores_decide_as_they_do_at_run_time(changed, word, given):
    def infinite(facts):
        facts["attackers"]["joint"]["scores"] = {name: [word] * IMAGES for name in ("msp", "entropy")}

    run = Run(changed(infinite))
    assert (run.accepts(run.guard, guarded_rows(run)[1].attackers["joint"]) == given).all()
    analyse(run.path)


def aurc(scores, wrong):
    """The mean over coverages of the risk among the most certain, by sorting; no two scores are alike."""
    errors = np.cumsum(wrong[np.argsort(scores)])
    return (errors / np.arange(1, len(wrong) + 1)).mean()


def test_what_attackers_of_the_guard_broke_is_not_proven(folder, changed):
    """An image that only they make wrong, at 0.001, where no attack of the plan came, contradicts a proof there."""
    run = Run(folder)
    rows = proven_rows(run, read_json(folder / "facts/proof.json"))
    free = rows.filter(pl.Series((least_distances(run, "linf", rows) > 0.001) & run.accepts(run.guard, rows)))
    name, label = free.select("sample_id", "label").row(0)

    def broken(facts):
        at = facts["sample_ids"].index(name)
        points = facts["attackers"]["joint"]
        points["predicted"][at], points["distance"][at] = (label + 1) % 3, 0.001
        points["scores"] = {key: [0.0] * IMAGES for key in points["scores"]}

    other = changed(broken)
    path, (place,) = other / "facts/proof.json", [read_json(other / "facts/proof.json")["sample_ids"].index(name)]
    for column, value, count in (("right", True, 1), ("msp", -1.0, 1), ("msp", 1.0, 0)):
        facts = read_json(folder / "facts/proof.json")
        for size in facts["sizes"]:
            size["right"], size["msp"] = [False] * IMAGES, [1.0] * IMAGES
            size[column][place] = value
        path.write_text(json.dumps({**facts, "radii": [0.0] * IMAGES}))
        (check,) = proof_checks(Run(tiny.reseal(other)))
        assert (check.count, check.state) == (count, "fail" if count else "pass")
    before, after = (analyse(each).proof.sizes[0].found for each in (folder, other))
    assert wrong_distances(Run(other), free)[0] == pytest.approx(0.001)
    assert after.value <= before.value


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda facts: facts["attackers"].pop("joint"), "attackers are"),
        (lambda facts: facts["attackers"]["joint"]["predicted"].pop(), "every column has 60 entries"),
        (lambda facts: facts["abstention"][0]["rows"].append(1), "every column"),
        (lambda facts: facts.pop("confidence"), "confidence"),
    ],
)
def test_facts_of_another_shape_are_refused(changed, edit, words):
    with pytest.raises(RunError, match=words):
        analyse(changed(edit))


@pytest.mark.parametrize("measure", ["found", "robust"])
def test_a_gate_is_about_what_who_knows_the_guard_found_at_the_size_of_the_headline(results, found, measure):
    size = next(size for size in found.sizes if size.eps == found.eps)
    value = getattr(size, measure)
    key = f"guard_attack.{measure}"
    (row,) = judge_gates({key: f"<= {value.high + 0.001:.6f}"}, results)
    assert (row.value, row.outcome) == (value, "pass")
    assert judge_gates({key: f"<= {value.low - 0.001:.6f}"}, results)[0].outcome == "fail"
    failed = next(check for check in results.checks if check.bears_on == "the guard under attack")
    checks = tuple(check.model_copy(update={"state": "fail"}) if check == failed else check for check in results.checks)
    (void,) = judge_gates({key: "<= 1"}, results.model_copy(update={"checks": checks}))
    assert void.outcome == "inconclusive"
    assert failed.name in void.sentence


def test_a_gate_about_a_guard_that_was_not_attacked_says_why(results, found):
    for attacked in (None, found.model_copy(update={"sizes": (), "eps": None, "reason": "no gradients"})):
        (row,) = judge_gates({"guard_attack.found": "<= 0.5"}, results.model_copy(update={"guard_attack": attacked}))
        assert row.outcome == "inconclusive"
        assert ("no gradients" if attacked else "there is none") in row.sentence


def test_guards_of_several_runs_are_compared_on_the_images_that_they_share(folder, found, tmp_path):
    other = tmp_path / "run"
    shutil.copytree(folder, other)
    labels = dict(Run(folder).rows("clean").select("sample_id", "label").iter_rows())
    facts = read_json(other / "facts/guard_attack_1.json")
    for each in facts["attackers"].values():
        each["predicted"] = [labels[name] for name in facts["sample_ids"]]
    (other / "facts/guard_attack_1.json").write_text(json.dumps(facts))
    told = compare([folder, tiny.reseal(other)])
    phases = {each.title: each for each in told.phases if each.kind == "guard"}
    kinds = ("accepted and wrong", "right and answered")
    assert list(phases) == [f"Guard: {kind} up to {eps} (L∞)" for eps in ("0.04", "0.08") for kind in kinds]
    broken, stand = (
        phases["Guard: accepted and wrong up to 0.08 (L∞)"],
        phases["Guard: right and answered up to 0.08 (L∞)"],
    )
    size = found.sizes[1]
    assert broken.n == IMAGES
    assert broken.cell("A").value.value == pytest.approx(size.found.value)
    assert stand.cell("A").value.value == pytest.approx(size.robust.value)
    assert broken.cell("B").value.value < size.found.value
    assert broken.difference("B").outcome == "better"
    assert broken.sentence.endswith("can only find more. A: 6 steps, 1 restarts; B: 6 steps, 1 restarts")
    assert "The guard, attacked by who knows it" in comparison_page(told)
