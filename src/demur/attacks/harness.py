"""The loop around every attack: it owns the active set, counts what a row costs and distrusts what an attack returns.

Rows that are done leave at once and waiting rows take their places, so batches stay full and no pass is spent on an
image whose fate is known. What a row gets does not depend on who shares its batch.
"""

import torch
from torch import Tensor

from demur.attacks.balls import length
from demur.attacks.ledger import Ledger
from demur.attacks.objective import Objective
from demur.attacks.outcome import Keep, Outcome, Trouble
from demur.attacks.walk import Attack, Seen, Walk
from demur.randomness import Keys
from demur.shapes import Flags, Images, Labels, Logits, Scores

_ROUNDING = 1e-6
"""Float32 rounding of x + eps at the edge of a ball, in pixel fractions."""


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
    trace: bool = False,
) -> Outcome:
    """Attack every row and keep, as asked, its first success, its worst point or its nearest success.

    Under `first` and `nearest` a row that succeeds already is not attacked: it counts as fooled at distance 0 and
    costs one forward. Under `worst` every row is attacked to the end and its point of highest loss is kept, fooled or
    not.

    Args:
        attack: what to run.
        objective: what it is aimed at.
        x: clean images in [0, 1].
        y: true labels.
        keys: one key per row; results do not depend on batch size or order.
        keep: which point of a row's walk to return.
        batch: rows per pass.
        eps: a radius (rows,) for each row instead of the attack's own.
        target: the class (rows,) each row is to be taken for; −1 leaves a row alone. None: any class but its label.
        trace: whether to return the loss of every look.
    """
    ledger = Ledger(attack, objective, x, y, target, keep)
    everyone = torch.arange(len(x), device=x.device)
    with objective.frozen():
        clean = ledger.forward(everyone, x, batch)
        ledger.logits = clean.clone()
        done = ledger.reached(clean, everyone)
        ledger.step[done] = 0
        if trace:
            ledger.traced(attack.steps * attack.restarts)
        waiting = everyone if keep == "worst" else everyone[~done]
        if target is not None:
            waiting = waiting[target[waiting] >= 0]
        given = _given(attack, ledger, clean, keys, eps)
        for restart in range(attack.restarts):
            if len(waiting):
                _walk(attack, ledger, given, waiting, restart, batch)
                waiting = waiting if keep != "first" else waiting[ledger.step[waiting] < 0]
        _check(ledger, batch)
        return _measure(attack, ledger, clean, given.eps)


def _given(attack: Attack, ledger: Ledger, clean: Logits, keys: Keys, eps: Scores | None) -> Walk:
    """Every row as it stands before the attack."""
    x = ledger.clean
    own = torch.full((len(x),), torch.inf if attack.eps is None else attack.eps, dtype=x.dtype, device=x.device)
    return Walk(
        x=x,
        y=ledger.y,
        origin=x,
        eps=own if eps is None else eps.to(own),
        seed=keys.seeds("attack").to(x.device),
        logits=clean,
        target=ledger.goal,
    )


def _walk(attack: Attack, ledger: Ledger, given: Walk, waiting: Tensor, restart: int, batch: int) -> None:
    """Advance every waiting row until it is done, then judge the last point of those that ran out of steps."""
    last: list[tuple[Tensor, Images]] = []
    ids = step = waiting[:0]
    walk = attack.start(given.rows(ids), restart)
    while len(ids) or len(waiting):
        if len(waiting) and len(ids) < batch:
            new, waiting = waiting[: batch - len(ids)], waiting[batch - len(ids) :]
            fresh = attack.start(given.rows(new), restart)
            walk = walk.join(fresh) if len(ids) else fresh
            ids, step = torch.cat([ids, new]), torch.cat([step, torch.zeros_like(new)])
        seen = _look(attack, ledger, walk, ids, step)
        ledger.note(ids, walk, seen, restart * attack.steps)
        walk, step = attack.advance(walk, seen.finite()), step + 1
        won = seen.fooled if ledger.keep == "first" else torch.zeros_like(seen.fooled)
        spent = ~won & (step >= attack.steps)
        if (won | spent).any():
            last.append((ids[spent], walk.x[spent]))
            index = (~won & ~spent).nonzero().squeeze(1)
            walk, ids, step = walk.rows(index), ids[index], step[index]
    _judge(ledger, last, (restart + 1) * attack.steps, batch)


