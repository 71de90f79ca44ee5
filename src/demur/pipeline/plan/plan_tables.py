"""The tables of a plan: what each may say, and what it says by default."""

from typing import Annotated, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from demur.registry import Name

MOST = 10_000
MOST_SIZES = 32
MOST_DRAWS = 10**6
INT64 = 2**63

Names: TypeAlias = Annotated[tuple[Annotated[str, AfterValidator(Name)], ...], Field(max_length=MOST)]
"""Names of attacks, signals, …: text that is parsed once, when the plan is read."""


class Section(BaseModel):
    """Base of the plan's tables: frozen and closed."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, validate_default=True)


class Purpose(Section):
    """What the classifier is for; a missing entry is reported as not declared.

    `images_per_day` is the load at which the report says how many images go to a person; it says so of 1,000 unless
    given. `demonstration`: nothing is to be put to use, and the report's next step does not ask for it.
    """

    intended_use: str | None = None
    population: str | None = None
    acquisition: str | None = None
    abstentions_go_to: str | None = None
    threat_model: str | None = None
    images_per_day: int | None = Field(default=None, ge=1, lt=INT64)
    demonstration: bool | None = None


class ModelPlan(Section):
    """The classifier. `trust_labels` overrides the refusal of a model that scores like chance."""

    address: str = "fashion"
    trust_labels: bool = False


class DataPlan(Section):
    """The labelled held-out images; `limit` keeps the N with the smallest hashes.

    `source` is what the user calls the place they come from, such as "line 3": tests of other images of the same source
    are later looks, as those of the same images are. `positive` names the class that must not be missed, `prevalence`
    how common it is in use, as in `positive=0.005`. `unknown` is the address of images of none of
    the classes.
    """

    address: str = "fashion"
    limit: int | None = Field(default=None, ge=20, lt=INT64)
    source: str | None = None
    positive: str | None = None
    prevalence: str | None = None
    unknown: str | None = None


class GuardPlan(Section):
    """A guard to audit instead of fitting a policy: its `folder`, and the `sha256` of its list of files."""

    folder: str
    sha256: str | None = None


class Conditions(Section):
    """What the classifier is put through. Attacks use the `attacked` test images with the smallest hashes.

    Corruptions use the `corrupted` images with the smallest hashes, all by default. With `strata`, which is `label`,
    `group` or a column of the metadata, both samples have at least so many more rows as make `least` (30 by default) of
    each stratum in each split; what is told of them is weighted. `surrogate` is the address of a similar model without
    defence: points that fool it are tried on this one.
    """

    use: Names = Field(default=(), strict=False)
    attacked: int = Field(default=1000, ge=1, lt=INT64)
    corrupted: int | None = Field(default=None, ge=1, lt=INT64)
    strata: str | None = Field(default=None, min_length=1)
    least: int | None = Field(default=None, ge=2, lt=INT64)
    surrogate: str | None = None


class Signals(Section):
    """Scores of uncertainty; `msp`, the baseline, is always among them.

    `certify` names the one that guarantees are about; by default it is chosen on tune rows.
    """

    use: Names = Field(default=("msp", "entropy", "margin", "max_logit", "energy"), strict=False)
    certify: Annotated[str, AfterValidator(Name)] | None = None


class Policies(Section):
    """Rules that decide to answer or to abstain."""

    use: Names = Field(default=("certified(risk=0.02, delta=0.05)", "rule(confidence=0.6, entropy=1.0)"), strict=False)


class EpsilonPlan(Section):
    """How far one must go: searches for the smallest change, on held-out images of any split, those attacked first.

    `use` names rays and other attacks that search; without it a plan that names no conditions has `ray`. `curves`
    images have their confidence followed along each ray.
    """

    use: Names | None = Field(default=None, strict=False)
    images: int = Field(default=1000, ge=1, lt=INT64)
    curves: int = Field(default=64, ge=0, lt=INT64)


class AttributionPlan(Section):
    """Attribution maps, on the first `images` of those that `epsilon` is about.

    `maps` are kinds of maps. `regions` say what counts as the object: maps, `marked` for the boxes and masks of the
    data, or `centred` for a blob in the middle, which the others must beat. `occlude` is how a region is hidden. What
    is not given is nothing, or in a plan that names no conditions the usual.
    """

    maps: Names | None = Field(default=None, strict=False)
    regions: Names | None = Field(default=None, strict=False)
    occlude: tuple[str, ...] | None = Field(default=None, strict=False)
    images: int = Field(default=500, ge=1, lt=INT64)


class ChecksPlan(Section):
    """How much is spent on checks of the measurement that cost passes.

    `preprocessing` is the number of tune images that are asked again under the usual mistakes of preprocessing; 0
    leaves that out.
    """

    preprocessing: int = Field(default=200, ge=0, le=1000)


class LipschitzPlan(Section):
    """How fast the answer can change: norms of the layers, and of the Jacobian at so many images; 0 leaves it out."""

    images: int | None = Field(default=None, ge=0, lt=INT64)


Size: TypeAlias = Annotated[float, Field(gt=0, le=1)]


class ProofPlan(Section):
    """What is proven of answers by bounds, on the first `images` of those attacked; 0 leaves it out.

    By default it is left out, and in a plan that names no conditions 200. `eps` are the sizes in L∞; by default those
    of the plan's attacks.
    """

    images: int | None = Field(default=None, ge=0, lt=INT64)
    eps: Annotated[tuple[Size, ...], Field(max_length=MOST_SIZES)] = Field(default=(), strict=False)


class SmoothingPlan(Section):
    """What is proven in L2 of the classifier smoothed by normal noise, on the first `images` of those attacked.

    `sigma` is the noise, a fraction of the pixel range. A class is selected by `selection` draws, its share bounded by
    `samples` others with an error of `alpha` for each image. `share` of the noise must agree for a guard by votes to
    answer. `radii` are the sizes in L2 that are told, beside 0; by default one to four times `sigma`, as far as so many
    samples can prove.
    """

    images: int = Field(default=200, ge=0, lt=INT64)
    sigma: float = Field(default=0.25, ge=0.001, le=10)
    selection: int = Field(default=100, ge=1, le=MOST_DRAWS)
    samples: int = Field(default=1000, ge=100, le=MOST_DRAWS)
    alpha: float = Field(default=0.001, ge=1e-9, le=0.1)
    share: float = Field(default=0.9, ge=0.5, lt=1)
    radii: Annotated[tuple[Annotated[float, Field(ge=0, le=1000)], ...], Field(max_length=MOST_SIZES)] = Field(
        default=(), strict=False
    )


class GuardAttackPlan(Section):
    """The guard attacked by somebody who has it, on the first `images` of those attacked; 0 leaves it out.

    By default it is 200 in a plan that names no conditions and certifies a policy, and nothing in others; signals that
    the guard may have and that take passes of their own make it fewer, down to 50. `eps` are the sizes in L∞, by
    default that of the attack that keeps its worst point. `steps` and `restarts` are of each attacker.
    """

    images: int | None = Field(default=None, ge=0, lt=INT64)
    eps: Annotated[tuple[Size, ...], Field(max_length=MOST_SIZES)] = Field(default=(), strict=False)
    steps: int = Field(default=20, ge=1, le=MOST)
    restarts: int = Field(default=1, ge=1, le=MOST)
