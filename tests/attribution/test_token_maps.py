"""Tokens of transformers are maps on the grid of their patches, and nothing else is taken for tokens."""

import pytest
import torch
from tests import small_vit, tiny
from torch import nn

from demur.attribution.grad_cam import GradCAM
from demur.attribution.target_layers import grid_layers, last_grid
from demur.attribution.token_maps import TokenGrid, as_maps
from demur.classifier import BoundClassifier
from demur.errors import ModelError
from demur.randomness import Keys


def vit(*, token=True):
    return BoundClassifier(small_vit.untrained(token=token), classes=tiny.CLASSES, input_shape=tiny.SHAPE)


@pytest.mark.parametrize(
    ("tokens", "size", "grid"),
    [
        (197, (224, 224), (1, 14, 14)),
        (196, (224, 224), (0, 14, 14)),
        (198, (224, 224), (2, 14, 14)),
        (201, (224, 224), (5, 14, 14)),
        (1370, (518, 518), (1, 37, 37)),
        (25, (64, 96), (1, 4, 6)),
        (9, (224, 224), (0, 3, 3)),
        (207, (224, 224), None),
        (3, (8, 8), None),
        (1, (8, 8), None),
    ],
)
def test_the_grid_of_so_many_tokens(tokens, size, grid):
    found = TokenGrid.of(tokens, size)
    assert (found and (found.others, found.height, found.width)) == grid


def test_patches_lie_line_after_line_and_the_first_token_is_no_patch():
    tokens = torch.arange(2 * 7 * 3.0).view(2, 7, 3)
    maps = as_maps(tokens, (20, 30))
    assert maps.shape == (2, 3, 2, 3)
    for cell in range(6):
        assert torch.equal(maps[:, :, cell // 3, cell % 3], tokens[:, 1 + cell])


def test_channels_may_be_the_last_axis():
    maps = torch.rand(2, 5, 4, 6)
    assert torch.equal(as_maps(maps.permute(0, 2, 3, 1), (20, 30)), maps)
    assert torch.equal(as_maps(maps, (20, 30)), maps)
    square = torch.rand(2, 4, 4, 4)
    assert torch.equal(as_maps(square, (20, 20)), square)
    assert as_maps(torch.rand(2, 8, 1, 1), (20, 20)) is None
    assert as_maps(torch.rand(2, 8), (20, 20)) is None


def test_behind_the_last_attention_only_the_token_of_the_class_is_read():
    """Slopes along patches are zero there: the last layer with any is what the attention reads."""
    assert last_grid(vit()) == "blocks.1.norm1"
    assert last_grid(vit(token=False)) == "norm"


def test_a_map_of_tokens_is_the_formula():
    classifier, name = vit(), "blocks.1.norm1"
    module, kept = classifier.as_module(), []
    x, y = torch.rand(3, *tiny.SHAPE, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2])
    handle = module.get_submodule(name).register_forward_hook(lambda *call: kept.append(call[2]))
    logits = module(x)
    handle.remove()
    (slopes,) = torch.autograd.grad(logits[range(3), y].sum(), kept[0])
    heat = GradCAM(layer=name)(classifier, x, y, Keys.of(0, list("abc"), ""))
    assert heat.shape == (3, 4, 4)
    for row in range(3):
        weights = slopes[row, 1:].mean(dim=0)
        expected = torch.stack([(kept[0][row, 1 + cell] * weights).sum().relu() for cell in range(16)])
        torch.testing.assert_close(heat[row].flatten(), expected.detach(), rtol=1e-4, atol=1e-7)
    assert heat.any()


class Flattened(nn.Module):
    """A convolution whose four maps of 4 × 4 are laid out as (rows, maps, cells): as many as a grid has is no grid."""

    def __init__(self):
        super().__init__()
        self.conv, self.flat, self.head = nn.Conv2d(1, 4, 3, stride=2, padding=1), nn.Flatten(2), nn.Linear(16, 3)

    def forward(self, x):
        return self.head(self.flat(self.conv(x))).mean(dim=1)


def test_maps_laid_flat_are_not_taken_for_tokens():
    classifier = BoundClassifier(Flattened().eval(), classes=tiny.CLASSES, input_shape=tiny.SHAPE)
    assert list(grid_layers(classifier)) == ["conv"]
    flat = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).eval()
    classifier = BoundClassifier(flat, classes=tiny.CLASSES, input_shape=tiny.SHAPE)
    with pytest.raises(ModelError, match=r"or the tokens of one; '0' puts out \(2, 64\)"):
        GradCAM(layer="0")(
            classifier, torch.rand(2, *tiny.SHAPE), torch.zeros(2, dtype=torch.long), Keys.of(0, list("ab"), "")
        )


class Keys2d(nn.Module):
    """What heads of attention make of tokens, (rows, heads, tokens, width), which is no grid however square."""

    def forward(self, x):
        return torch.stack([x, x], dim=1)


def test_what_a_head_makes_of_tokens_is_no_grid():
    net = small_vit.untrained()
    net.heads, forward = Keys2d().eval(), net.blocks.forward
    net.blocks.forward = lambda x: forward(net.heads(x).mean(dim=1))
    assert torch.rand(1, 2, 17, 16).shape[1:] == net.heads(torch.rand(1, 17, 16)).shape[1:]
    classifier = BoundClassifier(net, classes=tiny.CLASSES, input_shape=tiny.SHAPE)
    assert "heads" in classifier.layer_names
    assert "heads" not in list(grid_layers(classifier))