def _look(attack: Attack, ledger: Ledger, walk: Walk, ids: Tensor, step: Tensor) -> Seen:
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
    return Seen(
        logits=logits,
        loss=objective.loss(logits, walk.y, walk.target),
        gradient=gradient,
        jacobian=jacobian,
        fooled=ledger.reached(logits, ids),
        step=step,
    )


def _judge(ledger: Ledger, last: list[tuple[Tensor, Images]], step: int, batch: int) -> None:
    """Offer each row's last point, which the loop advanced to and never looked at."""
    ids, x = torch.cat([ids for ids, _ in last]), torch.cat([x for _, x in last])
    if len(ids):
        ledger.offer(ids, x, ledger.forward(ids, x, batch), torch.full_like(ids, step), checked=True)


def _check(ledger: Ledger, batch: int) -> None:
    """Look again, in a pass of its own, at every kept point that was only seen inside the loop."""
    ids = ((ledger.worth > -torch.inf) & ~ledger.checked).nonzero().squeeze(1)
    if len(ids):
        ledger.logits[ids] = ledger.forward(ids, ledger.x[ids], batch)


def _measure(attack: Attack, ledger: Ledger, clean: Logits, eps: Scores) -> Outcome:
    """Measure the kept points; what broke the rules or cannot be confirmed goes back to its clean image."""
    everyone = torch.arange(len(ledger.x), device=ledger.x.device)
    outside = ~_inside(attack, ledger, eps)
    claimed = (ledger.step >= 0) & ~outside & (ledger.keep != "worst")
    unconfirmed = claimed & ~_stands(ledger, everyone)
    back = outside | unconfirmed
    ledger.troubles[outside] |= int(Trouble.OUTSIDE)
    ledger.troubles[unconfirmed] |= int(Trouble.UNCONFIRMED)
    x = torch.where(back[:, None, None, None], ledger.clean, ledger.x)
    logits = torch.where(back[:, None], clean, ledger.logits)
    return Outcome(
        x=x,
        logits=logits,
        fooled=ledger.reached(logits, everyone),
        linf=length(x - ledger.clean, "linf"),
        l2=length(x - ledger.clean, "l2"),
        step=ledger.step,
        loss_start=ledger.loss_start,
        loss_kept=ledger.loss(logits, everyone).float(),
        forwards=ledger.forwards,
        backwards=ledger.backwards,
        troubles=ledger.troubles,
        trace=ledger.trace,
    )


def _stands(ledger: Ledger, everyone: Tensor) -> Flags:
    """Which rows succeed at their kept points; those that do by little are asked again in float64."""
    goal = ledger.goal
    stands = ledger.reached(ledger.logits, everyone)
    close = ledger.objective.near(ledger.logits, ledger.y, goal) & (ledger.forwards > 1)
    ids = close.nonzero().squeeze(1)
    if len(ids):
        ledger.forwards[ids] += 1
        aim = None if goal is None else goal[ids]
        stands[ids] = ledger.objective.confirmed(ledger.x[ids], ledger.y[ids], aim)
    return stands


def _inside(attack: Attack, ledger: Ledger, eps: Scores) -> Tensor:
    """Rows whose kept point is finite, in the unit box and in its ball."""
    flat = ledger.x.flatten(1)
    box = flat.isfinite().all(dim=1) & (flat.amin(dim=1) >= 0) & (flat.amax(dim=1) <= 1)
    slack = _ROUNDING if attack.norm == "linf" else _ROUNDING * flat.shape[1] ** 0.5
    return box & (length(ledger.x - ledger.clean, attack.norm) <= eps + slack)
