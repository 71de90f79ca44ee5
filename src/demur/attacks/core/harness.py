"""The loop around every attack: it owns the active set, counts what a row costs and distrusts what an attack returns.

Rows that are done leave at once and waiting rows take their places, so batches stay full and no pass is spent on an
image whose fate is known. What a row gets does not depend on who shares its batch.
"""

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from demur.attacks.core.attack import FIXED_PASSES, Attack, refuse
from demur.attacks.core.attack_state import AttackState, Keep, Needs, Outcome, Output
from demur.attacks.core.best_points import BestPoints, verified
from demur.attacks.core.objective import Answer, Objective
from demur.randomness import Keys
from demur.shapes import Images, Labels, Logits, Scores


class Stepwise(Attack):
    """An attack that is two steps on rows, which read like the algorithm box of its paper; the harness does the rest.

    What it `needs` at each step decides the price: a loss is a forward, a gradient a backward more, a jacobian one
    backward for each class in the state's own `candidates` (rows, classes).
    """

    needs: ClassVar[Needs]

    @abstractmethod
    def start(self, state: AttackState, restart: int) -> AttackState:
        """Where the rows begin, given a state that stands on the clean images."""

    @abstractmethod
    def advance(self, state: AttackState, output: Output) -> AttackState:
        """One step of every row."""

    @property
    def gradient_free(self) -> bool:
        """Whether it sees answers alone."""
        return self.needs == "loss"

    @property
    def passes_per_step(self) -> int:
        """Forward and backward passes of one step."""
        return 1 if self.needs == "loss" else 2

    @property
    def passes(self) -> int:
        """Forward and backward passes an image takes at most."""
        return FIXED_PASSES + self.passes_per_step * self.steps * self.restarts

    def execute(
        self,
        objective: Objective,
        x: Images,
        y: Labels,
        keys: Keys,
        *,
        keep: Keep | None = None,
        batch: int = 128,
        target: Labels | None = None,
        eps: Scores | None = None,
        answers: Logits | None = None,
        weights: Tensor | None = None,
        trace: bool = False,
    ) -> Outcome:
        """Attack every row through the harness."""
        self.check_target(target)
        refuse(self, weights=weights)
        return run(
            self,
            objective,
            x,
            y,
            keys,
            keep=self.check_keep(keep),
            batch=batch,
            eps=eps,
            target=target,
            answers=answers,
            trace=trace,
        )


def run(
    attack: Stepwise,
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
    begin: Images | None = None,
) -> Outcome:
    """Attack every row and keep, as `keep` says, its first success, its worst point or its nearest success.

    Under `first` and `nearest` a row that succeeds already is not attacked: it counts as fooled at distance 0 and
    costs one forward. Under `worst` every row is attacked to the end and its point of highest loss is kept, fooled or
    not.

    Args:
        attack: what to run.
        objective: what it is aimed at.
        x: clean images in [0, 1], float32 or float64: in half precision a ball has no room for its edge.
        y: true labels.
        keys: one key per row; results do not depend on batch size or order.
        keep: which point of a row's state to return.
        batch: rows per pass.
        eps: a radius (rows,) for each row instead of the attack's own.
        target: the class (rows,) each row is to be taken for; −1 leaves a row alone. None: any class but its label.
        answers: what attacks that choose classes choose them by, such as the `closest` of an earlier attack; by default
            the model's answers to the clean images.
        trace: whether to return the loss at every step.
        begin: where each row stands when the attack is started, such as the point of an earlier one; by default on its
            clean image.
    """
    best = BestPoints(attack.norm, objective, x, y, target, keep)
    with objective.frozen():
        clean, waiting = best.open_rows(batch)
        if trace:
            best.record_trace(attack.steps * attack.restarts)
        given = _first_state(attack, best, clean.logits if answers is None else answers, keys, eps)
        given = given if begin is None else given.at(begin)
        for restart in range(attack.restarts):
            if len(waiting):
                _advance(attack, best, given, waiting, restart, batch)
                waiting = waiting if keep != "first" else waiting[best.step[waiting] < 0]
        _check(best, batch)
        return verified(best, clean, given.eps)


