"""One guard in service: its queue, what it was calibrated on, what a client is told of it."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from demur.errors import InputError
from demur.guard import Guard
from demur.guard.card_words import confirmation_words
from demur.guard.file_list import verify_files
from demur.guard.guard_folder import read_built_on
from demur.policies.decision import Bounded
from demur.policies.policy import Floats
from demur.policies.site_certificate import Sited
from demur.serve.calibration_bars import Calibration, Tally, calibrations
from demur.serve.micro_batches import MicroBatches, Observe
from demur.serve.service_settings import ServiceSettings

if TYPE_CHECKING:
    from demur.serve.alarm_watch import GuardAlarms

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
VERSION = 12
"""Characters of the hash of a guard's files that are its version."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LoadedGuard:
    """A guard as it was read from its folder, and asked once.

    Attributes:
        name: what clients call it.
        folder: where it lies.
        guard: the guard.
        sha256: the hash of the list of its files.
        calibration: by signal, the scores of its tune images.
    """

    name: str
    folder: Path
    guard: Guard
    sha256: str
    calibration: dict[str, Calibration]

    @classmethod
    def read(cls, name: str, folder: Path, device: str | None = None) -> "LoadedGuard":
        """Load a guard, and ask it about one grey image, so that whatever fails does so before anybody asks.

        Raises:
            InputError: the folder is no guard, a file of it was changed, or its name cannot be part of an address.
            ModelError: its model cannot be loaded, or is another one.
        """
        if not _NAME.fullmatch(name):
            raise InputError(
                f"the name of a guard is part of an address: letters, digits, dots, dashes, at most 64; got {name!r}. "
                "Write NAME=FOLDER."
            )
        before = verify_files(folder)
        guard = Guard.load(folder, device=device)
        grey = torch.full((1, *guard.intake.input_shape), 0.5)
        guard.of_decoded(grey, ("",), [""])
        built_on = read_built_on(folder)
        sha256 = verify_files(folder)
        if sha256 != before:
            raise InputError(
                f"the guard in {folder} was replaced while it was read: its hash was {before[:VERSION]} and is "
                f"{sha256[:VERSION]}. Load it again once the folder stays as it is."
            )
        return cls(
            name=name,
            folder=folder,
            guard=guard,
            sha256=sha256,
            calibration=calibrations(built_on.scores, guard.policy.signals),
        )

    @property
    def version(self) -> str:
        """The first characters of the hash of its files: another guard under the same name has another."""
        return self.sha256[:VERSION]

    @property
    def is_sited(self) -> bool:
        """Whether it must be told where images come from."""
        return isinstance(self.guard.policy, Sited)

    @property
    def bounds(self) -> dict[str, float | None]:
        """The highest score of each signal at which an answer is given; None where that depends on the site."""
        policy = self.guard.policy
        known = policy.bounds if isinstance(policy, Bounded) else {}
        return {name: float(known[name]) if name in known else None for name in policy.signals}

    def thresholds(self, site: str | None) -> dict[str, float | None]:
        """The same for images of a site."""
        policy = self.guard.policy
        if not isinstance(policy, Sited) or site is None:
            return self.bounds
        return {name: policy.thresholds.get(site) for name in policy.signals}

    @property
    def summary(self) -> dict[str, Any]:
        """What a client is told of it in a list."""
        return {"name": self.name, "sha256": self.sha256, "classes": list(self.guard.classifier.classes)}

    def description(self, settings: ServiceSettings) -> dict[str, Any]:
        """What the page and an operator need."""
        guard, card = self.guard, self.guard.card
        return {
            **self.summary,
            "model_sha256": guard.sha256,
            "input_shape": list(guard.intake.input_shape),
            "signals": {
                name: {
                    "says": card.signals.get(name, {}).get("sentence", ""),
                    "unit": card.signals.get(name, {}).get("unit", ""),
                    "threshold": bound,
                }
                for name, bound in self.bounds.items()
            },
            "sites": sorted(guard.policy.thresholds) if isinstance(guard.policy, Sited) else None,
            "calibration": {name: each.histogram for name, each in self.calibration.items()},
            "guarantee": {
                "sentence": guard.policy.certificate.sentence,
                "covers": _coverage(guard),
                "void_when": list(card.void_when),
                "expires": card.expires,
                "expired": guard.expired,
                "confirmation": confirmation_words(card.confirmation),
            },
            "limits": {"bytes": settings.bytes, "pixels": settings.pixels, "images": settings.images},
        }


def _coverage(guard: Guard) -> list[str]:
    """What the guarantee is about."""
    unit = guard.policy.certificate.unit
    mix = guard.card.class_mix
    like = f"images like the {guard.policy.certificate.m:,} certify {unit}s from {guard.card.data}"
    mixture = ", ".join(f"{name} {count:,}" for name, count in mix.items())
    return [
        f"{like}, not shifted or manipulated ones",
        *([f"the mixture of classes among these: {mixture}"] * bool(mix)),
    ]


class ServedGuard:
    """A loaded guard with its queue and counts.

    Args:
        loaded: the guard.
        alarms: those of it.
        settings: what the server allows.
        observe: is told of every batch; see `MicroBatches`.
    """

    def __init__(self, loaded: LoadedGuard, alarms: "GuardAlarms", settings: ServiceSettings, observe: Observe) -> None:
        self.loaded, self.alarms = loaded, alarms
        self.tallies = {name: Tally(each.quantiles) for name, each in loaded.calibration.items()}
        self.batches = MicroBatches(
            loaded.guard.of_decoded,
            observe,
            batch=settings.batch,
            queue=settings.queue,
            wait=settings.wait,
            name=loaded.name,
        )

    def count(self, scores: dict[str, Floats]) -> None:
        """Note the scores of a batch."""
        for name, tally in self.tallies.items():
            tally.add(scores[name])
