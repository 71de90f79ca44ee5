"""An attack's own steps over any differentiable function, without the harness: for learning from what it finds."""

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from demur.attacks.core.attack_state import AttackState, Output
from demur.attacks.core.harness import Stepwise
from demur.shapes import Images, Labels, Logits, Scores

Climb: TypeAlias = Callable[[Logits, Labels], Scores]
"""(logits, labels) → one value per row, higher = nearer to a wrong answer."""


def driven(
    attack: Stepwise,
    network: Callable[[Images], Logits],
    x: Images,
    y: Labels,
    seeds: Tensor,
    climb: Climb,
    *,
    eps: Scores | None = None,
) -> Images:
    """Where the attack stands after its last step from its first start; no row leaves early and nothing is verified.

    Args:
        attack: one that needs gradients or losses; of its restarts the first is made.
        network: images to logits, in whatever mode it is in.
        x: clean images in [0, 1].
        y: labels.
        seeds: one 64-bit integer per row, from which all that is random in it comes.
        climb: what it makes larger.
        eps: a radius (rows,) for each row instead of the attack's own.
    """
    own = x.new_full((len(x),), torch.inf if attack.eps is None else attack.eps)
    state = attack.start(
        AttackState(
            x=x, y=y, origin=x, eps=own if eps is None else eps.to(own), seed=seeds, logits=x.new_zeros(len(x), 1)
        ),
        0,
    )
    nothing = x.new_empty(len(x), 0, 0, 0, 0)
    for step in range(attack.steps):
        where = state.x.detach().requires_grad_()
        with torch.enable_grad():
            logits = network(where)
            loss = climb(logits, y)
            (gradient,) = torch.autograd.grad(loss.sum(), where)
        output = Output(
            logits=logits.detach(),
            loss=loss.detach(),
            gradient=gradient,
            jacobian=nothing,
            fooled=logits.argmax(dim=1) != y,
            step=torch.full_like(y, step),
        )
        state = attack.advance(state, output.finite())
    return state.x.detach()
