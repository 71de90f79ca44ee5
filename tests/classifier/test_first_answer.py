"""What a model is asked is never nothing, and what it is given is its own; a compiled one is run as it was before."""

import copy

import pytest
import torch
from torch import nn

from demur.attacks import FGSM
from demur.classifier import BoundClassifier, Classifier
from demur.classifier.first_answer import drifting, eager, part_that_counts, reason_of
from demur.classifier.outputs import columns, parts_of
from demur.errors import ModelError
from demur.evidence import Evidence
from tests import kinds
from tests.classifier.classifier_nets import hooks_on

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")


def bound(module, **options):
    return BoundClassifier(module, classes=kinds.CLASSES, input_shape=kinds.SHAPE, **options)


def counted(module):
    """The numbers of rows that a module is called with from now on."""
    rows = []
    module.register_forward_pre_hook(lambda _, inputs: rows.append(len(inputs[0])))
    return rows


def test_no_model_is_asked_about_no_images():
    module = kinds.plain()
    classifier, rows = bound(module), counted(module)
    none = torch.empty(0, *kinds.SHAPE)
    assert classifier.logits(none).shape == (0, 3)
    assert rows == []
    logits, gradient = classifier.loss_gradient(none, lambda z: z.sum(dim=1))
    assert (logits.shape, gradient.shape) == ((0, 3), (0, *kinds.SHAPE))
    shown = classifier.forward_output(none, ["conv"])
    assert [len(part) for part in (shown.logits, shown.features, shown.activations["conv"])] == [0, 0, 0]
    assert rows == [2]


def test_an_attack_that_fools_every_image_asks_about_none():
    module = kinds.plain()
    x, y = kinds.images_and_labels(12)
    classifier, rows = bound(module), counted(module)
    for labels in (y, (y + 1) % 3):
        FGSM(eps=0.3)(classifier, x, labels)
    assert 0 not in rows


@pytest.mark.parametrize("mean", [None, (0.5, 0.5, 0.5)])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("rows", [1, 4])
def test_images_stay_as_they_are_whatever_a_model_does_to_its_input(mean, channels, rows):
    class Writing(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(channels, 2, 3)

        def forward(self, x):
            return self.conv(x.zero_()).mean(dim=(2, 3))

    shape = (channels, 8, 8)
    mean = None if mean is None else mean[:channels]
    classifier = BoundClassifier(Writing().eval(), classes=("a", "b"), input_shape=shape, mean=mean)
    for layout in (torch.contiguous_format, torch.channels_last):
        x = torch.rand(rows, *shape).contiguous(memory_format=layout)
        before = x.clone()
        classifier.logits(x)
        classifier.loss_gradient(x, lambda z: z.sum(dim=1))
        classifier.forward_output(x, ["conv"])
        assert torch.equal(x, before)


def test_answers_and_what_layers_put_out_are_kept_though_the_memory_is_used_again():
    memory = torch.zeros(8, 3)

    class Reusing(nn.Module):
        def forward(self, x):
            memory[: len(x)] = x
            return memory[: len(x)]

    module = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), Reusing()).eval()
    classifier = bound(module)
    with torch.no_grad():
        first = classifier.forward_output(torch.zeros(4, *kinds.SHAPE), ["2"])
        classifier.forward_output(torch.ones(4, *kinds.SHAPE), ["2"])
    assert not first.logits.any()
    assert not first.activations["2"].any()


@pytest.mark.parametrize("kind", ["compiled", "a compiled part", "compiled in place", "a compiled forward", "parallel"])
def test_layers_of_a_compiled_or_parallel_model_can_be_listened_to(kind):
    module, x = kinds.WORK[kind]().eval(), kinds.images_and_labels(5)[0]
    before = copy.copy(module.__dict__)
    classifier = bound(module)
    name = next(name for name in classifier.layer_names if name.endswith("conv"))
    shown = classifier.forward_output(x, [name])
    torch.testing.assert_close(shown.activations[name], kinds.plain().conv(x))
    torch.testing.assert_close(shown.logits, kinds.plain()(x))
    assert hooks_on(classifier.as_module()) == 0
    assert not hasattr(classifier.as_module().forward, "_torchdynamo_orig_callable")
    assert module.__dict__.keys() == before.keys()
    assert type(classifier.as_module()).__name__ not in {"OptimizedModule", "DataParallel"}


def test_a_module_that_is_neither_is_used_as_it_is():
    module = kinds.WORK["a tuple"]()
    assert eager(module) is module
    parallel = nn.Sequential(nn.Flatten(), nn.DataParallel(nn.Linear(192, 3)))
    assert eager(parallel)[1] is parallel[1].module
    assert isinstance(parallel[1], nn.DataParallel)


