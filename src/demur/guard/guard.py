"""The guard: a classifier, the signals it is watched by and the policy that lets it answer or abstain."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from demur.classifier import BoundClassifier
from demur.errors import InputError
from demur.evidence import Evidence
from demur.guard.card import Card
from demur.guard.decisions import UNDEFINED, UNREADABLE, Decision, Decisions
from demur.guard.intake import Intake, Picture
from demur.policies import CertifiedPolicy, Tolerance, decide
from demur.policies.policy import Floats
from demur.shapes import Images, Logits
from demur.signals import LOGITS, Signal, needs_of

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
    """

    classifier: BoundClassifier
    signals: Mapping[str, Signal]
    policy: CertifiedPolicy
    tolerances: Mapping[str, Tolerance]
    temperature: float
    intake: Intake
    card: Card
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
        return self._decided(whole, ("",) * len(whole), sites)

    def read(self, pictures: Sequence[Picture], sites: ArrayLike | None = None) -> Decisions:
        """Decide about pictures, each the bytes or the path of a file; one that cannot be read is abstained from."""
        images, details = self.intake.batch(pictures)
        return self._decided(images, details, sites)

    def answer(self, image: Tensor | NDArray[np.generic] | Picture, site: str | None = None) -> Decision:
        """Decide about one image: a tensor or array (channels, height, width), or the bytes or path of a picture."""
        sites = None if site is None else np.array([site], object)
        pictured = isinstance(image, bytes | str | Path)
        return (self.read([image], sites) if pictured else self(image, sites))[0]  # type: ignore[list-item, arg-type]

    @property
    def sha256(self) -> str:
        """The hash of the model that it guards."""
        return self.classifier.sha256

    @property
    def expired(self) -> bool:
        """Whether the last day of the certificate is over."""
        return self.card.expires is not None and datetime.now(UTC).date().isoformat() > self.card.expires

    def _decided(self, images: Images, details: tuple[str, ...], sites: ArrayLike | None) -> Decisions:
        rows = list(self._batches(images))
        logits = torch.cat([part for part, _ in rows]) if rows else torch.empty(0, len(self.classifier.classes))
        scores = {name: np.concatenate([part[name] for _, part in rows] or [np.empty(0)]) for name in self.signals}
        found = decide(self.policy, scores, sites, self.tolerances)
        unread, undefined = np.array([why != "" for why in details], bool), ~logits.isfinite().all(dim=1).numpy()
        withheld = (
            np.full(len(logits), EXPIRED)
            if self.expired
            else np.select([unread, undefined], [UNREADABLE, UNDEFINED], found.reasons)
        )
        blank = unread | undefined
        return Decisions(
            classes=self.classifier.classes,
            predicted=np.where(blank, -1, logits.nan_to_num().argmax(dim=1).numpy()),
            confidence=np.where(blank, np.nan, self._confidence(logits)),
            scores={name: np.where(blank, np.nan, score) for name, score in scores.items()},
            accepted=found.accepted & (withheld == ""),
            reasons=withheld.astype(str),
            distances={name: np.where(blank, np.nan, each) for name, each in found.distances.items()},
            near=found.near & ~blank,
            details=details,
        )

    def _confidence(self, logits: Logits) -> Floats:
        tempered = (logits.double() / self.temperature).nan_to_num()
        return tempered.softmax(dim=1).amax(dim=1).numpy()

    def _batches(self, images: Images) -> Iterator[tuple[Logits, Mapping[str, Floats]]]:
        """Logits and scores batch by batch; the scores of rows without a finite answer are NaN."""
        needs = [needs_of(signal) for signal in self.signals.values()]
        layers = tuple(dict.fromkeys(layer for each in needs for layer in each.layers))
        features = any(each.features for each in needs)
        for part in torch.split(images, BATCH):
            with self._turn, torch.no_grad():
                x = part.to(self.classifier.device)
                evidence = Evidence(self.classifier, x, layers, features=features, check=False)
                found = evidence.logits, self._scores(evidence)
            yield found

    def _scores(self, evidence: Evidence) -> Mapping[str, Floats]:
        finite = evidence.logits.isfinite().all(dim=1)
        some = evidence if bool(finite.all()) else evidence.rows(finite.nonzero()[:, 0])
        scores = {}
        for name, signal in self.signals.items():
            scores[name] = np.full(len(evidence), np.nan)
            if len(some):
                scores[name][finite.numpy()] = signal(some).cpu().double().numpy()
        return scores

    @classmethod
    def load(cls, path: Path | str, *, sha256: str | None = None, device: str | None = None) -> "Guard":
        """The guard in a folder, every file of which must be as it was written.

        Args:
            path: the folder.
            sha256: the hash of its list of files, as `demur guard show` prints it; it must be this one. Hashes inside a
                folder find an accident, not someone who rewrites folder and list; this, or a signature, does.
            device: where the model runs; by default where it is loaded.

        Raises:
            InputError: the folder is no guard, of another version, or a file of it was changed; it is named.
            ModelError: its model cannot be loaded, or is another one.
        """
        from demur.guard.guard_folder import read_guard

        guard = read_guard(Path(path), sha256)
        return guard if device is None else replace(guard, classifier=guard.classifier.to(device))


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


def reads_logits_alone(guard: Guard) -> bool:
    """Whether no signal needs more than the one forward pass."""
    return all(needs_of(signal) == LOGITS for signal in guard.signals.values())
