"""The wrapper answers as the module does, and leaves the module as it was."""

from dataclasses import asdict

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from demur.classifier import BoundClassifier
from demur.errors import ModelError, UnknownNameError
from tests.classifier.classifier_nets import CLASSES, SHAPE, Net, hooks_on, images, net, seeded

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


def wrapped(module=None, **options):
    options = {"classes": CLASSES, "input_shape": SHAPE} | options
    return BoundClassifier(module or net(), **options)


def normalised(x):
    return (x - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)


def losses(y):
    return lambda logits: cross_entropy(logits, y, reduction="none")


@pytest.mark.parametrize("rows", [1, 2, 7])
def test_logits_are_those_of_the_module_on_normalised_images(rows):
    module, x = net(), images(rows)
    torch.testing.assert_close(
        wrapped(module, mean=MEAN, std=STD).logits(x), module(normalised(x)), atol=1e-6, rtol=1e-6
    )


def test_one_channel_is_laid_out_without_changing_the_answer():
    module, x = net(channels=1), images(4, (1, 8, 8))
    torch.testing.assert_close(wrapped(module, input_shape=(1, 8, 8)).logits(x), module(x), atol=1e-6, rtol=1e-6)


class Viewing(nn.Module):
    """A net that flattens with `view`, which refuses channels last."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.head = nn.Linear(4 * 64, len(CLASSES))

    def forward(self, x):
        return self.head(torch.relu(self.conv(x)).view(x.size(0), -1))


def test_a_net_that_cannot_read_channels_last_is_not_given_it():
    module, x = Viewing().eval(), images(4, (3, 8, 8))
    torch.testing.assert_close(wrapped(module, input_shape=(3, 8, 8)).logits(x), module(x), atol=1e-6, rtol=1e-6)


def test_an_image_is_answered_alike_alone_and_among_others():
    classifier, x = wrapped(mean=MEAN, std=STD), images(9)
    alone = torch.cat([classifier.logits(row[None]) for row in x])
    torch.testing.assert_close(alone, classifier.logits(x), atol=1e-6, rtol=1e-6)


def test_a_lone_image_is_doubled():
    module = net()
    seen = []
    handle = module.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    wrapped(module).logits(images(1))
    handle.remove()
    assert seen[-1] == 2


def test_logits_follow_the_callers_autograd():
    x = images().requires_grad_()
    assert wrapped().logits(x).requires_grad
    with torch.no_grad():
        assert not wrapped().logits(x).requires_grad


@pytest.mark.parametrize("rows", [1, 5])
def test_the_gradient_is_each_rows_own(rows):
    module, x, y = net(), images(rows), torch.arange(rows) % 4
    logits, gradient = wrapped(module, mean=MEAN, std=STD).loss_gradient(x, losses(y))
    for row in range(rows):
        alone = x[row : row + 1].clone().requires_grad_()
        (expected,) = torch.autograd.grad(cross_entropy(module(normalised(alone)), y[row : row + 1]), alone)
        torch.testing.assert_close(gradient[row : row + 1], expected, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(logits, module(normalised(x)).detach(), atol=1e-6, rtol=1e-6)
    assert not logits.requires_grad
    assert not gradient.requires_grad
    assert not x.requires_grad


def test_the_gradient_comes_also_under_no_grad():
    with torch.no_grad():
        _, gradient = wrapped().loss_gradient(images(), losses(torch.zeros(5, dtype=torch.long)))
    assert gradient.abs().sum() > 0


def test_weights_take_no_gradient_and_are_as_before_afterwards():
    module = net()
    module.conv.weight.requires_grad_(False)
    classifier, during = wrapped(module), []

    def loss(logits):
        during.append(any(parameter.requires_grad for parameter in module.parameters()))
        return logits[:, 0]

    before = [parameter.requires_grad for parameter in module.parameters()]
    with classifier.frozen():
        classifier.loss_gradient(images(), loss)
        during.append(any(parameter.requires_grad for parameter in module.parameters()))
    assert during == [False, False]
    assert [parameter.requires_grad for parameter in module.parameters()] == before
    assert all(parameter.grad is None for parameter in module.parameters())


def test_weights_are_restored_after_an_exception():
    module = net()

    def loss(_logits):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        wrapped(module).loss_gradient(images(), loss)
    assert all(parameter.requires_grad for parameter in module.parameters())


def test_a_model_that_cuts_the_gradient_is_named():
    class Cut(Net):
        def forward(self, x):
            return super().forward(x.detach())

    with pytest.raises(ModelError, match=r"no gradient. Look for detach"):
        wrapped(seeded(Cut())).loss_gradient(images(), lambda logits: logits[:, 0])


@pytest.mark.parametrize("rows", [1, 4])
def test_one_look_shows_everything_and_leaves_no_hook(rows):
    module, x = net(), images(rows)
    maps = module.conv(x)
    look = wrapped(module).forward_output(x, ("conv", "norm", "head"))
    assert hooks_on(module) == 0
    torch.testing.assert_close(look.activations["conv"], maps, atol=1e-5, rtol=1e-5)  # the ReLU behind is in place
    torch.testing.assert_close(look.features, module.norm(maps.relu()).mean(dim=(2, 3)), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(look.activations["head"], look.logits)
    torch.testing.assert_close(look.logits, module(x), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("rows", [1, 4])
def test_activations_lie_on_the_way_to_the_logits(rows):
    look = wrapped().forward_output(images(rows), ("conv",))
    (gradient,) = torch.autograd.grad(look.logits[:, 0].sum(), look.activations["conv"])
    assert gradient.shape == look.activations["conv"].shape
    assert gradient.abs().sum() > 0


def test_a_look_is_one_pass():
    module, passes = net(), []
    classifier = wrapped(module)
    handle = module.register_forward_hook(lambda *_: passes.append(1))
    classifier.forward_output(images(), ("conv",))
    handle.remove()
    assert len(passes) == 1


def test_no_hook_is_left_after_an_exception():
    module = net()
    classifier = wrapped(module)
    with pytest.raises(RuntimeError):
        classifier.forward_output(images(shape=(2, 8, 8)), ("conv", "norm"))
    with pytest.raises(UnknownNameError, match="Did you mean 'conv'"):
        classifier.forward_output(images(), ("norm", "conf"))
    assert hooks_on(module) == 0


def test_a_layer_that_is_not_called_has_no_activations():
    with pytest.raises(ModelError, match="'unused' is part of the model but was not called"):
        wrapped().activations(images(), ["unused"])


def test_a_layer_that_passes_a_tuple_cannot_be_listened_to():
    class Pair(nn.Module):
        def forward(self, x):
            return x, x

    class Paired(Net):
        def __init__(self):
            super().__init__()
            self.pair = Pair()

        def forward(self, x):
            return super().forward(self.pair(x)[0])

    classifier = wrapped(seeded(Paired()))
    with pytest.raises(ModelError, match="'pair' passes a tuple"):
        classifier.activations(images(), ["pair"])
    assert hooks_on(classifier.as_module()) == 0


def test_the_hash_sees_weights_buffers_and_contract_only():
    same = wrapped().sha256
    assert wrapped(net().to(memory_format=torch.channels_last), name="other").sha256 == same
    assert wrapped(mean=MEAN).sha256 != same
    assert wrapped(classes=("dog", "cat", "frog", "ship")).sha256 != same
    for change in ("head.bias", "norm.running_mean"):
        module = net()
        module.state_dict()[change][0] += 1e-6
        assert wrapped(module).sha256 != same
    counted = net()
    counted.norm.num_batches_tracked += 1
    assert wrapped(counted).sha256 == same


def test_moving_gives_a_new_equal_classifier():
    module = net()
    classifier = wrapped(module, mean=MEAN, std=STD, features="conv", name="mine")
    moved = classifier.to("cpu")
    assert moved.as_module() is not module
    assert (moved.sha256, moved.name, moved.device) == (classifier.sha256, "mine", torch.device("cpu"))
    torch.testing.assert_close(moved.features(images()), classifier.features(images()))


def test_a_classifier_says_what_it_is():
    classifier = wrapped()
    assert classifier.name == "Net"
    assert classifier.parameters == sum(p.numel() for p in classifier.as_module().parameters())
    assert classifier.layer_names == ("conv", "relu", "norm", "unused", "head", "end")
    assert repr(classifier) == "BoundClassifier('Net', 4 classes, input_shape=(3, 8, 8))"


def test_double_precision_stays_double():
    assert wrapped(net().double(), mean=MEAN).logits(images().double()).dtype == torch.float64


class Unsteady(nn.Module):
    """Another answer each time, and none of it by way of the image."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        z = x.detach().flatten(1).mean(dim=1)
        return torch.stack([z, -z * self.calls], dim=1)


