"""The group norm that goes through float32 gives what the plain one gives."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from model.narrow_group_norm import PIECE, NarrowGroupNorm, with_quick_norms


def some_norm(groups: int, channels: int) -> nn.GroupNorm:
    norm = nn.GroupNorm(groups, channels, eps=1e-6)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return norm


@pytest.mark.parametrize(
    ("groups", "channels", "called_for"),
    [(32, 64, True), (32, 320, True), (32, 640, True), (8, 128, False), (32, 1280, False), (4, 128, False)],
)
def test_it_is_called_for_where_groups_are_narrow_and_no_whole_vectors(
    groups: int, channels: int, called_for: bool
) -> None:
    assert NarrowGroupNorm.is_called_for(nn.GroupNorm(groups, channels)) == called_for


@pytest.mark.parametrize("frames", [1, 3, 40])
def test_in_bfloat16_it_is_the_plain_norm_to_rounding(frames: int) -> None:
    torch.manual_seed(0)
    norm = some_norm(8, 64).bfloat16()
    x = (3 * torch.randn(frames, 64, 16, 16) + 1).bfloat16().contiguous(memory_format=torch.channels_last)
    assert frames < 2 or frames * x[0].numel() != PIECE
    exact = F.group_norm(x.double(), 8, norm.weight.double(), norm.bias.double(), norm.eps)

    with torch.no_grad():
        got = NarrowGroupNorm.of(norm)(x)

    assert got.dtype == torch.bfloat16
    assert got.is_contiguous(memory_format=torch.channels_last)
    assert torch.allclose(got.double(), exact, rtol=2**-7, atol=2**-7)


def test_gradients_reach_weights_and_input() -> None:
    norm = NarrowGroupNorm.of(some_norm(8, 64).bfloat16())
    x = torch.randn(2, 64, 4, 4, dtype=torch.bfloat16, requires_grad=True)

    norm(x).square().mean().backward()

    assert x.grad is not None and norm.weight.grad is not None and norm.weight.grad.abs().sum() > 0


def test_names_of_weights_and_the_weights_themselves_stay() -> None:
    network = nn.Sequential(some_norm(32, 64), nn.SiLU(), some_norm(8, 128))
    before = network.state_dict()
    weight = network[0].weight

    with_quick_norms(network)

    assert [type(layer) for layer in network] == [NarrowGroupNorm, nn.SiLU, nn.GroupNorm]
    assert list(network.state_dict()) == list(before)
    assert network[0].weight is weight
