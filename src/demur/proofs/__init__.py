"""What holds for every image near an image, proven rather than searched.

Interval bounds of networks and of guards, and randomised smoothing.
"""

from demur.proofs.interval_bounds import (
    HALVINGS,
    Acceptance,
    Bounds,
    bounds,
    network_bounds,
    proven_radii,
)
from demur.proofs.interval_ends import NoBoundError
from demur.proofs.smoothing import ABSTAINED, SmoothedVotes, Smoothing

__all__ = [
    "ABSTAINED",
    "HALVINGS",
    "Acceptance",
    "Bounds",
    "NoBoundError",
    "SmoothedVotes",
    "Smoothing",
    "bounds",
    "network_bounds",
    "proven_radii",
]
