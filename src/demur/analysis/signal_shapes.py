"""What the JSON files of a run folder hold of signals: what they were fitted to, and what they cost."""

from pydantic import Field

from demur.analysis.json_shape import Count, Name, Shape


class TimesShape(Shape):
    """`timings/signals.json`, in seconds per image."""

    images: Count
    forward_pass: float
    signals: dict[str, float]


class PlannedKindShape(Shape):
    """What `timings/planned.json` says of one kind of condition."""

    rows: Count
    passes: Count
    seconds: float
    bytes: Count


class PlannedShape(Shape):
    """`timings/planned.json`."""

    kinds: dict[str, PlannedKindShape]
    memory: Count


class SpentShape(Shape):
    """`timings/spent.json`; `parts` of a run that was merged."""

    memory: Count
    parts: Count | None = None


class TimingShape(Shape):
    """A time or a share, with its interval; null is undefined."""

    value: float | None
    low: float | None
    high: float | None
    n: Count
    reason: str | None


class OverheadShape(Shape):
    """What one subject took, in seconds a batch, bytes, and images a second."""

    name: Name
    batch: Count
    asks: Count
    p50: TimingShape
    p95: TimingShape
    p99: TimingShape
    overhead: TimingShape
    throughput: float
    peak: Count | None


class BenchShape(Shape):
    """`timings/bench.json`, which `demur bench --out RUN` writes."""

    device: str
    threads: Count
    seconds: float
    images: str
    versions: dict[str, str]
    rows: list[OverheadShape]
    left_out: list[dict[str, str]]


class ClassMapsShape(Shape):
    """The maps of each class, and what each adds to right and to wrong answers."""

    maps: list[list[int]]
    right: list[list[float | None]]
    wrong: list[list[float | None]]
    answers: list[list[Count]] | None = None


class FitFactsShape(Shape):
    """What the fitting of a signal says that the analysis goes by."""

    layers: list[str] = Field(default_factory=list)
    rows: Count | None = None
    wrong: Count | None = None
    held_out_auroc: float | None = None
    layer_auroc: list[float] = Field(default_factory=list)
    beats_its_layers: bool | None = None
    mutual_information: list[list[float]] | None = None
    class_maps: ClassMapsShape | None = None


class FitShape(Shape):
    """A fitted signal of `facts/signals.json`."""

    name: Name
    facts: FitFactsShape
