"""A model that may depend on every cell is refused where ranks share the grid, and runs where they do not."""

import math

import pytest
import torch
from helpers.networks import block_of, frozen, layer, part
from torch import nn

from insitu.locality import FieldModel
from solver import Device

pytestmark = pytest.mark.ranks(1, 2, 3, 4)


@pytest.fixture
def device():
    return Device.open("Serial")


class Spectral(nn.Module):
    """A filter of the modes along the second axis, which any sees."""

    influence = (0, math.inf)

    def forward(self, u):
        modes = torch.fft.rfft(u, dim=-1)
        return torch.fft.irfft(modes * (torch.arange(modes.shape[-1]) < 4), n=u.shape[-1])


class Mean(nn.Module):
    def forward(self, u):
        return u - u.mean(dim=(-2, -1), keepdim=True)


GLOBAL = [
    (Mean(), r"layer '1' \(Mean\) may depend on every cell"),
    (nn.GroupNorm(1, 1), r"layer '1' \(GroupNorm\) may depend on every cell"),
    (Spectral(), r"layer '1' \(Spectral\) states that it depends on every cell"),
]


@pytest.mark.parametrize(("last", "reason"), GLOBAL)
def test_it_says_which_layer(comm, device, last, reason):
    network = frozen(nn.Sequential(layer(2, 1, 1, 3, 1, "circular"), last))
    grid, field = block_of(comm, (12, 16), ranks=(1, comm.size)), torch.randn(1, 12, 16).double()
    for staged in (False, True, None):
        if comm.size == 1:
            found = FieldModel(network, device, grid, staged)(field)
            assert torch.equal(found, network(field[None])[0])
            continue
        with pytest.raises(
            ValueError, match=f"expected a bounded influence along axis 1.*{reason}"
        ):
            FieldModel(network, device, grid, staged)


@pytest.mark.parametrize("staged", [False, True, None])
def test_an_axis_that_no_ranks_share_may_be_global(comm, device, staged):
    network = frozen(nn.Sequential(layer(2, 1, 1, 3, 1, "circular"), Spectral(), nn.Tanh()))
    grid = block_of(comm, (12, 16), ranks=(comm.size, 1))
    generator = torch.Generator().manual_seed(1)
    field = torch.randn(1, 12, 16, dtype=torch.float64, generator=generator)
    found = FieldModel(network, device, grid, staged)(part(grid, field))
    torch.testing.assert_close(found, part(grid, network(field)), rtol=0, atol=1e-13)


def test_the_mode_of_the_module_counts_when_it_is_called(comm, device):
    network = frozen(nn.Sequential(layer(2, 1, 1, 3, 1, "circular"), nn.BatchNorm2d(1)))
    grid = block_of(comm, (12, 16))
    field = torch.ones(1, *grid.points, dtype=torch.float64)
    model = FieldModel(network, device, grid)
    expected = model(field)
    network.train()
    if comm.size > 1:
        with pytest.raises(ValueError, match="BatchNorm2d.* normalises over the grid unless"):
            model(field)
    network.eval()
    assert torch.equal(model(field), expected)


def test_bad_input_is_one_sentence(comm, device):
    grid = block_of(comm, (12, 16))
    points = grid.points
    model = FieldModel(nn.Conv2d(1, 2, 3, padding=1).double(), device, grid)
    field = torch.ones(1, *points, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"the values of this rank's block, \(\[batch,\] channels"):
        model(field[0])
    with pytest.raises(ValueError, match="the values of this rank's block"):
        model(field[..., 1:])
    with pytest.raises(ValueError, match=r"room for a result of shape \(2, .* got \(1, "):
        model(field, into=field.clone())
    shrinking = nn.Conv2d(1, 1, 3).double()
    shrinking.influence = 1
    with pytest.raises(ValueError, match="expected Conv2d to keep the points"):
        FieldModel(shrinking, device, grid)(field)
    if comm.size > 1:
        half = FieldModel(nn.Conv2d(1, 1, 3, padding=1).bfloat16(), device, grid)
        with pytest.raises(TypeError, match="float32 or float64 values on several ranks"):
            half(field.bfloat16())
