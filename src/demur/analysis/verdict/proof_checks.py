"""The check that nothing is proven of an image that an attack, of the model or of the guard, has broken."""

from collections.abc import Iterator

import numpy as np

from demur.analysis.robustness.accepted_distances import accepted_wrong_distances, wrong_distances
from demur.analysis.robustness.least_distances import edge
from demur.analysis.robustness.proven_answers import acceptable, confidence_floor, proven_rows
from demur.analysis.run_folder import Run
from demur.analysis.verdict.verdict_tables import Check


def proof_checks(run: Run) -> Iterator[Check]:
    """Whether any image is both proven and broken; nothing is said where nothing was proven."""
    facts = run.optional_facts("proof")
    if facts is None or facts["reason"] is not None:
        return
    rows = proven_rows(run, facts)
    distances, radii = wrong_distances(run, rows), rows["radius"].to_numpy()
    broken = [(distances <= edge(eps)) & rows[f"right.{at}"].to_numpy() for at, eps in enumerate(facts["eps"])]
    if floor := confidence_floor(run):
        passed = accepted_wrong_distances(run, rows)
        broken += [(passed <= edge(eps)) & ~acceptable(rows, at, floor) for at, eps in enumerate(facts["eps"])]
    nearer = (distances <= radii) & (radii > 0)
    count = int(np.logical_or.reduce([nearer, *broken]).sum())
    yield Check(
        name="nothing proven is broken",
        state="fail" if count else "pass",
        sentence="Images proven right, or never answered and wrong, at a size at which an attack found the contrary",
        count=count,
        of=len(rows),
    )
