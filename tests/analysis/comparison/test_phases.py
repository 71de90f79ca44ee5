"""Phases of several runs, computed again from the Parquet files by slow obvious code."""

import math
from statistics import mean

import numpy as np
import pytest
from scipy.stats import binomtest
from tests.analysis import hardened_runs as made
from tests.analysis.plain_rows import rows_of, same, wrong

from demur.analysis.compare_runs import compare

LETTERS = "ABC"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("phases")
    return (
        made.run(root / "plain"),
        made.run(root / "hard", seed=1, accuracy=0.6, strength=2.0),
        made.run(root / "same", seed=2, without=(made.PGD, *made.LIGHT)),
    )


@pytest.fixture(scope="module")
def found(folders):
    return compare(folders)


def phase(found, title):
    (one,) = (each for each in found.phases if each.title == title)
    return one


def right(folder, name):
    return {row["sample_id"]: not wrong(row) for row in rows_of(folder, name)}


def stands(folder, names):
    """Images that no change of at most 0.1 fooled, whichever of the attacks found it."""
    least = {i: math.inf if ok else 0.0 for i, ok in right(folder, "clean").items()}
    for name in names:
        for row in rows_of(folder, name):
            if name == made.ENSEMBLE:
                change = math.inf if row["epsilon.censored"] else row["epsilon.minimal"]
            else:
                change = row["distance.linf"] if wrong(row) else math.inf
            least[row["sample_id"]] = min(least[row["sample_id"]], change)
    return {row["sample_id"]: least[row["sample_id"]] > 0.1 + 1e-6 for row in rows_of(folder, names[0])}


def is_share(one, sides, tested):
    """Cells, and the difference of each later run, of flags by image."""
    assert [cell.letter for cell in one.cells] == list(sides)
    for letter, own in sides.items():
        assert same(one.cell(letter).value.value, mean(own.values()))
        assert one.n == len(own)
    first = sides["A"]
    for letter in [each for each in sides if each != "A"]:
        own, each = sides[letter], one.difference(letter)
        alone = [sum(x and not y for x, y in zip(a, b, strict=True)) for a, b in _both(first, own)]
        chance = binomtest(alone[0], sum(alone)).pvalue if sum(alone) else 1.0
        assert same(each.difference.value, (alone[1] - alone[0]) / len(own))
        assert each.p_value == pytest.approx(min(1.0, tested * chance))
        assert each.difference.low <= each.difference.value <= each.difference.high
        sure = tested * chance <= 0.05 and not each.difference.low <= 0 <= each.difference.high
        assert each.outcome == ("noise" if not sure else "better" if alone[1] > alone[0] else "worse")


def _both(first, own):
    pair = [first[i] for i in own], [own[i] for i in own]
    return pair, pair[::-1]


def test_clean_images(found, folders):
    sides = {letter: right(folder, "clean") for letter, folder in zip(LETTERS, folders, strict=True)}
    is_share(phase(found, "Clean"), sides, found.tested)


def test_an_attack_only_of_the_runs_that_made_it(found, folders):
    is_share(
        phase(found, made.FGSM), {x: right(f, made.FGSM) for x, f in zip(LETTERS, folders, strict=True)}, found.tested
    )
    one = phase(found, made.PGD)
    is_share(one, {x: right(f, made.PGD) for x, f in zip("AB", folders[:2], strict=True)}, found.tested)
    assert one.cell("C") is None
    assert one.difference("C") is None


def test_the_worst_case_is_of_the_attacks_that_all_made(found, folders):
    shared = (made.ENSEMBLE, made.FGSM)
    sides = {x: stands(f, shared) for x, f in zip(LETTERS, folders, strict=True)}
    is_share(phase(found, "Worst case up to 0.1 (L∞)"), sides, found.tested)
    pair, every = compare(folders[:2]), (*shared, made.PGD)
    sides = {x: stands(f, every) for x, f in zip("AB", folders, strict=False)}
    is_share(phase(pair, "Worst case up to 0.1 (L∞)"), sides, pair.tested)
    left = [sum(stands(folders[0], [each for each in every if each != gone]).values()) for gone in every]
    assert min(left) > sum(sides["A"].values())  # each attack fools images that the others leave


