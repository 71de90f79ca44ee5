"""How fast a network's answer can change at most, from how fast each of its steps can."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.node import map_arg

from demur.lipschitz.constants import CONSTANTS
from demur.lipschitz.linear import affine_call, affine_module, idle
from demur.lipschitz.norms import Norm
from demur.lipschitz.pieces import Piece, Step, added, beside
from demur.lipschitz.trace import NoBound, Trace, called, inside, place

Terms = Mapping[fx.Node, Piece]
"""A value as a sum of pieces, each of the value of another node."""

_SUMS = frozenset({"add", "add_", "iadd", "sub", "sub_", "isub"})
_JOINS = frozenset({"cat", "concat", "concatenate", "stack"})
_IN_PLACE = frozenset({"add_", "iadd", "sub_", "isub", "mul_", "imul", "div_", "itruediv"})
_ASKS = (
    "size shape dim ndim ndimension numel stride dtype device is_contiguous new_zeros new_ones new_full zeros_like "
    "ones_like full_like"
)
_UNMOVED = frozenset(_ASKS.split())


@dataclass(frozen=True, eq=False)
class Walk:
    """The way from images to answer, step by step.

    Affine steps are put off and merged into pieces as long as they can be. A step that is not affine ends the pieces
    that lead to it: there the constant of the tensor is the sum, over the pieces it is made of, of the constant where
    the piece begins times the piece's norm, and after it that times the step's own. `norms` are of pieces met so far.

    Virmaux & Scaman (2018), arXiv:1805.10965, who multiply layer by layer.
    """

    trace: Trace
    norms: dict[Piece, Norm]
    speeds: dict[fx.Node, float] = field(default_factory=dict)
    terms: dict[fx.Node, Terms] = field(default_factory=dict)

    def bound(self, first: Piece) -> float:
        """The constant of the answer for images that pass through a first piece.

        Raises:
            NoBound: some step is none whose constant is known.
        """
        *steps, output = self.trace.nodes
        for node in steps:
            if node.op == "placeholder":
                self.speeds[node], self.terms[node] = 1.0, {node: first}
            elif self._moved(node) and called(node) not in _UNMOVED:
                self.terms[node] = self._through(node)
        (answer,) = output.all_input_nodes
        if answer not in self.terms:
            raise NoBound("the answer does not depend on the image")
        return self._speed(answer)

    def _moved(self, node: fx.Node) -> list[fx.Node]:
        """What a call reads that depends on the image, as often as it reads it."""
        found: list[fx.Node] = []
        map_arg((node.args, dict(node.kwargs)), lambda read: found.append(read) if read in self.terms else None)
        return found

    def _through(self, node: fx.Node) -> Terms:
        name, moved = called(node), self._moved(node)
        if name == "detach" or idle(name, node.args, node.kwargs):
            return self.terms[moved[0]]
        several = len(set(moved)) > 1
        if several and name in _SUMS and list(node.args[:2]) == moved:
            return self._sum(node, *moved)
        if several and name in _JOINS:
            return self._join(node, moved)
        if self._affine(node, moved):
            return {base: piece.then(self._step(node, moved[0])) for base, piece in self.terms[moved[0]].items()}
        if len(moved) == 1 and name in CONSTANTS and node.args and node.args[0] is moved[0]:
            return self._ends(node, self._constant(node, name) * self._speed(moved[0]))
        raise NoBound(_unknown(node, self.trace, moved))

    def _affine(self, node: fx.Node, moved: Sequence[fx.Node]) -> bool:
        """Whether a call is affine in the one value it reads, which it may read twice only to add it up."""
        name, layer = called(node), self.trace.layer(node)
        if len(moved) > 1:
            return len(set(moved)) == 1 and name in _SUMS | _JOINS
        if layer is not None:
            return affine_module(layer)
        value = self.trace.values[node]
        if isinstance(value, Tensor) and not value.is_floating_point():
            return False  # a conversion to whole numbers
        return affine_call(name, first=bool(node.args) and node.args[0] is moved[0])

    def _step(self, node: fx.Node, read: fx.Node) -> Step:
        copied = called(node) in _IN_PLACE

        def act(value: Any) -> Any:
            return self.trace.act(node, {read: value.clone() if copied else value})

        alone = node.op == "call_module" and len(node.args) == 1 and not node.kwargs
        name = inside(str(node.target)) if alone else f"%{node.name}"
        return Step(name, act, (_label(node),))

    def _sum(self, node: fx.Node, left: fx.Node, right: fx.Node) -> Terms:
        """Terms that begin at the same node are added up as maps before their norm is taken."""
        sides = [self._side(node, left, right), self._side(node, right, left)]
        bases = dict.fromkeys(base for side in sides for base in side)
        return {base: added([side[base] for side in sides if base in side]) for base in bases}

    def _side(self, node: fx.Node, read: fx.Node, other: fx.Node) -> Terms:
        """One side of a sum: as it is, or turned, weighed and spread out as the sum does."""
        values = self.trace.values
        plain = len(node.args) == 2 and not node.kwargs and values[read].shape == values[other].shape
        if plain and (read is node.args[0] or "add" in called(node)):
            return self.terms[read]
        nothing = torch.zeros_like(values[other])

        def act(value: Any) -> Any:
            return self.trace.act(node, {read: value.clone(), other: nothing.clone()})

        step = Step(f"%{node.name} of {read.name}", act, (_label(node),))
        return {base: piece.then(step) for base, piece in self.terms[read].items()}

    def _join(self, node: fx.Node, moved: Sequence[fx.Node]) -> Terms:
        """Parts of one tensor side by side: their constants add up like the sides of a right angle."""
        bases = {base for part in moved for base in self.terms[part]}
        if len(bases) > 1 or len(set(moved)) < len(moved):
            return self._ends(node, math.hypot(*(self._speed(part) for part in moved)))
        (base,) = bases
        pieces = [self.terms[part][base] for part in moved]

        def join(parts: Sequence[Any]) -> Any:
            return self.trace.act(node, dict(zip(moved, parts, strict=True)))

        return {base: beside(pieces, join, node.name)}

    def _ends(self, node: fx.Node, speed: float) -> Terms:
        self.speeds[node] = speed
        return {node: Piece(tuple(self.trace.values[node].shape))}

    def _constant(self, node: fx.Node, name: str) -> float:
        args, options = map_arg((node.args, dict(node.kwargs)), self.trace.values.__getitem__)
        return CONSTANTS[name](*args, **options)

    def _speed(self, node: fx.Node) -> float:
        return sum(self.speeds[base] * self._norm(piece).above for base, piece in self.terms[node].items())

    def _norm(self, piece: Piece) -> Norm:
        if piece not in self.norms:
            like = next(value for value in self.trace.values.values() if isinstance(value, Tensor))
            self.norms[piece] = piece.norm(like)
        return self.norms[piece]


def _label(node: fx.Node) -> str:
    """A layer by its name, a function by its own behind that of the layer that calls it."""
    return place(node) if node.op == "call_module" else ".".join(filter(None, (place(node), called(node))))


def _unknown(node: fx.Node, trace: Trace, moved: Sequence[fx.Node]) -> str:
    """What stands in the way, and where."""
    where, layer = place(node), trace.layer(node)
    if layer is not None:
        return f"the layer {where or 'itself'} ({type(layer).__name__}) is none whose constant is known"
    what = called(node) or str(getattr(node.target, "__name__", node.target))
    inside_of = f"the layer {where}" if where else "the model"
    if len(moved) > 1:
        return f"{inside_of} puts together values that all depend on the image by `{what}`, which has no constant"
    return f"{inside_of} calls `{what}`, which is no operation whose constant is known"
