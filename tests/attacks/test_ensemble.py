"""An ensemble's verdict, its curve and its books, against closed forms and against its stages run by hand."""

import pytest
import torch
from tests.oracles import CLASSES, SHAPE, Bowl, Plane, images

from demur.attacks.core.harness import run
from demur.attacks.core.objective import Objective
from demur.attacks.core.projections import unit
from demur.attacks.ensemble import NOT_BROKEN, NOT_RUN, WRONG_ALREADY, Ensemble, run_ensemble
from demur.classifier import BoundClassifier
from demur.errors import InputError, UnknownNameError
from demur.randomness import Keys

EPS, ROWS = 0.08, 40


def setting(oracle, rows=ROWS):
    x = images(oracle, rows)
    y = torch.full((rows,), oracle.label)
    objective = Objective(BoundClassifier(oracle.eval(), classes=CLASSES, input_shape=SHAPE))
    return objective, x, y, Keys.of(0, [str(i) for i in range(rows)], "ensemble")


@pytest.fixture(scope="module", params=[Plane, Bowl], ids=lambda oracle: oracle.__name__)
def found(request):
    oracle = request.param()
    objective, x, y, keys = setting(oracle)
    y = y.clone()
    y[:3] = 1 - y[:3]
    return oracle, x, y, run_ensemble(Ensemble(eps=EPS), objective, x, y, keys, batch=16)


def test_the_verdict_is_whether_the_ball_reaches_the_other_class(found):
    oracle, x, y, staged = found
    z = oracle(oracle.worst(x, EPS))
    clear = (z[:, 0] - z[:, 1]).abs() > 0.02
    clear[:3] = False
    reachable = z.argmax(dim=1) != y
    assert 0 < reachable[clear].float().mean() < 1
    assert torch.equal((staged.broke >= 0)[clear], reachable[clear])


def test_every_row_gets_a_distance_from_the_one_search(found):
    oracle, x, _, staged = found
    exact = oracle.nearest(x)
    inside = exact < 0.15
    inside[:3] = False
    assert inside.sum() > 10
    assert staged.outcome.fooled.all()
    assert torch.all(staged.outcome.linf[inside] >= exact[inside] - 1e-5)
    assert torch.all(staged.outcome.linf[inside] <= 1.03 * exact[inside] + 1e-3)


def test_what_the_search_found_by_itself_is_kept_beside_the_nearest_point(found):
    oracle, x, _, staged = found
    objective, _, y, keys = setting(oracle)
    (search,) = (stage for stage in Ensemble(eps=EPS).stages if stage.everyone)
    rows, aim = torch.arange(3, ROWS), objective.climbing(search.attack.loss)
    alone = search.attack.execute(aim, x[rows], y[rows], keys.named("fmn").rows(rows.tolist()), keep="nearest")
    assert torch.allclose(staged.search[3:], alone.linf)
    assert staged.search[:3].tolist() == [0, 0, 0], "wrong already"
    assert (staged.outcome.linf <= staged.search + 1e-6).all()
    column = staged.columns["epsilon.search"]
    assert column == pytest.approx(staged.search.tolist())


def test_a_row_is_broken_exactly_if_its_distance_is_within_eps(found):
    _, _, _, staged = found
    within = staged.outcome.fooled & (staged.outcome.linf <= EPS + 1e-6)
    assert torch.equal(staged.broke != NOT_BROKEN, within)


def test_rows_wrong_before_cost_one_look_and_are_told_apart(found):
    _, _, _, staged = found
    assert torch.all(staged.broke[:3] == WRONG_ALREADY)
    assert torch.all(staged.kept[:3] == WRONG_ALREADY)
    assert torch.all(staged.outcome.linf[:3] == 0)
    assert torch.all(staged.passes[:3, 0] == 1)
    assert torch.all(staged.passes[:3, 1:] == NOT_RUN)


def test_strong_stages_run_on_what_still_stands_and_the_search_on_all(found):
    _, _, _, staged = found
    for k, name in enumerate(staged.stages):
        ran = staged.passes[:, k] != NOT_RUN
        standing = (staged.broke == NOT_BROKEN) | (staged.broke >= k)
        everyone = staged.broke != WRONG_ALREADY if name == "fmn" else standing
        assert torch.equal(ran[3:], everyone[3:]), name


