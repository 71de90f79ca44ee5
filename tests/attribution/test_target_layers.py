"""The layer that Grad-CAM looks at: the last one with a grid that feeds the answer, or the one that is named."""

import pytest
import torch
from tests.attribution.map_nets import CLASSES, Affine, Deep, keys, wrapped
from tests.classifier.classifier_nets import hooks_on, images, seeded
from torch import nn

from demur.attribution.grad_cam import GradCAM
from demur.attribution.target_layers import last_grid
from demur.errors import ModelError, UnknownNameError


def test_without_a_layer_it_is_the_last_grid():
    classifier, x = wrapped(), images()
    assert last_grid(classifier) == "bend"
    assert GradCAM().with_layer(classifier) == GradCAM(layer="bend")
    assert torch.equal(
        GradCAM()(classifier, x, CLASSES, keys(5)), GradCAM(layer="bend")(classifier, x, CLASSES, keys(5))
    )
    assert hooks_on(classifier.as_module()) == 0


def test_of_layers_that_pass_the_same_on_the_outermost_is_named():
    body = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True)), nn.Identity())
    found = last_grid(wrapped(seeded(nn.Sequential(body, nn.AdaptiveAvgPool2d(1), nn.Flatten()))))
    assert found == "0"


class Distracted(Deep):
    """A layer is called last, and another after which the gradient is cut: neither feeds the answer."""

    def __init__(self):
        super().__init__()
        self.aside, self.cut = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1)

    def forward(self, x):
        answer = super().forward(x) + self.cut(x).detach().mean(dim=(2, 3))
        self.aside(x)
        return answer


def test_a_layer_that_does_not_feed_the_answer_is_passed_over():
    classifier = wrapped(seeded(Distracted()))
    assert last_grid(classifier) == "bend"
    for layer in ("aside", "cut"):
        with pytest.raises(ModelError, match=f"'{layer}' is called, but nothing of it reaches the logits"):
            GradCAM(layer=layer)(classifier, images(), CLASSES, keys(5))
    assert hooks_on(classifier.as_module()) == 0


def test_layers_that_pass_no_single_tensor_are_passed_over():
    class Pair(nn.Module):
        def forward(self, x):
            return x, x

    class Paired(Deep):
        def __init__(self):
            super().__init__()
            self.pair = Pair()

        def forward(self, x):
            return super().forward(self.pair(x)[0])

    assert last_grid(wrapped(seeded(Paired()))) == "bend"


def test_a_net_without_a_grid_has_no_grad_cam():
    classifier = wrapped(seeded(Affine()))
    with pytest.raises(ModelError, match=r"no layer of Affine that feeds its answer.*gradient, smooth_grad"):
        GradCAM()(classifier, images(), CLASSES, keys(5))
    assert hooks_on(classifier.as_module()) == 0


@pytest.mark.parametrize(
    ("layer", "error", "said"),
    [
        ("secont", UnknownNameError, "Did you mean 'second'"),
        ("head", ModelError, r"'head' puts out \(5, 4\). Name an earlier layer"),
        ("spare", ModelError, "'spare' is part of the model but was not called"),
    ],
)
def test_a_layer_that_cannot_be_is_named(layer, error, said):
    module = seeded(Deep())
    module.spare = nn.Conv2d(3, 3, 1).eval()
    classifier = wrapped(module)
    with pytest.raises(error, match=said):
        GradCAM(layer=layer)(classifier, images(), CLASSES, keys(5))
    assert hooks_on(module) == 0