def _first_state(attack: Stepwise, best: BestPoints, answers: Logits, keys: Keys, eps: Scores | None) -> AttackState:
    """Every row as it stands before the attack."""
    x = best.clean
    own = torch.full((len(x),), torch.inf if attack.eps is None else attack.eps, dtype=x.dtype, device=x.device)
    return AttackState(
        x=x,
        y=best.y,
        origin=x,
        eps=own if eps is None else eps.to(own),
        seed=keys.seeds("attack").to(x.device),
        logits=answers,
        target=best.goal,
    )


def _advance(attack: Stepwise, best: BestPoints, given: AttackState, waiting: Tensor, restart: int, batch: int) -> None:
    """Advance every waiting row until it is done, then judge the last point of those that ran out of steps."""
    last: list[tuple[Tensor, Images, Tensor]] = []
    ids = step = waiting[:0]
    state = attack.start(given.rows(ids), restart)
    while len(ids) or len(waiting):
        if len(waiting) and len(ids) < batch:
            new, waiting = waiting[: batch - len(ids)], waiting[batch - len(ids) :]
            fresh = attack.start(given.rows(new), restart)
            wanted = (~fresh.done).nonzero().squeeze(1)
            fresh, new = fresh.rows(wanted), new[wanted]
            state = state.join(fresh) if len(ids) else fresh
            ids, step = torch.cat([ids, new]), torch.cat([step, torch.zeros_like(new)])
            continue
        answer, output = _forward(attack, best, state, ids, step)
        best.note(ids, state, output, answer, restart * attack.steps)
        state, step = attack.advance(state, output.finite()), step + 1
        won = output.fooled if best.keep == "first" else torch.zeros_like(output.fooled)
        spent = ~won & (state.done | (step >= attack.steps))
        if (won | spent).any():
            last.append((ids[spent], state.x[spent], step[spent]))
            index = (~won & ~spent).nonzero().squeeze(1)
            state, ids, step = state.rows(index), ids[index], step[index]
    _judge(best, last, restart * attack.steps, batch)


def _forward(
    attack: Stepwise, best: BestPoints, state: AttackState, ids: Tensor, step: Tensor
) -> tuple[Answer, Output]:
    """What the model says of each row where it stands, and what of it the attack needs."""
    objective, none = best.aim, state.x.new_empty(len(state), 0, 0, 0)
    gradient, jacobian = none, none[:, None]
    match attack.needs:
        case "loss":
            answer = objective.answer(state.x, state.y)
        case "gradient":
            answer, gradient = objective.climb(state.x, state.y, state.target)
        case "jacobian":
            answer, jacobian = objective.jacobian(state.x, state.y, state.candidates)
    output = Output(
        logits=answer.logits,
        loss=objective.loss(answer, state.y, state.target),
        gradient=gradient,
        jacobian=jacobian,
        fooled=best.found(answer, ids),
        step=step,
    )
    return answer, output


def _judge(best: BestPoints, last: list[tuple[Tensor, Images, Tensor]], before: int, batch: int) -> None:
    """Offer each row's last point, which the loop advanced to and did not evaluate."""
    if last:
        ids, x, step = (torch.cat(parts) for parts in zip(*last, strict=True))
        if not len(ids):
            return
        best.offer(ids, x, best.forward(ids, x, batch), step + before, checked=True)


def _check(best: BestPoints, batch: int) -> None:
    """Confirm, in a forward pass of its own, every kept point that was only seen inside the loop."""
    ids = ((best.worth > -torch.inf) & ~best.checked).nonzero().squeeze(1)
    if len(ids):
        best.answer.put(ids, best.forward(ids, best.x[ids], batch))
