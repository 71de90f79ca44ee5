"""What is proven of the attacked images beside what attacks found: robust accuracy, perturbations, the guard."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from demur.analysis.quantity import Number, Quantity, Table
from demur.analysis.robustness.accepted_distances import wrong_distances
from demur.analysis.robustness.censored_quantiles import CensoredQuantile, censored_quantile
from demur.analysis.robustness.guard_breaches import guard_breach
from demur.analysis.robustness.least_distances import edge
from demur.analysis.run_folder import Flags, Floats, Run, share
from demur.policies import CertifiedPair, CertifiedThreshold
from demur.records import groups

NORM = "linf"
_SUREST = 1 - 1e-6
"""A guard that wants more confidence than this lets through, for a proof, what this one does."""


class ProvenSize(Table):
    """One size of L∞: robust accuracy proven at least and found at most, accepted and wrong found and proven at most.

    Found and proven are shares of the same images, so the truth lies between the lower end of one interval and the
    upper end of the other. `attacked` says whether an attack of at most this size ran; where none did, what is found is
    the clean answer. `attackers` are those that the guard was tried with, `knew_guard` whether any aimed at it. The
    guard's shares are null where there is none by MSP or margin.
    """

    eps: float
    attacked: bool
    proven: Quantity
    found: Quantity
    accepted_wrong_found: Quantity | None
    accepted_wrong_proven: Quantity | None
    attackers: tuple[str, ...] = ()
    knew_guard: bool = False


class ProvenShare(Table):
    """The share of a class that is proven at one size."""

    eps: float
    proven: Quantity


class ProvenClass(Table):
    """One class: the median size up to which its answers are proven, and the share proven at each size."""

    name: str
    n: int
    median_radius: CensoredQuantile
    sizes: tuple[ProvenShare, ...] = ()


class Proof(Table):
    """What is proven in L∞ of `images`, or the `reason` why nothing is.

    `radius` is the median size up to which an answer is proven, 0 where it is not right; sizes above `largest` were not
    tried. `guard` is the signal by which the guard abstains, null where no proof is known for it.
    """

    images: int
    reason: str | None
    largest: Number
    radius: CensoredQuantile | None
    guard: str | None
    sizes: tuple[ProvenSize, ...] = ()
    per_class: tuple[ProvenClass, ...] = ()

    def at(self, eps: float | None) -> int | None:
        """The place of a size among those proven; None where it is not among them."""
        places = (
            at for at, size in enumerate(self.sizes) if eps is not None and math.isclose(size.eps, eps, rel_tol=1e-6)
        )
        return next(places, None)

    def bracket(self, eps: float | None) -> ProvenSize | None:
        """What is found and proven of the guard at a size, or else at the largest that was attacked."""
        at, attacked = self.at(eps), [size for size in self.sizes if size.attacked]
        found = self.sizes[at] if at is not None else attacked[-1] if attacked else None
        return found if found is not None and found.accepted_wrong_proven is not None else None


def proof(run: Run) -> Proof | None:
    """What the audit proved; None where the plan asked for none."""
    facts = run.optional_facts("proof")
    if facts is None:
        return None
    largest = max(facts["eps"])
    if facts["reason"] is not None:
        return Proof(images=0, reason=facts["reason"], largest=largest, radius=None, guard=None)
    rows = proven_rows(run, facts)
    distances, radii, floor = wrong_distances(run, rows), rows["radius"].to_numpy(), confidence_floor(run)
    found = np.where(radii >= largest, np.inf, radii)
    return Proof(
        images=len(rows),
        reason=None,
        largest=largest,
        radius=censored_quantile(found, groups(rows), largest),
        guard=floor.signal if floor else None,
        sizes=tuple(_size(run, rows, distances, at, eps) for at, eps in enumerate(facts["eps"])),
        per_class=tuple(_class(rows, found, facts["eps"], (k, name)) for k, name in enumerate(run.classes)),
    )


def proven_rows(run: Run, facts: Mapping[str, Any]) -> pl.DataFrame:
    """The clean rows of the images, with the radius and, for each size, what is known there."""
    columns: dict[str, Any] = {"sample_id": facts["sample_ids"], "radius": facts["radii"]}
    for at, size in enumerate(facts["sizes"]):
        columns |= {f"{name}.{at}": size[name] for name in ("right", "msp", "margin")}
    return run.rows("clean").join(pl.DataFrame(columns), on="sample_id", how="inner", maintain_order="left")


class Floor(Table):
    """The signal, MSP or margin, by which a guard withholds every answer of less than so much confidence."""

    signal: str
    confidence: float


def confidence_floor(run: Run) -> Floor | None:
    """What a proof knows of the guard: its threshold less the tolerance; None where it goes by another signal."""
    guard = run.guard
    if not isinstance(guard, CertifiedThreshold | CertifiedPair) or guard.signal not in {"msp", "margin"}:
        return None
    end = guard.bounds[guard.signal]
    slack = float(guard.certificate.tolerance.of([end])[0])
    return Floor(signal=guard.signal, confidence=min(_SUREST, max(0.0, 1 - end - slack)))


def _size(run: Run, rows: pl.DataFrame, distances: Floats, at: int, eps: float) -> ProvenSize:
    right, floor = rows[f"right.{at}"].to_numpy(), confidence_floor(run)
    breach = guard_breach(run, rows, NORM, eps) if floor else None
    attacks = (each for each in run.conditions("attack") if each["norm"] == NORM)
    return ProvenSize(
        eps=eps,
        attacked=any(0 < each["severity"] <= edge(eps) for each in attacks),
        proven=share(right, rows),
        found=share(distances > edge(eps), rows),
        accepted_wrong_found=breach.value if breach else None,
        accepted_wrong_proven=share(acceptable(rows, at, floor), rows) if floor else None,
        attackers=breach.attackers if breach else (),
        knew_guard=breach is not None and breach.knew_guard,
    )


def acceptable(rows: pl.DataFrame, at: int, floor: Floor) -> Flags:
    """Images of which a wrong answer may get past the guard for all that is known."""
    return rows[f"{floor.signal}.{at}"].to_numpy() >= floor.confidence


def _class(rows: pl.DataFrame, radii: Floats, sizes: Sequence[float], class_: tuple[int, str]) -> ProvenClass:
    own = (rows["label"] == class_[0]).to_numpy()
    of_class = rows.filter(own)
    return ProvenClass(
        name=class_[1],
        n=len(of_class),
        median_radius=censored_quantile(radii[own], groups(of_class), max(sizes)),
        sizes=tuple(
            ProvenShare(eps=eps, proven=share(of_class[f"right.{at}"].to_numpy(), of_class))
            for at, eps in enumerate(sizes)
        ),
    )
