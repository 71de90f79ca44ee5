import torch
from torch import nn

from demur.training.learning_loop import InputScaling, without_scaling

IMAGES = torch.rand(4, 2, 3, 3, generator=torch.Generator().manual_seed(0))


def test_the_network_is_given_what_it_wants():
    given = InputScaling(nn.Identity(), [0.5, 0.25], [0.1, 0.2])(IMAGES)
    for channel, (mean, std) in enumerate([(0.5, 0.1), (0.25, 0.2)]):
        torch.testing.assert_close(given[:, channel], (IMAGES[:, channel] - mean) / std)
    assert torch.equal(InputScaling(nn.Identity(), None, None)(IMAGES), IMAGES)


def test_the_state_within_is_the_network_s():
    network = nn.Sequential(nn.Linear(2, 2))
    assert without_scaling(InputScaling(network, [0.5], [0.1]).state_dict()).keys() == network.state_dict().keys()