def test_what_a_classifier_offers_is_asked_and_not_tried():
    headed = BoundClassifier(
        nn.Sequential(nn.Flatten(), nn.Linear(4, 2)).eval(), classes=("a", "b"), input_shape=(1, 2, 2)
    )
    assert asdict(headed.capabilities) == dict.fromkeys(
        ("gradients", "layers", "linear_head", "module", "deterministic"), True
    )
    unsteady = BoundClassifier(Unsteady().eval(), classes=("a", "b"), input_shape=(1, 2, 2))
    assert not any(asdict(unsteady.capabilities).values())


def test_capabilities_are_determined_once():
    module = Unsteady().eval()
    classifier = BoundClassifier(module, classes=("a", "b"), input_shape=(1, 2, 2))
    assert classifier.capabilities is classifier.capabilities
    calls = module.calls
    assert not classifier.capabilities.deterministic
    assert module.calls == calls


def test_a_classifier_is_called_for_its_logits():
    classifier = BoundClassifier(
        nn.Sequential(nn.Flatten(), nn.Linear(4, 2)).eval(), classes=("a", "b"), input_shape=(1, 2, 2)
    )
    x = torch.rand(3, 1, 2, 2)
    assert torch.equal(classifier(x), classifier.logits(x))
    assert classifier(x.requires_grad_()).requires_grad


def test_a_copy_may_be_altered_and_the_model_stays():
    module = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)).eval()
    classifier = BoundClassifier(module, classes=("a", "b"), input_shape=(1, 2, 2), mean=[0.5], std=[0.2])

    def empty(other):
        with torch.no_grad():
            other[1].weight.zero_()

    before = module[1].weight.clone()
    other = classifier.altered(empty, "empty")
    assert torch.equal(module[1].weight, before)
    assert other.name == "empty"
    assert other.contract == classifier.contract
    assert torch.equal(other(torch.rand(2, 1, 2, 2)), module[1].bias.detach().expand(2, 2))


def test_each_output_of_a_pass_is_noted_in_its_order():
    shared = nn.ReLU()
    module = nn.Sequential(nn.Flatten(), shared, nn.Linear(4, 2)).eval()
    classifier, found = BoundClassifier(module, classes=("a", "b"), input_shape=(1, 2, 2)), []
    logits = classifier.each_output(torch.rand(3, 1, 2, 2), lambda name, output: found.append((name, output.shape)))
    assert [name for name, _ in found] == ["0", "1", "2"]
    assert found[-1][1] == logits.shape
    assert hooks_on(module) == 0
