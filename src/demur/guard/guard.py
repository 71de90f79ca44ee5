"""The guard: a classifier, the signals it is watched by and the policy that lets it answer or abstain."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from demur.classifier import BoundClassifier
from demur.classifier.devices import on_device
from demur.errors import DataError, InputError, ModelError
from demur.evidence import Evidence, scores_of
from demur.guard.card import Card
from demur.guard.decisions import UNDEFINED, UNREADABLE, Decision, Decisions
from demur.guard.intake import Intake, Picture
from demur.policies import CertifiedPolicy, Tolerance, decide
from demur.policies.policy import Floats
from demur.shapes import Images, Logits
from demur.signals import LOGITS, Needs, Signal

BATCH = 64
"""Images that the model is asked about at once."""

EXPIRED = "expired_certificate"
"""The reason code of every image after the day on which the certificate ends."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Guard:
    """A classifier that answers or abstains, with a certificate of how often its answers are wrong.

    The same image is decided alike alone and in any batch, but for scores within the stated tolerance of a bound
    (`Decisions.near`). Several threads may ask one guard: they take turns, since layers are read while a model answers.
    A signal that draws at random draws from each image's own bytes.

    Attributes:
        classifier: the model.
        signals: by canonical name, fitted; those that the policy reads.
        policy: what may be answered, with its certificate.
        tolerances: how far each score may move when an image is asked again.
        temperature: what logits are divided by for `confidence`; fitted on tune rows.
        intake: how pictures are decoded.
        card: what it was made from, and what its certificate says and rests on.
        needs: what its signals read of the pass that they share; more costs a pass of its own.
    """

    classifier: BoundClassifier
    signals: Mapping[str, Signal]
    policy: CertifiedPolicy
    tolerances: Mapping[str, Tolerance]
    temperature: float
    intake: Intake
    card: Card
    needs: Needs = LOGITS
    _turn: Lock = field(default_factory=Lock, repr=False)

    def __call__(self, images: Tensor | NDArray[np.generic], sites: ArrayLike | None = None) -> Decisions:
        """Decide about images (rows, channels, height, width) in [0, 1].

        Args:
            images: a tensor or array; one image alone is a batch of one.
            sites: where each image comes from, for a guard with a threshold for each site.

        Raises:
            DataError: wrong type, shape or range.
            InputError: not one site for each image, where sites are needed.
        """
        whole = self.intake.tensor(images)
        return self.of_decoded(whole, ("",) * len(whole), sites)

    def read(self, pictures: Sequence[Picture], sites: ArrayLike | None = None) -> Decisions:
        """Decide about pictures, each the bytes or the path of a file; one that cannot be read is abstained from."""
        images, details = self.intake.batch(pictures)
        return self.of_decoded(images, details, sites)

    def answer(self, image: Tensor | NDArray[np.generic] | Picture, site: str | None = None) -> Decision:
        """Decide about one image: a tensor or array (channels, height, width), or the bytes or path of a picture."""
        sites = None if site is None else np.array([site], object)
        pictured = isinstance(image, bytes | str | Path)
        found = self.read([image], sites) if pictured else self(image, sites)  # type: ignore[list-item, arg-type]
        if len(found) != 1:
            raise DataError(f"answer(image) is about one image; got {len(found)}. Ask about several by guard(images).")
        return found[0]

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the lock, so that it can be copied, and sent where its model can be: not as a program."""
        return {name: part for name, part in vars(self).items() if name != "_turn"}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        vars(self).update(state, _turn=Lock())

    @property
    def sha256(self) -> str:
        """The hash of the model that it guards."""
        return self.classifier.sha256

    @property
    def expired(self) -> bool:
        """Whether the last day of the certificate is over."""
        return self.card.expires is not None and datetime.now(UTC).date().isoformat() > self.card.expires

    def of_decoded(self, images: Images, details: tuple[str, ...], sites: ArrayLike | None = None) -> Decisions:
        """Decide about what `intake.batch` made of pictures, or `intake.tensor` of arrays; it is not checked again.

        Args:
            images: (rows, channels, height, width) in [0, 1].
            details: why a row could not be read, (rows,); empty where it could.
            sites: where each image comes from, for a guard with a threshold for each site.

        Raises:
            InputError: not one site for each image, where sites are needed.
        """
        logits, scores = self._answers(images)
        made = decide(self.policy, scores, sites, self.tolerances)
        z = logits.detach().numpy().astype(np.float64) / self.temperature
        found = Decisions(
            classes=self.classifier.classes,
            predicted=logits.argmax(dim=1).numpy(),
            confidence=_confidence(z),
            scores=scores,
            accepted=made.accepted,
            reasons=made.reasons,
            distances=made.distances,
            near=made.near,
            details=details,
            logits=z,
        )
        undefined = np.isnan(found.confidence)
        if undefined.any() or any(details):
            unread = np.array([why != "" for why in details], bool)
            found = found.withheld(undefined, UNDEFINED).withheld(unread, UNREADABLE)
        return found.abstaining(EXPIRED) if self.expired else found

    def _answers(self, images: Images) -> tuple[Logits, Mapping[str, Floats]]:
        """Logits and scores of all rows, a batch at a time."""
        if 0 < len(images) <= BATCH:
            return self._batch(images)
        parts = [self._batch(part) for part in torch.split(images, BATCH) if len(part)]
        logits = torch.cat([part for part, _ in parts]) if parts else torch.empty(0, len(self.classifier.classes))
        return logits, {
            name: np.concatenate([np.empty(0), *(part[name] for _, part in parts)]) for name in self.signals
        }

    def _batch(self, images: Images) -> tuple[Logits, Mapping[str, Floats]]:
        """Logits and scores of some rows; the scores of those without a finite answer are NaN."""
        needs, kind = self.needs, self.classifier.device.type
        with self._turn, torch.no_grad(), torch.autocast(kind, enabled=False):  # bounds are of the audit's precision
            x = images.to(self.classifier.device)
            evidence = Evidence(self.classifier, x, needs.layers, features=needs.features, check=False)
            return evidence.logits, {
                name: score.numpy(force=True) for name, score in scores_of(self.signals, evidence).items()
            }

    @classmethod
    def load(cls, path: Path | str, *, sha256: str | None = None, device: str | None = None) -> "Guard":
        """The guard in a folder, every file of which must be as it was written.

        Args:
            path: the folder.
            sha256: the hash of its list of files, as `demur guard show` prints it; it must be this one. Hashes inside a
                folder find an accident, not someone who rewrites folder and list; this, or a signature, does.
            device: where the model runs; by default where it is loaded.

        Raises:
            InputError: the folder is no guard, of another version, or a file of it was changed, which is named; or
                there is no such device.
            ModelError: its model cannot be loaded, or is another one.
        """
        from demur.guard.guard_folder import read_guard

        guard = read_guard(Path(path), sha256)
        return guard if device is None else replace(guard, classifier=on_device(guard.classifier, device))


def _confidence(z: Floats) -> Floats:
    """Probability of the answer by logits at the temperature; NaN where one is not finite."""
    if np.isfinite(z).all():
        return 1 / np.exp(z - z.max(axis=1, keepdims=True)).sum(axis=1)
    finite = np.isfinite(z).all(axis=1)
    found = np.full(len(z), np.nan)
    found[finite] = 1 / np.exp(z[finite] - z[finite].max(axis=1, keepdims=True)).sum(axis=1)
    return found


def check_parts(guard: Guard) -> None:
    """Refuse a guard whose policy reads a signal that it has not.

    Raises:
        InputError: such a signal.
    """
    missing = [name for name in guard.policy.signals if name not in guard.signals]
    if missing:
        raise InputError(
            f"the policy of this guard reads the signal {missing[0]!r}, and the guard has "
            f"{', '.join(guard.signals) or 'none'}. Fit it again."
        )


def check_scores(guard: Guard) -> None:
    """Refuse a guard whose model does not show its signals what they read.

    Raises:
        InputError: the signal, and why it cannot be scored.
    """
    grey = torch.stack([torch.full(guard.intake.input_shape, level) for level in (0.4, 0.6)])
    evidence = Evidence(guard.classifier, grey.to(guard.classifier.device), check=False, features=False)
    for name, signal in guard.signals.items():
        try:
            with torch.no_grad():
                signal(evidence)
        except ModelError as error:
            raise InputError(
                f"the signal {name!r} cannot be read off the model as it is kept: {error} An exported program has no "
                "layers; embed the weights instead, or keep the model at its address."
            ) from error
