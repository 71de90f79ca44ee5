"""What holds for every image near an image, proven rather than searched: interval bounds of networks and of guards."""

from demur.proofs.interval_bounds import (
    HALVINGS,
    Acceptance,
    Bounds,
    bounds,
    network_bounds,
    proven_radii,
)
from demur.proofs.interval_ends import NoBoundError

__all__ = ["HALVINGS", "Acceptance", "Bounds", "NoBoundError", "bounds", "network_bounds", "proven_radii"]
