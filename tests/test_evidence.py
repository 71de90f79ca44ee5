"""Each thing is computed once, counted, and autograd is left as it was."""

import pytest
import torch
from torch import nn

from demur.classifier import BoundClassifier
from demur.errors import DataError, InputError, ModelError, UnknownNameError
from demur.evidence import Evidence
from demur.randomness import Keys
from demur.signals.disagreement import MCDropout
from demur.signals.feature_distances import KNN

SHAPE = (1, 6, 6)


class Net(nn.Module):
    """Counts its own passes."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten())
        self.head = nn.Linear(48, 4)
        self.passes = 0

    def forward(self, x):
        self.passes += 1
        return self.head(self.body(x))


def net_and_evidence(layers=(), **given):
    net = Net().eval()
    classifier = BoundClassifier(net, classes=tuple("abcd"), input_shape=SHAPE)
    images = Keys.of(0, ["0", "1", "2"], "c").uniform(torch.empty(3, *SHAPE), "images")
    net.passes = 0
    return net, images, Evidence(classifier, images, layers, **given)


def test_nothing_is_computed_before_it_is_read():
    net, _, seen = net_and_evidence()
    assert seen.forwards == net.passes == 0


def test_logits_are_computed_once():
    net, images, seen = net_and_evidence()
    with torch.no_grad():
        assert seen.logits is seen.logits
        assert seen.forwards == net.passes == 1
        torch.testing.assert_close(seen.logits, net(images))


def test_given_logits_cost_nothing():
    logits = torch.zeros(3, 4)
    net, _, seen = net_and_evidence(logits=logits)
    assert seen.logits is logits
    assert seen.forwards == net.passes == 0


def test_features_and_activations_come_from_one_pass():
    net, images, seen = net_and_evidence(layers=("body.0",))
    with torch.no_grad():
        features, activations, logits = seen.features, seen.activations("body.0"), seen.logits
        assert seen.features is features
        assert seen.forwards == net.passes == 1
        torch.testing.assert_close(features, net.body(images))
        torch.testing.assert_close(activations, net.body[0](images))
        torch.testing.assert_close(logits, net(images))


def test_logits_before_features_that_were_not_announced_are_counted_as_two_passes():
    net, _, seen = net_and_evidence(features=False)
    with torch.no_grad():
        assert seen.logits.shape == (3, 4)
        assert seen.features.shape == (3, 48)
    assert seen.forwards == net.passes == 2


def test_autograd_is_the_callers_business():
    _, _, seen = net_and_evidence()
    assert seen.logits.requires_grad
    _, _, seen = net_and_evidence()
    with torch.no_grad():
        assert not seen.logits.requires_grad
        assert not torch.is_grad_enabled()
    assert torch.is_grad_enabled()


def test_features_come_with_the_logits_in_one_pass():
    net, images, seen = net_and_evidence()
    with torch.no_grad():
        assert seen.logits is not None
        assert seen.features.shape == (3, 48)
        torch.testing.assert_close(seen.logits, net(images))
    assert seen.forwards == 1


def test_other_images_are_counted_for_the_rows_they_belong_to():
    net, images, seen = net_and_evidence()
    with torch.no_grad():
        found = seen.logits_of(images[[0, 2]], rows=torch.tensor([0, 2]))
        torch.testing.assert_close(found, net(images[[0, 2]]))
        seen.logits_of(images)
    assert seen.spent.tolist() == [[2, 1, 2], [0, 0, 0]]
    assert (seen.forwards, seen.backwards, len(seen)) == (2, 0, 3)


def test_an_input_gradient_is_that_of_each_row_alone_and_leaves_autograd_as_it_was():
    net, images, seen = net_and_evidence()
    with torch.no_grad():
        found = seen.input_gradient(lambda z: z[:, 1].square())
        assert not torch.is_grad_enabled()
    x = images.clone().requires_grad_()
    (expected,) = torch.autograd.grad(net(x)[:, 1].square().sum(), x)
    torch.testing.assert_close(found, expected)
    assert not found.requires_grad
    assert all(parameter.grad is None and parameter.requires_grad for parameter in net.parameters())
    assert seen.spent.tolist() == [[1] * 3, [1] * 3]


class Dropping(Net):
    """With dropout, and batch normalisation that must not move."""

    def __init__(self, p=0.5):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Dropout2d(p), nn.ReLU(), nn.Flatten(), nn.Dropout(p)
        )


def dropping(rows=4, **given):
    net = Dropping(**given).eval()
    dice = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=dice))
    classifier = BoundClassifier(net, classes=tuple("abcd"), input_shape=SHAPE)
    all_keys = Keys.of(0, [str(row) for row in range(rows)], "c")
    images = all_keys.uniform(torch.empty(rows, *SHAPE), "images")
    return net, Evidence(classifier, images, keys=all_keys)


def test_dropout_logits_vary_by_pass_and_row_and_not_by_batch():
    _, seen = dropping()
    with torch.no_grad():
        together, again = seen.dropout_logits(6, seen.keys), seen.dropout_logits(6, seen.keys)
        parts = [seen.rows(torch.tensor(rows)) for rows in ([0], [1, 2], [3])]
        apart = torch.cat([part.dropout_logits(6, part.keys) for part in parts], dim=1)
    assert together.shape == (6, 4, 4)
    assert torch.equal(together, again)
    torch.testing.assert_close(apart, together)
    assert (together.std(dim=0) > 0).all()
    assert seen.forwards == 12


def test_dropout_is_unbiased_and_drops_whole_maps_where_the_layer_does():
    net, seen = dropping()
    with torch.no_grad():
        many = seen.dropout_logits(1500, seen.keys)  # a ReLU commutes with what is kept or not
        kept = []
        hook = net.body[3].register_forward_pre_hook(lambda _, given: kept.append(given[0]))
        seen.dropout_logits(1, seen.keys)
        hook.remove()
        torch.testing.assert_close(many.mean(dim=0), net(seen.images), rtol=0, atol=0.12)
    maps = kept[-1].flatten(start_dim=2)
    dropped = (maps == 0).all(dim=2)
    assert dropped.any()
    assert not dropped.all()
    assert not (maps[~dropped] == 0).any()


@pytest.mark.filterwarnings("ignore:dropout2d")
def test_dropout_of_maps_drops_the_values_of_a_vector():
    net, seen = dropping(rows=64)
    net.body[5] = nn.Dropout2d(0.5).eval()  # behind nn.Flatten
    given, kept = [], []
    net.body[5].register_forward_pre_hook(lambda _, values: given.append(values[0]))
    net.head.register_forward_pre_hook(lambda _, values: kept.append(values[0]))
    with torch.no_grad():
        passes = seen.dropout_logits(2, seen.keys)
    assert not torch.equal(*passes)
    for before, after in zip(given, kept, strict=True):
        dropped = (after == 0) & (before != 0)
        alive = (before != 0).sum(dim=1)
        share = dropped.sum(dim=1)[alive >= 20] / alive[alive >= 20]
        assert float(dropped.sum() / alive.sum()) == pytest.approx(0.5, abs=0.1)
        assert ((share > 0.1) & (share < 0.9)).all(), "values are dropped one by one, not row by row"
        torch.testing.assert_close(after[~dropped], 2 * before[~dropped])


def test_dropout_leaves_no_state_behind_even_when_the_net_fails():
    net, seen = dropping()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with torch.no_grad():
        seen.dropout_logits(2, seen.keys)
        net.head = nn.Linear(5, 4).eval()
        with pytest.raises(RuntimeError):
            seen.dropout_logits(2, seen.keys)
    for layer in net.modules():
        assert not layer.training
        assert not layer._forward_hooks
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items() if "head" not in name)


@pytest.mark.parametrize("made", [dropping(p=0.0), net_and_evidence()[1:]])
def test_a_net_without_dropout_is_refused(made):
    with pytest.raises(ModelError, match="the model has no dropout layer that drops"):
        made[-1].dropout_logits(2, Keys.of(0, ["a"], "c"))


def test_a_missing_linear_head_is_named():
    class Headless(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 4, 6)

        def forward(self, x):
            return self.conv(x).flatten(1)

    classifier = BoundClassifier(Headless().eval(), classes=tuple("abcd"), input_shape=SHAPE)
    with pytest.raises(ModelError, match="the model has none that was found"):
        _ = Evidence(classifier, torch.zeros(2, *SHAPE)).head


def test_the_evidence_of_some_rows_repeats_no_pass():
    net, images, seen = net_and_evidence(layers=("body.0",), groups=["a", "a", "b"], keys=Keys.of(0, list("xyz"), "c"))
    with torch.no_grad():
        whole = seen.features, seen.activations("body.0"), seen.logits
        net.passes = 0
        part = seen.rows(torch.tensor([2, 0]))
        assert torch.equal(part.features, whole[0][[2, 0]])
        assert torch.equal(part.activations("body.0"), whole[1][[2, 0]])
        assert torch.equal(part.logits, whole[2][[2, 0]])
    assert net.passes == part.forwards == 0
    assert torch.equal(part.images, images[[2, 0]])
    assert part.groups == ["b", "a"]
    assert part.keys == seen.keys.rows([2, 0])


def test_the_evidence_of_some_rows_makes_its_own_pass_where_none_was_made():
    net, images, seen = net_and_evidence()
    with torch.no_grad():
        part = seen.rows(torch.tensor([1, 2]))
        torch.testing.assert_close(part.logits, net(images[1:]))
    assert (part.forwards, seen.forwards) == (1, 0)


def test_evidence_may_answer_otherwise():
    _, images, seen = net_and_evidence(keys=Keys.of(0, list("xyz"), "c"))
    other = seen.answering(torch.ones(3, 4))
    assert torch.equal(other.logits, torch.ones(3, 4))
    assert other.images is images
    assert other.keys is seen.keys
    assert (other.forwards, seen.forwards) == (0, 0)


def test_a_layer_may_be_read_on_demand():
    net, images, seen = net_and_evidence()
    with torch.no_grad():
        first, logits, features = seen.activations("body.0"), seen.logits, seen.features
        assert seen.forwards == net.passes == 1, "the first pass keeps the layer too"
        second = seen.activations("body.1")
        assert seen.forwards == net.passes == 2
        assert seen.activations("body.0") is first
        assert seen.activations("body.1") is second
        assert (seen.logits is logits, torch.equal(seen.features, features)) == (True, True)
        assert seen.forwards == net.passes == 2
        torch.testing.assert_close(second, net.body[1](net.body[0](images)))
        part = seen.rows(torch.tensor([1]))
        assert torch.equal(part.activations("body.1"), second[1:2])
        assert part.forwards == 0


def test_a_layer_that_is_none_is_refused_and_leaves_the_evidence_usable():
    net, _, seen = net_and_evidence()
    with torch.no_grad():
        with pytest.raises(UnknownNameError, match=r"unknown layer 'body\.9'\. Did you mean"):
            seen.activations("body.9")
        assert seen.forwards == net.passes == 0
        assert seen.logits.shape == (3, 4)


def test_keys_are_by_default_of_seed_0_and_the_bytes_of_each_image():
    _, images, seen = net_and_evidence()
    assert seen.keys is seen.keys
    assert seen.keys == Keys.of_images(images, 0)
    assert Keys.of_images(images[[2, 0]]) == seen.keys.rows([2, 0])
    assert Keys.of_images(images, 1) != seen.keys
    assert len(set(seen.keys.values)) == 3
    assert Keys.of_images(images.permute(0, 1, 3, 2).contiguous().permute(0, 1, 3, 2)) == seen.keys
    assert Keys.of_images(torch.zeros(2, 1, 2, 2)).values[0] == Keys.of_images(torch.zeros(2, 1, 2, 2)).values[1]


def test_mc_dropout_needs_nothing_but_a_classifier_and_images():
    _, seen = dropping()
    images = seen.images
    with torch.no_grad():
        together = MCDropout(n=3)(Evidence(seen._classifier, images))
        apart = torch.cat([MCDropout(n=3)(Evidence(seen._classifier, image[None])) for image in images])
    assert together.unique().numel() == 4
    torch.testing.assert_close(apart, together)


def test_one_batch_or_a_list_of_them_will_do_to_fit():
    _, _, seen = net_and_evidence()
    labels = torch.tensor([0, 1, 2])
    with torch.no_grad():
        one = KNN(k=2).fit(seen, labels)
        two = KNN(k=2).fit([seen.rows(torch.tensor([0])), seen.rows(torch.tensor([1, 2]))], labels)
        assert torch.equal(one.bank, two.bank)
        assert one(seen).shape == (3,)
    assert seen.forwards == 1
    assert list(seen) == [seen]


def test_the_evidence_says_what_it_is():
    _, _, seen = net_and_evidence()
    assert repr(seen) == "Evidence('Net', 3 images, 0 forward passes)"


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(2, *SHAPE, dtype=torch.uint8), r"got torch\.uint8\. Give images\.float\(\) / 255"),
        (255 * torch.ones(2, *SHAPE), "must be divided by 255"),
        (torch.zeros(2, *SHAPE) - 1, "have been normalised already"),
        (torch.full((2, *SHAPE), torch.nan), "must be finite"),
        (torch.zeros(*SHAPE), "1, 6, 6"),
        (torch.zeros(2, 3, 6, 6), "3, 6, 6"),
        (torch.zeros(0, *SHAPE), "0, 1, 6, 6"),
        ([torch.zeros(*SHAPE)], r"got a list\. Stack them: torch\.stack"),
    ],
)
def test_images_that_break_their_contract_are_refused(images, message):
    classifier = net_and_evidence()[2]._classifier
    with pytest.raises(DataError, match=message):
        Evidence(classifier, images)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"keys": Keys.of(0, ["a"], "c")}, "`keys` must have one entry per image; got 1 for 3"),
        ({"groups": ["a", "b"]}, "`groups` must have one entry per image; got 2 for 3"),
        ({"logits": torch.zeros(4, 4)}, "`logits` must have one entry per image; got 4 for 3"),
    ],
)
def test_what_does_not_go_with_the_images_is_refused(given, message):
    with pytest.raises(InputError, match=message):
        net_and_evidence(**given)


def test_a_bare_module_will_do_and_anything_else_is_refused():
    net, x = Net().eval(), torch.rand(2, *SHAPE)
    torch.testing.assert_close(Evidence(net, x).logits.detach(), net(x).detach().cpu())
    with pytest.raises(ModelError, match=r"got str\. Write demur\.Classifier\(module"):
        Evidence("net", x)
