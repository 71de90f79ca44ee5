"""Attack detection in words: which point is meant, which signals are blind, and what a fusion of layers gains."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from demur.analysis.results import Results
from demur.analysis.signals.attack_detection import AttackDetection, Detection, Point
from demur.analysis.signals.layer_fusion import LayerFusion, layer_pairs
from demur.report.phrases import decimal, plural, readable
from demur.report.short_titles import points_title

POINTS: Mapping[Point, str] = {
    "worst": "worst point",
    "first": "first success, which flatters the detector",
    "nearest": "nearest success, which flatters the detector",
    "only": "its only point",
}


@dataclass(frozen=True, kw_only=True)
class DetectionBlock:
    """One attack: its name, what is meant by a point of it, and the signals that do not merely rank as another does."""

    title: str
    note: str
    rows: tuple[Detection, ...]

    @property
    def size(self) -> int:
        """How many lines it has in a table."""
        return 1 + len(self.rows)


def detection_blocks(results: Results) -> tuple[DetectionBlock, ...]:
    """Every attack, those first that do not flatter the detector."""
    return tuple(
        DetectionBlock(
            title=points_title(found, results),
            note=f"{POINTS[found.point]}; the attacker {found.knowledge} and not the signal",
            rows=_alone(found, results),
        )
        for found in sorted(results.detections, key=lambda found: found.flatters)
    )


def _alone(found: AttackDetection, results: Results) -> tuple[Detection, ...]:
    same = {signal.name for signal in results.signals if signal.ranks_as}
    return tuple(row for row in found.signals if row.signal not in same)


def blind_sentences(results: Results) -> Iterator[str]:
    """Of each attack the signals that abstain on fewer of its images than of clean ones."""
    for found in results.detections:
        names = [row.signal for row in _alone(found, results) if row.blind]
        if names:
            verb = "is" if len(names) == 1 else "are"
            title = points_title(found, results)
            yield f"{', '.join(names)} {verb} blind to {title}: fewer fooled images are abstained on than clean ones."


def point_advice(results: Results) -> str | None:
    """What is missing where all attacks of many steps flatter the detector; None where one keeps its worst point."""
    points = {found.point for found in results.detections}
    if "worst" in points or points <= {"only"}:
        return None
    return (
        "Every attack of many steps here keeps a success close to the border, where the model is unsure and detection "
        "looks easy. Add one that goes on, with keep='worst', before a signal is trusted to find attacks."
    )


def fusion_sentence(fusion: LayerFusion) -> str:
    """Whether a learned fusion is worth more than its best layer, and what its layers have in common."""
    pair = next(layer_pairs(fusion))
    common = (
        f"Most in common have {pair.layer} and {pair.other}, {decimal(pair.mutual_information, 2)} nats, which a "
        "fusion cannot gain from."
    )
    if fusion.held_out_auroc is None or not fusion.layer_auroc:
        return common
    best = max(fusion.layer_auroc)
    place = fusion.layers[fusion.layer_auroc.index(best)]
    better = "better" if fusion.beats_its_layers else "no better"
    return (
        f"The fusion ranks images it was not trained on {better} than its best layer: AUROC "
        f"{decimal(fusion.held_out_auroc, 2)} against {decimal(best, 2)} of {readable(place)}, on "
        f"{plural(fusion.errors or 0, 'error')} among {plural(fusion.images or 0, 'image')} of the fit split, without "
        f"intervals. {common}"
    )
