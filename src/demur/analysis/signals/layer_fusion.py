"""What a signal gains from several layers: their fusion beside the best of them, and what they have in common."""

from collections.abc import Iterator, Mapping
from typing import Any

from demur.analysis.quantity import Table
from demur.analysis.run_folder import Run


class LayerFusion(Table):
    """A learned fusion of layers beside each of them alone, on images of the fit split; numbers are without intervals.

    `held_out_auroc` is that of the fusion for errors, each row scored without having been trained on; `layer_auroc`
    that of each layer alone. The former is null, the latter empty, where nothing was learned. `mutual_information` is
    what the entropies of every two layers have in common, in nats: that much a fusion cannot gain from.
    """

    signal: str
    layers: tuple[str, ...]
    images: int | None
    errors: int | None
    held_out_auroc: float | None
    layer_auroc: tuple[float, ...]
    beats_its_layers: bool | None
    mutual_information: tuple[tuple[float, ...], ...]


class SharedLayers(Table):
    """What two layers have in common, in nats."""

    layer: str
    other: str
    mutual_information: float


def layer_fusions(run: Run) -> tuple[LayerFusion, ...]:
    """Every signal of several layers whose fitting left something to say; runs of earlier versions left nothing."""
    found = [(entry["name"], entry["facts"]) for entry in run.optional_facts("signals") or ()]
    return tuple(
        LayerFusion(
            signal=name,
            layers=tuple(facts["layers"]),
            images=facts.get("rows"),
            errors=facts.get("wrong"),
            held_out_auroc=facts.get("held_out_auroc"),
            layer_auroc=tuple(facts.get("layer_auroc", ())),
            beats_its_layers=facts.get("beats_its_layers"),
            mutual_information=tuple(map(tuple, facts["mutual_information"])),
        )
        for name, facts in found
        if _says_of_layers(facts)
    )


def _says_of_layers(facts: Mapping[str, Any]) -> bool:
    return len(facts.get("layers", ())) > 1 and "mutual_information" in facts


def layer_pairs(fusion: LayerFusion) -> Iterator[SharedLayers]:
    """Every two layers, those that have most in common first."""
    pairs = [
        SharedLayers(layer=layer, other=other, mutual_information=fusion.mutual_information[at][at + 1 + step])
        for at, layer in enumerate(fusion.layers)
        for step, other in enumerate(fusion.layers[at + 1 :])
    ]
    yield from sorted(pairs, key=lambda pair: -pair.mutual_information)
