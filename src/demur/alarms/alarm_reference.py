"""What a guard did to images like those it is certified for: the yardstick of its alarms, read off its folder."""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from demur.errors import DemurError, InputError
from demur.policies import SiteThresholds, load_policy
from demur.policies.certified_policies import CERTIFIED_POLICIES, CertifiedPolicy
from demur.policies.decision import decide
from demur.policies.policy import Floats
from demur.registry.regular_files import MIB, content_of

Rows: TypeAlias = Literal["test", "tune"]

_GUARD, _BUILT_ON, _SCORES = "guard.json", "built_on.safetensors", "tune.scores."
_LARGEST = 1024 * MIB


@dataclass(frozen=True, kw_only=True, eq=False)
class Reference:
    """Counts and scores of images that the alarms of a guard are held against.

    Attributes:
        images: independent units whose decisions were counted.
        abstained: how many of them the guard abstained on.
        rows: `test`: they chose nothing, so that their number of abstentions is binomial. `tune`: the guard has no
            such images; its threshold was chosen among those that stand between tune scores, by other images, so that
            the bound on their share holds for every threshold at once (Massart 1990, the tight constant in the
            Dvoretzky-Kiefer-Wolfowitz inequality).
        scores: of the tune images by the first signal of the policy, (rows,); NaN where undefined.
        signal: the name of that signal.
        risk: the share of wrong answers that the certificate allows.
        unit: what counts as independent in the counts: image or group.
    """

    images: int
    abstained: int
    rows: Rows
    scores: Floats
    signal: str
    risk: float
    unit: str = "image"

    def __post_init__(self) -> None:
        if not 0 <= self.abstained <= self.images or self.images < 1:
            raise InputError(
                f"a reference of alarms counts at least one image, and at most all of them as abstained; got "
                f"{self.abstained} of {self.images}. Fit the guard on more images."
            )

    @property
    def share(self) -> float:
        """The share of its images that went to a person."""
        return self.abstained / self.images

    @property
    def sentence(self) -> str:
        """What the alarms are held against, in words."""
        which = "untouched test" if self.rows == "test" else "tune"
        return (
            f"{self.abstained:,} of {self.images:,} {which} {self.unit}s went to a person "
            f"({100 * self.share:.1f} in 100)."
        )


def reference_of(folder: Path) -> Reference:
    """The reference in the folder of a guard.

    Counts are those of untouched test images, which the guard's card has; a guard without them, such as one that was
    certified anew, is held against its tune scores at the final threshold.

    Raises:
        InputError: it is no guard, it cannot be read, or it has neither.
    """
    content = _facts(folder)
    policy = _policy(folder, content)
    stored = _built_on(folder)
    scores = {name.removeprefix(_SCORES): each for name, each in stored.items() if name.startswith(_SCORES)}
    signal = policy.signals[0]
    if signal not in scores:
        raise InputError(f"{folder / _BUILT_ON} has no tune scores of {signal!r}. Fit the guard again.")
    images, abstained, rows = _counts(folder, content, policy, scores)
    return Reference(
        images=images,
        abstained=abstained,
        rows=rows,
        scores=scores[signal],
        signal=signal,
        risk=float(policy.certificate.risk),
        unit="image" if rows == "tune" else _unit(content),
    )


def _counts(
    folder: Path, content: Mapping[str, Any], policy: CertifiedPolicy, scores: Mapping[str, Floats]
) -> tuple[int, int, Rows]:
    found = content["card"].get("confirmation")
    if found is not None and found["images"]:
        return int(found["images"]), int(found["images"]) - int(found["answered"]), "test"
    if isinstance(policy, SiteThresholds):
        raise InputError(
            f"the guard in {folder} has a threshold for each site and no count of untouched test images, so that there "
            "is nothing its alarms could be held against. Fit it on 600 images or more."
        )
    missing = [name for name in policy.signals if name not in scores]
    if missing or not len(scores[policy.signals[0]]):
        raise InputError(
            f"the guard in {folder} has neither a count of untouched test images nor tune scores, so that there is "
            "nothing its alarms could be held against. Fit it on 600 images or more."
        )
    accepted = decide(policy, scores).accepted
    return len(accepted), int((~accepted).sum()), "tune"


def _unit(content: Mapping[str, Any]) -> str:
    return str(content["card"]["confirmation"]["unit"])


def _facts(folder: Path) -> Mapping[str, Any]:
    path = folder / _GUARD
    try:
        content = json.loads(content_of(path, _LARGEST))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read ({error}). Name the folder that `demur guard fit` wrote.") from None
    if not isinstance(content, dict) or content.get("format") != "demur guard" or not _has_card(content):
        raise InputError(f"{path} is not of a guard. Name the folder that `demur guard fit` wrote.")
    return content


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
    except (OSError, ValueError, LookupError, TypeError, struct.error) as error:
        raise InputError(f"{path} cannot be read ({error}). Fit the guard again.") from None


def risk_of(plan_risk: float | None, reference: Reference) -> float:
    """What counts as harm: the share that the plan says, or else that of the certificate."""
    return reference.risk if plan_risk is None else plan_risk