def test_without_an_ensemble_the_worst_case_is_of_single_attacks(tmp_path):
    pair = [made.run(tmp_path / str(k), seed=k, without=(made.ENSEMBLE,)) for k in (0, 1)]
    sides = {x: stands(f, (made.FGSM, made.PGD)) for x, f in zip("AB", pair, strict=True)}
    assert sides["A"] != stands(pair[0], (made.PGD,))
    found = compare(pair)
    is_share(phase(found, "Worst case up to 0.1 (L∞)"), sides, found.tested)


def test_corruptions_are_averaged_image_by_image(found, folders):
    one = phase(found, "Gaussian noise, mean of 2")
    sides = []
    for folder in folders:
        flags = [right(folder, name) for name in made.NOISE]
        sides.append({i: mean(own[i] for own in flags) for i in flags[0]})
    for letter, own in zip(LETTERS, sides, strict=True):
        assert same(one.cell(letter).value.value, mean(own.values()))
    for letter, own in zip("BC", sides[1:], strict=True):
        assert same(one.difference(letter).difference.value, mean(own[i] - sides[0][i] for i in own))
    assert {each.title for each in found.phases if each.kind == "corruption"} == {"Gaussian noise, mean of 2"}
    assert "All corruptions, mean" in {each.title for each in compare(folders[:2]).phases}


def ordered(folder):
    rows = [(row["signal.msp"], wrong(row)) for row in rows_of(folder, "clean")]
    return [error for _, error in sorted(rows)]


@pytest.mark.parametrize("coverage", [0.9, 0.7])
def test_selective_accuracy_is_of_the_surest(found, folders, coverage):
    one = phase(found, f"Selective accuracy at {100 * coverage:.0f} % answered")
    sides = []
    for letter, folder in zip(LETTERS, folders, strict=True):
        errors = ordered(folder)
        kept = errors[: math.ceil(coverage * len(errors) - 1e-9)]
        sides.append(1 - sum(kept) / len(kept))
        assert same(one.cell(letter).value.value, sides[-1])
    assert same(one.difference("B").difference.value, sides[1] - sides[0])


def test_augrc_is_better_where_it_is_smaller(found, folders):
    one = phase(found, "AUGRC")
    areas = []
    for letter, folder in zip(LETTERS, folders, strict=True):
        errors = ordered(folder)
        running = np.concatenate([[0], np.cumsum(errors)]) / len(errors)
        areas.append(float(np.trapezoid(running, dx=1 / len(errors))))
        assert one.cell(letter).value.value == pytest.approx(areas[-1])
    assert one.difference("B").difference.value == pytest.approx(areas[1] - areas[0])
    assert areas[1] > areas[0]
    assert (one.difference("B").outcome, one.larger_is_better) == ("worse", False)


def test_the_number_of_differences_is_what_each_is_corrected_for(found):
    assert found.tested == sum(len(each.differences) for each in found.phases)
    assert len(found.phases) > 6
    alone = {each.title: each.differences for each in found.phases}
    assert all(len(made_of) == 2 for title, made_of in alone.items() if title != made.PGD)


def test_what_only_some_measured_is_said(found):
    assert found.lacking == (f"C did not measure {made.PGD}, {made.LIGHT[0]}.",)


def test_groups_are_the_unit_of_every_phase(tmp_path):
    groups = np.arange(240) // 4
    pair = [made.run(tmp_path / str(k), seed=k, strength=1 + k, groups=groups) for k in (0, 1)]
    units = {cell.value.unit for each in compare(pair).phases for cell in each.cells}
    assert units | {d.difference.unit for each in compare(pair).phases for d in each.differences} == {"group"}


def test_intervals_widen_with_the_number_of_differences(folders):
    few, many = compare(folders[:2]), compare((folders[0], folders[1], folders[1], folders[1]))
    one, other = (phase(found, "Clean").difference("B").difference for found in (few, many))
    assert many.tested > few.tested
    assert other.low < one.low < one.high < other.high
    ranks = [phase(found, "AUGRC").difference("B").difference for found in (few, many)]
    assert ranks[1].high - ranks[1].low > ranks[0].high - ranks[0].low
