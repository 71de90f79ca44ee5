"""Every architecture learns on the images it is documented for, and has the size it is documented to have."""

import pytest
import torch
from torch.nn.functional import avg_pool2d, pad

from demur.adapters.architectures import build_from_zoo
from demur.errors import AddressError
from demur.zoo import (
    ConvAttention,
    GroupedConv,
    GroupedResNet,
    MobileCNN,
    MobileNetV2,
    ResNet18,
    ShortcutBlock,
    SimpleCNN,
    SqueezeExcite,
    VerifiableCNN,
    resnet18_cifar,
    resnet20,
    resnet56,
)
from demur.zoo.efficientnet_lite import EfficientNetLite
from demur.zoo.hybrid import Hybrid


def count(tensors):
    return sum(tensor.numel() for tensor in tensors if tensor.is_floating_point())


@pytest.mark.parametrize(
    ("factory", "learned", "stored"),
    [
        (resnet20, 269_722, 271_098),
        (resnet56, 853_018, 857_082),
        (SimpleCNN, 52_630, 54_038),
        (MobileCNN, 121_494, 123_926),
        (GroupedResNet, 339_498, 342_250),
        (ResNet18, 11_689_512, 11_699_112),
        (resnet18_cifar, 11_173_962, 11_183_562),
        (MobileNetV2, 3_504_872, 3_538_984),
        (EfficientNetLite, 4_652_008, 4_694_024),
        (Hybrid, 3_475_798, 3_518_198),
        (VerifiableCNN, 122_194, 122_194),
    ],
)
def test_sizes_are_those_documented(factory, learned, stored):
    module = factory()
    assert count(module.parameters()) == learned
    assert count(module.state_dict().values()) == stored
    assert f"{learned:,}" in factory.__doc__


@pytest.mark.parametrize(
    "factory",
    [
        resnet20,
        resnet56,
        SimpleCNN,
        MobileCNN,
        GroupedResNet,
        ResNet18,
        resnet18_cifar,
        MobileNetV2,
        EfficientNetLite,
        Hybrid,
        VerifiableCNN,
    ],
)
@pytest.mark.parametrize(("channels", "side", "classes"), [(3, 32, 10), (1, 28, 2)])
def test_forward_and_backward(factory, channels, side, classes):
    side = 32 if factory is EfficientNetLite else side  # its sides are multiples of that
    module = factory(channels=channels, classes=classes)
    logits = module(torch.rand(2, channels, side, side))
    assert logits.shape == (2, classes)
    logits.square().sum().backward()
    assert all(parameter.grad is not None for parameter in module.parameters())


def test_the_shortcut_subsamples_and_pads_with_zero_channels():
    x = torch.rand(2, 4, 6, 6)
    expected = pad(avg_pool2d(x, kernel_size=1, stride=2), (0, 0, 0, 0, 2, 2))
    torch.testing.assert_close(ShortcutBlock(4, 8, stride=2).shortcut(x), expected)


def test_the_gate_scales_each_channel_by_one_number():
    x = torch.rand(2, 32, 5, 5) + 0.1
    ratio = SqueezeExcite(32)(x) / x
    torch.testing.assert_close(ratio, ratio[:, :, :1, :1].expand_as(ratio))
    assert ((ratio > 0) & (ratio < 1)).all()


def test_last_map_of_simple_cnn_is_an_eighth():
    module = SimpleCNN()
    shapes = []
    for layer in (module.separable1, module.separable2, module.separable3):
        layer.register_forward_hook(lambda _layer, _inputs, output: shapes.append(tuple(output.shape[1:])))
    module(torch.rand(2, 3, 32, 32))
    assert shapes == [(64, 16, 16), (128, 8, 8), (256, 4, 4)]


def test_the_gate_of_few_channels_keeps_one():
    assert SqueezeExcite(8).squeeze.out_features == 1
    assert SqueezeExcite(8)(torch.rand(1, 8, 3, 3)).shape == (1, 8, 3, 3)


def test_a_grouped_convolution_reads_its_own_group_alone():
    block = GroupedConv(8, 8, groups=4).eval()
    x = torch.rand(1, 8, 5, 5)
    other = x.clone()
    other[:, 2:] = torch.rand(1, 6, 5, 5)
    torch.testing.assert_close(block(x)[:, :2], block(other)[:, :2])
    assert not torch.allclose(block(x)[:, 2:], block(other)[:, 2:])


