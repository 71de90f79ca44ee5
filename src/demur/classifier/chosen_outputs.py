"""A classifier about other classes than its model: some of its outputs, many summed to one, or one as yes or no."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from demur.classifier.bound_classifier import BoundClassifier
from demur.classifier.first_answer import copied
from demur.classifier.mean_probability import Member
from demur.classifier.outputs import against_zero
from demur.errors import ModelError
from demur.shapes import Images, Logits


class SummedOutputs(nn.Module):
    """Logits of coarse classes: the log of the summed exponentials of the logits of the fine ones in each.

    Its softmax is the sum of their probabilities, as shares of those of all fine classes that stand in some group.
    """

    order: Tensor
    sizes: Tensor

    def __init__(self, member: Member, groups: Sequence[Sequence[int]]) -> None:
        super().__init__()
        self.member = member
        self.register_buffer("order", torch.tensor([place for group in groups for place in group]))
        self.register_buffer("sizes", torch.tensor([len(group) for group in groups]))
        self.widths = tuple(map(len, groups))

    def forward(self, x: Images) -> Logits:
        """Logits (rows, groups)."""
        parts = self.member(x)[:, self.order].split(self.widths, dim=1)
        return torch.stack([part.logsumexp(dim=1) for part in parts], dim=1)


class OneOutput(nn.Module):
    """One output of a multi-label model against its absence: logits (0, z), whose softmax is its sigmoid."""

    place: Tensor

    def __init__(self, member: Member, place: int) -> None:
        super().__init__()
        self.member = member
        self.register_buffer("place", torch.tensor([place]))

    def forward(self, x: Images) -> Logits:
        """Logits (rows, 2)."""
        return against_zero(self.member(x)[:, self.place])


def summed(classifier: BoundClassifier, groups: Sequence[Sequence[int]], classes: Sequence[str]) -> BoundClassifier:
    """The classifier whose every class is one or several of another's, and that knows none of its others.

    Args:
        classifier: the other.
        groups: for every class the outputs that are summed.
        classes: what they are called.
    """
    if classifier.contract.kind == "logits" and all(len(group) == 1 for group in groups):
        picked = _narrowed(classifier, [group[0] for group in groups], classes, classifier.contract.output)
        if picked is not None:
            return picked
    return _around(classifier, SummedOutputs(Member(classifier), groups), classes)


def finding(classifier: BoundClassifier, name: str) -> BoundClassifier:
    """The classifier that says of one output of a multi-label model whether it is there: `not NAME` or `NAME`.

    Raises:
        ModelError: the outputs are shares of one whole, or none has the name.
    """
    kind, part = classifier.contract.kind, classifier.contract.part
    if kind == "probabilities":
        raise ModelError(
            f"`finding` is about a model of independent outputs, and those of {classifier.name} are probabilities that "
            "sum to 1. Leave the option out; ?classes=@map.csv joins all other classes to one."
        )
    place, classes = classifier.classes.index(name), (f"not {name}", name)
    alone = {"logits": "logit", "sigmoid": "sigmoid"}.get(kind, kind)
    picked = _narrowed(classifier, [place], classes, f"{alone}:{part}" if part else alone)
    return picked or _around(classifier, OneOutput(Member(classifier), place), classes)


def _narrowed(
    classifier: BoundClassifier, places: Sequence[int], classes: Sequence[str], output: str
) -> BoundClassifier | None:
    """The same with fewer rows in its linear head, so that features stay known; None without such a head."""
    head, name = classifier.penultimate.head, classifier.penultimate.head_name
    if head is None or len(head.weight) != len(classifier.classes):
        return None
    module = copied(classifier.as_module(), classifier.name)
    module.set_submodule(name, _rows(head, places))
    return _like(classifier, module, classes, output)


def _rows(linear: nn.Linear, places: Sequence[int]) -> nn.Linear:
    """A linear layer with some of the outputs of another, in evaluation mode."""
    fewer = nn.Linear(
        linear.in_features, len(places), linear.bias is not None, linear.weight.device, linear.weight.dtype
    )
    with torch.no_grad():
        fewer.weight.copy_(linear.weight[list(places)])
        if linear.bias is not None:
            fewer.bias.copy_(linear.bias[list(places)])
    return fewer.eval()


def _around(classifier: BoundClassifier, module: nn.Module, classes: Sequence[str]) -> BoundClassifier:
    """A classifier of a module that holds the whole model of another, preprocessing and all."""
    layer = classifier.penultimate.layer
    return BoundClassifier(
        module.eval(),
        classes=classes,
        input_shape=classifier.input_shape,
        features=None if layer is None else f"member.module.{layer}",
        name=classifier.name,
        learned_from=classifier.learned_from,
    )


def _like(
    classifier: BoundClassifier, module: nn.Module, classes: Sequence[str], output: str
) -> BoundClassifier | None:
    """A classifier of a changed module, that is asked as the other is; None where it breaks the contract."""
    contract = classifier.contract
    try:
        return BoundClassifier(
            module,
            classes=classes,
            input_shape=contract.input_shape,
            mean=contract.mean,
            std=contract.std,
            output=output,
            features=classifier.penultimate.layer,
            name=classifier.name,
            learned_from=classifier.learned_from,
        )
    except ModelError:  # a head that more than the answer is made of
        return None