def test_a_parallel_model_has_the_hash_and_the_name_of_its_own():
    assert bound(nn.DataParallel(kinds.plain()).eval()).sha256 == bound(kinds.plain()).sha256
    assert (
        bound(nn.DataParallel(kinds.plain()).eval()).name == Classifier(nn.DataParallel(kinds.plain())).title == "Plain"
    )


def test_a_counter_of_calls_is_no_part_of_the_hash_and_weights_are():
    classifier = bound(kinds.Counting().eval())
    before = classifier.sha256
    classifier.logits(torch.rand(3, *kinds.SHAPE))
    assert classifier.sha256 == before
    with torch.no_grad():
        classifier.as_module().net.fc.bias[0] += 1
    assert classifier.sha256 != before


def test_buffers_that_change_are_named():
    module = kinds.Counting().eval()
    with drifting(module) as changed:
        assert not changed
        module(torch.rand(2, *kinds.SHAPE))
    assert changed == {"seen"}


def test_parts_are_called_by_key_field_or_position():
    z = torch.zeros(2, 3)
    raw = {"a": (z, None, kinds.Answer(z, loss=z)), 7: [z], "pair": kinds.Pair(z, "text")}
    assert list(parts_of(raw)) == ["a.0", "a.2.logits", "a.2.loss", "7.0", "pair.scores"]
    itself = [z]
    itself.append(itself)
    assert 1 < len(parts_of(itself)) < 9


@pytest.mark.parametrize("shape", [(2, 3, 1, 1), (2, 1, 3), (2, 3), (2, 1, 3, 1)])
def test_axes_of_length_one_are_dropped(shape):
    z = torch.arange(6.0)
    assert torch.equal(columns(z.view(shape)), z.view(2, 3))


@pytest.mark.parametrize("shape", [(), (2, 3, 2), (2, 3, 1, 2)])
def test_other_axes_are_not(shape):
    with pytest.raises(ModelError, match="gave the shape"):
        columns(torch.zeros(shape))


def test_the_part_that_counts_is_the_one_that_has_the_classes():
    raw = {"features": torch.zeros(2, 5), "ids": torch.zeros(2, 3, dtype=torch.long), "out": torch.zeros(2, 3)}
    contract = bound(kinds.plain()).contract
    assert part_that_counts(raw, 2, "", contract) == "out"
    with pytest.raises(ModelError, match=r"several of its parts .*'features', 'out'"):
        part_that_counts(raw, 2, "")
    assert part_that_counts(raw, 2, "features") == "features"


def test_the_reason_of_a_script_is_its_last_line():
    said = (
        "The following operation failed in the TorchScript interpreter.\nTraceback:\n  code\nRuntimeError: bad view\n"
    )
    assert reason_of(RuntimeError(said)) == "RuntimeError: bad view"
    assert reason_of(ValueError("one.\ntwo")) == "one"
    assert reason_of(KeyError()) == "KeyError"


def test_a_copy_of_a_scripted_model_can_be_frozen():
    double = bound(torch.jit.script(kinds.plain())).double
    assert double.dtype == torch.float64
    _, gradient = double.loss_gradient(torch.rand(2, *kinds.SHAPE).double(), lambda z: z[:, 0])
    assert gradient.abs().sum() > 0


def test_where_float64_fails_the_model_confirms_itself():
    classifier = bound(kinds.WORK["float32 on its way"]())
    assert classifier.double is classifier
    assert "dtype" in classifier.double_fault
    assert bound(kinds.plain()).double_fault == ""


def test_pixels_that_rounding_has_pushed_out_are_clamped():
    x, y = kinds.images_and_labels(6)
    x[:3, 0, 0, 0], x[3:, 0, 0, 0] = -9e-7, 1 + 9e-7
    assert torch.equal(Evidence(kinds.plain(), x).images, x.clamp(0, 1))
    found = FGSM(eps=0.01)(kinds.plain(), x, y)
    assert float(found.images.min()) >= 0
    assert float(found.images.max()) <= 1
    assert found.distance.max() <= 0.01 + 1e-6
    assert not found.flags.any()


def test_a_row_too_few_is_never_taken_for_an_answer():
    class Short(kinds.Plain):
        def forward(self, x):
            return super().forward(x)[: max(2, len(x) - 1)]

    classifier = bound(kinds.loaded(Short))
    with pytest.raises(ModelError, match="answer every image once; it gave 4 rows for 5"):
        classifier.logits(torch.rand(5, *kinds.SHAPE))


def test_eval_that_returned_nothing_is_said():
    with pytest.raises(ModelError, match=r"got NoneType. Where eval\(\) of a model returns None"):
        Classifier(kinds.Silent().eval())