def test_the_passes_of_the_stages_are_all_that_was_spent(found):
    _, _, _, staged = found
    spent = staged.outcome.forwards + staged.outcome.backwards
    assert torch.equal(staged.passes.clamp(min=0).sum(dim=1), spent.long())


def test_a_first_stage_is_the_attack_run_by_hand():
    objective, x, y, keys = setting(Bowl())
    ensemble = Ensemble(eps=EPS)
    stage = ensemble.stages[0]
    alone = run(stage.attack, objective.climbing(stage.attack.loss), x, y, keys.named(stage.name))
    staged = run_ensemble(ensemble, objective, x, y, keys)
    assert torch.equal(staged.broke == 0, alone.fooled)


def test_results_do_not_depend_on_batch_size_or_order():
    oracle = Bowl().double()
    objective = Objective(BoundClassifier(oracle.eval(), classes=CLASSES, input_shape=SHAPE))
    x = images(Bowl(), ROWS).double()
    y, keys = torch.full((ROWS,), oracle.label), Keys.of(0, [str(i) for i in range(ROWS)], "ensemble")
    ensemble = Ensemble(eps=EPS, preset="quick")
    whole = run_ensemble(ensemble, objective, x, y, keys, batch=64)
    order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(1))
    mixed = run_ensemble(ensemble, objective, x[order], y[order], keys.rows(order.tolist()), batch=7)
    assert torch.equal(whole.broke[order], mixed.broke)
    assert torch.equal(whole.passes[order], mixed.passes)
    torch.testing.assert_close(whole.outcome.x[order], mixed.outcome.x, rtol=0, atol=1e-8)


def test_without_the_curve_the_search_is_left_out_and_the_verdict_is_the_same():
    objective, x, y, keys = setting(Bowl())
    full = run_ensemble(Ensemble(eps=EPS), objective, x, y, keys)
    short = run_ensemble(Ensemble(eps=EPS, curve=False), objective, x, y, keys)
    assert "fmn" in full.stages
    assert "fmn" not in short.stages
    assert torch.equal(full.broke == NOT_BROKEN, short.broke == NOT_BROKEN)
    assert short.outcome.forwards.sum() < full.outcome.forwards.sum()


def test_in_l2_near_and_far_boundaries_are_found_in_few_steps():
    oracle = Bowl(radius=0.1)
    objective, x, _, keys = setting(oracle)
    inward = (x.flatten(1) - oracle.centre.detach()).view_as(x)
    away = torch.linspace(0.003, 0.6, ROWS)
    x = (oracle.centre.detach().view(1, *SHAPE) + unit(inward) * (0.1 + away)[:, None, None, None]).float()
    y = torch.full((ROWS,), oracle.label)
    staged = run_ensemble(Ensemble(eps=0.2, norm="l2", preset="quick"), objective, x, y, keys)
    assert staged.outcome.fooled.all()
    torch.testing.assert_close(staged.outcome.l2, away, rtol=0.05, atol=1e-4)
    within = staged.outcome.l2 <= 0.2 + 1e-5
    assert torch.equal(staged.broke != NOT_BROKEN, within)
    assert 0 < within.float().mean() < 1


def test_no_images_are_no_error():
    objective, x, y, keys = setting(Bowl())
    staged = run_ensemble(Ensemble(eps=EPS), objective, x[:0], y[:0], keys.rows([]))
    assert staged.passes.shape == (0, len(staged.stages))
    assert len(staged.outcome.x) == len(staged.broke) == 0


def test_its_sentence_names_the_stages_as_papers_do():
    said = Ensemble(eps=EPS).sentence
    assert said == "{size}, searched with NOISE, FGSM, FMN, APGD, APGD-T, SQUARE in turn"


def test_what_cannot_be_is_refused():
    with pytest.raises(UnknownNameError, match="standard"):
        Ensemble(eps=0.1, preset="standart")
    with pytest.raises(InputError, match="Did you mean 8/255"):
        Ensemble(eps=8)
    with pytest.raises(UnknownNameError, match="linf"):
        Ensemble(eps=0.1, norm="l1")
