"""Where a model looks, on paper: compactness and place of its maps, and what object and background are worth."""

from typing import Literal, TypeAlias

from demur.analysis.searched import Reach
from demur.analysis.table import Number, Quantity, Table

Outcome: TypeAlias = Literal["pass", "warn", "fail"]
Leaning: TypeAlias = Literal["object", "background", "undecided"]


class Measure(Table):
    """One measure of one map, beside the same measure of maps that know nothing.

    `median` is over images whose map is not all zero. `with_epsilon` is its rank correlation with the smallest change,
    null where none was searched; `auroc` tells how well it points to wrong answers in its stated direction of doubt,
    and `gain` is the difference to msp on the same images.
    """

    measure: str
    sentence: str
    median: Quantity
    uniform: Number
    centred: Number
    shuffled: Number
    with_epsilon: Quantity | None
    auroc: Quantity
    gain: Quantity


class Localised(Table):
    """How well a map meets the marked object: mean over the images that have a mark, beside baselines."""

    measure: str
    sentence: str
    value: Quantity
    uniform: Quantity
    centred: Quantity
    shuffled: Quantity


class Agreement(Table):
    """How alike two maps of the same images are: mean rank correlation, and overlap of their top fifths."""

    other: str
    n: int
    correlation: Quantity
    overlap: Quantity


class Sanity(Table):
    """Rank correlation of the map with that of the same net with random weights: it must fall.

    Adebayo et al. (2018), arXiv:1810.03292.
    """

    n: int
    correlation: Quantity
    state: Outcome
    sentence: str


class ClassLook(Table):
    """How compact the map is on images of one class: the area that holds half of its mass; rank 1 is most compact."""

    name: str
    n: int
    area: Quantity
    rank: int | None


class MapRow(Table):
    """One kind of map: on its own grid, `empty` where it is zero everywhere, measured on the others."""

    condition: str
    name: str
    sentence: str
    height: int
    width: int
    n: int
    empty: int
    measures: tuple[Measure, ...]
    localised: tuple[Localised, ...]
    agreements: tuple[Agreement, ...]
    sanity: Sanity | None
    per_class: tuple[ClassLook, ...] = ()
    pictures: tuple["Overlay", ...] = ()


class Overlay(Table):
    """One image beside its map, both as data URIs; null where the picture was not kept."""

    sample_id: str
    label: str
    predicted: str
    image: str | None
    overlay: str | None


class Hidden(Table):
    """What hiding one part of the image does: fall of the probability of the answer, share of answers that change.

    `share` is the mean share of the pixels that are hidden: a part that is nearly everything takes the answer with it.
    """

    condition: str
    part: Literal["object", "background"]
    by: str
    n: int
    share: Quantity
    fall: Quantity
    changed: Quantity


class ClassRegion(Table):
    """One class: the paired difference background − object, and what it leans on as far as that can be told.

    `p_value` holds for all classes tested at once, and is null for those of fewer than six images or groups; rank 1
    leans most on the object.
    """

    name: str
    n: int
    difference: Quantity
    object_smaller: int
    background_smaller: int
    p_value: Number
    leans_on: Leaning
    rank: int | None


class Control(Table):
    """A blob in the middle as the object of the same images, which knows nothing of them.

    `effect` is the blob's; `p_value` is McNemar's, of the region's object having the smaller change on as many images
    as the blob, and `beaten` says that it has it on more.
    """

    n: int
    effect: Quantity
    p_value: Number
    beaten: bool


class Region(Table):
    """Object against background, where `region` says what the object is: a map, or `marked` boxes and masks.

    Changes weighted to either side, of equal L2, searched along the same direction. `difference` is the median of
    background − object over images that were right; a side that never flips counts as larger than any that does, both
    never as a tie. `effect` is the share where the object's change is smaller minus the share where the background's
    is. `unknown` more images were right and are left out: they have no mark, or a map with nothing or everything in it.
    `control` is null where the plan has no region `centred`, and for that itself.
    """

    region: str
    sentence: str
    norm: str
    cap: float
    n: int
    whole: Reach | None
    object: Reach
    background: Reach
    difference: Quantity
    object_smaller: int
    background_smaller: int
    ties: int
    unknown: int = 0
    p_value: Number
    effect: Quantity
    leans_on: Leaning
    control: Control | None = None
    hidden: tuple[Hidden, ...]
    per_class: tuple[ClassRegion, ...]


class RegionAgreement(Table):
    """A map as region beside the true marks, on images that were right and have both.

    `inside` is the share of the map's mass in the marks, `covered` their share of the pixels, `same_sign` how often
    both differences point the same way where neither is a tie, `correlation` that of their ranks.
    """

    region: str
    n: int
    inside: Quantity
    covered: Quantity
    same_sign: Quantity
    correlation: Quantity


class Where(Table):
    """Everything known of where the model looks; `epsilon_of` is the search that the maps' measures are held to."""

    maps: tuple[MapRow, ...]
    regions: tuple[Region, ...]
    agreements: tuple[RegionAgreement, ...]
    epsilon_of: str | None = None
