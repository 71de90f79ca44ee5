"""How fast a model's answer can change: norms of its layers, a bound for the network, and what was seen."""

from demur.lipschitz.bound import Bound, upper_bound
from demur.lipschitz.local_slopes import lipschitz_facts, local_norms
from demur.lipschitz.operator_norms import Norm, operator_norm

__all__ = ["Bound", "Norm", "lipschitz_facts", "local_norms", "operator_norm", "upper_bound"]
