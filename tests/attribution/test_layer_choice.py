"""An audit's Grad-CAM looks at the last layer whose maps of real images are mostly not empty, and says why."""

import pytest
import torch
from tests.attribution.map_nets import CLASSES, Affine, Against, Deep, keys, wrapped
from tests.classifier.classifier_nets import hooks_on, images, seeded
from torch import nn

from demur.attribution.grad_cam import GradCAM
from demur.attribution.layer_choice import LayerChoice
from demur.attribution.target_layers import grid_layers
from demur.errors import ModelError

SAID = "where the maps of the layer {} speak for the class"


def choice_of(classifier, x=None, classes=CLASSES, batch=2):
    x = images() if x is None else x
    return LayerChoice.of(classifier, x, classes, keys(len(x)), batch)


def empty(classifier, layer):
    return int((GradCAM(layer=layer)(classifier, images(), CLASSES, keys(5)).amax(dim=(1, 2)) == 0).sum())


def test_grids_come_last_called_first():
    assert list(grid_layers(wrapped())) == ["bend", "second", "first"]


def test_the_last_layer_whose_maps_show_something_is_taken():
    classifier = wrapped()
    found = choice_of(classifier)
    assert found.layer == "bend"
    assert found.sentence == SAID.format("bend")
    assert found.empty == {"bend": empty(classifier, "bend")}
    assert empty(classifier, "bend") <= 2


def test_layers_whose_maps_are_empty_are_passed_over():
    classifier = wrapped(seeded(Against()))
    assert [empty(classifier, layer) for layer in ("bend", "second")] == [5, 5]
    assert empty(classifier, "first") <= 2
    found = choice_of(classifier)
    assert found.layer == "first"
    assert found.empty == {"bend": 5, "second": 5, "first": empty(classifier, "first")}
    assert found.sentence == SAID.format("first") + "; those of the last one, bend, are empty on 5 of 5 images"
    assert hooks_on(classifier.as_module()) == 0


class Half(Deep):
    """Class 0 is spoken for by the last layer and all others are spoken against."""

    def forward(self, x):
        x = self.bend(self.second(self.bend(self.first(x))))
        signs = torch.tensor([1.0, -1, -1, -1])
        return x.mean(dim=(2, 3)) @ self.head.weight.abs().T * signs


@pytest.mark.parametrize(("classes", "layer"), [((0, 0, 0, 1), "bend"), ((0, 0, 1, 1), "first")])
def test_empty_on_half_of_the_images_is_too_often(classes, layer):
    assert choice_of(wrapped(seeded(Half())), images(4), torch.tensor(classes)).layer == layer


def test_where_every_layer_is_empty_it_is_the_last_and_that_is_said():
    module = seeded(Deep())
    nn.init.zeros_(module.head.weight)
    found = choice_of(wrapped(module))
    assert found.layer == "bend"
    assert found.empty == {"bend": 5, "second": 5, "first": 5}
    said = SAID.format("bend") + "; empty on 5 of 5 images, and those of no earlier layer on less than half"
    assert found.sentence == said


def test_batches_do_not_matter():
    classifier = wrapped(seeded(Against()))
    assert choice_of(classifier, batch=5) == choice_of(classifier, batch=1) == choice_of(classifier, batch=3)


def test_only_layers_up_to_the_chosen_one_are_asked():
    classifier, passes = wrapped(), []
    found = choice_of(classifier)
    handle = classifier.as_module().register_forward_hook(lambda _m, _i, out: passes.append(len(out)))
    assert choice_of(classifier, batch=5) == found
    handle.remove()
    assert sum(passes) == 2 + 2 + 5, "made-up images to find the layer and whether it feeds the answer, then its maps"


def test_a_net_without_a_grid_has_no_choice():
    with pytest.raises(ModelError, match="no layer of Affine that feeds its answer"):
        choice_of(wrapped(seeded(Affine())))
