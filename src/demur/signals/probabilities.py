"""Probabilities of the softmax that are small and must stay exact."""

from torch import Tensor, inf

from demur.shapes import Labels, Scores


def missing(z: Tensor, answer: Labels) -> Scores:
    """One minus the probability of each row's `answer`, for logits (rows, classes) in float64.

    The sum over the other classes, which does not round to 0 where one minus the probability would.
    """
    own = z.gather(1, answer[:, None])
    others = z.scatter(1, answer[:, None], -inf).logsumexp(dim=1)
    return (others - own[:, 0]).sigmoid()


def softmax_entropy(log_p: Tensor) -> Tensor:
    """−Σ p ln p over the last axis, of log-probabilities that may be −∞."""
    p = log_p.exp()
    return -(p * log_p.clamp(min=-1e300)).sum(dim=-1)
