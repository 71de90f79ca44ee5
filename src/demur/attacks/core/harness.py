"""The loop around every attack: it owns the active set, counts what a row costs and distrusts what an attack returns.

Rows that are done leave at once and waiting rows take their places, so batches stay full and no pass is spent on an
image whose fate is known. What a row gets does not depend on who shares its batch.
"""

import torch
from torch import Tensor

from demur.attacks.core.attack_state import Attack, AttackState, Keep, Outcome, Output
from demur.attacks.core.best_points import BestPoints, verified
from demur.attacks.core.objective import Objective
from demur.randomness import Keys
from demur.shapes import Images, Labels, Logits, Scores


def run(
    attack: Attack,
    objective: Objective,
    x: Images,
    y: Labels,
    keys: Keys,
    *,
    keep: Keep = "first",
    batch: int = 128,
    eps: Scores | None = None,
    target: Labels | None = None,
    answers: Logits | None = None,
    trace: bool = False,
) -> Outcome:
    """Attack every row and keep, as asked, its first success, its worst point or its nearest success.

    Under `first` and `nearest` a row that succeeds already is not attacked: it counts as fooled at distance 0 and
    costs one forward. Under `worst` every row is attacked to the end and its point of highest loss is kept, fooled or
    not.

    Args:
        attack: what to run.
        objective: what it is aimed at.
        x: clean images in [0, 1], float32 or float64: in half precision a ball has no room for its edge.
        y: true labels.
        keys: one key per row; results do not depend on batch size or order.
        keep: which point of a row's walk to return.
        batch: rows per pass.
        eps: a radius (rows,) for each row instead of the attack's own.
        target: the class (rows,) each row is to be taken for; −1 leaves a row alone. None: any class but its label.
        answers: what attacks that choose classes choose them by, such as the `closest` of an earlier attack; by default
            the model's answers to the clean images.
        trace: whether to return the loss of every look.
    """
    ledger = BestPoints(attack.norm, objective, x, y, target, keep)
    with objective.frozen():
        clean, waiting = ledger.opened(batch)
        if trace:
            ledger.traced(attack.steps * attack.restarts)
        given = _given(attack, ledger, clean if answers is None else answers, keys, eps)
        for restart in range(attack.restarts):
            if len(waiting):
                _walk(attack, ledger, given, waiting, restart, batch)
                waiting = waiting if keep != "first" else waiting[ledger.step[waiting] < 0]
        _check(ledger, batch)
        return verified(ledger, clean, given.eps)


def _given(attack: Attack, ledger: BestPoints, answers: Logits, keys: Keys, eps: Scores | None) -> AttackState:
    """Every row as it stands before the attack."""
    x = ledger.clean
    own = torch.full((len(x),), torch.inf if attack.eps is None else attack.eps, dtype=x.dtype, device=x.device)
    return AttackState(
        x=x,
        y=ledger.y,
        origin=x,
        eps=own if eps is None else eps.to(own),
        seed=keys.seeds("attack").to(x.device),
        logits=answers,
        target=ledger.goal,
    )


def _walk(attack: Attack, ledger: BestPoints, given: AttackState, waiting: Tensor, restart: int, batch: int) -> None:
    """Advance every waiting row until it is done, then judge the last point of those that ran out of steps."""
    last: list[tuple[Tensor, Images, Tensor]] = []
    ids = step = waiting[:0]
    walk = attack.start(given.rows(ids), restart)
    while len(ids) or len(waiting):
        if len(waiting) and len(ids) < batch:
            new, waiting = waiting[: batch - len(ids)], waiting[batch - len(ids) :]
            fresh = attack.start(given.rows(new), restart)
            wanted = (~fresh.done).nonzero().squeeze(1)
            fresh, new = fresh.rows(wanted), new[wanted]
            walk = walk.join(fresh) if len(ids) else fresh
            ids, step = torch.cat([ids, new]), torch.cat([step, torch.zeros_like(new)])
            continue
        seen = _look(attack, ledger, walk, ids, step)
        ledger.note(ids, walk, seen, restart * attack.steps)
        walk, step = attack.advance(walk, seen.finite()), step + 1
        won = seen.fooled if ledger.keep == "first" else torch.zeros_like(seen.fooled)
        spent = ~won & (walk.done | (step >= attack.steps))
        if (won | spent).any():
            last.append((ids[spent], walk.x[spent], step[spent]))
            index = (~won & ~spent).nonzero().squeeze(1)
            walk, ids, step = walk.rows(index), ids[index], step[index]
    _judge(ledger, last, restart * attack.steps, batch)


def _look(attack: Attack, ledger: BestPoints, walk: AttackState, ids: Tensor, step: Tensor) -> Output:
    """What the attack needs to see of each row where it stands."""
    objective, none = ledger.objective, walk.x.new_empty(len(walk), 0, 0, 0)
    gradient, jacobian = none, none[:, None]
    match attack.needs:
        case "loss":
            logits = objective.logits(walk.x)
        case "gradient":
            logits, gradient = objective.climb(walk.x, walk.y, walk.target)
        case "jacobian":
            logits, jacobian = objective.jacobian(walk.x, walk.y, walk.candidates)
    return Output(
        logits=logits,
        loss=objective.loss(logits, walk.y, walk.target),
        gradient=gradient,
        jacobian=jacobian,
        fooled=ledger.reached(logits, ids),
        step=step,
    )


def _judge(ledger: BestPoints, last: list[tuple[Tensor, Images, Tensor]], before: int, batch: int) -> None:
    """Offer each row's last point, which the loop advanced to and never looked at."""
    if last:
        ids, x, step = (torch.cat(parts) for parts in zip(*last, strict=True))
        ledger.offer(ids, x, ledger.forward(ids, x, batch), step + before, checked=True)


def _check(ledger: BestPoints, batch: int) -> None:
    """Look again, in a pass of its own, at every kept point that was only seen inside the loop."""
    ids = ((ledger.worth > -torch.inf) & ~ledger.checked).nonzero().squeeze(1)
    if len(ids):
        ledger.logits[ids] = ledger.forward(ids, ledger.x[ids], batch)
