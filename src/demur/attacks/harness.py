"""The loop around every attack: it owns the active set, counts what a row costs and distrusts what an attack returns.

Rows that are done leave at once and waiting rows take their places, so batches stay full and no pass is spent on an
image whose fate is known. What a row gets does not depend on who shares its batch.
"""

import torch
from torch import Tensor

from demur.attacks.ledger import Ledger, distance
from demur.attacks.objective import Objective
from demur.attacks.outcome import Keep, Outcome, Trouble
from demur.attacks.walk import Attack, Seen, Walk
from demur.randomness import Keys
from demur.shapes import Images, Labels, Logits

_ROUNDING = 1e-6
"""Float32 rounding of x + eps at the edge of a ball, in pixel fractions."""


def run(
    attack: Attack, objective: Objective, x: Images, y: Labels, keys: Keys, *, keep: Keep = "first", batch: int = 128
) -> Outcome:
    """Attack every row and keep, as asked, its first success, its worst point or its nearest success.

    Under `first` and `nearest` a row that is wrong already is not attacked: it counts as fooled at distance 0 and
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
    """
    ledger = Ledger(objective, x, y, keep, attack.norm)
    everyone = torch.arange(len(x), device=x.device)
    with objective.frozen():
        clean = ledger.forward(everyone, x, batch)
        ledger.logits = clean.clone()
        wrong = objective.fooled(clean, y)
        ledger.step[wrong] = 0
        waiting = everyone if keep == "worst" else everyone[~wrong]
        if len(waiting):
            _walk(attack, ledger, waiting, keys, batch)
            _check(ledger, batch)
        return _measure(attack, ledger, clean)


def _walk(attack: Attack, ledger: Ledger, waiting: Tensor, keys: Keys, batch: int) -> None:
    """Advance every waiting row until it is done, then judge the last point of those that ran out of steps."""
    last: list[tuple[Tensor, Images]] = []
    ids = step = waiting[:0]
    walk = _start(attack, ledger, ids, keys)
    while len(ids) or len(waiting):
        if len(waiting) and len(ids) < batch:
            new, waiting = waiting[: batch - len(ids)], waiting[batch - len(ids) :]
            fresh = _start(attack, ledger, new, keys)
            walk = walk.join(fresh) if len(ids) else fresh
            ids, step = torch.cat([ids, new]), torch.cat([step, torch.zeros_like(new)])
        seen = _look(ledger.objective, walk, step)
        ledger.note(ids, walk, seen)
        walk, step = attack.advance(walk, seen), step + 1
        won = seen.fooled if ledger.keep == "first" else torch.zeros_like(seen.fooled)
        spent = ~won & (step >= attack.steps)
        if (won | spent).any():
            last.append((ids[spent], walk.x[spent]))
            index = (~won & ~spent).nonzero().squeeze(1)
            walk, ids, step = walk.rows(index), ids[index], step[index]
    _judge(attack, ledger, last, batch)


def _start(attack: Attack, ledger: Ledger, ids: Tensor, keys: Keys) -> Walk:
    return attack.start(ledger.clean[ids], ledger.y[ids], keys.rows(ids.tolist()))


def _look(objective: Objective, walk: Walk, step: Tensor) -> Seen:
    logits, gradient = objective.climb(walk.x, walk.y)
    return Seen(
        logits=logits,
        loss=objective.loss(logits, walk.y),
        gradient=gradient,
        fooled=objective.fooled(logits, walk.y),
        step=step,
    )


def _judge(attack: Attack, ledger: Ledger, last: list[tuple[Tensor, Images]], batch: int) -> None:
    """Offer each row's last point, which the loop advanced to and never looked at."""
    ids, x = torch.cat([ids for ids, _ in last]), torch.cat([x for _, x in last])
    if len(ids):
        ledger.offer(ids, x, ledger.forward(ids, x, batch), torch.full_like(ids, attack.steps), checked=True)


def _check(ledger: Ledger, batch: int) -> None:
    """Look again, in a pass of its own, at every kept point that was only seen inside the loop."""
    ids = ((ledger.worth > -torch.inf) & ~ledger.checked).nonzero().squeeze(1)
    if len(ids):
        ledger.logits[ids] = ledger.forward(ids, ledger.x[ids], batch)


def _measure(attack: Attack, ledger: Ledger, clean: Logits) -> Outcome:
    """Measure the kept points; what broke the rules goes back to its clean image."""
    outside = ~_inside(attack, ledger)
    x = torch.where(outside[:, None, None, None], ledger.clean, ledger.x)
    logits = torch.where(outside[:, None], clean, ledger.logits)
    fooled = ledger.objective.fooled(logits, ledger.y)
    unconfirmed = (ledger.step >= 0) & ~fooled & ~outside & (ledger.keep != "worst")
    ledger.troubles[outside] |= int(Trouble.OUTSIDE)
    ledger.troubles[unconfirmed] |= int(Trouble.UNCONFIRMED)
    return Outcome(
        x=x,
        logits=logits,
        fooled=fooled,
        linf=distance(x, ledger.clean, "linf"),
        l2=distance(x, ledger.clean, "l2"),
        step=ledger.step,
        loss_start=ledger.loss_start,
        loss_kept=ledger.objective.loss(logits, ledger.y).float(),
        forwards=ledger.forwards,
        backwards=ledger.backwards,
        troubles=ledger.troubles,
    )


def _inside(attack: Attack, ledger: Ledger) -> Tensor:
    """Rows whose kept point is finite, in the unit box and in the attack's ball."""
    flat = ledger.x.flatten(1)
    box = flat.isfinite().all(dim=1) & (flat.amin(dim=1) >= 0) & (flat.amax(dim=1) <= 1)
    if attack.eps is None:
        return box
    slack = _ROUNDING if attack.norm == "linf" else _ROUNDING * flat.shape[1] ** 0.5
    return box & (distance(ledger.x, ledger.clean, attack.norm) <= attack.eps + slack)
