"""The one protocol of attacks: how each is run on rows, and what others must know of it whatever its name."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, TypeAlias

from torch import Tensor, nn

from demur.attacks.core.adversarial_images import AdversarialImages, check_call, keys_of, target_of
from demur.attacks.core.attack_state import Keep, Norm, Outcome
from demur.attacks.core.objective import Objective
from demur.classifier import AnyClassifier
from demur.errors import InputError, ModelError, unknown
from demur.randomness import Keys
from demur.shapes import Images, Labels, Logits, Scores

Ascent = Literal["one step", "many steps"]

Refusal: TypeAlias = tuple[str, str]
"""Why an attack does not take something, as the first half of a sentence, and what to do instead."""

FIXED_PASSES = 4
"""Forward passes beside those of the steps: the clean image, the last point, the kept point, and that in float64."""

_KEEPS: tuple[Keep, ...] = ("first", "worst", "nearest")


@dataclass(frozen=True, kw_only=True)
class AttackFacts:
    """What a plan, a check or an analysis must know of an attack, whatever its name; `run.json` has it.

    `ball`: it stays in a ball of a fixed radius. `minimal`: it looks for the minimal perturbation of each image,
    however large. `ascent`: it climbs one loss away from the label inside a ball, in one step or in many. `blind`: it
    searches a ball by the answers alone, without gradients. `gradient_free`: it follows none, in a ball or not.
    `label_only`: of answers it sees the class alone. `control`: it should find nothing that others do not.
    `external`: it is the code of somebody else. `steps` and `passes`: steps of its loop, and passes of all kinds, at
    most. `stages`: the attacks that an ensemble is made of, in their order.
    """

    ball: bool
    minimal: bool
    ascent: Ascent | None
    blind: bool
    gradient_free: bool
    label_only: bool
    control: bool
    external: bool
    steps: int
    passes: int
    stages: tuple["StageFacts", ...]


@dataclass(frozen=True, kw_only=True)
class StageFacts:
    """One attack of an ensemble: its name there, whether it searches without gradients, and whether it is a control."""

    name: str
    blind: bool
    control: bool


class Line(Protocol):
    """A straight line from each image along which confidence can be followed."""

    @property
    def resolution(self) -> str:
        """What a scan along it can see, in words."""
        ...

    def reach(self, values: int) -> float:
        """How far it is followed for images of so many values, pixels times channels."""
        ...

    def follow(
        self, objective: Objective, x: Images, y: Labels, keys: Keys, eps: Scores, *, batch: int = 128
    ) -> tuple[Tensor, Tensor]:
        """The probability of the label (rows, points) at some lengths, and whether the answer stands there."""
        ...


class Attack(ABC):
    """A frozen dataclass that changes images until a model is wrong; its fields are its hyper-parameters.

    A class is abstract or final. Everything is run by `execute`; everything others must know beforehand is a fact of
    the class: `norm`, `eps` (the radius of its ball, None where it has none), `keeps`, `reach` and what `facts` holds.
    """

    control: ClassVar[bool] = False
    external: ClassVar[bool] = False
    ascent: ClassVar[Ascent | None] = None

    random_start: ClassVar[bool] = False
    """Whether another start could find something else."""

    nested: ClassVar[bool] = False
    """Whether a larger ball is searched at least as well, so that it can only find more."""

    label_only: ClassVar[bool] = False
    """Whether it sees no more of an answer than whether it is the wrong class, or the target."""

    no_target: ClassVar[Refusal | None] = None
    """Why it takes no target class; None where it takes one."""

    no_keep: ClassVar[Refusal | None] = None
    """Why it keeps the nearest success and nothing else; None where one may choose."""

    if TYPE_CHECKING:  # at run time a dataclass would take an inherited property for the default of its field

        @property
        def norm(self) -> Norm:
            """What its perturbations are measured in."""

        @property
        def eps(self) -> float | None:
            """Radius of the ball, a fraction of the [0, 1] pixel range; None: unbounded."""

        @property
        def steps(self) -> int:
            """How many times each row is advanced at most, in each restart."""

        @property
        def restarts(self) -> int:
            """How often a row that has not succeeded starts again, the first time included."""

        @property
        def loss(self) -> str:
            """The loss it climbs, a name in `losses.LOSSES`."""

        @property
        def sentence(self) -> str:
            """What is done, for reports; `{size}` and `{steps}` are filled in."""

    @abstractmethod
    def execute(
        self,
        objective: Objective,
        x: Images,
        y: Labels,
        keys: Keys,
        *,
        keep: Keep | None = None,
        batch: int = 128,
        target: Labels | None = None,
        eps: Scores | None = None,
        answers: Logits | None = None,
        weights: Tensor | None = None,
        trace: bool = False,
    ) -> Outcome:
        """Attack every row and return one entry for each, in the order given.

        Args:
            objective: what the attack is aimed at.
            x: clean images in [0, 1], float32 or float64.
            y: true labels.
            keys: one key per row; results do not depend on batch size or order.
            keep: which point of a row to return, its first success, its worst point or its nearest success; by default
                the first of `keeps`.
            batch: rows per pass.
            target: the class (rows,) each row is to be taken for; −1 leaves a row alone. None: any class but its label.
            eps: a radius (rows,) for each row instead of the attack's own.
            answers: what attacks that choose classes choose them by; by default the answers to the clean images.
            weights: (rows, 1, height, width) by which a direction is multiplied before its length is made one.
            trace: whether to return the loss at every step.

        Raises:
            InputError: the attack takes no such argument.
        """

    @property
    def minimal(self) -> bool:
        """Whether it looks for the minimal perturbation of each image, however large."""
        return self.eps is None and self.norm != "none"

    @property
    def keeps(self) -> tuple[Keep, ...]:
        """Which points of a row it can return, its usual one first."""
        if self.no_keep is not None:
            return ("nearest",)
        if self.norm == "none":
            return ("first", "worst")
        return ("nearest", "first", "worst") if self.minimal else ("first", "worst", "nearest")

    @property
    def stages(self) -> "tuple[Stage, ...]":
        """The attacks it is made of, in their order; none but of an ensemble."""
        return ()

    @property
    def line(self) -> Line | None:
        """The straight line it follows; None where it goes its own way."""
        return None

    @property
    def gradient_free(self) -> bool:
        """Whether it sees answers alone."""
        return False

    @property
    def blind(self) -> bool:
        """Whether it searches a ball by the answers alone; draws that are a control are no search."""
        return self.gradient_free and self.eps is not None and not self.control

    @property
    def path_length(self) -> float | None:
        """How far all its steps lead, put end to end; None where it chooses their lengths itself."""
        return None

    @property
    def passes(self) -> int:
        """Forward and backward passes an image takes at most."""
        return self.steps * self.restarts

    def check_keep(self, keep: str | None) -> Keep:
        """The point to keep, by default its usual one.

        Raises:
            InputError: it cannot return such a point.
        """
        if keep is None:
            return self.keeps[0]
        if keep not in _KEEPS:
            raise unknown("value of `keep`", str(keep), _KEEPS)
        if keep in self.keeps:
            return _KEEPS[_KEEPS.index(keep)]
        if self.no_keep is not None:
            why, instead = self.no_keep
            raise InputError(f"{why}, so `keep` must be 'nearest'; got {keep!r}. {instead}")
        raise InputError("changes without a norm have no size, so `keep` cannot be 'nearest'. Keep 'first' or 'worst'.")

    def check_target(self, target: object) -> None:
        """Refuse a target class where the attack takes none."""
        if target is not None and self.no_target is not None:
            why, instead = self.no_target
            raise InputError(f"{why}, so it has no `target`; got {target!r}. {instead}")

    def __call__(
        self,
        model: AnyClassifier | nn.Module,
        x: Tensor,
        y: Tensor,
        *,
        keys: Keys | None = None,
        seed: int = 0,
        target: Tensor | int | str | None = None,
        keep: Keep | None = None,
        batch: int = 128,
    ) -> AdversarialImages:
        """Attack some images of a model: `PGD(eps=8/255)(model, x, y)`.

        Args:
            model: a `demur.Classifier`, or a module that reads images in [0, 1].
            x: images (rows, channels, height, width) in [0, 1], float32 or float64; they go where the model is, and
                what comes back is where they were.
            y: labels (rows,), whole numbers.
            keys: one key per row; by default of the seed and each image's own bytes.
            seed: of everything random.
            target: the class to be taken for, by name or number, or one number for each image; an image of that class
                is left alone. None: any class but the label.
            keep: the first success, the worst point or the nearest success; by default what is usual for the attack.
            batch: images per pass.

        Raises:
            DataError: images or labels of a wrong type, shape or range.
            ModelError: the model cannot read the images, or the attack follows gradients and it has none.
            InputError: something else that was given cannot be used.
        """
        classifier, images, labels = check_call(model, x, y, batch)
        objective = Objective(classifier, self.loss)
        self.check_target(target)
        self.check(objective)
        outcome = self.execute(
            objective,
            images,
            labels,
            keys_of(keys, x, seed),
            keep=self.check_keep(keep),
            batch=batch,
            target=target_of(classifier, labels, target),
        )
        return AdversarialImages(
            images=outcome.x.to(x.device),
            success=outcome.fooled.to(x.device),
            distance=outcome.size(self.norm).to(x.device),
            passes=(outcome.forwards + outcome.backwards).to(x.device),
            logits=outcome.logits.to(x.device),
            flags=outcome.troubles.to(x.device),
        )

    def check(self, objective: Objective) -> None:
        """Refuse what cannot be run on a model; better now than after an hour.

        Raises:
            InputError: a package, a function or a setting that is not there.
            ModelError: it follows gradients and the model has none.
        """
        check_gradients(self, objective)

    @property
    def facts(self) -> AttackFacts:
        """What others must know of it."""
        return AttackFacts(
            ball=self.eps is not None,
            minimal=self.minimal,
            ascent=self.ascent,
            blind=self.blind,
            gradient_free=self.gradient_free,
            label_only=self.label_only,
            control=self.control,
            external=self.external,
            steps=self.steps * self.restarts,
            passes=self.passes,
            stages=tuple(
                StageFacts(name=stage.name, blind=stage.attack.blind, control=stage.attack.control)
                for stage in self.stages
            ),
        )


@dataclass(frozen=True)
class Stage:
    """One attack of an ensemble; `everyone`: it is run on all rows and not only on those that stand."""

    name: str
    attack: Attack
    keep: Keep
    everyone: bool


def refuse(attack: Attack, **given: object) -> None:
    """Refuse arguments of `execute` that an attack does not take."""
    for name, value in given.items():
        if value is not None and value is not False:
            raise InputError(f"{type(attack).__name__} takes no `{name}`. Leave it out.")


def check_gradients(attack: Attack, objective: Objective) -> None:
    """Refuse an attack that follows gradients on a model that has none."""
    classifier = objective.classifier
    if not attack.gradient_free and not classifier.capabilities.gradients:
        raise ModelError(
            f"{type(attack).__name__} follows gradients with respect to the images, and the answers of "
            f"{classifier.name} have {classifier.gradient_fault}; or name an attack without gradients: "
            "square or hopskipjump."
        )
