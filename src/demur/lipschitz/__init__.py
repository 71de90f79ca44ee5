"""Lipschitz constants: operator norms of layers, an upper bound of the network, and local slopes at images."""

from demur.lipschitz.bound import Bound, upper_bound
from demur.lipschitz.local_slopes import lipschitz_facts, local_norms
from demur.lipschitz.operator_norms import Norm, operator_norm

__all__ = ["Bound", "Norm", "lipschitz_facts", "local_norms", "operator_norm", "upper_bound"]
