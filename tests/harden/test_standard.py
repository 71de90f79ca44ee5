import pytest
import torch
from torch import nn

from demur.data import from_tensors
from demur.data.source import Row
from demur.errors import DataError, InputError
from demur.harden import Standard, fresh
from demur.zoo.compact_resnet import CompactResNet


def bars(rows=64):
    """Bright top against bright bottom."""
    labels = torch.arange(rows) % 2
    images = torch.rand(rows, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 0.3
    images[labels == 0, :, :4] += 0.7
    images[labels == 1, :, 4:] += 0.7
    return from_tensors(images, labels, classes=("top", "bottom"))


def small():
    return nn.Sequential(CompactResNet(classes=2, width=4), nn.Dropout(0.1))


RECIPE = Standard(epochs=8, batch=16, learning_rate=0.05, shift=1)


def same(left, right):
    return all(torch.equal(left[name], right[name]) for name in left)


def test_a_seed_fixes_the_weights():
    first = RECIPE(fresh(small, 1), bars(), 7)
    torch.rand(3)  # moves the global stream
    assert same(first, RECIPE(fresh(small, 1), bars(), 7))
    assert not same(first, RECIPE(fresh(small, 1), bars(), 8))
    assert not same(first, RECIPE(fresh(small, 2), bars(), 7))


def test_the_global_stream_and_the_module_are_left_alone():
    state = torch.random.get_rng_state()
    module = fresh(small, 0)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    RECIPE(module, bars(), 0)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert same(before, module.state_dict())


def test_the_loss_falls_and_progress_counts():
    told = []
    module = fresh(small, 0)
    state = RECIPE(module, bars(), 0, lambda *news: told.append(news))
    assert [news[:2] for news in told] == [(done, 32) for done in range(1, 33)]
    assert told[-1][2] < 0.2 < told[0][2]
    module.load_state_dict(state)
    rows = list(bars().read(range(64)))
    predicted = module.eval()(torch.stack([row.image for row in rows])).argmax(dim=1)
    assert predicted.tolist() == [row.label for row in rows]


def test_only_the_rows_asked_for_are_read():
    read = []

    class Watched:
        address, classes, input_shape = "watched", ("top", "bottom"), (1, 8, 8)

        def __len__(self):
            return 64

        def read(self, positions):
            read.extend(positions)
            for row in bars().read(positions):
                yield Row(row.sample_id, None, 0, error="cut short") if row.sample_id == "000003" else row

    RECIPE(fresh(small, 0), Watched(), 0, positions=range(20))
    assert set(read) == set(range(20))
    assert len(read) == 8 * 20


def test_one_batch_is_enough():
    assert Standard(epochs=1, batch=128)(fresh(small, 0), bars(4), 0)


def test_nothing_to_learn_from_is_refused():
    with pytest.raises(DataError, match="no images to learn from"):
        RECIPE(fresh(small, 0), bars(), positions=[])


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"epochs": 0}, "`epochs` .* got 0"),
        ({"batch": 0}, "`batch`"),
        ({"learning_rate": 0.0}, "`learning_rate` must be above 0"),
        ({"shift": -1}, "`shift`"),
    ],
)
def test_fields_have_ranges(fields, says):
    with pytest.raises(InputError, match=says):
        Standard(**fields)
