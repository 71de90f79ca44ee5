"""What a guard did to images like those it is certified for: the yardstick of its alarms, read off its folder."""

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from demur.errors import DemurError, InputError
from demur.policies import ClassThreshold, CoverageBound, SiteThresholds, load_policy
from demur.policies.certified_policies import CERTIFIED_POLICIES, CertifiedPolicy
from demur.policies.policy import Floats
from demur.registry.regular_files import MIB, content_of

Rows: TypeAlias = Literal["test", "certify"]

_GUARD, _BUILT_ON, _SCORES = "guard.json", "built_on.safetensors", "tune.scores."
_LARGEST = 1024 * MIB


@dataclass(frozen=True, kw_only=True, eq=False)
class Reference:
    """Counts and scores of images that the alarms of a guard are held against.

    Attributes:
        images: independent units whose decisions were counted.
        abstained: how many of them the guard abstained on; those so near a threshold that rounding decides count so.
        rows: `test`: they chose nothing, so that their number of abstentions is binomial. `certify`: the guard has no
            others; they chose the threshold.
        several: among how many thresholds these rows could choose, 1 for test rows; what is concluded from their count
            holds for each of the thresholds.
        scores: of the tune images by the first signal of the policy, (rows,); NaN where undefined.
        signal: the name of that signal.
        risk: the share of wrong answers, of all that are given, that the certificate allows.
        unit: what counts as independent in the counts: image or group.
        classes: that the guard tells apart; feedback names one of them. empty where they are not known:
            any name may be one then.
    """

    images: int
    abstained: int
    rows: Rows = "test"
    several: int = 1
    scores: Floats
    signal: str
    risk: float
    unit: str = "image"
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.abstained <= self.images or self.images < 1 or self.several < 1:
            raise InputError(
                f"a reference of alarms counts at least one image, at most all of them as abstained, and at least one "
                f"threshold; got {self.abstained} of {self.images} and {self.several}. Fit the guard on more images."
            )
        if not 0 < self.risk < 1:
            raise InputError(
                f"the risk of a reference must lie strictly between 0 and 1; got {self.risk}. Write 2 % as 0.02."
            )

    @property
    def share(self) -> float:
        """The share of its images that went to a person."""
        return self.abstained / self.images

    @property
    def sentence(self) -> str:
        """What the workload is held against, in words."""
        which = "test" if self.rows == "test" else "certify"
        chosen = "which chose nothing" if self.rows == "test" else f"which chose among {self.several} thresholds"
        return (
            f"Of {self.images:,} {which} {self.unit}s, {chosen}, {self.abstained:,} went to a person "
            f"({100 * self.share:.1f} in 100)."
        )


def reference_of(folder: Path) -> Reference:
    """The reference in the folder of a guard, which its certificate's bound on coverage rests on too.

    The tune scores are no reference for the workload: thresholds stand where a share of them was wanted, so that their
    share below the final one is the one that was asked for. Test rows chose nothing. A guard without them, such as one
    that was certified anew, has the count of its certify rows, with what their choice among thresholds costs.

    Raises:
        InputError: it is no guard, or cannot be read.
    """
    content = _facts(folder)
    policy, stored = _policy(folder, content), _built_on(folder)
    signal = policy.signals[0]
    if f"{_SCORES}{signal}" not in stored:
        raise InputError(f"{folder / _BUILT_ON} has no tune scores of {signal!r}. Fit the guard again.")
    made, bounds = policy.certificate, _bounds(policy)
    images, answered = sum(bound.n for bound in bounds), sum(bound.answered for bound in bounds)
    return Reference(
        images=images,
        abstained=images - answered,
        rows="test" if all(bound.rows == "test" for bound in bounds) else "certify",
        several=math.prod(bound.several for bound in bounds),
        scores=stored[f"{_SCORES}{signal}"],
        signal=signal,
        risk=_share_of_answers(policy),
        unit=made.unit,
        classes=_classes(content),
    )


def _bounds(policy: CertifiedPolicy) -> list[CoverageBound]:
    """The counts behind the bound on coverage; those of each site where thresholds are by site."""
    if isinstance(policy, SiteThresholds):
        return [each.certificate.coverage for each in policy.certificate.sites]
    return [policy.certificate.coverage]


def _share_of_answers(policy: CertifiedPolicy) -> float:
    """The wrong share of answers that a certificate allows; one by class speaks of all images, answered or not."""
    risk = float(policy.certificate.risk)
    if isinstance(policy, ClassThreshold):
        risk /= max(policy.certificate.coverage.low, risk)
    return min(risk, 1 - 1e-9)


def _facts(folder: Path) -> Mapping[str, Any]:
    path = folder / _GUARD
    try:
        content = json.loads(content_of(path, _LARGEST))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read ({error}). Name the folder that `demur guard fit` wrote.") from None
    if not isinstance(content, dict) or content.get("format") != "demur guard" or not _has_card(content):
        raise InputError(f"{path} is not of a guard. Name the folder that `demur guard fit` wrote.")
    return content


def _classes(content: Mapping[str, Any]) -> tuple[str, ...]:
    model = content.get("model")
    found = model.get("classes") if isinstance(model, dict) else None
    return tuple(found) if isinstance(found, list) and all(isinstance(each, str) for each in found) else ()


def _has_card(content: Mapping[str, Any]) -> bool:
    card = content.get("card")
    return isinstance(card, dict) and isinstance(card.get("confirmation") or {}, dict)


def _policy(folder: Path, content: Mapping[str, Any]) -> CertifiedPolicy:
    try:
        policy = load_policy(content["policy"])
    except (DemurError, TypeError, ValueError, LookupError, AttributeError) as error:
        raise InputError(f"the policy of the guard in {folder} cannot be read ({error}). Fit it again.") from None
    if not isinstance(policy, CERTIFIED_POLICIES):
        raise InputError(f"the guard in {folder} has a policy without a certificate. Fit it again.")
    return policy


def _built_on(folder: Path) -> dict[str, Floats]:
    """The float64 arrays of a safetensors file; the format is eight bytes of length, a JSON header, and the numbers."""
    path = folder / _BUILT_ON
    try:
        content = content_of(path, _LARGEST)
        (length,) = struct.unpack_from("<Q", content)
        header = json.loads(content[8 : 8 + length])
        begin = 8 + length
        return {
            name: np.frombuffer(content[begin + at["data_offsets"][0] : begin + at["data_offsets"][1]], "<f8")
            for name, at in header.items()
            if name != "__metadata__" and at["dtype"] == "F64"
        }
    except (OSError, ValueError, LookupError, TypeError, AttributeError, struct.error) as error:
        raise InputError(f"{path} cannot be read ({error}). Fit the guard again.") from None
