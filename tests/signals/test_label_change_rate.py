"""Mutants are what their operators say, and sequential stopping decides as all mutants would."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import betabinom
from tests.signals.slow_model_signals import mutant

from demur.errors import InputError, UnknownNameError
from demur.signals.early_stopping import Stopping, open_share, prior, threshold
from demur.signals.label_change_rate import LabelChangeRate, auroc_by_mutants
from demur.signals.mutants import Mutation, applied
from demur.testing.world import World

DICE = torch.Generator().manual_seed(5)
LAYERS = {
    "a": torch.randn(20, 3, 3, 3, generator=DICE),
    "b": torch.randn(40, 20, 1, 1, generator=DICE),
    "c": torch.randn(10, 40, 3, 3, generator=DICE),
}


def struck(operator, gamma, number=0, seed=0):
    return Mutation(operator=operator, gamma=gamma, seed=seed).mutant(LAYERS, number)


def pairs(changes):
    """Filter by filter: the layer's weights, the filter's number, what it was and what it is."""
    return [
        (LAYERS[change.layer], k, LAYERS[change.layer][k], new)
        for change in changes
        for k, new in zip(change.filters.tolist(), change.weights, strict=True)
    ]


@pytest.mark.parametrize(("gamma", "count"), [(0.01, 1), (0.1, 7), (0.5, 35)])
@pytest.mark.parametrize("operator", ["nai", "gf", "ws"])
def test_a_share_of_all_filters_is_struck(operator, gamma, count):
    found = [(change.layer, k) for change in struck(operator, gamma) for k in change.filters.tolist()]
    assert len(found) == len(set(found)) == count


def test_nai_turns_the_signs():
    for _, _, old, new in pairs(struck("nai", 0.3)):
        assert torch.equal(new, -old)


def test_ws_shuffles_the_weights_of_a_filter():
    for _, _, old, new in pairs(struck("ws", 0.3)):
        assert torch.equal(new.flatten().sort().values, old.flatten().sort().values)
        assert not torch.equal(new, old)


def test_gf_draws_each_weight_from_the_law_of_its_place():
    drawn = [
        [new for layer, k, _, new in pairs(struck("gf", 0.9, number)) if layer is LAYERS["a"]] for number in range(60)
    ]
    values = torch.stack([new for each in drawn for new in each])
    n = len(values)
    assert n > 900
    middle, spread = LAYERS["a"].mean(dim=0), LAYERS["a"].std(dim=0, correction=0)
    assert ((values.mean(dim=0) - middle).abs() < 5 * spread / math.sqrt(n)).all()
    assert ((values.std(dim=0) / spread - 1).abs() < 5 / math.sqrt(2 * n)).all()


def test_ns_moves_the_chosen_filters_of_each_large_enough_layer_on_by_one():
    changes = struck("ns", 0.12)
    assert {change.layer: len(change.filters) for change in changes} == {"a": 2, "b": 4}
    for change in changes:
        ids = change.filters.tolist()
        for k, before in enumerate([ids[-1], *ids[:-1]]):
            assert torch.equal(change.weights[k], LAYERS[change.layer][before])


def test_ns_is_refused_where_it_could_move_nothing():
    with pytest.raises(InputError, match=r"a share of 0\.01 of 40.* at least 0\.05"):
        struck("ns", 0.01)


def test_a_mutant_is_its_seed_and_number():
    for operator in ("nai", "gf", "ws", "ns"):
        first, again, other, elsewhere = (
            applied(LAYERS, struck(operator, 0.2, *given)) for given in ((3, 0), (3, 0), (4, 0), (3, 1))
        )
        assert first.keys() == again.keys()
        assert all(torch.equal(first[name], again[name]) for name in first)
        for different in (other, elsewhere):
            assert first.keys() != different.keys() or any(not torch.equal(first[k], different[k]) for k in first)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"gamma": 0.0}, r"`gamma`.*\(0, 1\); got 0"),
        ({"mutants": 0}, "`mutants` must be at least 1; got 0"),
        ({"kept": 1.5}, "`kept` is a share"),
        ({"stopping": "soon"}, "predictive, sprt, never; got 'soon'"),
    ],
)
def test_what_cannot_be_is_refused(given, message):
    with pytest.raises(InputError, match=message):
        LabelChangeRate(**given)


def test_an_unknown_operator_is_refused_with_the_nearest():
    with pytest.raises(UnknownNameError, match="Did you mean 'nai'"):
        LabelChangeRate(operator="naii")


@pytest.fixture(scope="module")
def world():
    return World(rows=60)


def fitted(world, **given):
    with torch.no_grad():
        return LabelChangeRate(gamma=0.2, **given).fit(world.reference(), world.labels)


def test_accepted_mutants_keep_the_accuracy_and_refused_ones_do_not(world):
    found = fitted(world, operator="gf", mutants=12, stopping="never")
    layers = {"conv": world.net.conv.weight.detach()}
    least = 0.9 * (~world.wrong).mean()
    for number in range(found.tried):
        right = world._of(mutant(world.net, found.mutation.mutant(layers, number)), world.reference_images).argmax(
            axis=1
        )
        assert ((right == world.labels.numpy()).mean() >= least) == (number in found.numbers)


def test_too_harsh_an_operator_is_refused(world):
    answers = torch.from_numpy(world.reference_logits.argmax(axis=1))
    said = r"must keep 100 % .* of 80 with operator 'gf' and gamma 0\.9, 0 of the 2 wanted"
    with torch.no_grad(), pytest.raises(InputError, match=said):
        LabelChangeRate(operator="gf", gamma=0.9, mutants=2, kept=1.0).fit(world.reference(), answers)


@pytest.mark.parametrize("rule", ["predictive", "sprt"])
def test_stopping_runs_fewer_and_counts_only_those(world, rule):
    found = fitted(world, mutants=40, stopping=rule)
    with torch.no_grad():
        changes = found.changes(world.evidence())
        counts, mutants = found.counts(world.evidence())
        parts = found.parts(world.evidence())
    assert ((mutants >= 10) & (mutants <= 40)).all()
    if rule == "predictive":
        assert mutants.double().mean() < 30
    assert counts.tolist() == [int(changes[:n, row].sum()) for row, n in enumerate(mutants.tolist())]
    assert torch.equal(parts["mutants"], mutants.double())
    assert torch.equal(parts["changes"], counts.double())


def test_no_stopping_is_the_share_of_all(world):
    found = fitted(world, mutants=15, stopping="never")
    with torch.no_grad():
        share = found.changes(world.evidence()).double().mean(dim=0)
        torch.testing.assert_close(found(world.evidence()), share)


def drawn(rows, mutants, sure, unsure, seed=0):
    """Changes (mutants, rows) and uncertainties, sure images first."""
    rng = np.random.default_rng(seed)
    rates = np.concatenate([rng.beta(*sure, rows // 2), rng.beta(*unsure, rows // 2)])
    return torch.from_numpy(rng.uniform(size=(mutants, rows)) < rates), torch.linspace(0, 1, rows).double()


def shown(rule, changes, uncertainty):
    changed, asked = torch.zeros(2, changes.shape[1], dtype=torch.int64)
    for part in rule.blocks(range(len(changes))):
        rows = (~rule.enough(changed, asked, uncertainty)).nonzero()[:, 0]
        changed[rows] += changes[part.start : part.stop, rows].sum(dim=0)
        asked[rows] += len(part)
    return changed, asked


def test_one_in_a_hundred_decisions_at_most_differs_from_that_of_all_mutants():
    sure, unsure = (0.5, 20.0), (1.2, 3.0)
    changes, uncertainty = drawn(20_000, 100, sure, unsure)
    rule = Stopping("predictive", 100, limit=11, cut=0.5, sure=sure, unsure=unsure)
    changed, asked = shown(rule, changes, uncertainty)
    all_decide = changes.sum(dim=0) >= 11
    stopped_decide = rule.expected(changed, asked, uncertainty) >= 0.105
    assert (all_decide == stopped_decide).double().mean() >= 0.99
    assert asked.double().mean() < 40


def slow_over(rule, prior, n, c):
    """The chance that enough of the mutants to come change the answer, term by term."""
    left = rule.mutants - n
    return sum(betabinom.pmf(k, left, prior[0] + c, prior[1] + n - c) for k in range(left + 1) if c + k >= rule.limit)


@pytest.mark.parametrize("limit", [1, 5, 30])
def test_predictive_stopping_copies_its_definition(limit):
    prior_of = (0.4, 5.0)
    rule = Stopping("predictive", 30, limit=limit, cut=1.0, sure=prior_of)
    for n in (1, 7, 15, 22, 29):
        for c in range(n + 1):
            over = slow_over(rule, prior_of, n, c)
            one = torch.tensor([n]), torch.tensor([0.5])
            assert bool(rule.enough(torch.tensor([c]), *one)) == (min(over, 1 - over) < 0.01)
            to_come = sum(k * betabinom.pmf(k, 30 - n, prior_of[0] + c, prior_of[1] + n - c) for k in range(31 - n))
            assert float(rule.expected(torch.tensor([c]), *one)) == pytest.approx((c + to_come) / 30)


def test_the_sequential_test_of_the_published_system_needs_73_mutants_without_a_change():
    rule = Stopping("sprt", 1000, limit=169)
    n = torch.arange(1001)
    stops = rule.enough(torch.zeros(1001, dtype=torch.int64), n, torch.zeros(1001))
    assert int(stops.nonzero()[0]) == 73


def test_a_sequential_test_without_end_is_counted():
    rule = Stopping("sprt", 30, limit=5)
    never, always = torch.tensor([5, 5, 29]), torch.tensor([30, 30, 30])
    assert open_share(rule, never, always) == pytest.approx(2 / 3)


def test_the_threshold_has_the_largest_gap_between_hits_and_alarms():
    counts, wrong = np.array([0, 1, 4, 5, 9, 3]), np.array([False, False, False, True, True, True])
    gaps = {k: (counts[wrong] >= k).mean() - (counts[~wrong] >= k).mean() for k in range(1, 11)}
    assert threshold(counts, wrong, 10) == max(gaps, key=gaps.get)
    with pytest.raises(InputError, match="stopping='never'"):
        threshold(counts, np.zeros(6, dtype=bool), 10)


def test_the_prior_is_found_again():
    counts = betabinom.rvs(100, 0.7, 4.0, size=20_000, random_state=np.random.default_rng(1))
    assert prior(counts, 100) == pytest.approx((0.7, 4.0), rel=0.05)
    assert all(map(math.isfinite, prior(np.zeros(20, dtype=int), 100)))


def test_auroc_by_mutants():
    changes = torch.tensor([[1, 0, 0, 0], [1, 0, 1, 0], [0, 0, 1, 1]]).bool()
    found = auroc_by_mutants(changes, torch.tensor([True, False, True, False]), (1, 2, 3))
    assert found == {1: 0.75, 2: 1.0, 3: 1.0}