def test_attention_weighs_channels_then_pixels():
    block = ConvAttention(32).eval()
    x = torch.rand(2, 32, 6, 6) + 0.1
    mean, most = x.mean(dim=(2, 3)), x.amax(dim=(2, 3))
    channels = torch.sigmoid(sum(block.excite(torch.relu(block.squeeze(each))) for each in (mean, most)))
    weighed = x * channels[:, :, None, None]
    pooled = torch.stack([weighed.max(dim=1).values, weighed.mean(dim=1)], dim=1)
    where = torch.sigmoid(block.where_norm(torch.nn.functional.conv2d(pooled, block.where.weight, padding=3)))
    torch.testing.assert_close(block(x), weighed * where)


@pytest.mark.parametrize(("name", "channels", "height"), [("resnet18", 3, 8), ("resnet18_cifar", 3, 32)])
def test_the_stem_decides_what_is_left_of_the_sides(name, channels, height):
    seen = []
    module = build_from_zoo(name, channels, 10).eval()
    module.layer1.register_forward_hook(lambda _layer, _inputs, output: seen.append(output.shape[-1]))
    module(torch.rand(2, channels, 32, 32))
    assert seen == [height]


def test_a_name_sets_what_the_factory_takes():
    wide = build_from_zoo("compact_resnet(width=48)", 3, 10)
    assert count(wide.parameters()) == 342_202
    assert type(build_from_zoo('resnet18(stem="cifar")', 3, 10).maxpool) is torch.nn.Identity


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("compact_resnet(depth=3)", "depth"),
        ("compact_resnet(width=0)", "between 1 and 4,096"),
        ("compact_resnet(width=2.5)", "like its default, 24"),
        ("compact_resnet(classes=3)", "classes"),
        ("grouped_resnet(groups=3)", "cannot be built"),
        ('resnet18(stem="cifer")', "imagenet or cifar"),
        ('hybrid(middle="wide")', "grouped or separable"),
    ],
)
def test_a_name_that_cannot_be_built_says_why(name, words):
    with pytest.raises(AddressError, match=words):
        build_from_zoo(name, 3, 10)


def test_padding_of_a_stride_of_two_is_that_of_tensorflow():
    """An even side is halved by a grid that begins at its first pixel, so that the one added pixel is the last."""
    module = EfficientNetLite().eval()
    with torch.no_grad():
        module.conv_stem.weight.zero_()
        module.conv_stem.weight[0, 0, 0, 0] = 1  # the first pixel under the filter
    x = torch.rand(1, 3, 8, 8)
    torch.testing.assert_close(module.conv_stem(module.pad(x))[0, 0], x[0, 0, ::2, ::2])
    sizes = [block.pad.padding for block in module.blocks if block.depthwise_conv.stride == (2, 2)]
    assert sizes == [(0, 1, 0, 1), (1, 2, 1, 2), (0, 1, 0, 1), (1, 2, 1, 2)]


def test_the_hybrid_shows_its_backbone_what_it_was_made_for():
    module, shown = Hybrid().eval(), []
    module.backbone.pad.register_forward_hook(lambda _layer, inputs, _output: shown.append(inputs[0]))
    x = torch.rand(2, 3, 32, 32)
    maps = []
    module.early_conv.register_forward_hook(lambda _layer, inputs, _output: maps.append(inputs[0].shape))
    logits = module(x)
    wanted = (torch.nn.functional.interpolate(x, (96, 96), mode="bilinear") * 255 - 127) / 128
    torch.testing.assert_close(shown[0], wanted)
    assert maps == [(2, 1280, 3, 3)]
    torch.testing.assert_close(Hybrid.answer(module, module.backbone.maps(wanted)), logits)


def test_the_hybrid_shows_grey_as_colour_and_averages_what_is_large():
    grey, shown = Hybrid(channels=1).eval(), []
    grey.backbone.pad.register_forward_hook(lambda _layer, inputs, _output: shown.append(inputs[0]))
    lines = torch.zeros(2, 1, 960, 960)
    lines[..., ::10, :] = 1.0
    grey(lines)
    assert torch.equal(shown[0][:, 0], shown[0][:, 2])
    torch.testing.assert_close(
        shown[0][:, :, 4:-4] * 128 / 255 + 127 / 255, torch.full((2, 3, 88, 96), 0.1), atol=0.02, rtol=0
    )


def test_the_middle_of_the_hybrid_is_a_choice():
    assert count(Hybrid(middle="separable").parameters()) == 3_466_262
    assert "3,466,262" in Hybrid.__doc__
    assert "3,371,008" in Hybrid.__doc__
    assert count(Hybrid().backbone.parameters()) == 3_371_008
    with pytest.raises(AddressError, match="these images have 4 channels"):
        build_from_zoo("hybrid", 4, 10)
